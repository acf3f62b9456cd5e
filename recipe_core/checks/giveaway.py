"""Does the target itself stand among the inputs?"""

from collections.abc import Iterator

import torch

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of

FEWEST_SAMPLES, FEWEST_COLUMNS = 100, 4
MOST_NUMBERS = 4096  # of an input, that are looked at one by one
MOST_COLUMNS, ROUGHLY = 64, 1e-3  # of a table; of a deviation: columns are rounded to float32, or to three digits
EXACT = 1e-5  # of a deviation: rounding

FEWEST_GROUPS, SHARED = 20, 0.5  # of rows with one value of a column; of the rows, that are in groups of several

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
    labels = labels_of(y, subject.classes)
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


@check(family="data", stage=1, cost=0.4, causes=[GIVEAWAY])
def no_column_is_made_of_the_targets(subject: Subject) -> Result:
    """No column is the mean target of the rows that share its value, as of one shop or town, validation's included."""
    train, val, classes = subject.drawn_train, subject.drawn_val, subject.classes
    like = train.y[0].numel() == val.y[0].numel() and train.x.shape[1:] == val.x.shape[1:]
    if train.x.ndim != 2 or not train.x.is_floating_point() or not (like and train.complete and val.complete):
        return skipped("The inputs are no rows of numbers, or too many to look at all.")
    x, targets = (
        torch.cat([train.x, val.x]).double(),
        _columns(torch.cat([each.y.reshape(len(each.y), -1) for each in (train, val)]), classes),
    )
    if not (x.isfinite().all() and targets.isfinite().all()):
        return skipped("Some numbers are not finite.")
    for at in range(min(x.shape[1], MOST_COLUMNS)):
        if _are_means_of_groups(x[:, at], targets):
            return GIVEAWAY.failed(
                f"Input {at} is the mean target of the rows that share its value, computed over both splits: each row "
                "of validation is told something of its own target.",
                column=at,
            )
    return passed("None is.")


def _columns(y: torch.Tensor, classes: int) -> torch.Tensor:
    """float (n, columns): numbers, or one column for each class."""
    labels = labels_of(y, classes)
    if labels is not None and classes <= MOST_COLUMNS:
        return torch.nn.functional.one_hot(labels.clamp_min(0)).double()
    return y.reshape(len(y), -1)[:, :MOST_COLUMNS].double()


def _are_means_of_groups(values: torch.Tensor, targets: torch.Tensor) -> bool:
    """Whether each value is the mean of one of the targets over the rows that have it, on any scale, drawn towards some
    number by as many rows as one likes (Micci-Barreca 2001).

    Then n * mean = (n + k) * value - k * prior for groups of n rows; on a scale of its own, value is a * column + b.
    So n * mean is exactly a sum of n * column, n, column and 1.

    Args:
        values: float (n,).
        targets: float (n, outputs).
    """
    known, group, sizes = values.unique(return_inverse=True, return_counts=True)
    several = sizes > 1  # of one row alone nothing is known
    if int(several.sum()) < FEWEST_GROUPS or float(sizes[several].sum()) < SHARED * len(values):
        return False
    targets = targets - targets.mean(0)
    sums = torch.zeros(len(known), targets.shape[1], dtype=torch.float64).index_add_(0, group, targets)
    within = (targets - (sums / sizes[:, None])[group]).square().mean(0)
    counts, column, sums = sizes[several].double(), (known[several] - known.mean()) / known.std(), sums[several]
    if len(counts.unique()) < 2:
        return False
    features = torch.stack([counts * column, counts, column, torch.ones_like(column)], 1)
    missed = sums - features @ torch.linalg.lstsq(features, sums).solution
    # By the rows of each group: the many that have no value, as zero, outweigh the others otherwise.
    missed, means = missed / counts[:, None], sums / counts[:, None]
    exact = missed.square().mean(0).sqrt() < ROUGHLY * means.std(0)
    # What the column alone decides, row by row, is no mean of any rows.
    return bool((exact & (within > ROUGHLY * targets.square().mean(0))).any())


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
