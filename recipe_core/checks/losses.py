"""Is the loss of `evaluate` right? The model's outputs are replaced by some whose loss is known for any average."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from recipe_core.checks.known_outputs import axis_of_classes, can_be_said, outputs_off, to_device, varied
from recipe_core.checks.metrics import MEANS, MISMATCHED, PART, SUMMED, WRONG, ragged
from recipe_core.checks.probe import answers_are_heard, evaluate, own_outputs
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import rehearsal
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of
from recipe_core.checks.wanted import NEXT_TO_NOTHING, right_scale
from recipe_core.training.checkpoint import seed_everything

ROUNDING = 2e-3  # relative
MOST_DIVIDED, HALVINGS = 100.0, 40  # temperatures that are looked for
WRONG_BY = (0.45, 0.9)  # cosines are 1 at most
SAME_SCALE = 1.5  # times: dropout makes it a little uncertain
ABOUT_NOTHING = 0.05  # of the loss of other outputs: means and deviations of two splits differ a little
HARDLY = 0.9  # of the loss of wrong outputs, that right ones have
LOSSES = (
    F.cross_entropy,
    F.nll_loss,
    F.binary_cross_entropy_with_logits,
    F.binary_cross_entropy,
    F.mse_loss,
    F.l1_loss,
)

STATE = Cause(
    "evaluation-keeps-state",
    "evaluate gives another result when it is called again on the same samples and outputs: it carries something over "
    "from call to call.",
    "Reset metrics and sums at the start of each evaluation.",
    0.6,
)


@check(family="evaluation", stage=2, cost=1, causes=[STATE])
def evaluation_repeats_itself(subject: Subject):
    """Evaluating the same outputs for the same samples again, with others in between, gives the same metrics."""
    if not answers_are_heard(subject):
        return skipped("The model's outputs cannot be replaced where `forward` finds them.")
    model = subject.model()
    first, _, again = (evaluate(subject, model, varied(subject, seed), [subject.val]).metrics for seed in (0, 1, 0))
    names = [name for name in first if "loss" in name.lower() or MEANS.search(name.lower())]
    other = {name for name in names if not _near(again.get(name, math.nan), first[name])}
    other = {name for name in other if math.isfinite(first[name]) or str(again.get(name)) != str(first[name])}
    if other:
        name = min(other)
        return STATE.failed(
            f"{name} is {first[name]:.4g} at the first call and {again.get(name, math.nan):.4g} at a later one, "
            "for the same samples and outputs.",
            table=[{"call": "the first", **first}, {"call": "a later one", **again}],
        )
    return passed("The same each time.", metrics=first)


@check(family="evaluation", stage=2, cost=1, causes=[MISMATCHED, WRONG])
def right_outputs_have_the_least_loss(subject: Subject):
    """The loss that evaluate returns for outputs that are right is less than for outputs that are wrong, and in
    regression next to nothing."""
    if not answers_are_heard(subject):
        return skipped("The model's outputs cannot be replaced where `forward` finds them.")
    classes = subject.classes
    if not classes and subject.once(right_scale) is None:
        return skipped("The loss is no distance between outputs and targets.")
    if not can_be_said(subject):
        return skipped("It is not known which outputs would be right.")
    if not classes and subject.once(rescales_targets):
        return passed("evaluate brings the validation targets to the scale of the training targets first.")
    right, wrong = (_loss(subject, outputs_off(subject, by), [subject.val]) for by in (0, 1))
    if not (math.isfinite(right) and math.isfinite(wrong)):
        return skipped("evaluate returns no finite loss for these outputs.")
    told = {"right": right, "wrong": wrong}
    said = f"The loss is {right:.4g} for outputs that are right and {wrong:.4g} for others"
    if right < (wrong if classes else NEXT_TO_NOTHING * wrong) and not (classes and _hardly_tells(subject, told)):
        return passed(f"{said}.", **told)
    target = subject.val.y[:1]
    alike = [Sample([(x, target.expand_as(y).clone().to(y)) for x, y in subject.val.batches], True, 0.0)]
    right, wrong = (_loss(subject, outputs_off(subject, by), alike) for by in (0, 1))
    if right < NEXT_TO_NOTHING * wrong:
        column = subject.once(own_outputs).shape[1:] == (1,) and subject.val.y.ndim == 1
        hint = " (of shapes (n, 1) and (n,): are all compared with all?)" if column else ""
        return MISMATCHED.failed(
            f"{said}; were all targets the same, it would be right: outputs meet other samples' targets{hint}.",
            **told,
        )
    return WRONG.failed(f"{said}.", **told)


def rescales_targets(subject: Subject) -> bool:
    """Whether to evaluate those outputs are right that are the validation targets on the scale of the training ones."""
    if not answers_are_heard(subject):
        return False
    train, val, like = subject.drawn_train.y.float(), subject.val.y.float(), subject.once(own_outputs)
    if like[0].numel() != val[0].numel() or train.shape[1:] != val.shape[1:]:
        return False
    brought = (val - val.mean(0)) / val.std(0).clamp_min(1e-9) * train.std(0) + train.mean(0)

    def loss_of(outputs: torch.Tensor) -> float:
        outputs = outputs.reshape(len(outputs), *like.shape[1:])
        return _loss(subject, lambda sample: outputs, [subject.val])

    with contextlib.suppress(RuntimeError, ValueError, IndexError, TypeError):  # an evaluate that takes no such outputs
        on_scale, as_they_are = loss_of(brought), loss_of(val)
        return math.isfinite(as_they_are) and 0 <= on_scale < ABOUT_NOTHING * as_they_are
    return False


def _hardly_tells(subject: Subject, told: dict[str, float]) -> bool:
    """Whether right outputs are next to no better than wrong ones to evaluate, and much better to the training loss."""
    if told["right"] <= HARDLY * told["wrong"]:
        return False
    y = subject.val.batches[0][1]
    own = [outputs_off(subject, by)(subject.val)[: len(y)] for by in (0, 1)]
    right, wrong = (float(subject.pipeline.loss_fn(*to_device(subject, (each, y))).float().mean()) for each in own)
    return 0 <= right < wrong / 2


def _loss(subject: Subject, said: Callable[[Sample], torch.Tensor], passes: list[Sample]) -> float:
    trial = evaluate(subject, subject.model(), said, passes)
    return trial.metrics.get("loss", math.nan) if trial.given else math.nan


@check(family="evaluation", stage=2, cost=1, causes=[SUMMED, PART, MISMATCHED, WRONG])
def loss_of_known_outputs_is_right(subject: Subject):
    """The loss that evaluate returns is the mean over all samples of the pipeline's loss, or of a usual one, for
    outputs that differ from batch to batch."""
    if not answers_are_heard(subject):
        return skipped("The model's outputs cannot be replaced where `forward` finds them.")
    trial = evaluate(subject, subject.model(), varied(subject))
    if not trial.given:
        return skipped("evaluate takes its data from elsewhere than the loader that it is given.")
    loss = trial.metrics.get("loss", math.nan)
    if not math.isfinite(loss):
        return skipped("evaluate returns no finite loss for these outputs.")
    passes = (subject.val, subject.val_again)  # evaluate may go through the loader more than once
    known = [(sample, each) for sample in passes for each in _losses(subject, sample)]
    if not known:
        return skipped("The loss of these outputs could not be computed another way.")
    if any(_near(loss, value) for sample, each in known for value in _right(each, sample.sizes)):
        return passed(f"The loss is {loss:.4g}, as it should be.", loss=loss)
    if applied := next((name for name, value in _twice(subject) if _near(loss, value)), None):
        return SUMMED.failed(
            f"The loss is {loss:.4g}, that of probabilities taken for logits: {applied} is applied twice."
        )
    for along, value in _over_other_axes(subject):
        if _near(loss, value):
            return WRONG.failed(
                f"The loss is {loss:.4g}, that of a softmax along axis {along} instead of over the classes."
            )
    if (by := _temperature(subject, loss)) and _is_other_scale(by * _scale_in_steps(subject), subject):
        return SUMMED.failed(
            f"The loss is {loss:.4g}, that of outputs divided by {by:.3g}, as in the train step they are not: it is "
            "on another scale than the training loss."
        )
    for sample, each in known:
        found = _explained(sample, loss, each)
        if found:
            return found
    once, twice = _loss(subject, varied(subject), [subject.val]), _loss_of_all_twice(subject)
    by_one_less = abs(once) * 2 / len(subject.val)  # what changes where something is divided by n - 1
    if math.isfinite(once) and math.isfinite(twice) and abs(twice - once) > ROUNDING * abs(once) + by_one_less:
        return SUMMED.failed(
            f"The loss is {once:.4g}, and {twice:.4g} when each batch comes twice: it is no mean.",
            loss=once,
            twice=twice,
        )
    return passed(f"The loss is {loss:.4g}, another one than the training loss; that may be on purpose.", loss=loss)


@dataclass(frozen=True)
class _Known:
    """The values of a loss: of all samples at once, of both halves, of each batch."""

    whole: list[float]
    halves: list[float]
    batches: list[float]

    @property
    def is_sum(self) -> bool:
        return _near(sum(self.halves), *self.whole)


def _losses(subject: Subject, sample: Sample) -> Iterator[_Known]:
    """By the pipeline's own loss and the usual ones, those that take such outputs and targets."""
    outputs = varied(subject)(sample)
    labels = labels_of(sample.y, subject.classes)
    half = len(sample) // 2
    ways = [len(sample)], [half, len(sample) - half], sample.sizes
    for loss in (subject.pipeline.loss_fn, *LOSSES):
        for targets in [sample.y, *([] if labels is None or labels.shape == sample.y.shape else [labels])]:
            with contextlib.suppress(RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):
                yield _Known(*(_values(subject, loss, outputs, targets, sizes) for sizes in ways))


