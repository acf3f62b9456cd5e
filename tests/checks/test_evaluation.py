"""What the checks of the evaluation catch, and what they let pass."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from recipe_core.training.pipeline import default_evaluate
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
