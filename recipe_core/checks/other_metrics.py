"""Are metrics of any name right? They are asked about the same outputs, drawn and batched otherwise."""

import math
import re
from collections.abc import Callable

import torch

from recipe_core.checks.known_outputs import as_shares, axis_of_classes, can_be_said, outputs_off, varied
from recipe_core.checks.metrics import MEANS, RAGGED, SUMMED, WRONG, is_accuracy, ragged
from recipe_core.checks.objective import objective
from recipe_core.checks.probe import Answers, answers_are_heard, asks_layers, evaluate, own_outputs, place_of_forward
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import answers, labels_of, samples_are_judged_alone, targets_are_read
from recipe_core.checks.wanted import right_outputs, right_scale

ROUNDING = 2e-3  # relative
CORRECTED = 0.05  # of the error of others, that is left for right outputs where a bias is corrected, as of logarithms
ERRORS = re.compile(r"mae|mse|err")
# 1 for what is right
OVERLAPS = re.compile(
    r"^(?!.*(loss|dist)).*((^|_)([gm]?iou|pck|within)|(^|_)corr(elation)?(_|$)|dice|jaccard|pearson|spearman|concord)"
)
DISTANCES = re.compile(r"^(?!.*(ub|bias|cent)).*(mae|mse)|^(val_)?loss$")  # of outputs and targets as they are
BELOW, ABOVE = 0.45, 0.55  # scores on either side of one half
LAST = 0.9  # of the answers
HARDLY_SURE = 0.05  # of the scores of what is said for sure
MOST_BY_CHANCE = 0.05  # of the outputs that are all wrong: what a decoder makes of them may be right
AREAS = re.compile(r"auc|roc|average_precision|(^|_)m?ap($|_)")  # under curves, over all thresholds
RIGHT = 0.7  # of the answers
FAR = 100  # times the largest target

OTHER_OUTPUT = Cause(
    "evaluates-other-output",
    "evaluate measures another output of the model than the one that is trained and used.",
    "Read the same output in evaluate as in the train step and in forward.",
    0.8,
)


@check(family="evaluation", stage=2, cost=0.5, causes=[OTHER_OUTPUT])
def evaluation_reads_what_forward_gives(subject: Subject):
    """Where a model gives several outputs of one shape, the metrics depend on the one that `forward` gives."""
    place = place_of_forward(subject)
    if place is None or not answers_are_heard(subject) or not can_be_said(subject):
        return skipped("The model has one output of this shape, or it is not known which would be right.")
    right, wrong = (
        evaluate(subject, subject.model(), outputs_off(subject, by), [subject.val], place=place).metrics
        for by in (0, 1)
    )
    named = "".join(f"[{each!r}]" for each in place)
    if str(right) == str(wrong):
        return OTHER_OUTPUT.failed(
            f"The metrics are the same whether output {named}, which forward gives, is right or wrong."
        )
    return passed(f"They depend on output {named}.")


