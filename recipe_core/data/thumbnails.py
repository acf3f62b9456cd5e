"""Thumbnails: all those of a shard in one file, each found by offset and length, instead of a million small files.

`<dataset>/thumbnails/<shard>.bin` is written once and never changed; the catalog's columns `_shard`, `_offset` and
`_length` say where a sample's thumbnail stands in it.
"""

from pathlib import Path

import numpy as np
import simplejpeg

from recipe_core.data.pictures import media_type

SMALL_FILE = 16_384  # bytes: an upright file no larger than this and than a thumbnail's side is its own thumbnail


def thumbnail(small: np.ndarray, data: bytes, as_it_is: bool) -> bytes:
    """A thumbnail as an encoded image.

    Args:
        small: the upright picture at about a thumbnail's size, uint8 (height, width, 3).
        data: the file; it is its own thumbnail where its bytes are few and browsers show its format.
        as_it_is: whether the file, shown as it is, gives the picture at no more than a thumbnail's size.
    """
    if as_it_is and len(data) <= SMALL_FILE and media_type(data):
        return data
    return simplejpeg.encode_jpeg(np.ascontiguousarray(small), quality=82, colorsubsampling="420")


def read_thumbnail(folder: Path, shard: str, offset: int, length: int) -> bytes:
    """The thumbnail at (shard, offset, length).

    Raises:
        FileNotFoundError: the shard is gone, as after a rescan.
    """
    with (folder / f"{shard}.bin").open("rb") as file:
        file.seek(offset)
        return file.read(length)
