"""What a Pipeline does where it is left to its defaults."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recipe_core import Pipeline, audit


def batches(targets, size=20, seed=0):
    """Eight batches and a ragged one of standard normal inputs (n, 6) with what `targets` makes of them."""
    x = torch.randn(8 * size + 7, 6, generator=torch.Generator().manual_seed(seed))
    return [(part, targets(part)) for part in x.split(size)]


def mean_loss(loss_fn, model, loader):
    outputs, targets = torch.cat([model(x) for x, _ in loader]), torch.cat([y for _, y in loader])
    return loss_fn(outputs, targets).item()


def columns(x):
    return x[:, :1] - 2 * x[:, 1:2]


def signs(x):
    return (x[:, :3] > 0).float()


@pytest.mark.parametrize(
    ("targets", "width", "classes", "loss_fn"),
    [
        (columns, 1, 0, F.mse_loss),
        (signs, 3, 3, F.binary_cross_entropy_with_logits),
        (lambda x: signs(x)[:, :1], 1, 2, F.binary_cross_entropy_with_logits),
    ],
    ids=["numbers", "several labels", "one score"],
)
def test_other_targets_than_classes_are_evaluated_by_the_loss_over_all_samples(targets, width, classes, loss_fn):
    loader = batches(targets)
    model = nn.Linear(6, width)
    found = Pipeline(lambda: model, loader, loader, classes, loss_fn=loss_fn).evaluate(model, loader)
    assert found == {"loss": pytest.approx(mean_loss(loss_fn, model, loader))}


def test_classes_are_evaluated_by_cross_entropy_and_accuracy_whatever_the_loss():
    loader = batches(lambda x: (x[:, 0] > 0).long())
    model = nn.Linear(6, 2)
    found = Pipeline(lambda: model, loader, loader, 2, loss_fn=nn.MultiMarginLoss()).evaluate(model, loader)
    right = torch.cat([model(x).argmax(1) == y for x, y in loader]).double().mean()
    expected = {"loss": mean_loss(F.cross_entropy, model, loader), "accuracy": right.item()}
    assert found == pytest.approx(expected)


class Answers(nn.Linear):
    def forward(self, x):
        return {"logits": super().forward(x)}


def test_a_model_that_returns_a_dict_is_trained_and_evaluated_through_forward():
    loader = batches(lambda x: (x[:, 0] > 0).long())
    pipeline = Pipeline(lambda: Answers(6, 2), loader, loader, 2, forward=lambda model, x: model(x)["logits"])
    model = pipeline.model_fn()
    before = pipeline.evaluate(model, loader)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for batch in loader * 5:
        pipeline.train_step(model, batch, pipeline.loss_fn, optimizer)
    after = pipeline.evaluate(model, loader)
    assert after["loss"] < before["loss"] and after["accuracy"] > 0.9


def test_a_regression_left_to_the_defaults_passes_its_audit_and_no_check_crashes():
    made = Pipeline(
        lambda: nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1)),
        batches(columns, seed=0),
        batches(columns, seed=1),
        0,
        loss_fn=F.mse_loss,
        optimizer_fn=lambda model: torch.optim.Adam(model.parameters(), 3e-3),
    )
    report = audit(made)
    assert report.passed, str(report)
    assert [each.message for each in report.of("error")] == []