def _values(subject: Subject, loss: Callable, outputs: torch.Tensor, targets: torch.Tensor, sizes: list[int]):
    """The loss of each of so many samples."""
    parts = zip(outputs.split(sizes), targets.split(sizes), strict=True)
    return [float(loss(*to_device(subject, part))) for part in parts]


def _loss_of_all_twice(subject: Subject) -> float:
    """The loss where the loader gives all batches a second time: a mean stays what it is."""
    outputs, sample = varied(subject)(subject.val), subject.val
    doubled = Sample(sample.batches * 2, False, 0.0)
    return _loss(subject, lambda given: outputs.repeat(2, *[1] * (outputs.ndim - 1)), [doubled])


def _twice(subject: Subject) -> Iterator[tuple[str, float]]:
    """The losses of outputs to which what the loss applies was applied before."""
    outputs, y = varied(subject)(subject.val).float(), subject.val.y
    labels = labels_of(y, subject.classes)
    if labels is not None and outputs.ndim == 2 and outputs.shape[1] > 1:
        yield "softmax", float(F.cross_entropy(outputs.softmax(1), labels))
    if y.is_floating_point() and y.shape == outputs.shape and bool(((y >= 0) & (y <= 1)).all()):
        yield "sigmoid", float(F.binary_cross_entropy_with_logits(outputs.sigmoid(), y))


