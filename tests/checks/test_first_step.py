"""Pipelines that do not train at all: one sentence says why, and the data are looked at all the same."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.checks.audit import audit
from recipe_core.checks.registry import checks
from recipe_core.training.pipeline import Pipeline

DATA = {check.name for check in checks() if check.family == "data"}


def pipeline(x=lambda x: x, y=lambda y: y, **changes):
    def batches(count, seed):
        chance = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(16, 4, generator=chance) for _ in range(count)]
        return [(x(each), y((each[:, 0] > 0).long())) for each in drawn]

    return Pipeline(lambda: nn.Linear(4, 2), batches(20, 0), batches(6, 1), 2, **changes)


def raises(*args):
    raise RuntimeError("out of luck")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"x": lambda x: x[:, :3]}, "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ({"x": lambda x: x.double()}, "RuntimeError: mat1 and mat2 must have the same dtype"),
        ({"y": lambda y: ["cat", "dog"] * (len(y) // 2)}, "TypeError: cross_entropy_loss()"),
        ({"y": lambda y: torch.zeros(len(y), 0)}, "RuntimeError: 0D or 1D target tensor expected"),
        ({"optimizer_fn": raises}, "RuntimeError: out of luck."),
        ({"scheduler_fn": raises}, "RuntimeError: out of luck."),
        ({"train_step": raises}, "RuntimeError: out of luck."),
    ],
)
def test_what_does_not_train_fails_in_one_sentence_and_only_data_is_looked_at(broken, said):
    report = audit(pipeline(**broken))
    (failed,) = report.failures
    assert failed.cause == "training-crashes" and failed.message.startswith(f"The first training step fails: {said}")
    assert not report.passed
    assert {each.check for each in report.results} == {failed.check} | DATA


@pytest.mark.parametrize("x", [lambda x: x, lambda x: x[:, :3]])
def test_beside_the_error_stands_what_is_wrong_with_the_data(x):
    report = audit(pipeline(x, lambda y: y + 1))
    assert [each.cause for each in report.failures] == ["training-crashes", "targets-out-of-range"]


def test_a_loss_that_the_step_does_not_use_is_not_asked():
    def step(model, batch, loss_fn, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = F.cross_entropy(model.train()(x), y["label"])
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(model, loader):
        found = [(model.eval()(x).argmax(1) == y["label"]).float() for x, y in loader]
        return {"accuracy": torch.cat(found).mean().item()}

    report = audit(pipeline(y=lambda y: {"label": y}, train_step=step, evaluate=evaluate))
    assert not report.failures and not report.of("error")
    assert "loss_fn takes no y that is a dict." in {each.message for each in report.of("skipped")}
