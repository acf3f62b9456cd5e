"""What the reference learner learns from each split, and how well that holds on the other; made once per audit."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from recipe_core.checks.learner import Learner, as_images
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of, targets_are_read

MOST = 1000  # samples of a split: a learner of so many takes two seconds
ALIKE = 10.0  # times the deviation of the other split's targets, and deviations of theirs away: of one scale
SEVERAL = 10  # samples that make a target's variance
MOSTLY = 0.5  # of the targets
NOTHING = 3.0  # deviations of what shuffled labels give: so few that chance alone may have given them
HARDLY = 0.2  # of what as many samples of the other split tell
NULLS = 20  # shufflings: enough for a mean and a deviation


@dataclass
class Lesson:
    """A split and a learner of it.

    Attributes:
        images: float32 (n, channels, height, width), averaged down.
        labels: int64 (n,); None for regression.
        targets: float (n, outputs): one-hot rows of the labels, or the targets in units of their deviation.
        scale: (mean, deviation), (outputs,) each, of the targets of a regression as they were.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    targets: torch.Tensor
    scale: tuple[torch.Tensor, torch.Tensor] | None = None

    def first(self, count: int) -> Lesson:
        """Of so many of its samples."""
        labels = None if self.labels is None else self.labels[:count]
        return Lesson(self.images[:count], labels, self.targets[:count], self.scale)

    def in_units_of(self, other: Lesson, scores: torch.Tensor) -> torch.Tensor:
        """What is learnt here about other images, in units of the other split's targets.

        Augmentation may spread targets further than they are in the other split, as mirroring does where they are
        places. Where they are on quite another scale, which is told by itself, each keeps its own.
        """
        if self.scale is None or other.scale is None or self.targets.shape[1] != other.targets.shape[1]:
            return scores
        (origin, unit), (mean, deviation) = self.scale, other.scale
        alike = (deviation < ALIKE * unit) & (unit < ALIKE * deviation) & ((mean - origin).abs() < ALIKE * unit)
        return torch.where(alike, (scores * unit + origin - mean) / deviation.clamp_min(1e-30), scores)

    @functools.cached_property
    def learner(self) -> Learner:
        return Learner(self.images, self.targets)

    @property
    def known(self) -> float:
        """What a learner of the others knows of held-out samples' targets, as a share of all there is to know."""
        return agreement(self.learner.held_out, self.targets)

    @functools.cached_property
    def strength(self) -> float:
        """How far what is learnt about held-out samples lies above what shuffled targets give, in deviations."""
        null = [agreement(self.learner.held_out_if(each), each) for each in self._shuffled()]
        return _deviations(self.known, null)

    def strength_from(self, other: Lesson) -> float:
        """The same of what is learnt from the other split."""
        if other.targets.shape[1] != self.targets.shape[1]:
            return 0.0
        scores = other.learner.predict(self.images)
        return _deviations(agreement(scores, self.targets), [agreement(scores, each) for each in self._shuffled()])

    def _shuffled(self) -> list[torch.Tensor]:
        chance = torch.Generator().manual_seed(0)
        return [self.targets[torch.randperm(len(self.targets), generator=chance)] for _ in range(NULLS)]

    def margins(self, scores: torch.Tensor) -> torch.Tensor:
        """(n,) score of the sample's own label less the best of the others."""
        assert self.labels is not None
        own = scores.gather(1, self.labels[:, None])[:, 0]
        return own - scores.scatter(1, self.labels[:, None], -torch.inf).max(1).values

    @property
    def usable(self) -> bool:
        """Whether there are finite images that are not all the same."""
        finite = bool(torch.isfinite(self.images).all() and torch.isfinite(self.targets).all())
        return finite and len(self.images) >= 20 and not bool((self.images == self.images[:1]).all())


