"""Copies of a picture as people and programs make them, each drawn at random within its kind.

Nothing is the same for all copies of a kind: captions differ in place, size, colour, letters and transparency, turns in
their angle and in what fills the corners, crops in how much each side loses.
"""

import io
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

TURN = Image.Transpose
COLOURS = ("white", "black", "navy", "gold", "darkred", "silver", "teal")
WORDS = ("sample", "PROOF", "Nr. 27", "summer in the mountains", "(c) J. Doe", "Fig. 3", "for review only", "A-117")


def resized(image: Image.Image, across: float, down: float) -> Image.Image:
    size = max(8, round(image.width * across)), max(8, round(image.height * down))
    return image.resize(size, Image.Resampling.LANCZOS)


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without these shares of its sides."""
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), width - round(right * width), height - round(bottom * height))
    )


def _crop(image: Image.Image, chance: random.Random) -> Image.Image:
    """Each side loses 2 to 8 %."""
    return cropped(image, *(chance.uniform(0.02, 0.08) for _ in range(4)))


def _off_centre(image: Image.Image, chance: random.Random) -> Image.Image:
    """One or two sides lose 4 to 10 %."""
    shares = [chance.uniform(0.04, 0.1), chance.choice((0, chance.uniform(0.04, 0.1))), 0, 0]
    chance.shuffle(shares)
    return cropped(image, *shares)


def _write(image: Image.Image, middle: tuple[float, float], height: float, fill: str, chance: random.Random) -> None:
    """Some words of a height in px, thin or bold, narrowed to the picture's width."""
    words, stroke = chance.choice(WORDS), chance.choice((0, 0, 0.06)) * height
    font = ImageFont.load_default(max(5, height))
    font = ImageFont.load_default(max(5, height * min(1, 0.95 * image.width / font.getlength(words))))
    ImageDraw.Draw(image).text(middle, words, fill, font, anchor="mm", stroke_width=round(stroke))


def _bar(width: int, height: int, chance: random.Random) -> Image.Image:
    """A caption: a strip of one colour with words of another, at its left, middle or right."""
    bar = Image.new("RGB", (width, height), back := chance.choice(COLOURS))
    fore = chance.choice([colour for colour in COLOURS if colour != back])
    _write(bar, (width * chance.uniform(0.35, 0.65), height / 2), height * chance.uniform(0.45, 0.8), fore, chance)
    return bar


def _barred(image: Image.Image, chance: random.Random) -> Image.Image:
    """A caption over an edge or a little off it, sometimes half transparent."""
    image = image.copy()
    bar = _bar(image.width, max(3, round(image.height * chance.uniform(0.06, 0.18))), chance)
    place = chance.choice((0, 0, 0.1)) * image.height
    top = round(chance.choice((place, image.height - bar.height - place)))
    behind = image.crop((0, top, image.width, top + bar.height))
    image.paste(Image.blend(behind, bar, chance.choice((1, 1, 0.6))), (0, top))
    return image


def _captioned_beside(image: Image.Image, chance: random.Random) -> Image.Image:
    """A caption below or above the picture, which grows by it."""
    bar = _bar(image.width, max(4, round(image.height * chance.uniform(0.06, 0.16))), chance)
    whole = Image.new("RGB", (image.width, image.height + bar.height))
    above = chance.random() < 0.3
    whole.paste(image, (0, bar.height if above else 0))
    whole.paste(bar, (0, 0 if above else image.height))
    return whole


def _written_on(image: Image.Image, chance: random.Random) -> Image.Image:
    image = image.copy()
    place = image.width * chance.uniform(0.3, 0.7), image.height * chance.uniform(0.1, 0.9)
    _write(image, place, max(7, image.height * chance.uniform(0.08, 0.2)), chance.choice(COLOURS), chance)
    return image


def _stamped(image: Image.Image, chance: random.Random) -> Image.Image:
    """A round mark in a corner, of a fifth to a third of the shorter side."""
    image = image.copy()
    side = max(6, round(min(image.size) * chance.uniform(0.2, 0.33)))
    left, top = chance.choice((0, image.width - side)), chance.choice((0, image.height - side))
    back = chance.choice(COLOURS)
    ImageDraw.Draw(image).ellipse((left, top, left + side - 1, top + side - 1), back, chance.choice(COLOURS))
    return image


def _dated(image: Image.Image, chance: random.Random) -> Image.Image:
    """The day in a corner, 3 to 6 % high, as cameras print it."""
    image, height = image.copy(), max(7, image.height * chance.uniform(0.03, 0.06))
    font, day = (
        ImageFont.load_default(height),
        f"{chance.randint(1998, 2024)}-{chance.randint(10, 12)}-0{chance.randint(1, 9)}",
    )
    left = chance.choice((height, image.width - font.getlength(day) - height))
    top = chance.choice((height, image.height - 2 * height, image.height - 2 * height))
    ImageDraw.Draw(image).text((left, top), day, chance.choice(("orange", "yellow", "white", "red")), font)
    return image


