"""Thumbnails: all those of a shard in one file, each found by offset and length, instead of a million small files.

`<dataset>/thumbnails/<shard>.bin` is written once and never changed; the catalog's columns `_shard`, `_offset` and
`_length` say where a sample's thumbnail stands in it.
"""

from pathlib import Path

import numpy as np
import simplejpeg

from recipe_core import settings

SHOWN_BY_BROWSERS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
}
SMALL_FILE = 16_384  # bytes: an upright file no larger than this and than a thumbnail's side is its own thumbnail
_MAGIC = {b"\xff\xd8": "JPEG", b"\x89P": "PNG", b"GI": "GIF", b"RI": "WEBP"}


def thumbnail(small: np.ndarray, data: bytes, as_it_is: bool) -> bytes:
    """A thumbnail as an encoded image.

    Args:
        small: the upright picture at about a thumbnail's size, uint8 (height, width, 3).
        data: the file; it is its own thumbnail where it is small enough and a browser shows it.
        as_it_is: whether the file, shown as it is, gives the picture.
    """
    if as_it_is and max(small.shape) <= settings.THUMBNAIL_SIDE and len(data) <= SMALL_FILE and data[:2] in _MAGIC:
        return data
    return simplejpeg.encode_jpeg(np.ascontiguousarray(small), quality=82)


def media_type(encoded: bytes) -> str:
    """The media type of a thumbnail."""
    return SHOWN_BY_BROWSERS[_MAGIC[encoded[:2]]]


def read_thumbnail(folder: Path, shard: str, offset: int, length: int) -> bytes:
    """The thumbnail at (shard, offset, length).

    Raises:
        FileNotFoundError: the shard is gone, as after a rescan.
    """
    with (folder / f"{shard}.bin").open("rb") as file:
        file.seek(offset)
        return file.read(length)
