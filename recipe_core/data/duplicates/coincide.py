"""Whether two pictures show the same in the same places, but for one's brightness and what was laid over a part of it.

A smooth picture (fog, a sky, a drawing's slopes of colour) has hardly a detail that could agree, and a caption on it is
all the detail there is. But no other picture has the same slopes, in the same colours, in the same places.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch

from recipe_core.data.duplicates.align import unmoved, warp
from recipe_core.data.duplicates.compare import Compared
from recipe_core.data.duplicates.ground import against_ground, steepness

SLOPE = 2.0  # levels a px, at 16 px: where both are flatter, they agree by chance
LEAST_TOLD = 0.1  # share of the picture that is no flatter
LEAST_SAME = 0.57  # of that; with writing all over it is 0.59; of small strangers laid over each other at most 0.21
GRAPHIC, LEAST_SAME_INK = 0.4, 0.95  # where so much is plain ground: E and F share 0.9 of their ink
BLACK, WHITE = 8, 250  # levels beyond which a pixel tells nothing of how much brighter the other picture is
MOST_BRIGHTER = 2.5


@dataclass(slots=True)
class Coincidence:
    """What was measured of each pair as it lies, float (pairs,) each."""

    told: torch.Tensor  # share of the picture that has a slope, in one of the two or both
    same: torch.Tensor  # share of that which is the same in every channel, once both are as bright
    brighter: torch.Tensor  # how many times as bright the second is
    ground: torch.Tensor  # share of the picture that is one plain level in both

    def take(self, chosen: np.ndarray) -> "Coincidence":
        return Coincidence(*(getattr(self, field.name)[torch.from_numpy(chosen)] for field in fields(self)))

    def suffices(self) -> np.ndarray:
        """Which pairs may be copies, bool."""
        least = torch.where(self.ground > GRAPHIC, LEAST_SAME_INK, LEAST_SAME)
        return ((self.told > LEAST_TOLD) & (self.same > least)).numpy()


def coincidence(first: torch.Tensor, second: torch.Tensor, noise: float, brightened: bool) -> Coincidence:
    """How much of each pair is the same.

    Args:
        first, second: float (pairs, channels, side, side).
        noise: levels by which copies differ.
        brightened: whether one may be brighter than the other.
    """
    brighter = _brighter(first, second) if brightened else torch.ones(len(first))
    # The darker one is made as bright as the other: what is white there cannot be made darker.
    swapped = (brighter < 1)[:, None, None, None]
    first, second = torch.where(swapped, second, first), torch.where(swapped, first, second)
    times = torch.maximum(brighter, 1 / brighter)[:, None, None]
    first = (first * times[:, None]).clamp_max(255)
    one, other = first.mean(1), second.mean(1)
    told = (torch.maximum(steepness(one), steepness(other)) > SLOPE).float()
    if brightened:  # else every sky of one slope and one blue is the same
        told = told * (torch.maximum(_off_a_slope(first), _off_a_slope(second)) > noise)
    same = ((first - second).abs().amax(1) < noise * times).float()
    ground, _ = against_ground(one, other, torch.ones_like(one), noise / 4)  # a plain ground is one level
    return Coincidence(told.mean((1, 2)), (told * same).sum((1, 2)) / told.sum((1, 2)).clamp_min(1), brighter, ground)


def laid(first: torch.Tensor, second: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pairs as `coincidence` takes them, the second seen through the maps; both are black where one is not seen."""
    seen, inside = warp(second, maps)
    return first * inside[:, None], seen * inside[:, None]


def as_it_lies(first: torch.Tensor, second: torch.Tensor, found: Coincidence) -> Compared:
    """What `compare` would say of grey pairs, float (pairs, side, side), that are the same but where one is covered."""
    one = torch.ones(len(first))
    misfit = (first * found.brighter[:, None, None] - second).abs().flatten(1).median(1).values
    return Compared(
        maps=unmoved(len(first)).maps,
        gain=found.brighter,
        lighter=first.mean((1, 2)) * (found.brighter - 1),
        misfit=misfit / second.flatten(1).std(1).clamp_min(1),
        informed=found.told,
        agreement=found.same,
        heart=found.same,
        similarity=found.same,
        overlap=one,
        covered=one,
        ground=found.ground,
        unexplained=1 - found.same,
    )


def _brighter(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """How many times as bright the second is in most of the places that tell."""
    steep = torch.maximum(steepness(first.mean(1)), steepness(second.mean(1))) > SLOPE
    # Every other pixel along both sides: enough for a median, which is the slowest of all this.
    tells, first, second = (each[..., ::2, ::2] for each in (steep[:, None], first, second))
    tells = tells & (torch.minimum(first, second) > BLACK) & (torch.maximum(first, second) < WHITE)
    times = torch.where(tells, second / first.clamp_min(1), torch.nan).flatten(1).nanmedian(1).values
    return times.nan_to_num(1).clamp(1 / MOST_BRIGHTER, MOST_BRIGHTER)


def _off_a_slope(pictures: torch.Tensor) -> torch.Tensor:
    """Levels by which each place differs from the plane that fits the picture best, in the channel that does most."""
    at = torch.linspace(-1, 1, pictures.shape[-1])
    at = at / at.norm() / pictures.shape[-1] ** 0.5
    level = pictures.mean((2, 3), keepdim=True)
    down = (pictures.sum(3) @ at)[:, :, None, None] * at[:, None]
    across = (pictures.sum(2) @ at)[:, :, None, None] * at
    return (pictures - level - down - across).abs().amax(1)