def _branded(image: Image.Image, chance: random.Random) -> Image.Image:
    """A small filled sign near a corner, of 8 to 14 % of the shorter side."""
    image, side = image.copy(), max(3, round(min(image.size) * chance.uniform(0.08, 0.14)))
    left, top = (chance.choice((side // 3, length - side - side // 3)) for length in image.size)
    draw = ImageDraw.Draw(image)
    shape = chance.choice((draw.rectangle, draw.ellipse))
    shape((left, top, left + side - 1, top + side - 1), *chance.sample(COLOURS, 2))
    return image


def _watermarked(image: Image.Image, chance: random.Random) -> Image.Image:
    """The same words all over the picture, a quarter to a half opaque."""
    layer, words = Image.new("L", image.size), chance.choice(WORDS)
    font = ImageFont.load_default(max(7, image.height * chance.uniform(0.07, 0.12)))
    opaque, wide = chance.randint(64, 128), font.getlength(words)
    for row, top in enumerate(np.arange(0, image.height, max(12, 2.5 * font.size))):
        for left in np.arange(-wide * (row % 2) / 2, image.width, 1.4 * wide):
            ImageDraw.Draw(layer).text((left, top), words, opaque, font)
    return Image.composite(Image.new("RGB", image.size, chance.choice(("white", "black"))), image, layer)


def _turned(image: Image.Image, chance: random.Random) -> Image.Image:
    """By 3 to 7 degrees; the corners are filled, or show more of the edge, or are cut off, or the picture grows."""
    angle = chance.uniform(3, 7) * chance.choice((-1, 1))
    fill = chance.choice(("black", "white", "mean", "edge", "away", "expand"))
    if fill == "expand":
        return image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    if fill in ("black", "white", "mean"):
        mean = tuple(int(value) for value in np.asarray(image).mean((0, 1)))
        return image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=mean if fill == "mean" else fill)
    margin = round(0.1 * max(image.size))
    pixels = np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), "edge")
    wide = Image.fromarray(pixels).rotate(angle, Image.Resampling.BICUBIC)
    away = 2 * round(0.03 * max(image.size)) if fill == "away" else 0
    return ImageOps.crop(wide, margin + away)


def _toned(image: Image.Image, chance: random.Random) -> Image.Image:
    gamma = chance.choice((0.6, 0.75, 1.35, 1.6))
    image = image.point([round(255 * (value / 255) ** gamma) for value in range(256)] * 3)
    return ImageEnhance.Contrast(image).enhance(chance.choice((0.7, 1.3)))


def _tinted(image: Image.Image, chance: random.Random) -> Image.Image:
    """Each channel brighter or darker by up to 12 %, as by another white balance."""
    factors = [chance.uniform(0.88, 1.12) for _ in range(3)]
    return image.point([min(255, round(value * factor)) for factor in factors for value in range(256)])


def _framed(image: Image.Image, chance: random.Random) -> Image.Image:
    border = max(1, round(min(image.size) * chance.uniform(0.03, 0.06)))
    return ImageOps.expand(image, border, chance.choice(COLOURS))


def _letterboxed(image: Image.Image, chance: random.Random) -> Image.Image:
    """Bars at two opposite sides, to the shape that some frame has."""
    share = chance.uniform(0.06, 0.125)
    bars = (0, round(image.height * share)) if chance.random() < 0.7 else (round(image.width * share), 0)
    return ImageOps.expand(image, bars, chance.choice(("white", "black")))


def _brighter(image: Image.Image, chance: random.Random) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(chance.uniform(1.2, 1.5))


def _mirrored(image: Image.Image, chance: random.Random | None = None) -> Image.Image:
    return image.transpose(TURN.FLIP_LEFT_RIGHT)


COPIES: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "recompressed": lambda image, chance: image,  # what is saved in which quality: saved
    "as WebP": lambda image, chance: image,
    "half size": lambda image, chance: resized(image, 0.5, 0.5),
    "other size": lambda image, chance: resized(image, s := chance.uniform(0.6, 1.8), s * chance.uniform(0.93, 1.07)),
    "brighter": _brighter,
    "darker": lambda image, chance: ImageEnhance.Brightness(image).enhance(chance.uniform(0.5, 0.8)),
    "contrast": lambda image, chance: ImageEnhance.Contrast(image).enhance(chance.choice((0.6, 1.5))),
    "gamma, contrast": _toned,
    "cropped 5 %": lambda image, chance: cropped(image, *[0.05] * 4),
    "cropped 2-8 % a side": _crop,
    "cropped off-centre": _off_centre,
    "mirrored": _mirrored,
    "upside down": lambda image, chance: image.transpose(chance.choice((TURN.FLIP_TOP_BOTTOM, TURN.ROTATE_180))),
    "quarter turn": lambda image, chance: image.transpose(chance.choice((TURN.ROTATE_90, TURN.ROTATE_270))),
    "caption bar": _barred,
    "caption beside": _captioned_beside,
    "text on it": _written_on,
    "stamped": _stamped,
    "date": _dated,
    "small sign": _branded,
    "watermark all over": _watermarked,
    "turned 3-7 degrees": _turned,
    "blurred": lambda image, chance: image.filter(ImageFilter.GaussianBlur(max(image.size) / 320 + 0.4)),
    "grey": lambda image, chance: image.convert("L").convert("RGB"),
    "tinted": _tinted,
    "frame": _framed,
    "letterbox": _letterboxed,
    "mirrored, half size, low": lambda image, chance: resized(_mirrored(image), 0.5, 0.5),
    "cropped, low": _crop,
    "cropped, brighter": lambda image, chance: _brighter(_crop(image, chance), chance),
    "quarter turn, captioned": lambda image, chance: _barred(image.transpose(TURN.ROTATE_90), chance),
    "mirrored, turned 3-7": lambda image, chance: _turned(_mirrored(image), chance),
}
LOW = {"recompressed": (20, 90), "mirrored, half size, low": (50, 80), "cropped, low": (40, 70)}  # else 85 to 95


def saved(image: Image.Image, kind: str, chance: random.Random) -> bytes:
    """The file of a copy of some kind, in the quality that is usual for it."""
    out = io.BytesIO()
    if kind == "as WebP":
        image.save(out, "WEBP", quality=chance.randint(50, 90))
    else:
        image.save(out, "JPEG", quality=chance.randint(*LOW.get(kind, (85, 95))))
    return out.getvalue()