def _temperature(subject: Subject, loss: float) -> float | None:
    """What outputs are divided by before the cross-entropy that evaluate returns, if that explains it for others,
    too."""
    labels = labels_of(subject.val.y, subject.classes)
    outputs = [varied(subject, seed)(subject.val).float() for seed in (0, 1)]
    if labels is None or outputs[0].ndim != 2 or outputs[0].shape[1] <= int(labels.max()) or int(labels.min()) < 0:
        return None

    def of(divided_by: float, which: int = 0) -> float:
        return float(F.cross_entropy(outputs[which] / divided_by, labels))

    # Of outputs that say nothing of the labels, the loss falls as they are made smaller.
    low, high = 1 / MOST_DIVIDED, MOST_DIVIDED
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if of(middle) > loss else (low, middle)
    again = _loss(subject, varied(subject, 1), [subject.val])
    return low if _near(of(low), loss) and _near(of(low, 1), again) else None


def _is_other_scale(scale: float, subject: Subject) -> bool:
    """Whether neither outputs as they are nor the training loss, which may scale them itself, are of this scale."""
    return all(abs(math.log(scale * by)) > math.log(SAME_SCALE) for by in (1.0, _scale_in_loss(subject)))


def _scale_in_loss(subject: Subject) -> float:
    """What the training loss multiplies outputs by before its softmax, as large margins on cosines do: by that it grows
    where answers become more wrong."""
    labels, classes = labels_of(subject.val.y, subject.classes), subject.once(own_outputs).shape[1]
    assert labels is not None
    answers = [each * F.one_hot((labels + 1) % classes, classes).float() for each in WRONG_BY]
    try:
        less, more = (float(subject.pipeline.loss_fn(*to_device(subject, (each, subject.val.y)))) for each in answers)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return 1.0
    low, high = 1 / MOST_DIVIDED, MOST_DIVIDED
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        grown = [float(F.cross_entropy(middle * each, labels)) for each in answers]
        low, high = (middle, high) if grown[1] - grown[0] < more - less else (low, middle)
    return low


