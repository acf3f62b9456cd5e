"""The reference learner sees pictures by a pretrained network where pixels teach it less."""

import pytest
import torch
from torch import nn

from recipe_core.checks.lessons import lessons
from recipe_core.checks.sight import lessons_by_sight, seen, sight
from recipe_core.checks.subject import Subject
from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.augmentation_mirrored import mirrored_arrows_anywhere
from tests.checks.zoo.base import healthy
from tests.checks.zoo.sets import colours, digits, positions, scenes


def test_of_things_at_any_place_and_of_any_colour_far_more_is_learnt_by_sight():
    subject = Subject(healthy(scenes(), "cnn"), 600)
    right = [
        float((each.learner.held_out.argmax(1) == each.labels).float().mean())
        for both in (subject.once(lessons), subject.once(lessons_by_sight))
        for each in (both.train, both.val)
    ]
    assert max(right[:2]) < 0.5 and min(right[2:]) > 0.8


def test_what_pixels_teach_better_is_learnt_from_pixels():
    subject = Subject(mirrored_arrows_anywhere(False), 600)  # which way they point is no thing to be seen
    assert subject.once(sight) is not None
    assert subject.once(lessons_by_sight) is subject.once(lessons)


@pytest.mark.parametrize("images", [digits, colours, positions])
def test_no_network_is_asked_about_what_is_small_easy_or_a_regression(images):
    assert Subject(healthy(images(), "mlp"), 600).once(sight) is None


@pytest.mark.parametrize("shape", [(3, 16), (3, 16, 16, 16), (5, 16, 16)])
def test_nor_about_what_is_no_picture(shape):
    batches = [(torch.randn(32, *shape), torch.arange(32) % 2)] * 4
    assert Subject(Pipeline(lambda: nn.Linear(2, 2), batches, batches, 2), 600).once(sight) is None


def test_grey_pictures_on_any_scale_are_seen_alike():
    class Mean(nn.Module):
        def forward(self, pictures):
            assert pictures.shape[1:] == (3, 64, 64) and 0 <= float(pictures.min()) < 0.1 < float(pictures.max()) <= 1
            return pictures.mean((2, 3))

    grey = scenes().x[:700, :1].float()
    found = []
    for scaled in (grey, grey / 255, (grey - 120) / 60):
        batches = [(scaled, torch.zeros(700).long())]
        subject = Subject(Pipeline(lambda: nn.Linear(2, 2), batches, batches, 2), 600)
        given = seen(subject, Mean(), subject.drawn_train)
        assert given.x.shape == (350, 3) and len(given.y) == 350  # every second one, in their order
        found.append(given.x)
    assert torch.allclose(found[0], found[1], atol=1e-3) and torch.allclose(found[0], found[2], atol=1e-3)
