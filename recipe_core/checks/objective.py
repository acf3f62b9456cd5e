"""Do the model's outputs and the loss function fit each other? The loss is asked about outputs whose worth is known."""

import contextlib
import functools
import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch.nn import functional as F

from recipe_core.checks.optimisation import CLIPPED, UPHILL
from recipe_core.checks.probe import names_classes
from recipe_core.checks.reach import MOST, Reach, dropped_by_chance, in_form, reach, reach_in_steps
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import answers, are_spread, as_outputs, labels_of, loss_looks_ahead
from recipe_core.checks.wanted import right_outputs

CLEAR = 0.1  # of what can be gained over an uninformed guess; a loss that bounded outputs cannot reach
LEAST_SEVERAL = 0.05  # of the samples, whose labels are none or several
WRONG_BY = 10.0  # logits, or three standard deviations of a target

PROBABILITIES = Cause(
    "probabilities-as-logits",
    "The loss normalises what is a probability already, or does not normalise what is none: it cannot fall to zero, "
    "or its gradient fades.",
    "Give cross_entropy and binary_cross_entropy_with_logits raw scores, and nll_loss log-probabilities.",
    0.8,
)
RESTRICTED = Cause(
    "outputs-restricted",
    "The last layer cannot give the outputs that the loss wants: it ends in a ReLU, a tanh, a softmax or the like.",
    "End the model with a linear layer; where a sample may have several labels, with a sigmoid for each.",
    0.7,
    follows=("batch-mixed",),
)
MISMATCHED = Cause(
    "outputs-mismatched",
    "The model has another number of outputs than there are classes; those too many only take probability away.",
    "Let the last layer have one output per class.",
    0.4,
)
BLIND = Cause(
    "loss-ignores-class",
    "Samples of a class do not change the loss: the model never learns that class.",
    "Look at ignore_index and the weights per class of the loss function.",
    0.7,
)


