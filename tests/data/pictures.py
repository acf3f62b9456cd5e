"""Small pictures and image files, and headers that lie."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Random RGB pixels, uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Soft RGB blobs, which survive compression."""
    small = Image.fromarray(noise(4, 3, seed))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    """An image file's bytes."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int | None = None, **texts: str) -> Image.Exif:
    """EXIF with an orientation and any of make, model, date_time, date_time_original."""
    tags = Image.Exif()
    if orientation is not None:
        tags[0x0112] = orientation
    for name, tag in (("make", 0x010F), ("model", 0x0110), ("date_time", 0x0132)):
        if name in texts:
            tags[tag] = texts[name]
    if "date_time_original" in texts:
        tags.get_ifd(0x8769)[0x9003] = texts["date_time_original"]
    return tags


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def jpeg_header(width: int, height: int) -> bytes:
    data = encoded(smooth(16, 16), "JPEG")
    size = data.index(b"\xff\xc0") + 5
    return data[:size] + struct.pack(">HH", height, width) + data[size + 4 :]


def gif_header(width: int, height: int, disposal: int = 0) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"\x21\xf9\x04" + bytes([disposal << 2, 0, 0, 0, 0])
    return screen + control + b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0\x3b"


def bmp_header(width: int, height: int) -> bytes:
    file = b"BM" + struct.pack("<IHHI", 354, 0, 0, 54)
    return file + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(300)


def tiff_header(width: int, height: int, orientation: bytes = b"") -> bytes:
    """An uncompressed grey TIFF whose 12 pixels stand at its end; `orientation` is a whole directory entry."""

    def entry(tag: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, 4, 1, value)

    entries = [entry(256, width), entry(257, height), entry(258, 8), entry(259, 1), entry(262, 1), entry(273, 200)]
    entries += [orientation] if orientation else []
    entries += [entry(277, 1), entry(278, height), entry(279, min(width * height, 2**32 - 1))]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    numbers = struct.pack("<II", 6, 1)  # a rational 6/1 at byte 180
    return (b"II*\0" + struct.pack("<I", 8) + directory).ljust(180, b"\0") + numbers.ljust(20, b"\0") + bytes(range(12))
