"""What the checks of the evaluation catch, and what they let pass."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from recipe_core.training.pipeline import Pipeline, default_evaluate
from tests.checks.world import causes, digits, healthy, loaders, look

ALL = (
    "evaluation_is_in_eval_mode",
    "evaluation_leaves_the_model_alone",
    "evaluation_sees_all_validation_data",
    "metrics_depend_on_the_model",
    "evaluation_repeats_itself",
    "right_outputs_have_the_least_loss",
    "loss_of_known_outputs_is_right",
    "accuracy_of_known_answers_is_right",
)


def evaluated(average, mode=True, change=lambda outputs, y: (outputs, y)):
    """An evaluation that sums what batches give by `average`: lists of losses, hits and sizes -> loss, accuracy."""

    @torch.no_grad()
    def evaluate(model, loader):
        model.train(not mode)
        losses, hits, sizes = [], [], []
        for x, y in loader:
            outputs, y = change(model(x), y)
            losses.append(F.cross_entropy(outputs, y).item())
            hits.append((outputs.argmax(1) == y).sum().item())
            sizes.append(len(y))
        loss, accuracy = average(losses, hits, sizes)
        return {"loss": loss, "accuracy": accuracy}

    return evaluate


def over_samples(losses, hits, sizes):
    total = sum(sizes)
    return sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / total, sum(hits) / total


def over_batches(losses, hits, sizes):
    return sum(losses) / len(losses), sum(hit / size for hit, size in zip(hits, sizes, strict=True)) / len(sizes)


def test_a_right_evaluation_passes_every_check():
    results = look(healthy(evaluate=evaluated(over_samples)), *ALL)
    assert {each.verdict for each in results} == {"pass"}


BROKEN = {
    "in train mode": (evaluated(over_samples, mode=False), "wrong-mode-in-evaluation"),
    "mean of the batches' means": (evaluated(over_batches), "ragged-average"),
    "a sum": (evaluated(lambda losses, hits, sizes: (sum(losses), sum(hits))), "metric-scale"),
    "divided twice": (evaluated(lambda losses, hits, sizes: (sum(losses) / sum(sizes) ** 2, 1)), "metric-scale"),
    "the last batch": (evaluated(lambda losses, hits, sizes: (losses[-1], hits[-1] / sizes[-1])), "evaluates-part"),
    "other samples' labels": (
        evaluated(over_samples, change=lambda outputs, y: (outputs, y.roll(1))),
        "metric-shuffled-labels",
    ),
    "softmax twice": (evaluated(over_samples, change=lambda outputs, y: (outputs.softmax(1), y)), "metric-scale"),
    "the wrong sign": (evaluated(over_samples, change=lambda outputs, y: (-outputs, y)), "metric-wrong"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_wrong_evaluation_is_found(how):
    evaluate, cause = BROKEN[how]
    assert cause in causes(healthy(evaluate=evaluate), *ALL)


def test_the_mean_over_batches_of_equal_size_is_right():
    _, val = loaders(*digits(), val=192)
    assert causes(healthy(val_loader=val, evaluate=evaluated(over_batches)), *ALL) == set()


def test_an_evaluation_that_ends_after_the_first_batch_is_found():
    def evaluate(model, loader):
        return default_evaluate(model, [next(iter(loader))])

    assert "evaluates-part" in causes(healthy(evaluate=evaluate), *ALL)


def test_an_evaluation_on_the_training_data_is_found():
    pipeline = healthy()
    pipeline.evaluate = lambda model, loader: default_evaluate(model, pipeline.train_loader)
    assert "evaluates-training-data" in causes(pipeline, *ALL)


def test_an_evaluation_that_remembers_its_first_result_is_found():
    def evaluate(model, loader, known={}):  # noqa: B006  (it is the bug)
        known.update(known or default_evaluate(model, loader))
        return dict(known)

    assert "evaluates-other-model" in causes(healthy(evaluate=evaluate), *ALL)


def test_metrics_that_are_never_reset_are_found():
    hits = []

    @torch.no_grad()
    def evaluate(model, loader):
        model.eval()
        hits.extend((model(x).argmax(1) == y).float().mean() for x, y in loader)
        return {"accuracy": torch.stack(hits).mean().item()}

    assert "evaluation-keeps-state" in causes(healthy(evaluate=evaluate), *ALL)


@pytest.mark.parametrize("left", [False, True])
def test_gradients_of_validation_data_matter_only_where_training_uses_them(left):
    def evaluate(model, loader):
        model.eval()
        for x, y in loader:
            F.cross_entropy(model(x), y).backward()
        return default_evaluate(model, loader)

    def step(model, batch, loss_fn, optimizer):
        model.train()
        if not left:
            optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    found = causes(healthy(evaluate=evaluate, train_step=step), "evaluation_leaves_the_model_alone")
    assert found == ({"trains-on-validation"} if left else set())


def test_an_evaluation_that_goes_twice_through_a_shuffled_loader_is_right():
    @torch.no_grad()
    def evaluate(model, loader):
        sum(len(y) for _, y in loader)
        return default_evaluate(model, loader)

    x, y = digits()
    val = DataLoader(TensorDataset(x[-200:], y[-200:]), 64, shuffle=True)
    assert causes(healthy(val_loader=val, evaluate=evaluate), *ALL) == set()


def test_predictions_and_labels_from_two_passes_part_only_where_the_loader_shuffles():
    @torch.no_grad()
    def evaluate(model, loader):
        model.eval()
        outputs = torch.cat([model(x) for x, _ in loader])
        return {"accuracy": (outputs.argmax(1) == torch.cat([y for _, y in loader])).float().mean().item()}

    pipeline = healthy(evaluate=evaluate)
    assert causes(pipeline, *ALL) == set()
    pipeline.val_loader = DataLoader(pipeline.val_loader.dataset, 64, shuffle=True)
    assert causes(pipeline, *ALL) == {"metric-shuffled-labels"}


def told(pipeline, check):
    (result,) = look(pipeline, check)
    return result.verdict, result.message


def test_a_softmax_over_the_samples_of_a_batch_is_named():
    found = healthy(evaluate=evaluated(over_samples, change=lambda outputs, y: (outputs.softmax(0), y)))
    verdict, message = told(found, "accuracy_of_known_answers_is_right")
    assert verdict == "fail" and "over the samples of each batch" in message


class Tagger(nn.Module):
    """Four classes (axis 1) for each of four places (axis 2)."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(12, 4)

    def forward(self, x):
        return self.words(x).transpose(1, 2)