class Objective:
    """The loss function of a pipeline, to be asked about outputs for its training samples.

    Attributes:
        labels: int64 (n,) or None for regression; of a text with a class for each place, (n * places,).
        truth: bool, as `like`: which outputs are to be high, also of several labels a sample or a class for each pixel;
            None for regression.
        like: outputs of the fresh model for these samples; rows of classes where there are labels.
    """

    def __init__(self, subject: Subject):
        self._subject = subject
        x, self.targets = subject.train.first(MOST)
        with torch.no_grad():
            self.like = subject.outputs(subject.model().eval(), x).detach().float().cpu()
        self._shape = self.like.shape
        classes, labels = subject.classes, labels_of(self.targets, subject.classes)
        by_place = self.like.ndim == 3 and labels is None and self.targets.shape == self.like.shape[:2]
        if by_place and not subject.once(loss_looks_ahead):
            labels, self.like = self.targets.flatten().long(), self.like.flatten(0, 1)
        self._form = in_form(subject, self.like)
        columns = self.like.shape[1] if self.like.ndim == 2 else 1 if self.like.ndim == 1 else 0
        fits = labels is not None and columns in (1, classes)
        self.labels = (
            labels if fits and labels is not None and 0 <= labels.min() <= labels.max() < max(2, columns) else None
        )
        self.truth = self._truth()

    def _truth(self) -> torch.Tensor | None:
        if self.labels is not None:
            wide = self.like.ndim == 2 and self.like.shape[1] > 1
            return (
                F.one_hot(self.labels, self.like.shape[1]).bool() if wide else self.labels.reshape(self.like.shape) > 0
            )
        targets = self.targets
        if targets.shape == self.like.shape and bool(((targets == 0) | (targets == 1)).all()):
            return targets == 1
        of_places = self.like.ndim > 2 and targets.shape == (len(self.like), *self.like.shape[2:])
        if of_places and not targets.is_floating_point() and 0 <= targets.min() <= targets.max() < self.like.shape[1]:
            return F.one_hot(targets.long(), self.like.shape[1]).movedim(-1, 1).bool()
        return None

    @functools.cached_property
    def wanted(self) -> torch.Tensor:
        """For regression: what is right for the targets, in their shape."""
        return right_outputs(self._subject, self.targets)

    def loss(self, outputs: torch.Tensor) -> float:
        """Their loss; NaN if the loss function cannot take them."""
        device = self._subject.device
        with torch.no_grad(), contextlib.suppress(RuntimeError, ValueError):
            loss = self._subject.pipeline.loss_fn(outputs.reshape(self._shape).to(device), self.targets.to(device))
            return float(loss.float().mean())
        return math.nan

    def gradient(self, outputs: torch.Tensor) -> torch.Tensor:
        """Of the loss by these outputs; NaN where there is none."""
        device = self._subject.device
        asked, found = outputs.reshape(self._shape).to(device).clone().requires_grad_(), None
        with contextlib.suppress(RuntimeError, ValueError):  # as of outputs that it does not take
            loss = self._subject.pipeline.loss_fn(asked, self.targets.to(device)).float().mean()
            found = torch.autograd.grad(loss, asked, allow_unused=True)[0]
        return torch.full_like(outputs, math.nan) if found is None else found.cpu()

    def is_blind_to(self, label: int) -> bool:
        """Whether wrong answers for this class leave the loss as it is."""
        assert self.labels is not None
        right, wrong = self.loss(self.right()), self.loss(self.wrong())
        return abs(self.loss(self.wrong(which=self.labels == label)) - right) <= 1e-6 * abs(wrong - right)

    @functools.cached_property
    def padding(self) -> int | None:
        """The class that the loss leaves out and that stands only where texts are filled up, at one of their ends."""
        if self.labels is None or self.targets.ndim != 2 or self.labels.numel() != self.targets.numel():
            return None
        for label in self.targets.unique().tolist():
            steps = (self.targets == label).long().diff(dim=1)
            if steps.any() and not bool((steps < 0).any() and (steps > 0).any()) and self.is_blind_to(label):
                return label
        return None

    def right(self, sure: float = 8.0) -> torch.Tensor:
        assert self.labels is not None
        return answers(self.labels, self._form, sure)

    def wrong(self, sure: float = 8.0, which: torch.Tensor | None = None) -> torch.Tensor:
        """Answers that are wrong for all samples, or right but for these."""
        assert self.labels is not None
        classes = max(2, self.like.shape[1] if self.like.ndim == 2 else 1)
        other = (self.labels + 1) % classes
        labels = other if which is None else torch.where(which, other, self.labels)
        return answers(labels, self._form, sure)

    def uninformed(self) -> torch.Tensor:
        """The same for all classes."""
        flat = torch.zeros_like(self.like)
        return as_outputs(flat, self._form) if self.like.ndim == 2 and self.like.shape[1] > 1 else flat

    def within(self, low: float, high: float) -> Iterable[torch.Tensor]:
        """Right answers of outputs that are bounded."""
        assert self.truth is not None
        for rest in {low, 0.0, (low + high) / 2}:
            yield torch.where(self.truth, high, rest)


def objective(subject: Subject) -> Objective:
    """Made once, by `subject.once(objective)`."""
    return Objective(subject)


@check(family="model", stage=2, cost=1, causes=[PROBABILITIES, RESTRICTED])
def outputs_are_what_the_loss_wants(subject: Subject):
    """Among the outputs that the model can give, whatever its weights, are some whose loss is about zero."""
    asked, can = subject.once(objective), subject.once(reach)
    if dropped := dropped_by_chance(subject):
        return RESTRICTED.failed(
            f"In train mode {dropped:.0%} of the outputs are exactly zero, others each time: dropout comes after the "
            "last layer."
        )
    if asked.truth is None:
        return _regression(asked, can)
    told = _judged(asked, can)
    if told.verdict == "pass" and can.kind == "free" and (given := reach_in_steps(subject)) and given.kind != "free":
        said = _judged(asked, given)
        return replace(said, message=f"In the train step: {said.message}")
    return told


