"""How near duplicates are said to differ: written on, put beside something, cut off, toned, or hardly at all."""

import json

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps
from test_search import encoded, photographs, search, share


def large(size=(192, 192)):
    return photographs(size)


def dated(image):
    image, height = image.copy(), max(7, image.height // 20)
    font = ImageFont.load_default(height)
    ImageDraw.Draw(image).text((image.width * 0.6, image.height - 2 * height), "2019-07-21", "orange", font)
    return image


def with_a_logo(image):
    image, side = image.copy(), max(4, image.height // 8)
    left = image.width - side - side // 3
    ImageDraw.Draw(image).ellipse((left, side // 3, left + side, side // 3 + side), "darkred", "white")
    return image


def titled(image):
    """On a bar above the picture, which grows by it."""
    whole = Image.new("RGB", (image.width, image.height + image.height // 8), "navy")
    whole.paste(image, (0, image.height // 8))
    ImageDraw.Draw(whole).text((4, 2), "Fig. 3", "white", ImageFont.load_default(max(5, image.height // 12)))
    return whole


def tinted(image):
    return image.point([min(255, round(value * factor)) for factor in (1.1, 1.0, 0.85) for value in range(256)])


WAYS = {
    "a date": (dated, "caption", "% of the picture is written on or covered"),
    "a logo": (with_a_logo, "caption", "% of the picture is written on or covered"),
    "a title above": (titled, "caption", "{b} has a bar or frame: "),
    "a frame": (
        lambda image: ImageOps.expand(image, image.height // 16, "gold"),
        "caption",
        "{b} has a bar or frame: ",
    ),
    "cropped": (lambda image: share(image, 0.05, 0.08, 0.96, 0.94), "cropped", "{b} is a crop of {a}: "),
    "grey": (lambda image: image.convert("L").convert("RGB"), "brightness", "{b} has no colours"),
    "tinted": (tinted, "brightness", "other colours"),
    "darker": (lambda image: ImageEnhance.Brightness(image).enhance(0.7), "brightness", " grey levels darker"),
    "half size": (lambda image: image.resize((image.width // 2, image.height // 2)), "resized", " px and "),
    "recompressed": (lambda image: image, "recompressed", "compressed anew"),
}


@pytest.mark.parametrize(
    ("way", "size"),
    [
        *((way, (192, 192)) for way in WAYS),
        *((way, (32, 32)) for way in WAYS if way not in ("a title above", "a frame")),
    ],
)
def test_what_was_done_to_a_copy_is_said_and_nothing_else(way, size):
    alter, subkind, words = WAYS[way]
    originals = photographs(size)
    copies = [encoded(alter(image), quality=80) for image in originals[:12]]
    found = search([*map(encoded, originals), *copies])
    told = [json.loads(pair["evidence"])["differences"] for pair in found]
    assert len(found) >= 10
    assert sum(
        pair["subkind"] == subkind and any(words in text for text in texts)
        for pair, texts in zip(found, told, strict=True)
    ) > 0.8 * len(found)
    assert sum(len(texts) == 1 for texts in told) > 0.8 * len(found), told


def test_a_blurred_copy_is_less_sharp():
    originals = photographs((192, 192))[:12]
    found = search([*map(encoded, originals), encoded(originals[5].filter(ImageFilter.GaussianBlur(1.2)))])
    assert [json.loads(pair["evidence"])["differences"] for pair in found] == [["{b} is less sharp"]]


@pytest.mark.parametrize("before", [False, True])
def test_a_quarter_turn_says_which_was_turned_and_where_to(before):
    originals = photographs()[:12]
    turned = encoded(originals[4].transpose(Image.Transpose.ROTATE_90))  # Pillow turns to the left
    files = [*map(encoded, originals)]
    (found,) = search([turned, *files] if before else [*files, turned])
    told = json.loads(found["evidence"])["differences"]
    ways = {"{a} is turned by 90 degrees to the left", "{b} is turned by 90 degrees to the right"}
    ways = (
        {text.replace("{a}", "{x}").replace("{b}", "{a}").replace("{x}", "{b}") for text in ways}
        if not before
        else ways
    )
    assert len(told) == 1 and told[0] in ways


@pytest.mark.parametrize("turn", [None, Image.Transpose.ROTATE_90])
@pytest.mark.parametrize("before", [False, True])
def test_a_crop_says_which_was_cut_and_by_how_much(turn, before):
    originals = photographs()[:12]
    cut = share(originals[4], 0.05, 0.05, 0.95, 0.95)
    files = [encoded(cut.transpose(turn) if turn is not None else cut), *map(encoded, originals)]
    (found,) = search(files if before else files[1:] + files[:1])
    names = ("a", "b") if before else ("b", "a")
    expected = {f"{{{names[0]}}} is a crop of {{{names[1]}}}: {percent} % cut off" for percent in range(17, 22)}
    assert expected & set(json.loads(found["evidence"])["differences"])