@check(family="evaluation", stage=2, cost=1, causes=[RAGGED, SUMMED, WRONG])
def metrics_do_not_depend_on_the_batches(subject: Subject):
    """For the same outputs metrics stay what they are when all samples come in one batch, or when each batch comes
    twice."""
    if not answers_are_heard(subject):
        return skipped("The model's outputs cannot be replaced where `forward` finds them.")
    if not (subject.once(targets_are_read) and subject.once(samples_are_judged_alone)):
        return skipped("The loss compares the samples of a batch with each other, and so may metrics.")
    sample, outputs = subject.val, varied(subject)(subject.val)
    whole = Sample([(sample.x, sample.y)], sample.complete, 0.0)
    double = Sample(sample.batches * 2, False, 0.0)
    trials = [
        evaluate(subject, subject.model(), _always(each), [given])
        for each, given in ((outputs, sample), (outputs, whole), (torch.cat([outputs, outputs]), double))
    ]
    if len(sample.x) != len(sample) or not all(len(each.given) >= len(sample.batches) for each in trials[::2]):
        return skipped("evaluate does not take all the batches that it is given.")
    if len(trials[0].inputs) % len(trials[0].given):
        return skipped("evaluate asks the model about other samples, too, as to choose a threshold.")
    found = []
    # Losses and accuracies are known exactly: other checks judge them.
    for name in (each for each in trials[0].metrics if MEANS.search(each.lower()) and not is_accuracy(each)):
        value, at_once, twice = (each.metrics.get(name, math.nan) for each in trials)
        told = {"metric": value, "in_one_batch": at_once, "each_batch_twice": twice}
        if not all(map(math.isfinite, told.values())):
            continue
        if _near(twice, 2 * value) and abs(value) > ROUNDING and not _near(at_once, value):
            said = f"{name} is {value:.4g}, and {twice:.4g} when each batch comes twice: it is a sum over batches."
            found.append(SUMMED.failed(said, **told))
        elif not _near(at_once, value) and len(sample.batches) > 1:
            said = f"{name} is {value:.4g} by batches and {at_once:.4g} for the same outputs in one batch"
            uneven = len(set(sample.sizes)) > 1
            depends = "what counts for a sample depends on which others are in its batch, as after a softmax over them"
            found.append(ragged(sample, f"{said}.") if uneven else WRONG.failed(f"{said}: {depends}.", **told))
    wrong = [each for each in found if each.verdict == "fail"]
    return wrong or passed("They stay the same.")


@check(family="evaluation", stage=2, cost=0.5, causes=[SUMMED, WRONG])
def metrics_of_a_regression_are_right(subject: Subject):
    """Right outputs have no error and an R2, a correlation or an overlap of 1, and the R2 of others is the share of the
    variance that they tell."""
    if subject.classes or not answers_are_heard(subject):
        return skipped("There is no regression whose outputs can be replaced.")
    like, y = subject.once(own_outputs), right_outputs(subject, subject.val.y)
    if like[0].numel() != y[0].numel():
        return skipped("Outputs and targets are not of one shape.")
    if subject.once(right_scale) is None:
        return skipped("The loss is no distance between outputs and targets: it is not known which outputs are right.")
    off = varied(subject)(subject.val)
    right, others = (
        evaluate(subject, subject.model(), _always(each.reshape(len(y), *like.shape[1:])), [subject.val]).metrics
        for each in (y, off)
    )
    for name in [name for name, value in right.items() if value == others.get(name)]:
        if asks_layers(subject, name, _always(y.reshape(len(y), *like.shape[1:]))):
            del right[name], others[name]
    targets, outputs = y.reshape(len(y), -1).double(), off.reshape(len(y), -1).double()
    missed, there = (outputs - targets).square().sum(0), (targets - targets.mean(0)).square().sum(0)
    unbiased = 1 - 1 / len(y)  # as torch's var() divides
    overall = (targets - targets.mean()).square().sum()
    shares = [float(1 - missed.sum() / each) for each in (there.sum(), overall)] + [float((1 - missed / there).mean())]
    shares += [1 - unbiased * (1 - each) for each in shares]
    for name, value in right.items():
        low = name.lower()
        # Between these two lie those that take a mean of some outputs for what is known, as one for each colour.
        between = min(shares[:2]) <= others[name] <= max(shares[:2])
        if "r2" in low and not (_near(value, 1) and (between or any(_near(others[name], each) for each in shares))):
            return WRONG.failed(
                f"{name} is {value:.4g} for outputs that are right, and {others[name]:.4g} where it should be "
                f"{shares[0]:.4g}."
            )
        if OVERLAPS.search(low) and not ERRORS.search(low) and value < RIGHT and value != others[name]:
            return WRONG.failed(f"{name} is {value:.4g} for outputs that are right, {others[name]:.4g} for others.")
        if ERRORS.search(low) and math.isfinite(value) and abs(value) > CORRECTED * abs(others[name]):
            if scale := _other_scale(subject, name):
                factor, added = scale
                plus = (
                    f" {'plus' if added > 0 else 'minus'} {abs(added):.4g}"
                    if abs(added) > 0.01 * float(y.std())
                    else ""
                )
                return SUMMED.failed(
                    f"{name} is {value:.4g} for outputs that are right, and 0 for {factor:.4g} times those{plus}: it "
                    "compares outputs and targets on two scales."
                )
            return WRONG.failed(f"{name} is {value:.4g} for outputs that are right, {others[name]:.4g} for others.")
    if told := _blind(subject, others):
        return WRONG.failed(told)
    return passed("They are right for outputs that are known.", right=right, others=others)