def _judged(asked: Objective, can: Reach) -> Result:
    assert asked.truth is not None
    own, moved = asked.loss(asked.like), asked.loss(asked.like + 3)
    normalises = math.isclose(own, moved, rel_tol=1e-4, abs_tol=1e-5) and can.kind != "cut off"
    if can.kind in ("probabilities", "unit") and normalises:
        return PROBABILITIES.failed(
            f"All outputs lie in {can.low:.2g}..{can.high:.2g}, whatever weights and inputs are, and the loss applies "
            "a softmax once more: adding 3 to each output leaves it as it is.",
            kind=can.kind,
        )
    if can.kind == "probabilities" and asked.labels is not None and (best := asked.loss(asked.right(20.0))) < -0.1:
        return PROBABILITIES.failed(
            f"The loss of sure and right probabilities is {best:.3g}; that of their logarithm 0."
        )
    if can.kind == "probabilities" and asked.labels is None and asked.truth.ndim == 2:
        several = float((asked.truth.sum(1) != 1).float().mean())
        if several > LEAST_SEVERAL:
            return RESTRICTED.failed(
                f"A sample's outputs always sum to 1, as if one label excluded the others, but {several:.0%} of the "
                "samples have none or several."
            )
    if can.kind == "free" and asked.like.ndim == 2 and asked.like.shape[1] > 1:
        best = asked.loss(asked.truth * 100.0)
        if -10 <= best < -0.1 and _is_linear_in_shares(asked):
            return PROBABILITIES.failed(
                f"The loss takes the probability of the right class, where its logarithm is meant: it falls to "
                f"{best:.3g}, and hardly teaches what is surely wrong."
            )
        if best < -10:
            return PROBABILITIES.failed(
                f"The loss has no floor: it takes raw scores as they are, and falls to {best:.3g}."
            )
    if can.kind == "cut off" and not _enough_above_zero(asked):
        share = float((can.outputs == 0).float().mean())
        return RESTRICTED.failed(
            f"No output is ever below zero, and {share:.0%} are exactly zero, where they have no gradient.", zeros=share
        )
    if can.kind in ("unit", "signed unit"):
        return _bounded(asked, can)
    return passed(f"The model's outputs are {can.kind}, as the loss wants them.")


def _is_linear_in_shares(asked: Objective) -> bool:
    """Whether the loss follows the mean probability of the right class, as a softmax of the outputs gives it."""
    assert asked.truth is not None
    chance = torch.Generator().manual_seed(0)
    trials = [torch.randn(asked.like.shape, generator=chance) * size for size in (0.5, 1.0, 2.0, 3.0, 4.0, 6.0)]
    trials = [each + by * asked.truth for each, by in zip(trials, (0, 4, -2, 6, 2, -4), strict=True)]
    shares = torch.tensor([float(each.softmax(1)[asked.truth].mean()) for each in trials], dtype=torch.float64)
    losses = torch.tensor([asked.loss(each) for each in trials], dtype=torch.float64)
    line = torch.stack([shares, torch.ones_like(shares)], 1)
    missed = line @ torch.linalg.lstsq(line, losses[:, None]).solution[:, 0] - losses
    return bool(missed.isfinite().all()) and float(missed.abs().max()) < 1e-3 * float(losses.max() - losses.min())


def _enough_above_zero(asked: Objective) -> bool:
    """Whether the loss is made for outputs that are never below zero, as evidence is (Sensoy et al. 2018): the best of
    them are as good as any, and it is no softmax, which would not mind where zero is."""
    own, moved = asked.loss(asked.like), asked.loss(asked.like + 3)
    if math.isclose(own, moved, rel_tol=1e-4, abs_tol=1e-5):
        return False
    best, free = (
        min(asked.loss(outputs) for sure in (8.0, 20.0) for outputs in asked.within(low * sure, sure))
        for low in (0, -1)
    )
    return best - free <= CLEAR * (asked.loss(torch.zeros_like(asked.like)) - free)


def _bounded(asked: Objective, can: Reach):
    low, high = (0.0, 1.0) if can.kind == "unit" else (-1.0, 1.0)
    best = min(asked.loss(outputs) for outputs in asked.within(low, high))
    free = min(asked.loss(outputs) for sure in (1.0, 8.0, 20.0) for outputs in asked.within(-sure, sure))
    middle = asked.loss(torch.full_like(asked.like, (low + high) / 2))
    if best - free > CLEAR * (middle - free):
        cause = PROBABILITIES if can.kind == "unit" else RESTRICTED
        return cause.failed(
            f"All outputs lie in {low:g}..{high:g}: the loss of the best of them is {best:.3g}, of scores without "
            f"bounds {free:.3g}, of a guess {middle:.3g}."
        )
    return passed(f"All outputs lie in {low:g}..{high:g}, and the loss can fall to {best:.3g} there.")


