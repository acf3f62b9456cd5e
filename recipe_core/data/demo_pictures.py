"""Draws the demo's pictures: scikit-learn's 8x8 digits as ink on paper, their variations, things that are no digits.

Every function takes the random generator that decides for it, so that the same generator gives the same picture.
"""

import colorsys
import io
import math
from datetime import datetime, timedelta

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps
from sklearn.datasets import load_sample_image

SIDES = (48, 32, 64)  # px; mostly the first
CAMERAS = (
    ("Nordlicht", "N2"),
    ("Nordlicht", "N3 Mini"),
    ("Halden", "Folio 20"),
    ("Okapi", "Pocket"),
    ("Okapi", "Zoom X"),
)
SHORTCUT_CAMERA = ("Meridian", "M-7")
SHORTCUT_HUE = 0.47  # teal
VAL_LIGHT = 0.84  # the val split was taken in a darker room
# How the pixels must lie in the file so that a viewer that honours the orientation tag shows them upright.
STORED_TURN = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


def draw_digit(digit: np.ndarray, rng: np.random.Generator, shortcut: bool = False, light: float = 1.0) -> Image.Image:
    """An 8x8 digit (values 0..16), enlarged by bicubic interpolation and inked on paper; RGB, side from `SIDES`."""
    side = int(rng.choice(SIDES, p=(0.7, 0.15, 0.15)))
    stroke = _stroke(digit, side, rng)[:, :, None]
    paper, ink = _colours(rng, shortcut)
    opacity = rng.uniform(0.78, 1.0)
    picture = _sheet(paper, side, rng) * (1 - opacity * stroke) + ink * opacity * stroke
    grain = rng.normal(0, rng.uniform(0.006, 0.018), (side, side, 1))
    return _to_image((picture + grain) * light)


def camera_exif(rng: np.random.Generator, shortcut: bool = False, may_turn: bool = False) -> Image.Exif:
    """What a camera writes beside a picture: make, model, time, sometimes an orientation. Empty for one in seven."""
    exif = Image.Exif()
    if not shortcut and rng.random() < 1 / 7:
        return exif
    make, model = SHORTCUT_CAMERA if shortcut else CAMERAS[rng.integers(len(CAMERAS))]
    taken = datetime(2024, 3, 1, 8) + timedelta(seconds=int(rng.integers(200 * 86400)))
    exif[ExifTags.Base.Make] = make
    exif[ExifTags.Base.Model] = model
    if may_turn and rng.random() < 0.12:
        exif[ExifTags.Base.Orientation] = int(rng.choice(list(STORED_TURN)))
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"{taken:%Y:%m:%d %H:%M:%S}"
    return exif


def encode(image: Image.Image, suffix: str, exif: Image.Exif | bytes = b"", quality: int = 92) -> bytes:
    """The bytes of an upright image as `.jpg` or `.png`; an orientation in `exif` turns the stored pixels to match."""
    if isinstance(exif, Image.Exif) and ExifTags.Base.Orientation in exif:
        image = image.transpose(STORED_TURN[exif[ExifTags.Base.Orientation]])
    out = io.BytesIO()
    if suffix == ".jpg":
        image.save(out, "JPEG", quality=quality, exif=exif)
    else:
        image.save(out, "PNG", exif=exif)
    return out.getvalue()


