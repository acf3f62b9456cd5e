"""Damage: JPEGs broken in their middle that every viewer opens, and healthy pictures that look as if they were."""

import io
import random

import numpy as np
import pytest
import simplejpeg
from pictures import encoded, noise, smooth
from PIL import Image, ImageDraw
from scipy.fft import idctn
from sklearn.datasets import load_sample_images

from recipe_core.data.damage import damage_of
from recipe_core.data.decode import decode
from recipe_core.data.seams import find_step

CHINA, FLOWER = (Image.fromarray(pixels) for pixels in load_sample_images().images)  # photographs of 640x427
ENCODINGS = {
    "4:2:0": {"subsampling": 2},
    "4:4:4": {"subsampling": 0, "quality": 92},
    "optimised": {"optimize": True, "quality": 60},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}


def scan_start(data):
    return data.index(b"\xff\xda") + 14


def broken(data, how, share, length=40):
    """The file with `length` bytes zeroed, overwritten, dropped or doubled at `share` of its entropy-coded data."""
    at = scan_start(data) + int((len(data) - scan_start(data)) * share)
    middle = {
        "zeroed": bytes(length),
        "overwritten": random.Random(at).randbytes(length),
        "dropped": b"",
        "doubled": 2 * data[at : at + length],
    }[how]
    return data[:at] + middle + data[at + length :]