def _blind(subject: Subject, usual: dict[str, float]) -> str:
    """Which error is none for outputs that are far from right, if one is."""
    like, y = subject.once(own_outputs), right_outputs(subject, subject.val.y)
    mean, deviation, off = y.mean(0), y.std(0), varied(subject)(subject.val)
    if not deviation.any():
        return ""
    # Both ways each: what is cut off at the bounds of the targets, or rounded, is none the wiser of one of them.
    for said, both in (
        ("too high, or too low, by their deviation", (y + deviation, y - deviation)),
        ("twice, or half, as far from their mean", (2 * y - mean, (y + mean) / 2)),
    ):
        shaped = [outputs.reshape(len(y), *like.shape[1:]) for outputs in both]
        if sum(abs(_loss(subject, each)) for each in shaped) <= CORRECTED * abs(_loss(subject, off)):
            continue  # to the pipeline's own loss they are right: it asks for a direction, say
        found = [evaluate(subject, subject.model(), _always(each), [subject.val]).metrics for each in shaped]
        for name in (each for each in usual if DISTANCES.search(each.lower())):
            value = sum(abs(each.get(name, math.nan)) for each in found)
            if value <= ROUNDING * abs(usual[name]):
                return (
                    f"{name} is {value:.4g} for outputs that are all {said}, as if they were right: outputs "
                    "and targets are each brought to a scale of their own before they are compared."
                )
    return ""


@torch.no_grad()
def _loss(subject: Subject, outputs: torch.Tensor) -> float:
    """The pipeline's own, of outputs for the validation samples."""
    return float(subject.pipeline.loss_fn(outputs.to(subject.device), subject.val.y.to(subject.device)).float().mean())


def _other_scale(subject: Subject, name: str) -> tuple[float, float] | None:
    """The factor and the shift by which right outputs have no error, if it is an absolute or a squared one.

    It may multiply outputs by something and shift them before it compares them: what it is for outputs that are all
    far above or far below tells both.
    """
    like, y = subject.once(own_outputs), right_outputs(subject, subject.val.y).double()

    def error(outputs: torch.Tensor) -> float:
        outputs = outputs.float().reshape(len(y), *like.shape[1:])
        return evaluate(subject, subject.model(), _always(outputs), [subject.val]).metrics[name]

    far = FAR * float(y.abs().max())
    above, below = (error(torch.full_like(y, each)) for each in (far, -far))
    if not min(far, above, below) > 0:
        return None
    usual = error(torch.zeros_like(y))
    for power in (1.0, 0.5):
        high, low = above**power, below**power
        times, shift = (high + low) / (2 * far), (high - low) / 2  # shift: less the targets' mean
        factor, added = 1 / times, -(shift + float(y.mean())) / times
        if math.isfinite(times) and error(factor * y + added) < ROUNDING * usual:
            return factor, added
    return None


