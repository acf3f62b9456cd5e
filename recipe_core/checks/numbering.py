"""Have the classes the same numbers in both splits?"""

import math
from collections.abc import Iterator

import torch
from scipy.optimize import linear_sum_assignment

from recipe_core.checks.confusions import MOST_CLASSES, confusion
from recipe_core.checks.lessons import Lessons
from recipe_core.checks.registry import Cause
from recipe_core.checks.result import Result
from recipe_core.checks.sight import lessons_by_sight
from recipe_core.checks.subject import Subject
from recipe_core.checks.undoing import best_change

LEARNT = 6.0  # deviations of what shuffled labels give
SURE = 5.0  # deviations of a difference of two shares
AS_GOOD = 0.05  # of validation, by which two explanations may differ by chance
UNEXPLAINED = 0.15  # of validation, that is still not told under other numbers

NUMBERED = Cause(
    "validation-classes-differ",
    "The same class has one number in training and another in validation, as from two class lists that were made "
    "folder by folder.",
    "Make the list of classes once, from the training data, and number both splits by it.",
    0.9,
)


def numbered(subject: Subject) -> list[Result]:
    """Another numbering of the classes under which the splits agree much better."""
    return list(_numbered(subject, subject.once(lessons_by_sight)))


def _numbered(subject: Subject, both: Lessons) -> Iterator[Result]:
    if both.train.labels is None or both.val.labels is None or both.train.targets.shape[1] > MOST_CLASSES:
        return
    if min(both.train.strength, both.val.strength) < LEARNT:
        return
    classes = max(both.train.targets.shape[1], both.val.targets.shape[1])
    told = [
        confusion(both.val.labels, both.across, classes),
        confusion(both.train.labels, both.back, classes).T,
    ]
    together = told[0] + told[1]
    rows, columns = linear_sum_assignment(-together.numpy())
    within = confusion(both.train.labels, both.train.learner.held_out, classes)
    moved = [
        (int(given), int(said))
        for given, said in zip(rows, columns, strict=True)
        if given != said and all(_rather(each, given, said, within) for each in told[:1])
    ]
    if len(moved) < 1:
        return
    total = float(together.sum())
    as_given, renamed = float(together.diagonal().sum()) / total, float(together[rows, columns].sum()) / total
    if (renamed - as_given) * math.sqrt(total) / math.sqrt(max(renamed * (1 - renamed), 0.01)) < SURE:
        return
    # If validation itself is told far better, then not by its numbers alone.
    own = float(confusion(both.val.labels, both.val.learner.held_out, classes).diagonal().sum()) / len(both.val.labels)
    if renamed < own - UNEXPLAINED:
        return
    in_val = float(told[0][rows, columns].sum()) / len(both.val.labels)
    # One change of all images that says as much is likelier than new numbers of many classes, not than of two.
    if in_val < subject.once(best_change).right + (AS_GOOD if len(moved) > 2 else -AS_GOOD):
        return
    pairs = ", ".join(f"{given} is {said} in training" for given, said in moved[:5])
    yield NUMBERED.failed(
        f"Validation's class {pairs}{', ...' if len(moved) > 5 else ''}: with other numbers the splits agree on "
        f"{renamed:.0%} of the samples, as they are on {as_given:.0%}.",
        table=[{"validation": given, "training": said} for given, said in moved],
        as_given=as_given,
        renamed=renamed,
        in_validation=in_val,
    )


def _rather(confusion: torch.Tensor, given: int, said: int, within: torch.Tensor) -> bool:
    """Whether samples of class `given` are told to be `said` far more often than themselves and than in training."""
    count = float(confusion[given].sum())
    if count < 5:
        return False
    as_said, as_given = float(confusion[given, said]) / count, float(confusion[given, given]) / count
    usual = float(within[given, said] + 1) / float(within[given].sum() + 2)
    deviation = math.sqrt(max(usual * (1 - usual), 0.01) / count)
    return as_said > 2 * as_given and as_said - usual > SURE * deviation
