"""How many near copies a split holds of each of its pictures."""

import pytest
import torch

from recipe_core.checks.leak import FAMILY, relatives
from tests.checks.zoo.sets import digits, photos, textures

PHOTOS = photos().x[:400].float()


@pytest.mark.parametrize("images", [PHOTOS, textures().x[:400].float(), digits().x[:400].float()])
def test_pictures_of_their_own_have_hardly_any(images):
    assert relatives(images) < FAMILY


@pytest.mark.parametrize("change", [lambda x: x.flip(3), lambda x: 0.8 * x + 20, lambda x: x.roll(1, 3)])
def test_what_was_mirrored_or_changed_a_little_is_a_relative(change):
    assert relatives(torch.cat([PHOTOS, change(PHOTOS)])) > FAMILY
