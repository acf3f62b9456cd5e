"""Bytes of an image file to upright RGB pixels and what the file says of itself: one decode, bounded, never trusting.

    picture = decode(data, side=384)
    picture.pixels        # uint8, (height, width, 3), upright, maybe at reduced scale
    picture.width         # px of the upright original

simplejpeg (libjpeg-turbo) reads JPEGs, at reduced scale where `side` allows; Pillow reads all else.
"""

import io
import math
import re
import warnings
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from recipe_core import settings
from recipe_core.data import containers

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ORIENTATION, MAKE, MODEL, DATE_TIME, EXIF_IFD, DATE_TIME_ORIGINAL = 0x0112, 0x010F, 0x0110, 0x0132, 0x8769, 0x9003

STRIP_ROWS = 256  # of a large picture, converted at once
HEADER_BYTES = 2**16  # where EXIF is looked for
JPEG_START, SCAN, END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
HARMLESS = ("Invalid SOS parameters", "Inconsistent progression", "Unknown Adobe color transform")

# The bound on pixels is checked here, before anything is decoded. Pillow only warns at it; its error at twice as many
# stands behind this check, since a GIF's first frame is laid out while its header is read.
Image.MAX_IMAGE_PIXELS = settings.MAX_IMAGE_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
Image.init()


class Unreadable(Exception):
    """No picture can be had from these bytes. `kind` is one word, the text one sentence."""

    def __init__(self, kind: str, sentence: str):
        super().__init__(sentence)
        self.kind = kind


@dataclass(slots=True)
class Picture:
    """A decoded image. Sizes are of the upright original; `pixels` may be smaller."""

    pixels: np.ndarray  # uint8 (height, width, 3)
    width: int
    height: int
    format: str
    mode: str
    orientation: int = 1
    camera_make: str | None = None
    camera_model: str | None = None
    captured_at: datetime | None = None
    error_kind: str | None = None  # set where the pixels are not all that the file should hold
    error: str | None = None


def decode(data: bytes, side: int | None = None) -> Picture:
    """Decode one image file.

    Args:
        data: the file's bytes.
        side: pixels that the longer side must keep; larger images come at reduced scale. None: full size.

    Raises:
        Unreadable: nothing can be shown. A JPEG that is cut off gives the picture that is there, with `error` set.
    """
    if not data:
        raise Unreadable("empty", "The file is empty (0 bytes).")
    if (picture := _plain_jpeg(data)) is not None:
        _read_jpeg(picture, data, side)
        return picture
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _decode(image, data, side)
    except UnidentifiedImageError as problem:
        raise Unreadable(*(containers.why_unreadable(data) or _not_an_image(data))) from problem
    except Image.DecompressionBombError as problem:
        raise _too_large(f"more than {2 * settings.MAX_IMAGE_PIXELS // 10**6} million") from problem
    except (Unreadable, MemoryError):
        raise
    except Exception as problem:
        raise Unreadable(*(containers.why_unreadable(data) or _verdict(problem))) from problem


def _not_an_image(data: bytes) -> tuple[str, str]:
    return _jpeg_without_end(data) or ("not_an_image", containers.what_it_is(data))


def _jpeg_without_end(data: bytes) -> tuple[str, str] | None:
    if data.startswith(JPEG_START) and data.rfind(END) <= data.rfind(SCAN):
        return "truncated", "The file is cut off: the JPEG ends before a picture can be had from it."
    return None


def _plain_jpeg(data: bytes) -> Picture | None:
    """A JPEG without EXIF, in grey or RGB, needs no Pillow: its header is read in a tenth of the time."""
    if not data.startswith(JPEG_START) or data.find(b"Exif\x00", 0, HEADER_BYTES) >= 0:
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if space not in ("Gray", "YCbCr", "RGB"):
        return None
    _bound(width, height)
    return Picture(np.empty(0), width, height, "JPEG", "L" if space == "Gray" else "RGB")


def _bound(width: int, height: int) -> None:
    if width * height > settings.MAX_IMAGE_PIXELS:
        raise _too_large(f"{width:,} x {height:,}")


def _too_large(claim: str) -> Unreadable:
    limit = settings.MAX_IMAGE_PIXELS // 10**6
    return Unreadable("too_large", f"The image claims {claim} pixels; at most {limit} million are read.")


def _decode(image: Image.Image, data: bytes, side: int | None) -> Picture:
    width, height = image.size
    _bound(width, height)
    picture = Picture(np.empty(0), width, height, "JPEG" if image.format == "MPO" else str(image.format), image.mode)
    if picture.format == "JPEG" and image.mode in ("L", "RGB"):
        try:
            _read_jpeg(picture, data, side)
        except Unreadable:  # simplejpeg knows fewer ways of sampling colour (not 4:1:0) than the libjpeg in Pillow
            picture.pixels = _rgb(image, side)
    else:
        picture.pixels = _rgb(image, side)
        if flaw := containers.flaw_of(data) if picture.format != "JPEG" else _cmyk_flaw(data):
            picture.error_kind, picture.error = flaw
    if picture.format in ("TIFF", "PNG") or "exif" in image.info:
        _read_exif(picture, image)
    return picture


