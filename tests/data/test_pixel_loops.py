"""The compiled loops against Pillow itself, bit for bit, on shapes with and without a rest."""

import numpy as np
import pytest
from pictures import noise
from PIL import Image

from recipe_core.data import pixel_loops

SIZES = [(1, 1), (2, 2), (5, 1), (1, 7), (8, 6), (9, 6), (13, 11), (40, 23)]  # width, height


def stack_of(width, height):
    """Noise, every grey, and the darkest and brightest picture."""
    ramp = np.resize(np.arange(256, dtype=np.uint8), (height, width))[..., None].repeat(3, axis=2)
    return np.stack([noise(width, height, 1), noise(width, height, 2), ramp, 0 * ramp, 0 * ramp + 255])


def each(stack):
    return [Image.fromarray(pixels) for pixels in stack]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_greys_and_their_histograms_are_pillows(size):
    stack = stack_of(*size)
    greys = pixel_loops.to_greys(stack)
    assert np.array_equal(greys, [np.asarray(image.convert("L")) for image in each(stack)])
    assert pixel_loops.histograms(greys).tolist() == [image.convert("L").histogram() for image in each(stack)]


def test_every_colour_has_pillows_grey():
    levels = np.array([*range(0, 256, 5), 127, 128], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, 1, -1, 3)
    assert np.array_equal(pixel_loops.to_greys(colours)[0], np.asarray(Image.fromarray(colours[0]).convert("L")))


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 7, 16])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_reduced_pictures_are_pillows(size, factor):
    stack = stack_of(*size)
    assert np.array_equal(
        pixel_loops.reduced(stack, factor), [np.asarray(image.reduce(factor)) for image in each(stack)]
    )


def test_pixels_that_must_not_be_written_can_be_read():
    stack = stack_of(12, 9)
    stack.flags.writeable = False
    assert pixel_loops.reduced(stack, 2).shape == (5, 5, 6, 3)
    assert pixel_loops.colour_sums(stack).shape == (5, 6)
    assert pixel_loops.histograms(pixel_loops.to_greys(stack)).sum() == stack.size // 3
