"""Which classes does a learner take for which? Classes that are told apart in validation and not in training."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from recipe_core.checks.lessons import Lesson, Lessons

CONFUSED = 0.3  # share of two classes' samples that are taken for the other: half would be guessing
SURE = 0.5  # of the usual margin by which validation's own samples are told
SURELY = 0.2  # share of two classes' samples that are taken for the other so surely: 0.13 at most where none is wrong
OFTEN = 0.2  # the same of each of several pairs
APART = 4.0  # deviations of a difference of two shares, of two classes of which training is known to tell nothing
PER_CLASS = 20  # samples, fewer of which tell nothing of a class
MOST_CLASSES = 200
BY_CHANCE = 3.0  # deviations of a share that guessing has
GUESSED = 2.0  # the same, where other figures say so too
AMONG = 0.1  # of the samples of one class: what those of another, called so, make up at least


def confusion(labels: torch.Tensor, scores: torch.Tensor, classes: int) -> torch.Tensor:
    """float (classes, classes): rows the labels, columns what is told."""
    return torch.bincount(labels * classes + scores.argmax(1), minlength=classes**2).reshape(classes, classes).double()


def taken_for_each_other(both: Lessons) -> str:
    """Classes that training takes for each other and validation does not."""
    classes = both.train.targets.shape[1]
    if both.train.labels is None or both.val.labels is None or classes > MOST_CLASSES:
        return ""
    train, val, across = (
        _shares(each.labels, scores, classes)
        for each, scores in (
            (both.train, both.train.learner.held_out),
            (both.val, both.val.learner.held_out),
            (both.val, both.across),
        )
    )
    pairs = []  # that are taken for each other a little less, of which one alone might be a coincidence
    for one in range(classes):
        for other in range(one):
            there = min(float(train[one, other]), float(train[other, one]))
            apart = max(float(val[one, other]), float(val[other, one]))
            if (
                there > CONFUSED
                and _mutual(across, one, other) > CONFUSED
                and (apart < there / 3 or _surely_less(both, val, train, [(one, other)]))
                and _better_told(both, one, other)
            ):
                return (
                    f"Classes {other} and {one} are each taken for the other in {there:.0%} of the training samples or "
                    f"more, in validation in {apart:.0%} at most."
                )
            if min(_mutual(train, one, other), _mutual(across, one, other)) > OFTEN:
                pairs.append((one, other))
    if len(pairs) < 2 or not _surely_less(both, val, train, pairs):
        return ""
    there, apart = (sum(_mutual(each, *pair) for pair in pairs) / len(pairs) for each in (train, val))
    if apart > there / 2:
        return ""
    named = ", ".join(f"{other} and {one}" for one, other in pairs)
    return f"Of classes {named} {there:.0%} are taken for each other in training, {apart:.0%} in validation."


def surely_taken_for_each_other(both: Lessons) -> str:
    """Classes that a learner of validation takes for each other in training, and is sure of it: of what it does not
    know it would be unsure. What else a learner of training finds to go by is no matter, unless it takes as many of
    validation for each other: then the splits are prepared or numbered otherwise."""
    train, val, classes = both.train, both.val, both.train.targets.shape[1]
    if train.labels is None or val.labels is None or not val.targets.shape[1] == classes <= MOST_CLASSES:
        return ""
    least = SURE * float(val.margins(val.learner.held_out).median())
    if least <= 0:
        return ""
    there, apart = (_surely(each, scores, least) for each, scores in ((train, both.back), (val, val.learner.held_out)))
    across = _shares(val.labels, both.across, classes)
    for one in range(classes):
        for other in range(one):
            mistaken, usual = _mutual(there, one, other), max(float(apart[one, other]), float(apart[other, one]))
            both_ways = min(float(across[one, other]), float(across[other, one])) >= mistaken
            if mistaken > SURELY and usual < mistaken / 3 and not both_ways:
                return (
                    f"Of the training samples of classes {other} and {one} {mistaken:.0%} or more look like the other, "
                    f"as surely as those of validation look like their own."
                )
    return ""


def never_told_apart(both: Lessons) -> str:
    """Two classes of which training tells nothing, neither of its own samples nor of validation's, where fewer samples
    of validation tell much."""
    train, val, classes = both.train, both.val, both.train.targets.shape[1]
    if train.labels is None or val.labels is None or not val.targets.shape[1] == classes <= MOST_CLASSES:
        return ""
    for one in range(classes):
        for other in range(one):
            pairs = ((train, train.learner.held_out), (val, both.across), (val, val.learner.held_out))
            own, across, known = (_right_of_two(*pair, one, other) for pair in pairs)
            learnt = known.share - 0.5
            if (
                known.count >= 2 * PER_CLASS
                and own.count >= known.count
                and learnt > APART * known.error
                and all(each.share - 0.5 < min(BY_CHANCE * each.error, learnt / 3) for each in (own, across))
            ):
                return (
                    f"Of classes {other} and {one} training tells {own.share:.0%} of its own samples rightly and "
                    f"{across.share:.0%} of validation's, as guessing does; validation tells {known.share:.0%} of its "
                    "own."
                )
    return ""


@dataclass(frozen=True)
class _Right:
    """The share of samples of two classes that are told rightly, and its standard error where that is by chance."""

    share: float
    count: int

    @property
    def error(self) -> float:
        return 0.5 / math.sqrt(max(1, self.count))

    @property
    def is_chance(self) -> bool:
        return self.share - 0.5 < GUESSED * self.error


def _right_of_two(split: Lesson, scores: torch.Tensor, one: int, other: int) -> _Right:
    """By the higher of the scores of these two; each class counts as much."""
    assert split.labels is not None
    higher = scores[:, one] > scores[:, other]
    own = [(higher == (label == one))[split.labels == label] for label in (one, other)]
    least = min(len(each) for each in own)
    return _Right(sum(float(each.double().mean()) for each in own) / 2 if least else 0.5, 2 * least)


def _surely(split: Lesson, scores: torch.Tensor, least: float) -> torch.Tensor:
    """Of each class's samples the shares that are told to be of each other class by a margin."""
    assert split.labels is not None
    sure = split.margins(scores) < -least
    told = torch.where(sure, scores.argmax(1), split.labels)
    return _shares(split.labels, F.one_hot(told, scores.shape[1]).double(), scores.shape[1])


