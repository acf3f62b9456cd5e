"""Does evaluate ask the model as it is now, in all its parts?"""

import contextlib
from collections.abc import Iterator
from typing import TypeGuard

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from recipe_core.checks.evaluation import OTHER_MODEL
from recipe_core.checks.probe import evaluate
from recipe_core.checks.registry import check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.units import STATISTICS
from recipe_core.training.checkpoint import seed_everything

MOST_PARTS = 6
STEPS = 3


@check(family="evaluation", stage=2, cost=1, causes=[OTHER_MODEL])
def evaluation_asks_every_part_anew(subject: Subject) -> Result:
    """The metrics of a model follow the weights of each of its parts as well when it was evaluated before."""
    parts = _parts(subject.model())
    if subject.is_large or len(parts) < 2:
        return skipped("The model is too large, or of one part.")
    with subject.untouched():
        model = subject.model()
        first = evaluate(subject, model).metrics
        heard = [name for name in parts if _is_heard(subject, model, name)]
        same = [name for name in heard if _metrics_with(subject, model, name) == first]
    if "loss" not in first or len(same) == len(heard):  # an average, kept aside, follows training only
        return passed("They do.")
    for name in same:
        with subject.untouched():
            if _metrics_with(subject, subject.model(), name) != first:
                return OTHER_MODEL.failed(
                    f"When only the weights of {name} have changed since the last call, the metrics stay exactly what "
                    "they were, at a first call they do not: evaluate keeps what that part made of the samples.",
                    metrics=first,
                )
    return passed("They do.")


def _parts(model: nn.Module) -> list[str]:
    """Some of the layers that a model consists of: of one that holds all others, its own."""
    children = [(name, each) for name, each in model.named_children() if any(True for _ in each.parameters())]
    if len(children) == 1:
        (name, only) = children[0]
        return [f"{name}.{each}" for each in _parts(only)]
    every = max(1, -(-len(children) // MOST_PARTS))
    return [name for name, _ in children][::every]


@contextlib.contextmanager
def _stirred(part: nn.Module) -> Iterator[None]:
    """Within it the weights of a part are others."""
    chance, kept = torch.Generator().manual_seed(0), [each.detach().clone() for each in part.parameters()]
    with torch.no_grad():
        for each in part.parameters():
            noise = torch.randn(each.shape, generator=chance).to(each)
            each.add_(noise * (0.5 * each.std().nan_to_num(nan=1.0) + 0.1))
    yield
    with torch.no_grad():
        for each, before in zip(part.parameters(), kept, strict=True):
            each.copy_(before)


def _metrics_with(subject: Subject, model: nn.Module, part: str) -> dict[str, float]:
    with _stirred(model.get_submodule(part)):
        return evaluate(subject, model).metrics


@torch.no_grad()
def _is_heard(subject: Subject, model: nn.Module, part: str) -> bool:
    """Whether what the model says in eval mode follows the weights of a part."""
    x = subject.val.batches[0][0]
    twin = subject.copy(model).eval()
    before = subject.outputs(twin, x)
    with _stirred(twin.get_submodule(part)):
        return not torch.allclose(before, subject.outputs(twin, x), equal_nan=True)


@check(family="evaluation", stage=2, cost=0.5, causes=[STATISTICS])
def averages_have_statistics(subject: Subject) -> Result:
    """Batch norms of another copy of the model that evaluate measures know statistics, once the model's own do."""
    model = subject.model()
    if not any(_keeps_statistics(each) for each in model.modules()):
        return skipped("The model has no batch norms.")
    for _ in subject.steps(STEPS, model):
        pass
    own = set(model.modules())
    learnt = {each.num_features for each in model.modules() if _keeps_statistics(each) and not _is_fresh(each)}
    fresh: set[nn.Module] = set()

    def look(layer: nn.Module, inputs: object) -> None:
        if layer not in own and _keeps_statistics(layer) and not layer.training and _is_fresh(layer):
            fresh.update([layer] if layer.num_features in learnt else [])

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        seed_everything(0)
        evaluate(subject, model)
    finally:
        handle.remove()
    if fresh:
        return STATISTICS.failed(
            f"{len(fresh)} batch norms of another model than the one that trains are evaluated in eval mode with the "
            f"statistics that they were made with, after {STEPS} steps: copy the buffers with the weights."
        )
    return passed("None is evaluated without.")


def _keeps_statistics(layer: nn.Module) -> TypeGuard[_BatchNorm]:
    return isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None


def _is_fresh(norm: _BatchNorm) -> bool:
    assert norm.running_mean is not None and norm.running_var is not None
    return not bool(norm.running_mean.any()) and bool((norm.running_var == 1).all())