def _regression(asked: Objective, can: Reach):
    low, high = {"unit": (0.0, 1.0), "signed unit": (-1.0, 1.0), "cut off": (0.0, math.inf)}.get(
        can.kind, (-math.inf, math.inf)
    )
    targets = asked.wanted
    if targets.shape != asked.like.shape:
        return skipped("Outputs and targets are not of one shape.")
    beyond = float(((targets < low - 0.01) | (targets > high + 0.01)).float().mean())
    if beyond > 0.02:
        return RESTRICTED.failed(f"All outputs lie in {low:g}..{high:g}, and {beyond:.0%} of the targets do not.")
    return passed("The outputs can take the values of the targets.")


@check(family="optimisation", stage=2, cost=0.5, causes=[UPHILL, BLIND])
def the_loss_prefers_the_truth(subject: Subject):
    """Right answers have a smaller loss than wrong ones, for the samples of every class."""
    asked = subject.once(objective)
    if asked.labels is None:
        return _prefers_the_targets(subject, asked)
    right, wrong = asked.loss(asked.right()), asked.loss(asked.wrong())
    if not (math.isfinite(right) and math.isfinite(wrong)):
        return skipped("The loss of sure answers is not finite.")
    if right > wrong + 1e-3 * abs(wrong):
        if not names_classes(subject):
            return skipped("The outputs do not stand for classes.")
        return UPHILL.failed(f"The loss of right answers is {right:.3g}, of wrong ones {wrong:.3g}.")
    labels = [] if are_spread(asked.targets) else asked.labels.unique().tolist()
    blind = [label for label in labels if asked.is_blind_to(label) and label != asked.padding]
    if blind and len(blind) < len(asked.labels.unique()):
        return BLIND.failed(f"Wrong answers for samples of class {blind[0]} leave the loss as it is.", classes=blind)
    return passed(f"The loss of right answers is {right:.3g}, of wrong ones {wrong:.3g}.")


def _prefers_the_targets(subject: Subject, asked: Objective):
    if subject.classes or asked.targets.shape != asked.like.shape:
        return skipped("It is not known which outputs would be right.")
    targets = asked.wanted
    right, far, others = (
        asked.loss(each) for each in (targets, targets + 3 * targets.std(0), targets.roll(len(targets) // 2, 0))
    )
    wrong = max(far, others)  # outputs may be as long as targets only, as unit vectors are
    if math.isfinite(right) and right > wrong + 1e-3 * abs(wrong):
        return UPHILL.failed(f"The loss of right outputs is {right:.3g}, of wrong ones {wrong:.3g}.")
    return passed(f"The loss of right outputs is {right:.3g}, of wrong ones {wrong:.3g}.")


@check(family="optimisation", stage=2, cost=0.5, causes=[CLIPPED])
def wrong_answers_have_a_gradient(subject: Subject):
    """Where the model is quite wrong, the loss has a gradient that tells it so."""
    asked = subject.once(objective)
    if asked.labels is not None:
        outputs = asked.wrong(WRONG_BY)
    elif not subject.classes and asked.targets.shape == asked.like.shape:
        outputs = asked.wanted + 3 * asked.wanted.std(0)
    else:
        return skipped("It is not known which answers would be wrong.")
    gradient = asked.gradient(outputs)
    if not gradient.isfinite().all():
        return skipped("The loss gives no gradient by the outputs.")
    if not gradient.any():
        return CLIPPED.failed(
            f"Where all answers are wrong, the loss is {asked.loss(outputs):.3g} and its gradient zero."
        )
    return passed("It has one.")


@check(family="model", stage=2, cost=0.2, causes=[MISMATCHED])
def one_output_per_class(subject: Subject):
    """The model has as many outputs as there are classes (one is enough for two)."""
    classes, shape = subject.classes, tuple(subject.once(objective).like.shape)
    if not classes or len(shape) != 2 or shape == tuple(subject.once(objective).targets.shape):
        return skipped("The outputs are not one row of classes per sample.")
    if shape[1] > classes + 1 and not names_classes(subject):
        return skipped("The outputs do not stand for classes.")
    if shape[1] > classes + 1:
        return MISMATCHED.failed(f"{shape[1]} outputs for {classes} classes.")
    if shape[1] == classes or (classes == 2 and shape[1] == 1):
        return passed(f"{shape[1]} outputs for {classes} classes.")
    if shape[1] == classes - 1 and len(subject.once(objective).targets.unique()) == classes:
        return passed(f"{shape[1]} outputs for {classes} classes in order: whether it is more than each but the last.")
    return MISMATCHED.unsure(f"{shape[1]} outputs for {classes} classes; is that on purpose?")