@check(family="evaluation", stage=2, cost=0.5, causes=[WRONG])
def accuracy_of_several_answers_is_right(subject: Subject):
    """Where a sample has several labels, or one for each of its places, an accuracy is 1 for outputs that are all
    right, and 0 for outputs that are all wrong."""
    y, classes = subject.val.y, subject.classes
    if not classes or labels_of(y, classes) is not None or not answers_are_heard(subject):
        return skipped("There are not several answers a sample that can be replaced.")
    yes_or_no = y.is_floating_point() and bool(((y == 0) | (y == 1)).all())
    if not can_be_said(subject) or not (yes_or_no or subject.once(axis_of_classes) is not None):
        return skipped("It is not known which outputs would be right.")
    right, wrong = (
        evaluate(subject, subject.model(), _as_sure_as_may_be(subject, by), [subject.val]).metrics for by in (0, 1)
    )
    for name in (each for each in right if is_accuracy(each) or MEANS.search(each.lower())):
        if any(_near(right[name], unit) for unit in (1, 100)):
            if is_accuracy(name) and wrong[name] > MOST_BY_CHANCE * right[name]:
                return WRONG.failed(
                    f"{name} is {wrong[name]:.4g} for outputs that are all wrong: it counts places that only fill "
                    "up, or others that nobody asks about."
                )
            continue
        if right[name] == wrong[name] and asks_layers(subject, name, _as_sure_as_may_be(subject, 0)):
            continue
        said = f"{name} is {right[name]:.4g} for outputs that are all right and {wrong[name]:.4g} for wrong ones"
        axis = _axis_looked_along(subject, right[name])
        if axis is not None:
            along = subject.once(axis_of_classes)
            return WRONG.failed(f"{said}: the greatest is looked for along axis {axis}, classes stand along {along}.")
        if is_accuracy(name):
            return WRONG.failed(f"{said}: places hang on each other, or it is divided by the wrong number of them.")
    return passed("It is.", right=right, wrong=wrong)


def _as_sure_as_may_be(subject: Subject, by: int) -> Answers:
    """Outputs that are right, or off by one class, at each place more or less sure: no matter where places are told by
    themselves."""

    def answer(sample: Sample) -> torch.Tensor:
        outputs, axis = outputs_off(subject, by)(sample), subject.once(axis_of_classes)
        if axis is None:
            return outputs
        places = outputs.select(axis, 0).unsqueeze(axis)
        return outputs * (
            HARDLY_SURE + (1 - HARDLY_SURE) * torch.rand(places.shape, generator=torch.Generator().manual_seed(0))
        )

    return answer


def _axis_looked_along(subject: Subject, accuracy: float) -> int | None:
    """The axis of the outputs along which the greatest is looked for, if the accuracy of right ones is that of another
    than the classes'."""
    outputs, y = _as_sure_as_may_be(subject, 0)(subject.val), subject.val.y
    for axis in range(outputs.ndim):
        said = outputs.argmax(axis)
        if axis != subject.once(axis_of_classes) and said.shape == y.shape and _near(accuracy, _share(said == y)):
            return axis
    return None


def _share(right: torch.Tensor) -> float:
    return float(right.float().mean())


@check(family="evaluation", stage=2, cost=0.5, causes=[WRONG])
def padding_does_not_count(subject: Subject):
    """What a model says of places that fill up a text, and that the training loss leaves out, changes no metric."""
    padding = subject.once(objective).padding
    axis, y = subject.once(axis_of_classes), subject.val.y
    if padding is None or axis is None or not bool((y == padding).any()) or not answers_are_heard(subject):
        return skipped("There are no texts that are filled up to one length.")
    outputs = varied(subject)(subject.val)
    places = (y == padding).unsqueeze(axis)
    others = torch.where(places, -outputs, outputs)
    first, second = (
        evaluate(subject, subject.model(), _always(each), [subject.val]).metrics for each in (outputs, others)
    )
    for name in (each for each in first if "loss" in each.lower() or MEANS.search(each.lower())):
        if math.isfinite(first[name]) and not _near(second.get(name, math.nan), first[name]):
            return WRONG.failed(
                f"{name} is {first[name]:.4g}, and {second[name]:.4g} for other outputs at the places that only fill "
                f"up (class {padding}, {float(places.float().mean()):.0%} of all), which the training loss leaves out."
            )
    return passed("It does not.")