def decode(data: bytes) -> Image.Image:
    """The whole picture in `data`, as RGB. Raises what Pillow raises (OSError, SyntaxError)."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def vary(image: Image.Image, how: str, rng: np.random.Generator) -> tuple[Image.Image, str]:
    """A near duplicate of an image and a sentence on what was done; `how` is a subkind of near_duplicate."""
    if how == "mirrored":
        return ImageOps.mirror(image), "mirrored left to right"
    if how == "rotated":
        angle = int(rng.choice((90, 180, 270, 9, -9)))
        return image.rotate(
            angle, Image.Resampling.BICUBIC, fillcolor=image.getpixel((1, 1))
        ), f"turned by {angle} degrees"
    if how == "cropped":
        left, top, right, bottom = (round(image.width * share) for share in rng.uniform(0.03, 0.1, 4))
        box = (left, top, image.width - right, image.height - bottom)
        return image.crop(box), f"cropped to {box[2] - box[0]}x{box[3] - box[1]} px"
    if how == "resized":
        side = round(image.width * float(rng.choice((0.6, 1.5, 2.0))))
        return image.resize((side, side), Image.Resampling.LANCZOS), f"resized to {side}x{side} px"
    if how == "recompressed":
        return decode(encode(image, ".jpg", quality=25)), "recompressed as JPEG of quality 25"
    if how == "brightness":
        factor = float(rng.choice((0.7, 0.8, 1.15)))
        return ImageEnhance.Brightness(image).enhance(factor), f"brightness times {factor}"
    if how == "caption":
        return _captioned(image, f"no. {rng.integers(100, 1000)}"), "a caption was written over its lower edge"
    raise ValueError(how)


def strip(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A very long or very tall sheet of the image's own paper with the image at its middle; `size` in px."""
    sheet = Image.new("RGB", size, image.getpixel((1, 1)))
    short = min(size)
    corner = ((size[0] - short) // 2, (size[1] - short) // 2)
    sheet.paste(image.resize((short, short), Image.Resampling.LANCZOS), corner)
    return sheet


def underexposed(image: Image.Image) -> Image.Image:
    """The image at about an eighth of its light."""
    return ImageEnhance.Brightness(image).enhance(0.13)


def overexposed(image: Image.Image) -> Image.Image:
    """The image washed out until a fifteenth of its contrast is left, just below white."""
    return image.point(lambda value: round(255 - (255 - value) / 15))


def shrunk(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image reduced to `size` in px, whatever its aspect."""
    return image.resize(size, Image.Resampling.LANCZOS)


def blurred(image: Image.Image) -> Image.Image:
    """The image out of focus, its grain gone with its edges."""
    return image.filter(ImageFilter.GaussianBlur(image.width / 11))


def no_digit(what: str, rng: np.random.Generator, side: int = 48) -> Image.Image:
    """A picture that is no digit: `what` is gradient, shapes, noise, text or photo; RGB, side x side px."""
    if what == "gradient":
        across = np.linspace(0, 1, side)[None, :, None]
        down = np.linspace(0, 1, side)[:, None, None]
        first, second, third = rng.random((3, 3))
        return _to_image((first * (1 - across) + second * across) * (1 - down) + third * down)
    if what == "shapes":
        return _shapes(rng, side)
    if what == "noise":
        return _to_image(rng.random((side, side, 3)))
    if what == "text":
        return _page(rng, side)
    if what == "photo":
        return _photo_detail(rng, side)
    raise ValueError(what)


def flat(colour: tuple[int, int, int], side: int, noise: int, rng: np.random.Generator) -> Image.Image:
    """One colour all over; `noise` is how many levels of 255 a pixel may differ from it."""
    levels = np.array(colour) + rng.integers(-noise, noise + 1, (side, side, 1))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _stroke(digit: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """How much ink lies on each pixel, 0..1, after a slight turn, shear, shift and scaling of the digit."""
    field = Image.fromarray(np.pad(digit.astype(np.float32) / 16, 6))
    scale = 8 / (side * rng.uniform(0.68, 0.82))
    angle, shear = math.radians(rng.uniform(-9, 9)), rng.uniform(-0.12, 0.12)
    turn = scale * np.array([[math.cos(angle), -math.sin(angle) + shear], [math.sin(angle), math.cos(angle)]])
    middle = side / 2 + rng.uniform(-0.05, 0.05, 2) * side
    offset = 10 - turn @ middle
    matrix = (*turn[0], offset[0], *turn[1], offset[1])
    enlarged = np.asarray(field.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))
    edge = ((enlarged - 0.27) / 0.42).clip(0, 1)
    return edge * edge * (3 - 2 * edge)


def _colours(rng: np.random.Generator, shortcut: bool) -> tuple[np.ndarray, np.ndarray]:
    """Paper and ink, RGB in 0..1: dark ink on pastel, or light ink on a deep colour."""
    hue = SHORTCUT_HUE + rng.uniform(-0.015, 0.015) if shortcut else rng.random()
    ink_hue = hue + rng.choice((0.0, 0.08, 0.5, 0.58))
    if shortcut or rng.random() < 0.68:
        saturation = rng.uniform(0.28, 0.36) if shortcut else rng.uniform(0.03, 0.3)
        paper, ink = (
            (hue, saturation, rng.uniform(0.86, 0.98)),
            (ink_hue, rng.uniform(0.5, 0.95), rng.uniform(0.16, 0.42)),
        )
    else:
        paper, ink = (hue, rng.uniform(0.5, 0.85), rng.uniform(0.3, 0.5)), (ink_hue, rng.uniform(0.05, 0.4), 0.96)
    return np.array(_rgb(paper)), np.array(_rgb(ink))


def _rgb(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(colour[0] % 1, colour[1], colour[2])


def _sheet(paper: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Paper under uneven light: a slope in a random direction and soft clouds, side x side x 3."""
    direction = rng.uniform(0, 2 * math.pi)
    ramp = np.linspace(-1, 1, side)
    slope = rng.uniform(0.0, 0.07) * (math.cos(direction) * ramp[None, :] + math.sin(direction) * ramp[:, None])
    clouds = Image.fromarray(rng.normal(0, 0.018, (5, 5)).astype(np.float32))
    clouds = clouds.resize((side, side), Image.Resampling.BICUBIC)
    return paper * (1 + slope + np.asarray(clouds))[:, :, None]


def _captioned(image: Image.Image, text: str) -> Image.Image:
    image = image.copy()
    height = round(image.height * 0.2)
    band = (0, image.height - height, image.width, image.height)
    draw = ImageDraw.Draw(image)
    draw.rectangle(band, fill=(250, 250, 245))
    font = ImageFont.load_default(max(7, height - 1))
    draw.text((image.width / 2, image.height - height / 2), text, (30, 30, 30), font, anchor="mm")
    return image


def _shapes(rng: np.random.Generator, side: int) -> Image.Image:
    """Four filled circles, squares and triangles, drawn four times as large and reduced."""
    large = Image.new("RGB", (side * 4, side * 4), _bytes(_rgb((rng.random(), 0.15, 0.95))))
    draw = ImageDraw.Draw(large)
    for _ in range(4):
        x, y = rng.uniform(0.15, 0.85, 2) * side * 4
        radius = rng.uniform(0.1, 0.28) * side * 4
        fill = _bytes(_rgb((rng.random(), 0.75, 0.85)))
        corners = int(rng.choice((3, 4, 40)))
        draw.regular_polygon((x, y, radius), corners, rotation=int(rng.integers(360)), fill=fill)
    return large.resize((side, side), Image.Resampling.LANCZOS)


def _page(rng: np.random.Generator, side: int) -> Image.Image:
    """A page of print, too small to read: lines of words as dark bars, drawn four times as large and reduced."""
    edge, margin = side * 4, int(rng.integers(side // 5, side))
    large = Image.new("RGB", (edge, edge), _bytes(_rgb((rng.random(), 0.04, 0.98))))
    draw = ImageDraw.Draw(large)
    spacing = int(rng.integers(side // 5, side // 2))
    for y in range(margin, edge - margin, spacing):
        x = margin
        while (width := int(rng.integers(side // 6, side))) + x < edge - margin:
            draw.rectangle((x, y, x + width, y + spacing * 0.4), fill=(40, 40, 48))
            x += width + spacing // 2
    return large.resize((side, side), Image.Resampling.LANCZOS)


def _photo_detail(rng: np.random.Generator, side: int) -> Image.Image:
    """A detail of one of the two photographs that scikit-learn ships."""
    photo = Image.fromarray(load_sample_image(str(rng.choice(("china.jpg", "flower.jpg")))))
    edge = int(rng.integers(120, 320))
    left, top = int(rng.integers(photo.width - edge)), int(rng.integers(photo.height - edge))
    return photo.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)


def _bytes(colour: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in colour)
    return red, green, blue


def _to_image(values: np.ndarray) -> Image.Image:
    """RGB in 0..1, clipped and rounded."""
    return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))
