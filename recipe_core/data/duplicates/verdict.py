"""From what was measured of a pair to the verdict: was one made from the other."""

import numpy as np
import pyarrow as pa
import torch

from recipe_core.data.duplicates.compare import Compared

LEAST_AGREEMENT, LEAST_SIMILARITY, WORST_MISFIT = 0.55, 0.6, 0.3  # see compare.Compared
LEAST_HEART, SURE_HEART = 0.4, 0.75
# A small picture that was turned on a larger canvas is blurred by it: fewer details agree, but all of them somewhat.
FAIR_HEART, FAIR_SIMILARITY, FAIR_MISFIT = 0.65, 0.76, 0.1
# See ground.against_ground. Hardly a copy leaves more unexplained, captioned or not; on a plain ground there is but the
# ink to tell two of a kind apart, bars of one chart from those of another.
GRAPHIC, MOST_UNEXPLAINED, MOST_INK_UNEXPLAINED = 0.4, 0.2, 0.08
# Contrast of one against the other: people change it by less, and beyond that any edge fits any other.
LEAST_GAIN, MOST_GAIN = 0.55, 1.8
LEAST_INFORMED = 0.03  # share of the picture that tells anything
LEAST_OVERLAP = 0.62
MISLAID_MISFIT = 0.1  # up to which a pair that agrees but lies oddly is taken for a copy laid wrongly
# How a copy may be sheared, stretched (one side against the other) and turned (degrees): as people do it, and as it
# seems where a picture is so smooth that any slope fits its neighbour, and only the colours tell.
COPIED, SLID = (0.06, 1.22, 12.0), (0.15, 1.5, 15.0)


def accepted(rows: pa.Table, pairs: np.ndarray, compared: Compared) -> tuple[np.ndarray, np.ndarray]:
    """Which of the pairs are near duplicates: the same details, laid over each other by a map that copying makes.

    Args: see `naming.described`.

    Returns:
        Two of bool: those that are; and those of which it cannot be said, since all agrees but the map, which can slide
        where a picture is smooth. If they stand out too, they are no examples of how alike different pictures are.
    """
    fair = (compared.heart > FAIR_HEART) & (compared.similarity > FAIR_SIMILARITY) & (compared.misfit < FAIR_MISFIT)
    agrees = (
        ((compared.agreement > LEAST_AGREEMENT) | (compared.heart > SURE_HEART) | fair)
        & (compared.heart > LEAST_HEART)
        & (compared.similarity > LEAST_SIMILARITY)
        & (compared.misfit < WORST_MISFIT)
    )
    usual = (
        (compared.informed > LEAST_INFORMED)
        & (compared.gain > LEAST_GAIN)
        & (compared.gain < MOST_GAIN)
        & (compared.unexplained < torch.where(compared.ground > GRAPHIC, MOST_INK_UNEXPLAINED, MOST_UNEXPLAINED))
        & torch.from_numpy(laid_as_copies(rows, pairs, compared, COPIED))
    )
    return (agrees & usual).numpy(), (agrees & ~usual & (compared.misfit < MISLAID_MISFIT)).numpy()


def laid_as_copies(
    rows: pa.Table, pairs: np.ndarray, compared: Compared, limits: tuple[float, float, float]
) -> np.ndarray:
    """Whether each map is one that copying makes, bool: little cut off, hardly sheared, stretched or turned."""
    most_shear, most_stretch, most_angle = limits
    shown = torch.minimum(compared.overlap, compared.covered).numpy() > LEAST_OVERLAP
    maps = in_pixels(rows, pairs, compared)
    stretched = np.minimum(_stretch(compared.maps.numpy()), _stretch(maps))
    angle, shear = turn_and_shear(maps)
    return shown & (shear < most_shear) & (stretched < most_stretch) & (np.abs(angle) < most_angle)


def in_pixels(rows: pa.Table, pairs: np.ndarray, compared: Compared) -> np.ndarray:
    """The linear part of each map, (n, 2, 2), between pictures as they are instead of squares."""
    sizes = np.stack([rows["width"].to_numpy(), rows["height"].to_numpy()], axis=1).astype(float)
    first, second = sizes[pairs[:, 0]], sizes[pairs[:, 1]]
    first = np.where(pairs[:, 2:3] >= 4, first[:, ::-1], first)
    return compared.maps[:, :, :2].numpy() * second[:, :, None] / first[:, None, :]


def _stretch(maps: np.ndarray) -> np.ndarray:
    wide, high = np.linalg.norm(maps[:, :, 0], axis=1), np.linalg.norm(maps[:, :, 1], axis=1)
    return np.maximum(wide / high, high / wide)


def turn_and_shear(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees by which each map turns, and the cosine between what were the sides."""
    across, down = maps[:, :, 0], maps[:, :, 1]
    lengths = np.linalg.norm(across, axis=1) * np.linalg.norm(down, axis=1)
    angle = np.degrees(np.arctan2(across[:, 1] - down[:, 0], across[:, 0] + down[:, 1]))
    return angle, np.abs((across * down).sum(1)) / lengths
