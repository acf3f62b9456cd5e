"""Series and texts: does the gradient reach all places that the outputs depend on?"""

import contextlib
from collections.abc import Callable

import torch
from torch import nn

from recipe_core.checks.forward import ROUNDING, batch_of, settled, spread
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything

FEWEST_PLACES, FEWEST_MOVING = 6, 4
MOST_PLACES = 16  # that are moved one after the other
NUDGE = 0.05  # of the deviation
NEARLY_ALL = 0.9  # of the samples

STOPS_SHORT = Cause(
    "gradient-stops-short",
    "The outputs depend on many places of a series, and the gradient reaches one of them only: how to remember what "
    "came before is not learnt.",
    "Do not detach the hidden state from one place to the next; detach it between batches, or every few dozen places.",
    0.7,
    follows=("input-ignored", "batch-mixed", "layers-not-trained"),
)

Nudged = Callable[[torch.Tensor], torch.Tensor]


@check(family="model", stage=2, cost=0.5, causes=[STOPS_SHORT])
def gradients_reach_all_places(subject: Subject) -> Result:
    """Where a small change at several places of a series moves the outputs, more than one of them has a gradient."""
    x, model = batch_of(subject), subject.once(settled)
    like, nudged = _embedded(subject, model, x) if not x.is_floating_point() else _added(subject, model, x)
    if like is None or like.ndim > 3:
        return skipped("The inputs are no series.")
    for axis in range(1, max(2, like.ndim)):
        if like.shape[axis] >= FEWEST_PLACES and (told := _cut(nudged, like, axis)):
            return STOPS_SHORT.failed(told)
    return passed("It does, as far as they are series.")


def _added(subject: Subject, model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor | None, Nudged]:
    return x, lambda nudge: subject.outputs(model, x + nudge)


def _embedded(subject: Subject, model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor | None, Nudged]:
    """The same of what the first embedding makes of words."""
    seen: list[torch.Tensor] = []
    layers = [each for each in model.modules() if isinstance(each, nn.Embedding)]

    def outputs(nudge: torch.Tensor | None) -> torch.Tensor:
        seen.clear()

        def add(layer: nn.Module, inputs: tuple, out: torch.Tensor) -> torch.Tensor:
            if seen or not inputs or inputs[0].shape != x.shape:
                return out
            seen.append(out.detach())
            return out if nudge is None else out + nudge

        with contextlib.ExitStack() as after:
            for each in layers:
                after.callback(each.register_forward_hook(add).remove)
            return subject.outputs(model, x)

    with torch.no_grad():
        outputs(None)
    return (seen[0] if seen else None), outputs


def _cut(nudged: Nudged, like: torch.Tensor, axis: int) -> str:
    """Along an axis: how many places move the outputs of nearly all samples, where one of them at most has a
    gradient."""
    count = like.shape[axis]
    places = torch.linspace(0, count - 1, min(count, MOST_PLACES)).round().long()
    nudge = torch.zeros_like(like, requires_grad=True)
    with torch.backends.cudnn.flags(enabled=False):  # its recurrences have no gradient in eval mode
        outputs = _at_the_end(nudged(nudge), count)
        if not outputs.requires_grad:
            return ""
        seed_everything(0)
        (outputs * torch.randn_like(outputs)).sum().backward()
    if nudge.grad is None or len(outputs) != len(like):
        return ""
    slope = nudge.grad.movedim(axis, 1).reshape(len(like), count, -1).abs().amax(2)[:, places.to(like.device)] > 0
    moves = torch.stack([_moves(nudged, like, axis, int(place), outputs.detach()) for place in places], 1)
    cut = (moves.sum(1) >= FEWEST_MOVING) & ((moves & slope).sum(1) <= 1)
    if not bool(slope.any()) or float(cut.float().mean()) < NEARLY_ALL:
        return ""
    return (
        f"A small change at {float(moves.sum(1).float().mean()):.0f} of {len(places)} places looked at moves the "
        f"outputs, and the gradient is exactly zero at {float((moves & ~slope).sum(1).float().mean()):.0f} of them."
    )


@torch.no_grad()
def _moves(nudged: Nudged, like: torch.Tensor, axis: int, place: int, plain: torch.Tensor) -> torch.Tensor:
    """bool (n,): whether the outputs of a sample follow a small change at a place."""
    nudge = torch.zeros_like(like)
    size = NUDGE * float(like.std())
    nudge.select(axis, place).add_(size * torch.randn_like(nudge.select(axis, place)))
    found = (_at_the_end(nudged(nudge), like.shape[axis]) - plain).abs().reshape(len(plain), -1).amax(1)
    return found > ROUNDING * spread(plain)


def _at_the_end(outputs: torch.Tensor, count: int) -> torch.Tensor:
    """Of outputs for each place those of the last."""
    along = [axis for axis in range(1, outputs.ndim) if outputs.ndim > 2 and outputs.shape[axis] == count]
    return outputs.float().select(along[0], count - 1) if along else outputs.float()
