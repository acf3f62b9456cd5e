"""Each fact against a plain reference: Pillow, colorsys, SciPy, or the formula of the paper, pixel by pixel."""

import colorsys

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from pictures import encoded, exif, noise, smooth
from PIL import Image, ImageFilter

from recipe_core.data import jpeg
from recipe_core.data.appearance import picture_facts
from recipe_core.data.decode import decode
from recipe_core.data.facts import ABOUT, FACTS, file_facts, header_facts

SHAPES = [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3), (2, 7), (17, 5), (33, 31), (64, 48)]  # width, height


def facts_of(*pictures):
    """The facts of pictures of one shape, from one call."""
    stack = np.stack(pictures)
    greys = np.stack([np.asarray(Image.fromarray(pixels).convert("L")) for pixels in pictures])
    return picture_facts(greys, stack)


@pytest.fixture(params=SHAPES, ids=str)
def pixels(request):
    width, height = request.param
    picture = noise(width, height, seed=width * 100 + height)
    picture[: height // 3] = 255
    picture[:, : width // 4] = 0
    return picture


def grey_of(pixels):
    return np.asarray(Image.fromarray(pixels).convert("L")).astype(float)


def test_brightness_and_contrast_are_mean_and_deviation_of_the_grey_image(pixels):
    (facts,) = facts_of(pixels)
    assert facts["brightness"] == pytest.approx(grey_of(pixels).mean())
    assert facts["contrast"] == pytest.approx(grey_of(pixels).std(), abs=1e-4)


def test_entropy_is_that_of_the_grey_histogram(pixels):
    (facts,) = facts_of(pixels)
    counts = np.bincount(grey_of(pixels).astype(int).ravel(), minlength=256)
    assert facts["entropy"] == pytest.approx(scipy.stats.entropy(counts, base=2), abs=1e-9)


def test_clipped_shares_count_pure_black_and_pure_white(pixels):
    (facts,) = facts_of(pixels)
    grey = grey_of(pixels)
    assert facts["clipped_dark"] == pytest.approx((grey == 0).mean())
    assert facts["clipped_bright"] == pytest.approx((grey == 255).mean())
    assert facts["clipped"] == pytest.approx(facts["clipped_dark"] + facts["clipped_bright"])


def test_sharpness_is_the_variance_of_the_laplacian_inside_the_frame(pixels):
    (facts,) = facts_of(pixels)
    laplacian = scipy.ndimage.laplace(grey_of(pixels))[1:-1, 1:-1]
    assert facts["sharpness"] == pytest.approx(laplacian.var() if laplacian.size else 0, rel=1e-4, abs=1e-3)


def test_saturation_is_the_mean_of_hsv_saturation(pixels):
    (facts,) = facts_of(pixels)
    expected = np.mean([colorsys.rgb_to_hsv(*(colour / 255))[1] for colour in pixels.reshape(-1, 3)])
    assert facts["saturation"] == pytest.approx(expected, abs=1e-6)


def test_saturation_of_the_darkest_colours_counts_in_full():
    (facts,) = facts_of(np.array([[[1, 0, 0], [0, 0, 0]]], np.uint8))
    assert facts["saturation"] == pytest.approx(0.5)


def test_colourfulness_is_hasler_and_suesstrunks(pixels):
    (facts,) = facts_of(pixels)
    red, green, blue = pixels.reshape(-1, 3).astype(float).T
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert facts["colourfulness"] == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_channels_are_their_means(pixels):
    (facts,) = facts_of(pixels)
    means = pixels.reshape(-1, 3).mean(axis=0)
    assert [facts["red"], facts["green"], facts["blue"]] == pytest.approx(list(means), rel=1e-5)


def test_the_border_is_described_by_its_outermost_pixels(pixels):
    height, width, _ = pixels.shape
    if min(height, width) < 2:
        pytest.skip("the outermost pixels of a line are all of it")
    (facts,) = facts_of(pixels)
    edge = [pixels[y, x] for y in range(height) for x in range(width) if y in (0, height - 1) or x in (0, width - 1)]
    median = np.median(edge, axis=0).astype(int)
    assert facts["border_colour"] == "#" + "".join(f"{channel:02x}" for channel in median)
    assert facts["border_spread"] == pytest.approx(np.std(edge, axis=0).mean(), rel=1e-5)


def test_many_pictures_at_once_give_what_each_gives_alone():
    pictures = [noise(19, 13, seed) for seed in range(5)] + [smooth(19, 13, 7), np.zeros((13, 19, 3), np.uint8)]
    for together, picture in zip(facts_of(*pictures), pictures, strict=True):
        (alone,) = facts_of(picture)
        colour = together.pop("border_colour")
        assert colour == alone.pop("border_colour")
        assert together == pytest.approx(alone, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_flat_picture_has_no_contrast_sharpness_entropy_or_colour(value):
    (facts,) = facts_of(np.full((40, 30, 3), value, np.uint8))
    for name in ("contrast", "sharpness", "entropy", "saturation", "colourfulness", "border_spread"):
        assert facts[name] == pytest.approx(0, abs=1e-3), name
    assert facts["brightness"] == value
    assert facts["clipped"] == (value in (0, 255))
    assert facts["border_colour"] == "#" + f"{value:02x}" * 3


def test_blur_lowers_sharpness_step_by_step():
    image = Image.fromarray(noise(80, 60))
    sharpness = [
        facts_of(np.asarray(image.filter(ImageFilter.GaussianBlur(radius))))[0]["sharpness"] for radius in range(5)
    ]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > 10 * sharpness[-1]


def test_more_light_more_range_and_more_colour_are_seen_as_such():
    base = (smooth(60, 40) * 0.4 + 40).astype(np.uint8)
    grey = np.repeat(grey_of(base).astype(np.uint8)[..., None], 3, axis=2)
    plain, brighter, wider, colourless = facts_of(base, base + 60, (base - 40) * 2 + 20, grey)
    assert brighter["brightness"] == pytest.approx(plain["brightness"] + 60, abs=0.5)
    assert brighter["contrast"] == pytest.approx(plain["contrast"], abs=0.5)
    assert wider["contrast"] > 1.5 * plain["contrast"]
    assert colourless["saturation"] == 0 < plain["saturation"]
    assert colourless["colourfulness"] < plain["colourfulness"]


def test_a_large_picture_keeps_the_precision_of_a_small_one():
    tile = noise(96, 96)
    large = np.tile(tile, (7, 7, 1))
    (facts,) = facts_of(large)
    laplacian = scipy.ndimage.laplace(grey_of(large))[1:-1, 1:-1]
    assert facts["sharpness"] == pytest.approx(laplacian.var(), rel=1e-4)
    assert facts["red"] == pytest.approx(large[..., 0].mean(), rel=1e-4)


# File and header


def test_the_header_is_told_of_the_upright_picture():
    data = encoded(smooth(30, 20), "JPEG", exif=exif(6, make="Canon"))
    facts = header_facts(decode(data), data, "jpg")
    assert (facts["width"], facts["height"], facts["aspect"]) == (20, 30, 20 / 30)
    assert facts["megapixels"] == pytest.approx(0.0006)
    assert facts["bits_per_pixel"] == pytest.approx(8 * len(data) / 600)
    assert (facts["format"], facts["mode"], facts["orientation"], facts["camera_make"]) == ("JPEG", "RGB", 6, "Canon")
    assert facts["readable"] is True


@pytest.mark.parametrize("quality", [1, 5, 10, 49, 50, 51, 75, 90, 95, 100])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_quality_that_a_jpeg_was_saved_at(quality, progressive):
    data = encoded(smooth(30, 20), "JPEG", quality=quality, progressive=progressive)
    assert header_facts(decode(data), data, "jpg")["jpeg_quality"] == quality


def test_the_quality_is_that_of_the_picture_and_not_of_the_thumbnail_within():
    small = encoded(smooth(8, 8), "JPEG", quality=20)
    head = Image.Exif()
    head[0x010F] = small.decode("latin-1")  # any tag: what matters is a table inside another segment
    data = encoded(smooth(30, 20), "JPEG", quality=88, exif=head)
    assert header_facts(decode(data), data, "jpg")["jpeg_quality"] == 88


def test_only_a_jpeg_has_a_quality():
    data = encoded(smooth(30, 20), "PNG")
    assert header_facts(decode(data), data, "png")["jpeg_quality"] is None
    assert [jpeg.quality(start) for start in (b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xdb\x00\x05\x00ab")] == [None] * 3


@pytest.mark.parametrize(
    ("key", "extension"),
    [("a/b.JPG", "jpg"), ("x.tar.png", "png"), ("no", None), (".hidden", None), ("a.b/c", None), ("t.csv#7", "csv#7")],
)
def test_the_extension_is_what_the_name_says_in_lower_case(key, extension):
    assert file_facts(key, b"12345") == {"file_bytes": 5, "extension": extension}


def test_every_fact_has_a_name_of_its_own_and_a_description():
    assert len({fact.name.casefold() for fact in FACTS}) == len(FACTS)
    assert all(fact.about for fact in ABOUT.values())
