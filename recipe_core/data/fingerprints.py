"""Fingerprints of bytes, pixels and appearance.

pHash and dHash equal imagehash's bit for bit on the same grey image, also for its eight flips and quarter turns; they
are computed for many images at once, because calling imagehash once per orientation costs more than decoding.
Sources: hackerfactor.com, "Looks Like It" (pHash, 2011) and "Kind of Like That" (dHash, 2013), as in imagehash.
"""

from dataclasses import dataclass

import numpy as np
import xxhash
from PIL import Image

HASHED_SIDE = 384  # px: greys from this side on are reduced before they are hashed
LOW_FREQUENCIES = 8
PHASH_SIDE = 32
DHASH_SIZE = (9, 8)  # width, height

# The eight flips and quarter turns, in the order of the columns `phash_turned` and `dhash_turned`.
TURNS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
)


@dataclass(slots=True)
class Greys:
    """One grey image shrunk to what the hashes look at, as it is and transposed (Pillow rounds between its passes)."""

    phash: np.ndarray  # uint8 (2, 32, 32)
    dhash: np.ndarray  # uint8 (2, 8, 9)


def byte_hash(data: bytes) -> str:
    """XXH3-128 of a file's bytes, in hex."""
    return xxhash.xxh3_128_hexdigest(data)


def pixel_hash(pixels: np.ndarray) -> str:
    """XXH3-128 of decoded pixels (uint8, (height, width, 3)) and their shape, in hex."""
    digest = xxhash.xxh3_128(b"%dx%d:" % pixels.shape[:2])
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def shrink(grey: Image.Image) -> Greys:
    """What the hashes need of a grey image (mode L). Greys of 384 px and more are reduced first, by a whole factor."""
    if max(grey.size) >= HASHED_SIDE and (factor := min(grey.size) // PHASH_SIDE) > 1:
        grey = grey.reduce(factor)
    both = (grey, grey.transpose(Image.Transpose.TRANSPOSE))
    lanczos = Image.Resampling.LANCZOS
    return Greys(
        phash=_pixels([image.resize((PHASH_SIDE, PHASH_SIDE), lanczos) for image in both]),
        dhash=_pixels([image.resize(DHASH_SIZE, lanczos) for image in both]),
    )


def _pixels(greys: list[Image.Image]) -> np.ndarray:
    width, height = greys[0].size
    return np.frombuffer(b"".join(grey.tobytes() for grey in greys), np.uint8).reshape(len(greys), height, width)


def perceptual_hashes(greys: list[Greys]) -> tuple[list[list[str]], list[list[str]]]:
    """pHash and dHash of every image in its eight orientations (`TURNS`), each 16 hex digits like imagehash's."""
    if not greys:
        return [], []
    low = _low_frequencies(_turned(np.stack([grey.phash for grey in greys])))
    phash = low > np.median(low, axis=(-2, -1), keepdims=True)
    rows = _turned(np.stack([grey.dhash for grey in greys]))
    dhash = rows[..., 1:] > rows[..., :-1]
    return _hex(phash), _hex(dhash)


def _turned(pairs: np.ndarray) -> np.ndarray:
    """(n, 2, height, width) -> (n, 8, height, width), in the order of `TURNS`."""
    plain, transposed = pairs[:, 0], pairs[:, 1]
    upside_down, mirrored = (slice(None), slice(None, None, -1)), (slice(None), slice(None), slice(None, None, -1))
    turns = [plain, plain[mirrored], plain[upside_down], plain[:, ::-1, ::-1]]
    turns += [transposed, transposed[upside_down], transposed[mirrored], transposed[:, ::-1, ::-1]]
    return np.stack(turns, axis=1)


def _low_frequencies(images: np.ndarray) -> np.ndarray:
    from scipy import fftpack  # slow to import, and every command imports this file

    down = fftpack.dct(images, axis=-2)[..., :LOW_FREQUENCIES, :]
    return fftpack.dct(down, axis=-1)[..., :LOW_FREQUENCIES]


def _hex(bits: np.ndarray) -> list[list[str]]:
    """(n, 8, 8, 8) booleans -> n lists of 8 strings."""
    packed = np.packbits(bits.reshape(*bits.shape[:2], 64), axis=-1)
    return [[turn.tobytes().hex() for turn in image] for image in packed]
