"""What a class looks like: its average picture, and its most and least typical samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from recipe_core.data.catalog import Catalog
from recipe_core.data.decode import Unreadable, decode
from recipe_core.data.selection import Selection
from recipe_core.data.thumbnails import read_thumbnail

SAMPLED = 300  # pictures of a class, spread over it by their hashes
SIDE = 64  # px of the average
COARSE = 8  # times smaller are the pictures that are compared
SHOWN = 8

Features = Callable[[Sequence[str], np.ndarray], np.ndarray]  # keys, pictures (n, side, side, 3) -> (n, d)


@dataclass(frozen=True)
class ClassLook:
    """The average picture, uint8 (SIDE, SIDE, 3), of so many; keys, the most and least typical first."""

    average: np.ndarray
    pictures: int
    most: tuple[str, ...]
    least: tuple[str, ...]


def coarse_pixels(_: Sequence[str], pictures: np.ndarray) -> np.ndarray:
    """The pictures at an eighth of their size, as features; embeddings of the same keys may stand in for them."""
    small = pictures.reshape(len(pictures), SIDE // COARSE, COARSE, SIDE // COARSE, COARSE, 3).mean(axis=(2, 4))
    return small.reshape(len(pictures), -1)


def class_look(catalog: Catalog, label: str, features: Features = coarse_pixels) -> ClassLook | None:
    """Look at a class; None where it has no picture."""
    selection = Selection(choices={"label": (label,)}, where="readable")
    rows = catalog.rows(selection, order_by="pixel_hash", limit=SAMPLED, internal=True)
    keys, pictures = _pictures(catalog.folder / "thumbnails", rows)
    if not keys:
        return None
    order = by_typicality(features(keys, pictures))
    most, least = order[:SHOWN], order[SHOWN:][::-1][:SHOWN]
    average = pictures.mean(axis=0).round().astype(np.uint8)
    return ClassLook(average, len(keys), *(tuple(keys[place] for place in some) for some in (most, least)))


def by_typicality(features: np.ndarray) -> np.ndarray:
    """The order of samples by their distance from the median of all, (n, d) -> (n,), the most typical first."""
    return np.argsort(np.linalg.norm(features - np.median(features, axis=0), axis=1), kind="stable")


def _pictures(folder: Path, rows: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    keys, pictures = [], []
    for row in rows.itertuples(index=False, name=None):
        named = dict(zip(rows.columns, row, strict=True))
        if not isinstance(named["_shard"], str):
            continue
        try:
            pixels = decode(
                read_thumbnail(folder, named["_shard"], int(named["_offset"]), int(named["_length"]))
            ).pixels
        except (OSError, Unreadable):
            continue  # gone with a rescan
        keys.append(named["key"])
        pictures.append(np.asarray(Image.fromarray(pixels).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)))
    return keys, np.stack(pictures).astype(np.float32) if pictures else np.empty((0, SIDE, SIDE, 3), np.float32)