def _scale_in_steps(subject: Subject) -> float:
    """How many times the model's outputs the train step gives to the loss function."""
    run = subject.once(rehearsal)
    call = next((each for each in run.calls if isinstance(each.outputs, torch.Tensor)), None)
    if call is None:
        return 1.0
    seed_everything(1)  # as the rehearsal does
    with torch.no_grad():
        own = subject.outputs(subject.model().train(), run.batches[0][0]).float().std()
    return float(call.outputs.float().std() / own.clamp_min(1e-9).to(call.outputs.device))


def _over_other_axes(subject: Subject) -> Iterator[tuple[int, float]]:
    """The cross-entropy of outputs whose softmax is taken along another axis than that of the classes, by that axis."""
    outputs, labels = varied(subject)(subject.val).float(), labels_of(subject.val.y, subject.classes)
    axis = 1 if labels is not None and outputs.ndim == 2 else subject.once(axis_of_classes)
    labels = subject.val.y.long() if labels is None else labels
    if axis is None or outputs.shape[axis] <= int(labels.max()):  # as of one score for two classes
        return
    labels = labels.unsqueeze(axis)
    for other in set(range(outputs.ndim)) - {axis}:
        logs = torch.cat([batch.log_softmax(other) for batch in outputs.split(subject.val.sizes)])
        told = logs.gather(axis, labels.clamp_min(0))
        yield other, -float(told[labels >= 0].mean())


def _right(known: _Known, sizes: list[int]) -> list[float]:
    mean = sum(value * size for value, size in zip(known.batches, sizes, strict=True)) / sum(sizes)
    (whole,) = known.whole
    of_sums = [whole / sum(sizes)] if known.is_sum else []
    return [whole, mean, math.sqrt(max(0.0, whole)), *of_sums]


def _explained(sample: Sample, loss: float, known: _Known):
    """What was done with the losses of the batches to get this value."""
    count, total = len(sample.sizes), len(sample)
    mean = sum(value * size for value, size in zip(known.batches, sample.sizes, strict=True)) / total
    said = f"For outputs whose mean loss is {mean:.4g} evaluate returns {loss:.4g}"
    if _near(loss, sum(known.batches) / count):
        return ragged(sample, f"{said}, the mean over batches of unequal size.")
    sums = {
        "the sum over batches": sum(known.batches),
        "the sum over samples": mean * total,
        "the sum over batches divided by the number of samples": sum(known.batches) / total,
        "the sum over samples divided by the number of batches": mean * total / count,
        "in which each batch counts as a whole one, the last as well": sum(known.batches) * sample.sizes[0] / total,
        "the mean divided by the size of a batch": mean / sample.sizes[0],
    }
    if (each := sample.y[0].numel()) > 1:  # a mean over samples of what is summed in each is one, too
        sums["the sum over all targets of all samples"] = mean * total * each
        sums["the sum over all targets divided by the number of batches"] = mean * total * each / count
    for name, value in sums.items():
        if _near(loss, value):
            return SUMMED.failed(f"{said}, {name}.", expected=mean, loss=loss)
    if count > 1 and any(_near(loss, known.batches[at]) for at in (0, -1)):
        return PART.failed(f"{said}, the loss of a single batch.", expected=mean, loss=loss)
    return None


def _near(value: float, wanted: float) -> bool:
    return math.isfinite(wanted) and abs(value - wanted) <= ROUNDING * max(1e-6, abs(wanted))