def looks_broken(data, whole):
    """Some square of 16x16 px differs by more than 10 grey levels on average."""
    difference = np.abs(decode(data).pixels.astype(int) - decode(whole).pixels).mean(axis=2)
    height, width = (side // 16 * 16 for side in difference.shape)
    squares = difference[:height, :width].reshape(height // 16, 16, -1, 16)
    return squares.mean(axis=(1, 3)).max() > 10


@pytest.mark.parametrize("how", ["zeroed", "overwritten", "dropped", "doubled"])
def test_nine_in_ten_visibly_broken_jpegs_are_found(how):
    found = []
    for options in ENCODINGS.values():
        for photo in (CHINA, FLOWER):
            whole = encoded(photo, "JPEG", **options)
            damaged = [broken(whole, how, share) for share in np.linspace(0.05, 0.9, 6)]
            found += [damage_of(data) is not None for data in damaged if looks_broken(data, whole)]
    assert len(found) >= 40
    assert np.mean(found) >= 0.9


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("side", [9, 17, 32, 200, 640])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_healthy_photograph_is_not_accused_however_it_is_encoded(name, side, mode):
    for photo in (CHINA, FLOWER):
        small = photo.resize((side, side * 2 // 3)).convert(mode)
        for quality in (20, 95):
            assert damage_of(encoded(small, "JPEG", **ENCODINGS[name] | {"quality": quality})) is None


def waves(amplitude):
    """Columns that follow a cosine of 4 px, from 128 - amplitude to 128 + amplitude."""
    row = 128 + amplitude * np.cos(np.arange(64) * np.pi / 2)
    return Image.fromarray(np.tile(row.round().clip(0, 255).astype(np.uint8), (64, 1)))


@pytest.mark.parametrize("quality", [75, 90])
def test_levels_beyond_black_and_white_that_rounding_does_not_explain_are_damage(quality):
    whole = encoded(waves(95), "JPEG", quality=quality)
    table = whole.index(b"\xff\xdb") + 5
    doubled = bytes(2 * value for value in whole[table : table + 64])
    assert damage_of(whole) is None
    assert damage_of(encoded(waves(127), "JPEG", quality=quality)) is None
    damage = damage_of(whole[:table] + doubled + whole[table + 64 :])
    assert damage is not None and "more contrast than pixels can have" in damage.message


def harsh_pictures():
    """Nothing but black, white and full colours."""
    random = np.random.default_rng(0)
    stripes = (np.indices((64, 64))[0] // 3 % 2 * 255).astype(np.uint8)
    stars = np.where(random.random((64, 64, 1)) < 0.05, random.integers(0, 2, (64, 64, 3)) * 255, 0)
    return [
        (random.random((64, 64, 3)) > 0.5) * np.uint8(255),
        np.stack([np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(255)] * 3, axis=2).astype(np.uint8),
        np.stack([stripes, stripes.T, 255 - stripes], axis=2),
        stars.astype(np.uint8),
        255 - stars.astype(np.uint8),
    ]


@pytest.mark.parametrize("number", range(5))
def test_harsh_pictures_are_healthy_at_any_quality_and_by_fast_transforms(number):
    picture = harsh_pictures()[number]
    for quality in (1, 10, 30, 50, 75, 85, 95, 100):
        for sampling in ("444", "420"):
            for fast in (False, True):
                data = simplejpeg.encode_jpeg(picture, quality, "RGB", sampling, fastdct=fast)
                assert damage_of(data) is None, (quality, sampling, fast)
        grey = simplejpeg.encode_jpeg(np.ascontiguousarray(picture[..., :1]), quality, "GRAY", "Gray", fastdct=True)
        assert damage_of(grey) is None, quality


def test_a_dot_whose_highest_waves_are_all_minus_one_is_healthy():
    """In the usual code each of these 21 is three zero bits."""
    quantisers = np.array(Image.open(io.BytesIO(encoded(CHINA, "JPEG", quality=85))).quantization[0]).reshape(8, 8)
    dot = idctn(np.where(np.add.outer(range(8), range(8)) > 8, -quantisers, 0), norm="ortho")
    pixels = np.full((32, 32), 128)
    pixels[8:16, 8:16] += (dot - dot.mean()).round().astype(int)
    assert damage_of(encoded(Image.fromarray(pixels.astype(np.uint8)), "JPEG", quality=85)) is None


def test_cmyk_trailing_bytes_padding_and_several_pictures_in_a_file_are_healthy():
    whole = encoded(CHINA, "JPEG")
    assert damage_of(encoded(CHINA.convert("CMYK"), "JPEG")) is None
    assert damage_of(whole + b"\xff\xd9 kept by the camera \xff\xda" * 9) is None
    assert damage_of(whole[:-2] + bytes(7) + whole[-2:]) is None
    assert damage_of(encoded(CHINA, "MPO", save_all=True, append_images=[FLOWER])) is None


def drawings():
    bars = CHINA.copy()
    bars.paste((0, 0, 0), (0, 0, 640, 53))
    bars.paste((0, 0, 0), (0, 371, 640, 427))
    below = CHINA.point(lambda level: max(level, 3))
    below.paste((0, 0, 0), (0, 371, 640, 427))
    page = Image.new("RGB", (300, 400), "white")
    for row in range(20, 380, 12):
        ImageDraw.Draw(page).text((20, row), "The quick brown fox jumps over the dog", fill="black")
    stairs = Image.new("RGB", (320, 240), (90, 120, 200))
    ImageDraw.Draw(stairs).rectangle((0, 112, 320, 240), fill=(60, 90, 40))
    tilted = Image.new("RGB", (640, 480), (150, 160, 220))
    ImageDraw.Draw(tilted).polygon([(0, 216), (640, 231), (640, 480), (0, 480)], fill=(30, 60, 30))
    dark = Image.fromarray((np.asarray(FLOWER) // 30).astype(np.uint8))
    sky = Image.fromarray(np.repeat(np.linspace(90, 250, 480).astype(np.uint8)[:, None], 640, axis=1))
    screen = Image.new("RGB", (400, 300), (240, 240, 240))
    for top in range(0, 300, 16):
        ImageDraw.Draw(screen).rectangle((0, top, 400, top + 7), fill=(225, 232, 245))
    flat = Image.new("RGB", (64, 64), (10, 200, 30))
    return [
        bars,
        below,
        page,
        stairs,
        tilted,
        dark,
        sky,
        screen,
        flat,
        Image.fromarray(noise(96, 64)),
        CHINA.convert("1"),
    ]


@pytest.mark.parametrize("number", range(11))
def test_bars_documents_horizons_dark_and_flat_pictures_are_healthy(number):
    picture = drawings()[number]
    for name, options in ENCODINGS.items():
        assert damage_of(encoded(picture.convert("RGB"), "JPEG", **options)) is None, name
    for kind in ("BMP", "TIFF", "PNG", "WEBP", "GIF"):
        assert damage_of(encoded(picture, kind)) is None, kind


def shifted(photo, mcu, levels):
    """A JPEG in grey of which all blocks from one on are brighter by `levels`, as a lost difference leaves them.

    The photo is darkened first, since coefficients do not end at white.
    """
    pixels = np.asarray(photo.convert("L")).astype(int) * 4 // 5
    height, width = (side // 8 * 8 for side in pixels.shape)
    blocks = pixels[:height, :width].reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    blocks[mcu:] += levels
    pixels = blocks.reshape(height // 8, width // 8, 8, 8).swapaxes(1, 2).reshape(height, width)
    return encoded(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), "JPEG", quality=90)


def test_a_step_that_stays_is_found_where_the_data_itself_is_flawless():
    for photo in (CHINA, FLOWER):
        for mcu in (2010, 2530, 3077):
            assert damage_of(shifted(photo, mcu, 0)) is None
            damage = damage_of(shifted(photo, mcu, 45))
            assert damage is not None
            assert damage.evidence["from_row"] == pytest.approx(mcu // 80 / 53, abs=0.001)
            assert damage.evidence["levels"] == [pytest.approx(45, abs=8)]


def test_damage_says_where_it_begins_and_is_worse_the_earlier():
    whole = encoded(CHINA, "JPEG")
    early, late = (damage_of(broken(whole, "overwritten", share, 200)) for share in (0.2, 0.8))
    assert early.score > late.score > 0
    assert early.evidence["from_row"] < late.evidence["from_row"]
    assert f"From {early.evidence['from_row']:.0%} of its height on" in early.message
    assert early.message.endswith(".")


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_pixels_zeroed_in_a_format_without_checksums_are_found(kind):
    whole = encoded(FLOWER, kind)
    assert damage_of(whole) is None
    damage = damage_of(whole[:300_000] + bytes(9000) + whole[309_000:])
    share = 300_000 / len(whole)
    assert damage.evidence["from_row"] == pytest.approx(1 - share if kind == "BMP" else share, abs=0.02)


def test_bytes_without_sense_give_no_damage_and_no_exception():
    files = [encoded(smooth(40, 30), "JPEG", progressive=progressive) for progressive in (False, True)]
    chance = random.Random(4)
    for _ in range(400):
        data = bytearray(chance.choice(files))
        for _ in range(chance.choice((1, 3, 30))):
            data[chance.randrange(3, len(data))] = chance.randrange(256)
        damage = damage_of(bytes(data[: chance.randrange(4, len(data))]) if chance.random() < 0.3 else bytes(data))
        assert damage is None or 0 <= damage.score <= 1
    for junk in (b"", b"\xff\xd8\xff", b"BM", b"II*\0", b"\xff\xd8\xff\xda\0\x02", chance.randbytes(500)):
        assert damage_of(junk) is None


@pytest.mark.parametrize(("gap", "found"), [(0, True), (3, False)], ids=["a step", "a horizon that is a little aslant"])
def test_a_step_goes_on_in_the_next_row_right_where_it_began(gap, found):
    """Where a horizon comes from one row of blocks to the next it lies within some, and no seam shows it."""
    rng = np.random.default_rng(0)
    seams = rng.normal(0, 1, (3, 13, 20)).astype(np.float32)
    for component, levels in ((1, -12), (2, 7)):
        seams[component, 6, 12:] += levels
        seams[component, 7, : 12 - gap] += levels
    assert (find_step(seams, 0) is not None) == found


def seams_of_two_rows(heights):
    """Seams of 60 MCUs a row, of which the sixth and seventh row hold these heights of an edge."""
    seams = np.random.default_rng(0).normal(0, 0.5, (3, 13, 60)).astype(np.float32)
    for component, levels in ((0, 3), (1, -4)):
        seams[component, 6:8].reshape(-1)[:] += levels * heights
    return seams


def height(of_all=0.0, of_the_step=1.0):
    """Heights of an edge along two rows of seams, and along a step that begins and ends in their midst."""
    heights = np.full(120, of_all)
    heights[25:85] = of_the_step
    return heights


def test_edges_that_wax_and_wane_or_have_others_beside_them_are_no_step():
    """Planks in perspective come from one row of seams to the next, and stripes turn."""
    assert find_step(seams_of_two_rows(height()), 0).mcu == 6 * 60 + 25
    assert find_step(seams_of_two_rows(height(of_the_step=1 + 0.8 * np.sin(np.arange(60)))), 0) is None
    assert find_step(seams_of_two_rows(height(of_all=-1)), 0) is None
