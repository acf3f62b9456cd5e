"""What a process of tensors.py's pool does: samples to squares of one size, written in their rows of a file.

A module of its own, so that such a process loads no database and no tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from recipe_core.data.decode import Unreadable, decode
from recipe_core.data.fingerprints import byte_hash
from recipe_core.data.sources import Source
from recipe_core.errors import RecipeError
from recipe_core.jobs import die_with_parent


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one file of images."""

    file: Path
    offset: int  # bytes from the file's start
    size: int  # px
    samples: Sequence[str]
    content_hashes: Sequence[str]
    split: str


@dataclass
class Outcome:
    """What is known of a chunk that was written."""

    samples: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))  # per channel, exact
    squares: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    gone: list[str] = field(default_factory=list)  # samples that could not be had


def start_process(source: Source) -> None:
    """Once in each process of the pool, so that the source is not sent with every chunk."""
    global _source
    die_with_parent()
    _source = source


_source: Source


def write_chunk(chunk: Chunk) -> Outcome:
    """Decode the chunk's samples and write them in their place; nothing is written where one cannot be had."""
    images = np.empty((len(chunk.samples), chunk.size, chunk.size, 3), np.uint8)
    outcome = Outcome()
    for image, sample, content_hash in zip(images, chunk.samples, chunk.content_hashes, strict=True):
        if (square := _square(sample, content_hash, chunk.size)) is None:
            outcome.gone.append(sample)
        else:
            image[...] = square
    if outcome.gone:
        return outcome
    # Written, not mapped: on a full disk a mapped page kills the process.
    with chunk.file.open("r+b") as file:
        file.seek(chunk.offset)
        file.write(images.tobytes())
    pixels = images.reshape(-1, 3)
    outcome.samples = len(images)
    outcome.sums += pixels.sum(axis=0, dtype=np.int64)
    outcome.squares += np.square(pixels, dtype=np.int64).sum(axis=0)
    return outcome


def _square(sample: str, content_hash: str, size: int) -> np.ndarray | None:
    """The sample's centred square at `size`; None where its file is gone, broken or another one."""
    try:
        data = _source.read(sample)
    except (OSError, RecipeError):
        return None
    if byte_hash(data) != content_hash:
        return None
    try:
        pixels = _decoded(data, size)
    except (Unreadable, MemoryError):
        return None
    return _resized(pixels, size)


def _decoded(data: bytes, size: int) -> np.ndarray:
    """Upright pixels, at reduced scale where the shorter side keeps at least twice the size."""
    picture = decode(data, side=4 * size)
    reduced = picture.pixels.shape[:2] != (picture.height, picture.width)
    if reduced and min(picture.pixels.shape[:2]) < 2 * size:  # a long one
        picture = decode(data)
    return picture.pixels


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """The centred square, by Pillow's antialiased bilinear filter, which leaves one that has the size as it is."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    image = Image.fromarray(np.ascontiguousarray(square))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0))
