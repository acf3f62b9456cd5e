"""Of targets that are one of two numbers, do both have a say in the loss?"""

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map_only

from recipe_core.checks.forward import stirred
from recipe_core.checks.objective import BLIND
from recipe_core.checks.registry import check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject

MOST = 256  # samples
STIRRED = 3  # models of other weights
LEAST = 0.1  # of the samples: as many have the rarer target, and as many move the loss


@check(family="optimisation", stage=2, cost=0.3, causes=[BLIND])
def each_of_two_targets_has_a_say(subject: Subject) -> Result:
    """Where all targets are one of two numbers, the loss has a gradient by the outputs for samples of either."""
    x, y = subject.train.x[:MOST].to(subject.device), subject.train.y[:MOST].to(subject.device)
    values = y.unique().tolist()
    if y.numel() != len(y) or len(values) != 2 or not LEAST < float((y == values[0]).float().mean()) < 1 - LEAST:
        return skipped("The targets are not one of two numbers each.")
    moves = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for model in (subject.model().eval(), *(stirred(subject) for _ in range(STIRRED))):
        moves |= _have_a_slope(subject, model, x, y)
    silent = [value for value in values if not bool(moves[y.flatten() == value].any())]
    if len(silent) != 1 or float(moves.float().mean()) < LEAST:
        return passed("It has, or has none at all.")
    share = float((y == silent[0]).float().mean())
    return BLIND.failed(
        f"Whatever the weights, the loss has no gradient by the outputs for the {share:.0%} of samples whose target is "
        f"{silent[0]:g}: it takes that number for no target, or wants another in its place."
    )


def _have_a_slope(subject: Subject, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """bool (n,): by which samples' outputs, whatever they are made of, the loss has a gradient."""
    found = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    with torch.no_grad():
        outputs = subject.forward(model, x)
    asked = tree_map_only(torch.Tensor, lambda each: each.detach().requires_grad_(each.is_floating_point()), outputs)
    leaves = [each for each in tree_leaves(asked) if isinstance(each, torch.Tensor) and each.requires_grad]
    loss = subject.pipeline.loss_fn(asked, y)
    if not loss.requires_grad:
        return found
    for each in torch.autograd.grad(loss.mean(), leaves, allow_unused=True):
        if each is not None and len(each) == len(y):
            found |= (each.reshape(len(y), -1) != 0).any(1)
    return found
