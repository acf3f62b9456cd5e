"""Does the target itself stand among the inputs?"""

from collections.abc import Iterator

import torch

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of

FEWEST_SAMPLES, FEWEST_COLUMNS = 100, 4
MOST_NUMBERS = 4096  # of an input, that are looked at one by one
EXACT = 1e-5  # of a deviation: rounding

GIVEAWAY = Cause(
    "target-among-inputs",
    "The target stands among the inputs, as a column or as the value of a mask: where nobody knows it, the model knows "
    "nothing.",
    "Take it out of the inputs; draw masks with one value for all classes.",
    0.9,
)


@check(family="data", stage=1, cost=0.5, causes=[GIVEAWAY])
def no_input_is_the_target(subject: Subject) -> Result:
    """No number of an input, and no channel's largest or smallest, is the target on a scale of its own."""
    x, y = subject.drawn_train.x, subject.drawn_train.y
    labels = labels_of(y, subject.pipeline.num_classes)
    target = labels if labels is not None else y.reshape(len(y)) if y.numel() == len(y) else None
    if target is None or not x.is_floating_point() or len(x) < FEWEST_SAMPLES or x[0].numel() < FEWEST_COLUMNS:
        return skipped("The inputs are few, or no numbers; or the targets are several for each.")
    # Of two classes, or where nothing but the intensity differs, one number of a simple picture may tell them.
    if x.ndim > 2 and len(target.unique()) < 3:
        return skipped("A number of a picture may well tell two classes.")
    for name, values in _numbers(x.float()):
        if _is_same(values, target.float()):
            return GIVEAWAY.failed(f"{name} is the target, on another scale, in all {len(x)} training samples.")
    return passed("None is.")


def _numbers(x: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """float (n,) each, and what it is."""
    if x.ndim > 2:
        rows = x.flatten(2)
        for channel in range(min(16, rows.shape[1])):
            yield f"The largest number of channel {channel}", rows[:, channel].amax(1)
            yield f"The smallest number of channel {channel}", rows[:, channel].amin(1)
    columns = x.flatten(1)
    every = -(-columns.shape[1] // MOST_NUMBERS)
    centred = columns[:, ::every] - columns[:, ::every].mean(0)
    for at in (centred.std(0) > 0).nonzero().flatten().tolist():
        yield f"Input {at * every}", centred[:, at]


def _is_same(values: torch.Tensor, target: torch.Tensor) -> bool:
    """Whether the target is a straight line of the values."""
    one, other = (each.double() - each.double().mean() for each in (values, target))
    if not (bool(one.any()) and bool(other.any()) and bool(torch.isfinite(one).all())):
        return False
    missed = other - one * (one @ other) / (one @ one)
    return float(missed.square().mean().sqrt()) < EXACT * float(other.std())
