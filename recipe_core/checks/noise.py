"""Does the model's own noise in training leave something to learn? The training is repeated without it."""

import math

import torch
from torch import nn

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import DROPOUTS, rehearse
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything

MOST = 256  # samples
PASSES = 4
NOISY = 2.0  # times as far as two samples' outputs are apart: dropout of a half stays below
STEPS = 160
BATCHES = 8
LEARNABLE = 0.1  # of the loss, that is learnt without
MILD = 0.5  # share that all layers of dropout together keep: so much is usual in one alone
MOST_KEPT_BACK = 0.3  # of that: with a dropout of a half, most of it is learnt as well

DROPOUT = Cause(
    "dropout-too-strong",
    "Dropout takes so much away that next to nothing is learnt.",
    "The argument of nn.Dropout is the share that is dropped, not kept: 0.1 to 0.5 are usual.",
    0.8,
)


@check(family="model", stage=4, cost=3, causes=[DROPOUT])
def dropout_leaves_something_to_learn(subject: Subject):
    """With dropout the same steps learn about as much as without."""
    model = subject.model()
    if subject.is_large or not any(isinstance(each, DROPOUTS) and each.p > 0 for each in model.modules()):
        return skipped("The model has no dropout, or is too large to be trained in the time given.")
    kept = math.prod(1 - each.p for each in model.modules() if isinstance(each, DROPOUTS))
    if kept > MILD:
        return passed(f"All dropout together keeps {kept:.0%}.")
    noise = _noise(subject, model)
    told = f"Dropout moves the outputs {noise:.2g} times as far as another sample does"
    if not noise > NOISY:
        return passed(f"{told}.")
    before = _loss(subject, model)
    own, other = (_loss(subject, rehearse(subject, STEPS, model=each).model) for each in (model, _without(subject)))
    told += f"; {STEPS} steps take the loss from {before:.3g} to {own:.3g}, without it to {other:.3g}"
    if before - other > LEARNABLE * before and before - own < MOST_KEPT_BACK * (before - other):
        return DROPOUT.failed(f"{told}.", noise=noise)
    return passed(f"{told}.")


@torch.no_grad()
def _noise(subject: Subject, model: nn.Module) -> float:
    """How far outputs for one sample lie apart in train mode, as a multiple of those of different samples."""
    x = subject.some(MOST)
    many = torch.stack([subject.outputs(model.train(), x).float() for _ in range(PASSES)])
    apart = float(subject.outputs(model.eval(), x).float().var(0).mean())
    return (float(many.var(0).mean()) / apart) ** 0.5 if apart else 0.0


def _without(subject: Subject) -> nn.Module:
    model = subject.model().train()
    for each in model.modules():
        if isinstance(each, DROPOUTS):
            each.p = 0.0
    return model


@torch.no_grad()
def _loss(subject: Subject, model: nn.Module) -> float:
    """In eval mode."""
    model = subject.copy(model).eval()
    seed_everything(0)
    losses = [float(subject.loss(model, batch).float().mean()) for batch in subject.train.batches[:BATCHES]]
    return sum(losses) / len(losses)