def test_the_axis_along_which_the_greatest_is_looked_for_is_named():
    def evaluate(model, loader):
        model.eval()
        with torch.no_grad():
            said, y = torch.cat([model(x).argmax(2) for x, _ in loader]), torch.cat([y for _, y in loader])
        return {"token_accuracy": (said == y).float().mean().item()}

    x = torch.randint(0, 12, (400, 4), generator=torch.Generator().manual_seed(0))
    batches = DataLoader(TensorDataset(x, x % 4), 50)
    verdict, message = told(
        Pipeline(Tagger, batches, batches, 4, evaluate=evaluate), "accuracy_of_several_answers_is_right"
    )
    assert verdict == "fail" and "along axis 2, classes stand along 1" in message


def of_a_regression(metrics):
    x = torch.randn(150, 3, generator=torch.Generator().manual_seed(0))
    batches = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 40)

    @torch.no_grad()
    def evaluate(model, loader):
        model.eval()
        outputs, targets = torch.cat([model(x) for x, _ in loader]), torch.cat([y for _, y in loader])
        return {"loss": F.mse_loss(outputs, targets).item(), **metrics(outputs, targets)}

    return Pipeline(lambda: nn.Linear(3, 1), batches, batches, 0, loss_fn=F.mse_loss, evaluate=evaluate)


@pytest.mark.parametrize("name", ["mae", "mse"])
@pytest.mark.parametrize(("shift", "said"), [(0.0, "0.025 times those:"), (60.0, "0.025 times those minus 1.5:")])
def test_outputs_and_targets_of_two_scales_are_told_with_what_is_between_them(name, shift, said):
    error = {"mae": F.l1_loss, "mse": F.mse_loss}[name]
    pipeline = of_a_regression(lambda outputs, targets: {name: error(40 * outputs + shift, targets).item()})
    verdict, message = told(pipeline, "metrics_of_a_regression_are_right")
    assert verdict == "fail" and said in message


def test_an_evaluation_that_cannot_take_outputs_without_an_error_is_let_be():
    """The logarithm of no error is none."""
    pipeline = of_a_regression(lambda outputs, targets: {"psnr": -10 * math.log10(F.mse_loss(outputs, targets))})
    results = look(pipeline, "metrics_of_a_regression_are_right", "right_outputs_have_the_least_loss")
    assert {each.verdict for each in results} == {"skipped"}


@pytest.mark.parametrize(
    ("over_samples", "verdict"),
    [(False, "fail"), (True, "pass")],  # a sum over each sample's targets, and then the mean, is a loss of its own
)
def test_a_sum_over_all_targets_of_a_batch_is_told(over_samples, verdict):
    x = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
    batches = DataLoader(TensorDataset(x, x[:, :2]), 40)

    @torch.no_grad()
    def evaluate(model, loader):
        model.eval()
        sums = [(F.smooth_l1_loss(model(x), y, reduction="sum").item(), len(x)) for x, y in loader]
        return {"loss": sum(each for each, _ in sums) / (sum(n for _, n in sums) if over_samples else len(sums))}

    pipeline = Pipeline(lambda: nn.Linear(4, 2), batches, batches, 0, loss_fn=F.smooth_l1_loss, evaluate=evaluate)
    assert told(pipeline, "loss_of_known_outputs_is_right")[0] == verdict


@pytest.mark.parametrize("change", [lambda outputs: outputs.clamp(0, 1), torch.round])
def test_outputs_that_are_cut_off_or_rounded_before_they_are_compared_are_let_pass(change):
    @torch.no_grad()
    def evaluate(model, loader):
        errors = torch.cat([change(model.eval()(x)) - y for x, y in loader])
        return {"loss": errors.square().mean().item(), "mae": errors.abs().mean().item()}

    x, y = digits()
    train, val = loaders(x, (y > 4).float()[:, None])
    pipeline = Pipeline(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), train, val, 0, F.mse_loss)
    pipeline.evaluate = evaluate
    assert causes(pipeline, "metrics_of_a_regression_are_right") == set()