@dataclass
class Lessons:
    train: Lesson
    val: Lesson

    @functools.cached_property
    def across(self) -> torch.Tensor:
        """(n, outputs) of the validation images, as learnt in training."""
        return self.train.learner.predict(self.val.images)

    @functools.cached_property
    def across_in_units(self) -> torch.Tensor:
        """The same in units of the validation targets."""
        return self.train.in_units_of(self.val, self.across)

    @functools.cached_property
    def back(self) -> torch.Tensor:
        """(n, outputs) of the training images, as learnt in validation."""
        return self.val.learner.predict(self.train.images)

    @functools.cached_property
    def places(self) -> torch.Tensor:
        """bool (outputs,): of which targets several samples of each split make the variance: a place that one text
        alone reaches tells nothing of the others."""
        shared = min(self.train.targets.shape[1], self.val.targets.shape[1])
        vary = [samples_that_vary(each.targets[:, :shared]) >= SEVERAL for each in (self.train, self.val)]
        return vary[0] & vary[1]

    def says_nothing(self, split: Lesson, other: Lesson) -> bool:
        """Whether nothing can be learnt about held-out samples of one split, from itself or from the other; where that
        one tells much, a little more than chance mostly gives is nothing, too."""
        if split.strength_from(other) > NOTHING:
            return False
        return split.strength <= NOTHING or split.strength <= HARDLY * other.first(len(split.images)).strength

    @property
    def comparable(self) -> bool:
        """Whether how much one split tells of the other's targets can be said: of maps with something at any place, a
        few samples make each number, and nothing tells of targets that are all the same."""
        if not (self.train.targets.any() and self.val.targets.any()):
            return False
        return self.train.labels is not None or len(self.places) == 1 or float(self.places.float().mean()) > MOSTLY

    @property
    def usable(self) -> bool:
        """Whether something can be learnt from both, and asked about the other."""
        alike = self.train.images.shape[1:] == self.val.images.shape[1:]
        return alike and self.train.usable and self.val.usable


def _deviations(value: float, null: list[float]) -> float:
    """How far a value lies above those that chance gives."""
    usual = torch.tensor(null)
    return float((value - usual.mean()) / usual.std().clamp_min(1e-9))


def agreement(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """Covariance of scores and targets, as a share of the targets' variance: 1 where all is known, 0 where nothing."""
    centred = targets - targets.mean(0)
    return float((scores * centred).sum() / centred.square().sum().clamp_min(1e-12))


def samples_that_vary(targets: torch.Tensor) -> torch.Tensor:
    """(outputs,) about how many samples make the variance of each; 0 where there is none."""
    squares = (targets - targets.mean(0)).double().square()
    return squares.sum(0).square() / squares.square().sum(0).clamp_min(1e-30)


def lessons(subject: Subject) -> Lessons:
    """Of both splits, as the network sees them."""
    classes, samples = subject.classes, [subject.drawn_train, subject.drawn_val]
    if not classes and not subject.once(targets_are_read):  # they may be anything, and nothing is to be learnt of them
        samples = [Sample([(x, torch.zeros_like(y)) for x, y in each.batches], False, 0.0) for each in samples]
    return Lessons(*(lesson(each, classes) for each in _of_one_width(*samples)))


def _of_one_width(*samples: Sample) -> list[Sample]:
    """Texts filled up to the longest of both splits."""
    widths = [each.x.shape[1] for each in samples if each.x.ndim == 2 and not each.x.is_floating_point()]
    if len(widths) < len(samples) or len(set(widths)) == 1:
        return list(samples)
    return [Sample([(F.pad(each.x, (0, max(widths) - each.x.shape[1])), each.y)], False, 0.0) for each in samples]


def lesson(sample: Sample, classes: int, shuffled: bool = True) -> Lesson:
    """Of a part of a sample that is spread over it; or of the first, in their order."""
    count = len(sample.x)
    rows = torch.randperm(count, generator=torch.Generator().manual_seed(0)) if shuffled else torch.arange(count)
    rows = rows[:MOST]
    images, labels = as_images(sample.x[rows]), labels_of(sample.y[rows], classes)
    if labels is not None:
        images, labels = images[labels >= 0], labels[labels >= 0]  # what a loss leaves out has no class
        return Lesson(images, labels, F.one_hot(labels, max(classes, int(labels.max()) + 1)).float())
    targets = sample.y[rows].reshape(len(rows), -1).float()
    if classes and not sample.y.is_floating_point():
        known = targets >= 0  # what a loss leaves out, as -100 where a text is filled up, is like any other
        usual = (targets * known).sum(0) / known.sum(0).clamp_min(1)
        targets = torch.where(known, targets, usual)
    mean, deviation = targets.mean(0), targets.std(0)
    constant = deviation <= 1e-6 * deviation.max()
    scaled = torch.where(constant, 0.0, (targets - mean) / deviation.clamp_min(1e-30))
    return Lesson(images, None, scaled, (mean, deviation))
