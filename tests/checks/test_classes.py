"""How many classes there are, where a pipeline does not say so: of places, what the loss takes for classes."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.checks.audit import run_check
from recipe_core.checks.registry import checks
from recipe_core.checks.subject import Subject
from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.texts_tags import what_fills_up_counts_as_right

CLASSES, PLACES = 5, 7


def first(outputs, y):
    return F.cross_entropy(outputs, y)


def last(outputs, y):
    return F.cross_entropy(outputs.movedim(-1, 1), y)


def shifted(outputs, y):
    return F.cross_entropy(outputs[:, :-1].flatten(0, 1), y[:, 1:].flatten())


def distance(outputs, y):
    return (outputs.mean(2) - y).square().mean()


@pytest.mark.parametrize(
    ("loss_fn", "classes_at", "y", "found"),
    [
        (last, 2, torch.randint(CLASSES, (4, PLACES)), CLASSES),
        (first, 1, torch.randint(CLASSES, (4, PLACES)), CLASSES),
        (last, 2, torch.randint(CLASSES, (4, PLACES)).index_fill(1, torch.tensor([6]), -100), CLASSES),
        (shifted, 2, torch.randint(CLASSES, (4, PLACES)), 0),  # what comes next is asked of other outputs
        (distance, 2, torch.randint(CLASSES, (4, PLACES)), 0),
        (distance, 2, torch.rand(4, PLACES), 0),
        (first, 1, torch.randint(CLASSES, (4,)), 0),
    ],
)
def test_classes_of_places_are_as_many_as_the_loss_tells_apart(loss_fn, classes_at, y, found):
    sizes = (CLASSES, PLACES) if classes_at == 1 else (PLACES, CLASSES)
    model = nn.Sequential(nn.Linear(3, CLASSES * PLACES), nn.Unflatten(1, sizes))
    batches = [(torch.randn(4, 3), y)] * 3
    subject = Subject(Pipeline(lambda: model, batches, batches, 0, loss_fn=loss_fn))
    assert subject.classes == found
    assert Subject(Pipeline(lambda: model, batches, batches, 3, loss_fn=loss_fn)).classes == 3


@pytest.mark.parametrize(("broken", "verdict"), [(True, "fail"), (False, "pass")])
def test_a_metric_of_tags_is_judged_without_being_told_their_number(broken, verdict):
    subject = Subject(replace(what_fills_up_counts_as_right(broken), num_classes=0))
    (check,) = [each for each in checks() if each.name == "accuracy_of_several_answers_is_right"]
    assert {each.verdict for each in run_check(check, subject)} == {verdict}