@check(family="evaluation", stage=2, cost=0.5, causes=[WRONG])
def scores_are_cut_at_zero(subject: Subject):
    """Answers that are right and not quite sure count as right, whichever of two classes they say."""
    scores = [_scores(subject, sure) for sure in (BELOW, ABOVE)] if answers_are_heard(subject) else [None]
    known = [each for each in scores if each is not None]
    if not known:
        return skipped("The model does not tell two classes by one score.")
    below, above = (evaluate(subject, subject.model(), _always(each), [subject.val]).metrics for each in known)
    for name in filter(MEANS.search, above):
        unit = 100 if above[name] > 1 else 1
        if _near(above[name] / unit, 1) and below[name] / unit < LAST:
            return WRONG.failed(
                f"{name} is {above[name]:.4g} where scores are {ABOVE} or more in favour of the right class and "
                f"{below[name]:.4g} where they are {BELOW}: scores are cut at one half as if they were probabilities."
            )
    return passed("They do.")


@check(family="evaluation", stage=2, cost=0.5, causes=[WRONG])
def areas_depend_on_how_sure_answers_are(subject: Subject):
    """The area under a curve over all thresholds becomes another one where the same answers are sure in another
    order."""
    outputs = [_partly_right(subject, seed) for seed in (0, 1)] if answers_are_heard(subject) else [None]
    known = [each for each in outputs if each is not None]
    if not known:
        return skipped("It is not known how an answer would be said more or less surely.")
    one, other, right = (
        evaluate(subject, subject.model(), each, [subject.val]).metrics
        for each in (*map(_always, known), outputs_off(subject, 0))
    )
    for name in filter(AREAS.search, one):
        if (
            one[name] == other.get(name)
            and math.isfinite(one[name])
            and not _near(right.get(name, math.nan), one[name])
        ):
            return WRONG.failed(
                f"{name} is {one[name]:.4g} for answers of which {RIGHT:.0%} are right, whichever are surer: it "
                "is computed from what is decided, not from scores."
            )
    return passed("It does, or there is none.")


def _partly_right(subject: Subject, seed: int) -> torch.Tensor | None:
    """Outputs of which the same are right for each seed, and others are sure; None where that cannot be said."""
    like, y, classes = subject.once(own_outputs), subject.val.y.float(), subject.classes
    labels = labels_of(subject.val.y, classes)
    shape = (len(y), *([] if labels is not None else y.shape[1:]))
    right = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < RIGHT
    sure = 0.2 + 3 * torch.rand(shape, generator=torch.Generator().manual_seed(seed + 1))
    if not classes or not can_be_said(subject) or (labels is not None and int(labels.min()) < 0):
        return None
    if labels is not None:
        return answers(torch.where(right, labels, (labels + 1) % classes), like, sure)
    if like.shape[1:] != y.shape[1:] or not bool(((y == 0) | (y == 1)).all()):
        return None
    return as_shares((2 * torch.where(right, y, 1 - y) - 1) * sure, like)


def _scores(subject: Subject, sure: float) -> torch.Tensor | None:
    """Right answers by one score each: of two classes, of several labels, or of each pixel; None if there are none."""
    like, y = subject.once(own_outputs), subject.val.y
    labels = labels_of(y, subject.classes)
    if subject.classes == 2 and labels is not None and like[0].numel() == 1:
        return answers(labels, like, sure)
    yes_or_no = bool(((y == 0) | (y == 1)).all()) and labels is None
    if not subject.classes or not yes_or_no or like.shape[1:] != y.shape[1:] or not bool((like < 0).any()):
        return None
    return (2 * y.float() - 1) * sure


def _always(outputs: torch.Tensor) -> Callable[[Sample], torch.Tensor]:
    return lambda sample: outputs


def _near(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= ROUNDING * max(1e-6, abs(wanted))