def parted_by_augmentation(before: Lesson, after: Lesson) -> str:
    """Classes that raw training images tell apart, and augmented ones take for each other."""
    classes = before.targets.shape[1]
    if before.labels is None or after.labels is None or not after.targets.shape[1] == classes <= MOST_CLASSES:
        return ""
    raw, augmented = (_shares(each.labels, each.learner.held_out, classes) for each in (before, after))
    for one in range(classes):
        for other in range(one):
            there = min(float(augmented[one, other]), float(augmented[other, one]))
            apart = max(float(raw[one, other]), float(raw[other, one]))
            was, now = (_right_of_two(each, each.learner.held_out, one, other) for each in (before, after))
            lost = now.is_chance and was.share - now.share > APART * math.hypot(was.error, now.error)
            if there > CONFUSED and (apart < there / 3 or lost):
                return (
                    f"Classes {other} and {one} are each taken for the other in {there:.0%} of the augmented training "
                    f"samples or more, in {apart:.0%} of the raw ones at most."
                )
    return ""


def called_another(both: Lessons) -> str:
    """A class most of which has another's label in training: a learner of validation finds it under that label, a
    learner of training gives that label to it. Rare samples alone do the second, harder ones do both ways."""
    classes = both.train.targets.shape[1]
    if both.train.labels is None or both.val.labels is None or classes > MOST_CLASSES:
        return ""
    usual = _shares(both.val.labels, both.val.learner.held_out, classes)
    in_training = _shares(both.train.labels, both.back, classes)
    across = _shares(both.val.labels, both.across, classes)
    for other in range(classes):
        for label in range(classes):
            if other == label:
                continue
            among = float(in_training[label, other] - usual[label, other])
            called = float(across[other, label] - usual[other, label])
            back = float(across[label, other] - usual[label, other])
            sure = among > APART * _error(both, usual, label, other) and called > APART * _error(
                both, usual, other, label
            )
            if sure and among > AMONG and called > CONFUSED and back < called / 3:
                return (
                    f"Of the training samples of class {label} {float(in_training[label, other]):.0%} look like class "
                    f"{other}, of those in validation {float(usual[label, other]):.0%}; and what is learnt in training "
                    f"takes {float(across[other, label]):.0%} of validation's class {other} for class {label}."
                )
    return ""


def _error(both: Lessons, shares: torch.Tensor, given: int, said: int) -> float:
    """Of the difference between the splits in how many of a class are told to be another."""
    assert both.train.labels is not None and both.val.labels is not None
    share = max(float(shares[given, said]), 0.05)
    counts = [int(each.eq(given).sum()) for each in (both.train.labels, both.val.labels)]
    return math.sqrt(share * (1 - share) * sum(1 / max(1, count) for count in counts))


def _mutual(shares: torch.Tensor, one: int, other: int) -> float:
    """How many samples of two classes are taken for the other, if it is so both ways."""
    given = sorted((float(shares[one, other]), float(shares[other, one])))
    return sum(given) / 2 if given[0] > given[1] / 3 else 0.0


def _surely_less(both: Lessons, val: torch.Tensor, train: torch.Tensor, pairs: list[tuple[int, int]]) -> bool:
    """Whether a learner of validation, which may be small, takes classes for each other far less often than one of
    training, which saw more of them."""
    less = variance = 0.0
    for given, said in [*pairs, *((other, one) for one, other in pairs)]:
        for split, shares, sign in ((both.train, train, 1), (both.val, val, -1)):
            assert split.labels is not None
            share, count = float(shares[given, said]), int(split.labels.eq(given).sum())
            less += sign * share
            variance += share * (1 - share) / max(1, count)
    return len(both.val.images) < len(both.train.images) and less > APART * variance**0.5


def _better_told(both: Lessons, one: int, other: int) -> bool:
    """Whether validation tells two classes from each other better than training does, not only from all others: surely
    so, or something where training tells nothing at all."""
    pairs = ((both.train, both.train.learner.held_out), (both.val, both.across), (both.val, both.val.learner.held_out))
    own, across, known = (_right_of_two(*pair, one, other) for pair in pairs)
    told_nothing = own.is_chance and across.is_chance and not known.is_chance
    return told_nothing or known.share - own.share > APART * math.hypot(own.error, known.error)


def _shares(labels: torch.Tensor | None, scores: torch.Tensor, classes: int) -> torch.Tensor:
    """What samples of each class are told to be; nothing of a class with too few of them."""
    assert labels is not None
    counts = confusion(labels, scores, classes)
    total = counts.sum(1, keepdim=True)
    return torch.where(total >= PER_CLASS, counts / total.clamp_min(1), torch.nan)