def _read_jpeg(picture: Picture, data: bytes, side: int | None) -> None:
    longer = max(picture.width, picture.height)
    scaled = {}
    if side and longer >= 2 * side:  # below half scale a full decode is the faster one
        scaled = {"min_width": -(-picture.width * side // longer), "min_height": -(-picture.height * side // longer)}
    try:
        picture.pixels = simplejpeg.decode_jpeg(data, **scaled)
    except ValueError as problem:
        try:
            picture.pixels = simplejpeg.decode_jpeg(data, strict=False, **scaled)
        except ValueError:
            raise Unreadable(*(_jpeg_without_end(data) or _verdict(problem))) from problem
        if flaw := _jpeg_flaw(data, str(problem), picture.pixels):
            picture.error_kind, picture.error = flaw


def _cmyk_flaw(data: bytes) -> tuple[str, str] | None:
    """What libjpeg-turbo, which tells more than Pillow, thinks of a JPEG that Pillow has read."""
    tiny = {"min_width": 1, "min_height": 1, "colorspace": "CMYK"}
    try:
        simplejpeg.decode_jpeg(data, **tiny)
    except ValueError as problem:
        return _jpeg_flaw(data, str(problem), simplejpeg.decode_jpeg(data, strict=False, **tiny))
    return None


def _jpeg_flaw(data: bytes, warning: str, pixels: np.ndarray) -> tuple[str, str] | None:
    """A warning of libjpeg-turbo as (kind, sentence), unless healthy files give cause for it.

    Args:
        warning: such as "Corrupt JPEG data: premature end of data segment".
        pixels: what could be decoded.
    """
    if any(sign in warning for sign in HARMLESS):
        return None
    if found := re.search(r"(\d+) extraneous bytes before marker 0xd9", warning):
        end = data.rfind(END)
        if len(set(data[end - int(found[1]) : end])) == 1:
            return None  # padding
    if data.rfind(SCAN) < data.rfind(END):
        return "damaged", f"The image data is broken in its middle: {warning.removesuffix('.')}."
    # What is missing, libjpeg fills with the last block's mean or with grey.
    missing = int(np.argmax((pixels != pixels[-1, -1]).any(axis=(1, 2))[::-1]))
    if missing < len(pixels) / 100:
        return "truncated", "The file is cut off near its end: all rows of the picture are there, maybe in less detail."
    return containers.cut_off(1 - missing / len(pixels), "the picture")


def _rgb(image: Image.Image, side: int | None) -> np.ndarray:
    """The first frame as uint8 RGB, reduced by a whole factor; deeper pixels are scaled to 8 bits, alpha is dropped."""
    if side and (share := side / max(image.size)) < 1:
        image.draft(image.mode, (math.ceil(image.width * share), math.ceil(image.height * share)))  # of a JPEG
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_8_bits(np.asarray(image)))
    if side and (factor := max(image.size) // side) > 1:
        return _reduced(image, factor)
    return np.asarray(image.convert("RGB"))


def _reduced(image: Image.Image, factor: int) -> np.ndarray:
    """As RGB, reduced, a strip at a time: at the bound on pixels each copy of the whole would be 700 MB."""
    width, height = image.size
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    rows = factor * max(1, STRIP_ROWS // factor)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows))).convert("RGB").reduce(factor)
        pixels[top // factor :][: strip.height] = np.asarray(strip)
    return pixels


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iu" and values.min(initial=0) >= 0 and values.max(initial=0) <= 0xFFFF:
        return (values >> 8).astype(np.uint8)
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    return ((finite - low) * (255.0 / (high - low or 1.0))).astype(np.uint8)


def _read_exif(picture: Picture, image: Image.Image) -> None:
    exif = image.getexif()
    orientation = exif.get(ORIENTATION, 1)
    picture.orientation = orientation if orientation in range(1, 9) else 1
    picture.camera_make = _text(exif.get(MAKE))
    picture.camera_model = _text(exif.get(MODEL))
    picture.captured_at = _time(exif.get_ifd(EXIF_IFD).get(DATE_TIME_ORIGINAL) or exif.get(DATE_TIME))
    picture.pixels = upright(picture.pixels, picture.orientation)
    if picture.orientation >= 5:
        picture.width, picture.height = picture.height, picture.width


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels (height, width, ...) as EXIF's orientation tag (1 to 8) asks."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _text(value: object) -> str | None:
    return str(value).replace("\x00", "").strip() or None if value is not None else None


def _time(value: object) -> datetime | None:
    try:
        return datetime.strptime(str(value).strip("\x00 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None


def _verdict(problem: Exception) -> tuple[str, str]:
    """A reader's complaint as (kind, sentence)."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    if any(sign in text.lower() for sign in ("premature", "truncated", "unexpected end", "eof", "not enough")):
        return "truncated", f"The file is cut off: {text}."
    if "checksum" in text.lower() or "crc" in text.lower():
        return "checksum", f"The file's checksum is wrong: {text}."
    return "broken", f"The image data is broken: {text}."
