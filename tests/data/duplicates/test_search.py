import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps
from sklearn.datasets import load_digits, load_sample_images

from recipe_core.data.decode import decode
from recipe_core.data.duplicates.search import Earlier, near_duplicates
from recipe_core.data.measure import measure

TURN = Image.Transpose
SIDE = 96


def encoded(image, kind="JPEG", quality=90):
    out = io.BytesIO()
    image.save(out, kind, quality=quality)
    return out.getvalue()


def photographs(size=(SIDE, SIDE)):
    """Distinct details of two photographs, that do not overlap."""
    images = [Image.fromarray(array) for array in load_sample_images().images]
    boxes = [(left, top, left + SIDE, top + SIDE) for left in range(0, 640 - SIDE, SIDE) for top in (120, 220, 320)]
    found = [image.crop(box).resize(size, Image.Resampling.LANCZOS) for image in images for box in boxes]
    return [image for image in found if np.asarray(image.convert("L")).std() > 25]


def rows_of(files):
    measured = measure([str(number) for number in range(len(files))], lambda key: files[int(key)])
    rows = pa.Table.from_pylist([each.facts for each in measured])
    return rows, lambda row: decode(measured[row].thumbnail).pixels


def search(files, **more):
    return near_duplicates(*rows_of(files), **more).to_pylist()


def captioned(image):
    image, height = image.copy(), image.height // 8
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, image.height - height, image.width, image.height), fill="white")
    draw.text((4, image.height - height), "Fig. 3", "black")
    return image


def share(image, left, top, right, bottom):
    width, height = image.size
    return image.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))


