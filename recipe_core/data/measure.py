"""One read and one decode of a sample give its row of facts, its fingerprints and its thumbnail.

Facts are computed for many pictures of one shape at once: on 32x32 images the calls cost more than the pixels.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recipe_core import settings
from recipe_core.data import fingerprints
from recipe_core.data.decode import Picture, Unreadable, decode
from recipe_core.data.facts import file_facts, header_facts
from recipe_core.data.thumbnails import thumbnail
from recipe_core.errors import RecipeError

HASHED_AT_ONCE = 128  # pictures; small enough for a core's cache, too
BATCH_BYTES = 16 * 2**20  # decoded pixels held at once
CHUNK_BYTES = 2**19  # decoded pixels measured at once: what fits into a core's cache


@dataclass(slots=True)
class Measured:
    """What the scan keeps of one sample: its row of facts and its encoded thumbnail, empty if there is no picture."""

    facts: dict
    thumbnail: bytes = b""


@dataclass(slots=True)
class _Decoded:
    measured: Measured
    picture: Picture
    data: bytes


def measure(keys: Sequence[str], read: Callable[[str], bytes]) -> list[Measured]:
    """Facts and thumbnails of many samples, in their order.

    Args:
        keys: the samples.
        read: key -> bytes of the file.

    A sample that cannot be read is a row that says so, never an exception.
    """
    results: list[Measured] = []
    for batch in _batches(_decoded(keys, read, results)):
        by_shape = defaultdict(list)
        for decoded in batch:
            by_shape[decoded.picture.pixels.shape].append(decoded)
        hashed: list[tuple[Measured, fingerprints.Greys]] = []
        for alike in by_shape.values():
            chunk = max(1, CHUNK_BYTES // alike[0].picture.pixels.nbytes)
            for start in range(0, len(alike), chunk):
                hashed += _measure_alike(alike[start : start + chunk])
        for start in range(0, len(hashed), HASHED_AT_ONCE):
            _hash(hashed[start : start + HASHED_AT_ONCE])
    return results


def _decoded(keys: Sequence[str], read: Callable[[str], bytes], results: list[Measured]) -> Iterator[_Decoded]:
    for key in keys:
        results.append(Measured({"readable": False}))
        decoded = _read_and_decode(key, read, results[-1])
        if decoded is not None:
            yield decoded


def _read_and_decode(key: str, read: Callable[[str], bytes], result: Measured) -> _Decoded | None:
    try:
        data = read(key)
        result.facts |= file_facts(key, data) | {"byte_hash": fingerprints.byte_hash(data)}
        return _Decoded(result, decode(data, settings.MEASURED_SIDE), data)
    except Unreadable as problem:
        kind, sentence = problem.kind, str(problem)
    except FileNotFoundError:
        kind, sentence = "missing", "The file does not exist."
    except OSError as problem:
        kind, sentence = "unreadable", f"The file cannot be read: {problem.strerror or problem}."
    except RecipeError as problem:
        kind, sentence = "unreadable", str(problem)
    except MemoryError:
        kind, sentence = "too_large", "The image is too large for this machine's memory."
    result.facts |= {"error_kind": kind, "error": sentence}
    return None


def _batches(stream: Iterator[_Decoded]) -> Iterator[list[_Decoded]]:
    batch, size = [], 0
    for decoded in stream:
        batch.append(decoded)
        size += decoded.picture.pixels.nbytes
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _measure_alike(alike: list[_Decoded]) -> Iterator[tuple[Measured, fingerprints.Greys]]:
    """Complete the results of pictures that share one shape, but for their hashes; gives what those look at."""
    from recipe_core.data import appearance, pixel_loops  # compiled: only the processes that measure need them

    stack = np.stack([decoded.picture.pixels for decoded in alike]) if len(alike) > 1 else alike[0].picture.pixels[None]
    greys, smalls = pixel_loops.to_greys(stack), _reduced(stack, settings.THUMBNAIL_SIDE)
    looks = appearance.picture_facts(greys, _reduced(stack, settings.COLOUR_SIDE))
    for decoded, small, look, grey in zip(alike, smalls, looks, greys, strict=True):
        picture, data = decoded.picture, decoded.data
        decoded.measured.facts |= header_facts(picture, data, decoded.measured.facts["extension"]) | look
        decoded.measured.facts["pixel_hash"] = fingerprints.pixel_hash(picture.pixels)
        is_small = max(picture.width, picture.height) <= settings.THUMBNAIL_SIDE
        as_it_is = is_small and picture.orientation == 1 and picture.error is None
        decoded.measured.thumbnail = thumbnail(small, data, as_it_is)
        yield decoded.measured, fingerprints.shrink(Image.fromarray(grey))


def _hash(alike: Sequence[tuple[Measured, fingerprints.Greys]]) -> None:
    hashes = fingerprints.perceptual_hashes([greys for _, greys in alike])
    for (measured, _), phashes, dhashes in zip(alike, *hashes, strict=True):
        measured.facts |= {
            "phash": phashes[0],
            "dhash": dhashes[0],
            "phash_turned": phashes,
            "dhash_turned": dhashes,
        }


def _reduced(stack: np.ndarray, side: int) -> np.ndarray:
    """Pictures reduced by a whole factor to about this longer side: uint8 (n, height, width, 3), contiguous."""
    from recipe_core.data import pixel_loops

    factor = max(1, round(max(stack.shape[1:3]) / side))
    return pixel_loops.reduced(stack, factor) if factor > 1 else stack
