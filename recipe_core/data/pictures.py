"""Pictures as a browser can show them."""

import io

from PIL import Image

from recipe_core.data.decode import decode

MEDIA_TYPES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
    b"BM": "image/bmp",
}


def media_type(data: bytes) -> str | None:
    """The media type of an image file that every browser shows, by its first bytes; None for any other."""
    return next((kind for magic, kind in MEDIA_TYPES.items() if data.startswith(magic)), None)


def for_browser(data: bytes) -> tuple[bytes, str]:
    """An image file as it is where browsers show its format, else as PNG: the bytes and their media type.

    Raises:
        Unreadable: it is no image.
    """
    if kind := media_type(data):
        return data, kind
    png = io.BytesIO()
    Image.fromarray(decode(data).pixels).save(png, "PNG", compress_level=1)
    return png.getvalue(), "image/png"