COPIES = {
    "recompressed": lambda image: encoded(image, quality=30),
    "recompressed, another format": lambda image: encoded(image, "WEBP", 70),
    "resized": lambda image: encoded(image.resize((image.width // 2, image.height // 2))),
    "brightness": lambda image: encoded(ImageEnhance.Brightness(image).enhance(0.65)),
    "cropped": lambda image: encoded(share(image, 0.05, 0.05, 0.95, 0.95)),
    "cropped, off-centre": lambda image: encoded(share(image, 0.08, 0.0, 1.0, 0.94)),
    "cropped, from a letterbox": lambda image: encoded(ImageOps.expand(image, (0, image.height // 8), "white")),
    "mirrored": lambda image: encoded(image.transpose(TURN.FLIP_LEFT_RIGHT)),
    "mirrored, top to bottom": lambda image: encoded(image.transpose(TURN.FLIP_TOP_BOTTOM)),
    "rotated, quarter turn": lambda image: encoded(image.transpose(TURN.ROTATE_90)),
    "rotated, upside down": lambda image: encoded(image.transpose(TURN.ROTATE_180)),
    "rotated, by 5 degrees": lambda image: encoded(image.rotate(5, Image.Resampling.BICUBIC)),
    "caption": lambda image: encoded(captioned(image)),
}


@pytest.mark.parametrize("size", [(SIDE, SIDE), (32, 32)], ids=["96 px", "32 px"])
def test_copies_of_each_kind_are_found_and_named_and_nothing_else_is_accused(size):
    originals = photographs(size)
    planted = {
        (number, len(originals) + number): list(COPIES)[number % len(COPIES)] for number in range(len(originals))
    }
    copies = [COPIES[kind](originals[number]) for (number, _), kind in planted.items()]
    found = {(pair["a"], pair["b"]): pair["subkind"] for pair in search([*map(encoded, originals), *copies])}
    assert found.keys() <= planted.keys()
    assert len(found) >= 0.9 * len(planted)
    assert {planted[pair] for pair in found} == set(COPIES)
    assert sum(planted[pair].split(",")[0] == subkind for pair, subkind in found.items()) >= 0.8 * len(found)


def test_writing_on_smooth_pictures_does_not_hide_what_they_show():
    smooth = [image.filter(ImageFilter.GaussianBlur(2.5)) for image in photographs()]
    copies = [image.copy() for image in smooth[:12]]
    for image in copies:
        ImageDraw.Draw(image).text((10, 35), "PROOF", "black", ImageFont.load_default(18))
    found = {(pair["a"], pair["b"]) for pair in search([*map(encoded, smooth), *map(encoded, copies)])}
    planted = {(number, len(smooth) + number) for number in range(len(copies))}
    assert len(planted & found) >= 11
    assert found <= planted


def slope(rng):
    """A clear sky: one slope of light, of its own colour, and the noise of a camera."""
    down, across = np.mgrid[-1:1:96j, -1:1:96j]
    light = rng.uniform(90, 160) + rng.uniform(20, 50) * down + rng.uniform(-15, 15) * across
    sky = light[:, :, None] * rng.uniform(0.7, 1.2, 3) + rng.normal(0, 1.5, (96, 96, 3))
    return Image.fromarray(sky.clip(0, 255).astype(np.uint8))


def test_clear_skies_are_no_copies_of_each_other():
    rng = np.random.default_rng(102)
    assert search([encoded(slope(rng)) for _ in range(60)]) == []


@pytest.mark.parametrize("seed", [1, 3])
def test_a_caption_on_a_clear_sky_does_not_hide_that_it_is_the_same_sky_nor_make_two_skies_one(seed):
    rng = np.random.default_rng(seed)
    skies = [slope(rng) for _ in range(30)]
    copies = [captioned(sky.transpose(TURN.FLIP_LEFT_RIGHT) if number % 2 else sky) for number, sky in enumerate(skies)]
    found = search([*map(encoded, skies), *map(encoded, copies[:12])])
    assert {(pair["a"], pair["b"]) for pair in found} == {(number, 30 + number) for number in range(12)}
    assert [pair["subkind"] for pair in found] == 6 * ["caption", "mirrored"]


@pytest.mark.parametrize("factor", [0.6, 1.35])
def test_a_fog_that_is_brighter_or_darker_is_the_same_fog(factor):
    fogs = [image.filter(ImageFilter.GaussianBlur(14)) for image in photographs()]
    copies = [ImageEnhance.Brightness(fog).enhance(factor) for fog in fogs[:12]]
    found = search([*map(encoded, fogs), *map(encoded, copies)])
    pairs = {(pair["a"], pair["b"]) for pair in found}
    assert len(pairs) >= 11, "one is white for the most part"
    assert pairs <= {(number, len(fogs) + number) for number in range(12)}
    assert {pair["subkind"] for pair in found} == {"brightness"}


def test_a_picture_whose_channels_turn_white_one_by_one_is_the_same_picture():
    """A yellow flower made brighter: its red and green are cut off at 255 in other places."""
    flowers = [image.filter(ImageFilter.GaussianBlur(8)) for image in photographs()]
    flowers = [Image.fromarray((np.asarray(flower) * (1.0, 0.7, 0.2)).astype(np.uint8)) for flower in flowers]
    copies = [ImageEnhance.Brightness(flower).enhance(1.9) for flower in flowers[:20]]
    found = {(pair["a"], pair["b"]) for pair in search([*map(encoded, flowers), *map(encoded, copies)])}
    planted = {(number, len(flowers) + number) for number in range(20)}
    assert len(found & planted) >= 19
    assert found <= planted


@pytest.mark.parametrize("how", ["cropped", "turned"])
def test_a_blurred_background_is_the_same_in_another_place(how):
    smooth = [image.filter(ImageFilter.GaussianBlur(8)) for image in photographs()]
    alter = {
        "cropped": lambda image: share(image, 0.05, 0.02, 0.98, 0.93),
        "turned": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
    }[how]
    found = {
        (pair["a"], pair["b"])
        for pair in search([*map(encoded, smooth), *(encoded(alter(each)) for each in smooth[:20])])
    }
    planted = {(number, len(smooth) + number) for number in range(20)}
    assert len(found & planted) >= 18
    assert found <= planted


def test_where_each_picture_has_many_copies_all_are_found():
    """As among the frames of a video, or where augmented pictures were saved: most neighbours are copies."""
    originals = photographs((32, 32))
    kinds = ["resized", "recompressed", "brightness", "cropped", "mirrored", "rotated, by 5 degrees", "caption"]
    copies = [COPIES[kind](original) for original in originals for kind in kinds]
    found = search([*map(encoded, originals), *copies])
    source = [*range(len(originals)), *(number for number in range(len(originals)) for _ in kinds)]
    assert all(source[pair["a"]] == source[pair["b"]] for pair in found)
    reached = {*range(len(originals))}
    for _ in kinds:  # a copy may be known by another copy
        reached |= {end for pair in found for end in (pair["a"], pair["b"]) if {pair["a"], pair["b"]} & reached}
    assert len(reached) - len(originals) >= 0.95 * len(copies)


@pytest.mark.parametrize("jitter", [0, 3])
def test_things_before_one_backdrop_are_no_copies_of_each_other(jitter):
    """As of a rendered dataset, or of a conveyor: three quarters of each picture are the same in all."""
    rng = np.random.default_rng(2)
    backdrop = np.asarray(slope(rng)).astype(float)
    things = [thing.resize((44, 44)) for thing in photographs()]
    pictures = []
    for thing in things:
        picture = Image.fromarray((backdrop + rng.normal(0, jitter)).clip(0, 255).astype(np.uint8))
        picture.paste(thing, (rng.integers(15, 35), rng.integers(15, 35)))
        pictures.append(picture)
    copies = [encoded(pictures[4], quality=50), encoded(pictures[7], "WEBP", 60)]
    found = {(pair["a"], pair["b"]) for pair in search([*map(encoded, pictures), *copies])}
    assert found == {(4, len(pictures)), (7, len(pictures) + 1)}


def handwriting(how, count):
    """Digits, each drawn once, as `how` leaves them."""
    rng = np.random.default_rng(0)
    for digit in load_digits().images[:count]:
        large = Image.fromarray((digit * 255 / 16).astype(np.uint8)).resize((48, 48), Image.Resampling.BICUBIC)
        if how == "inked":
            large = large.point([0 if level > 110 else 255 for level in range(256)])
        noise = rng.normal(0, 12 if how == "noisy" else 0, (48, 48))
        yield Image.fromarray(np.clip(np.asarray(large) * 0.8 + 20 + noise, 0, 255).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("how", ["smooth", "inked", "noisy"])
def test_among_like_handwriting_only_the_copies_stand_out(how):
    digits = list(handwriting(how, 120))
    copies = [encoded(digits[number].transpose(TURN.FLIP_LEFT_RIGHT), "PNG") for number in range(10)]
    found = {(pair["a"], pair["b"]) for pair in search([*(encoded(digit, "PNG") for digit in digits), *copies])}
    planted = {(number, 120 + number) for number in range(10)}
    assert len(planted & found) >= 9
    assert len(found - planted) <= 1


def test_letters_that_share_most_of_their_strokes_are_no_copies():
    font = ImageFont.load_default(26)
    letters = [Image.new("RGB", (32, 32), "white") for _ in "PRhndq"]
    for image, letter in zip(letters, "PRhndq", strict=True):
        ImageDraw.Draw(image).text((9, 2), letter, "black", font)
    copies = [COPIES[kind](letters[number]) for number, kind in enumerate(("recompressed", "mirrored"))]
    found = search([*(encoded(image, "PNG") for image in letters), *copies])
    assert {(pair["a"], pair["b"]) for pair in found} == {(0, 6), (1, 7)}


def test_faint_pictures_of_which_the_lower_half_is_black_are_hardly_taken_for_each_other():
    faint = [ImageEnhance.Contrast(image.filter(ImageFilter.GaussianBlur(8))).enhance(0.3) for image in photographs()]
    for image in faint:
        ImageDraw.Draw(image).rectangle((0, SIDE // 2, SIDE, SIDE), fill="black")
    assert len(search([*map(encoded, faint)])) <= len(faint) // 8


def disc(ground, ink):
    image = Image.new("L", (SIDE, SIDE), ground)
    ImageDraw.Draw(image).ellipse((18, 10, 78, 70), fill=ink)
    return image


def test_one_edge_is_no_copy_of_another_that_has_many_times_its_contrast():
    strong, faint = disc(20, 240), disc(90, 120)
    assert search([*map(encoded, photographs()), encoded(strong), encoded(faint)]) == []


def test_flat_pictures_and_those_with_only_a_frame_in_common_are_no_duplicates():
    framed = []
    for image in photographs()[:10]:
        frame = Image.new("RGB", (128, 128), "black")
        frame.paste(image, (16, 16))
        framed.append(encoded(frame))
    flat = [encoded(Image.new("RGB", (64, 64), (level, level, 90))) for level in range(100, 130)]
    assert search(framed + flat) == []


def test_what_an_earlier_search_settled_is_kept_and_only_the_new_is_compared():
    originals = photographs()[:16]
    files = [*map(encoded, originals), encoded(originals[2].transpose(TURN.FLIP_LEFT_RIGHT))]
    rows, read = rows_of(files)
    first = near_duplicates(rows, read)
    doubted = first.set_column(3, "similarity", pa.array([0.125] * len(first), pa.float32()))
    files.insert(0, encoded(originals[7], quality=40))
    rows_now, read_now = rows_of(files)
    earlier = Earlier(frozenset(rows["pixel_hash"].to_pylist()), doubted)
    again = near_duplicates(rows_now, read_now, earlier=earlier).to_pylist()
    assert [(pair["a"], pair["b"]) for pair in again] == [(0, 8), (3, 17)]
    assert again[1]["similarity"] == 0.125  # the earlier verdict, not a new one


def test_a_picture_that_cannot_be_read_costs_only_its_own_pairs():
    originals = photographs()[:8]
    files = [*map(encoded, originals), encoded(originals[0], quality=40), encoded(originals[1], quality=40)]
    rows, read = rows_of(files)
    found = near_duplicates(rows, lambda row: None if row == 8 else read(row)).to_pylist()
    assert [(pair["a"], pair["b"]) for pair in found] == [(1, 9)]


def test_reading_in_an_executor_changes_nothing_and_progress_only_grows():
    originals = photographs()[:12]
    files = [*map(encoded, originals), *(encoded(image, quality=35) for image in originals)]
    rows, read = rows_of(files)
    told = []
    with ThreadPoolExecutor(2) as executor:
        found = near_duplicates(rows, read, report=told.append, executor=executor)
    assert found.equals(near_duplicates(rows, read))
    assert len(found) == 12
    assert told == sorted(told) and told[-1] == 1.0


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_a_single_picture_have_no_pairs(count):
    rows, read = rows_of([encoded(image) for image in photographs()[:1]])
    assert len(near_duplicates(rows.slice(0, count), read)) == 0


def test_a_copy_of_which_nothing_lies_in_its_place_is_found_alone():
    image = photographs()[4]
    found = search([encoded(image), encoded(share(image, 0.15, 0.15, 1.0, 1.0))])
    assert [(pair["a"], pair["b"], pair["subkind"]) for pair in found] == [(0, 1, "cropped")]


PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2")


def pie(rng):
    """A chart of three to seven sectors in colours that are much alike in grey."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw, start = ImageDraw.Draw(image), -90.0
    colours = rng.permutation(PALETTE)[: rng.integers(3, 8)]
    for colour, part in zip(colours, rng.dirichlet(np.full(len(colours), 4)), strict=True):
        draw.pieslice((14, 14, 82, 82), start, start + 360 * part, fill=str(colour))
        start += 360 * part
    return image


def tinted(image):
    return Image.fromarray((np.asarray(image) * np.array([1, 0.9, 0.75])).astype(np.uint8))


def test_charts_in_other_colours_are_hardly_copies_but_what_was_tinted_or_made_grey_is():
    rng = np.random.default_rng(0)
    pies = [pie(rng) for _ in range(30)]
    copies = [tinted(pies[0]), ImageOps.grayscale(pies[1]), ImageEnhance.Color(pies[2]).enhance(0.4)]
    pairs = {(pair["a"], pair["b"]) for pair in search([encoded(image, "PNG") for image in [*pies, *copies]])}
    planted = {(0, 30), (1, 31), (2, 32)}
    assert planted <= pairs
    assert len([pair for pair in pairs if max(pair) < 30]) <= 30, "by their greys alone it is 82"


def test_small_pictures_turned_on_a_larger_canvas_are_found():
    photos = [Image.fromarray(array) for array in load_sample_images().images]
    boxes = [(left, top, left + 64, top + 64) for left in range(0, 576, 64) for top in range(40, 336, 64)]
    small = [photo.crop(box).resize((32, 32), Image.Resampling.LANCZOS) for photo in photos for box in boxes]
    small = [image for image in small if np.asarray(image.convert("L")).std() > 25]
    copies = [image.rotate(-4.5, Image.Resampling.BICUBIC, expand=True) for image in small]
    pairs = {(pair["a"], pair["b"]) for pair in search([encoded(image, quality=85) for image in [*small, *copies]])}
    assert len(pairs & {(number, number + len(small)) for number in range(len(small))}) >= 0.95 * len(small)
