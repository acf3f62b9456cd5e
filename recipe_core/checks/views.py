"""Does a view inside the model give numbers to another axis that they do not belong to?"""

import math

import torch
from torch.overrides import TorchFunctionMode

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject

BATCHES = (5, 7)  # samples: sizes that no axis has by chance in both
LEAST = 3  # of an axis that is followed
VIEWS = {torch.Tensor.view, torch.Tensor.reshape, torch.reshape}

SCRAMBLED = Cause(
    "axes-scrambled",
    "Inside the model numbers are put into another shape without moving them, though their axes change places: what is "
    "taken for one place, head or channel then is a piece of several.",
    "Move axes with transpose or permute; a view may only split an axis or join neighbouring ones.",
    0.7,
)

Shapes = tuple[tuple[int, ...], tuple[int, ...]]  # before and after


@check(family="model", stage=2, cost=0.2, causes=[SCRAMBLED])
def views_keep_the_order_of_axes(subject: Subject) -> Result:
    """Where the model views a tensor in another shape, an axis that both have lies behind as many numbers in both."""
    x = subject.train.x
    if len(x) < max(BATCHES):
        return skipped("There are too few samples.")
    few, more = (_views(subject, x[:count]) for count in BATCHES)
    if len(few) != len(more):
        return skipped("The model does otherwise with more samples.")
    if not more:
        return skipped("The model views no tensor in another shape.")
    for one, other in zip(few, more, strict=True):
        if math.prod(one[0]) * BATCHES[1] != math.prod(other[0]) * BATCHES[0]:
            continue  # no tensor of the samples
        moved = [size for size in _moved(other) if size in _moved(one) or size == BATCHES[1]]
        if moved and len(_moved(one)) == len(_moved(other)):
            before, after = (" x ".join(map(str, each)) for each in other)
            return SCRAMBLED.failed(
                f"For {BATCHES[1]} samples a tensor of {before} is viewed as {after}: the axis of {moved[0]} changes "
                "its place, and the numbers stay where they are.",
                before=other[0],
                after=other[1],
            )
    return passed(f"Of {len(more)} views all do.")


def _moved(shapes: Shapes) -> list[int]:
    """The sizes of axes that are told by them before and after, and that lie behind another number of rows."""
    before, after = shapes
    known = [size for size in before if size >= LEAST and before.count(size) == after.count(size) == 1]
    return [size for size in known if math.prod(before[: before.index(size)]) != math.prod(after[: after.index(size)])]


@torch.no_grad()
def _views(subject: Subject, x: torch.Tensor) -> list[Shapes]:
    """The shapes of all tensors that the model views in another, in their order."""
    model, watched = subject.model().eval(), _Watched()
    with watched:
        subject.forward(model, x.to(subject.device))
    return watched.views


class _Watched(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.views: list[Shapes] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if function in VIEWS and isinstance(found, torch.Tensor) and args and isinstance(args[0], torch.Tensor):
            self.views.append((tuple(args[0].shape), tuple(found.shape)))
        return found
