"""Which outputs a model can give: found by weights at random, whatever its own functions do to chance."""

import pytest
import torch
from torch import nn

from recipe_core.checks.reach import dropped_by_chance, reach
from recipe_core.checks.subject import Subject
from recipe_core.training.pipeline import Pipeline

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))


def subject(*last, seed=None):
    def model():
        if seed is not None:
            torch.manual_seed(seed)
        layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1), *last)
        nn.init.constant_(layers[3].bias, 5.0)  # so that none of its fresh outputs is below zero
        return layers

    batches = [(X, torch.zeros(64, 1))] * 4
    return Subject(Pipeline(model, batches, batches, 0, loss_fn=nn.functional.mse_loss))


@pytest.mark.parametrize("seed", [None, *range(12)])
def test_a_relu_at_the_end_is_found_though_the_model_seeds_all_chance_when_it_is_made(seed):
    assert reach(subject(nn.ReLU(), seed=seed)).kind == "cut off"
    assert reach(subject(seed=seed)).kind == "free"


def test_zeros_of_a_relu_are_not_those_of_a_dropout():
    assert dropped_by_chance(subject(nn.Dropout(0.5))) == 0  # all are above zero: of a ReLU they would be, too
    centred = subject(nn.LayerNorm(1, elementwise_affine=False), nn.Linear(1, 4), nn.Dropout(0.5))
    assert 0.3 < dropped_by_chance(centred) < 0.7
