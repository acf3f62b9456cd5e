"""Are the metrics of `evaluate` right? The model's outputs are replaced by answers whose metrics are known."""

import math
import re
from collections.abc import Callable
from dataclasses import replace

import torch

from recipe_core.checks.probe import answers_are_heard, asks_layers, evaluate, names_classes, own_outputs
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import answers, can_say, labels_of

ROUNDING = 2e-3  # of a metric: float32 sums, metrics rounded to three places
ACCURACY = {"acc", "accuracy"}
# Words beside it that change nothing.
PLAIN = {
    *("1", "top", "val", "valid", "validation", "test", "eval", "dev", "mean", "avg", "average", "overall", "total"),
    *("micro", "binary", "pixel", "token", "label", "labels", "tag", "tags"),
}
# What is a mean, a share or a ratio by its name: counts and seconds are not.
MEANS = re.compile(r"acc|f1|prec|recall|auc|mae|mse|r2|err|mcc|kappa|iou|dice|top")
SURE, UNSURE = 20.0, 2.0  # logits by which an answer stands out, the latter from all other classes together
HARMLESS = 0.002  # share of all weight that a batch has too much or too little

RAGGED = Cause(
    "ragged-average",
    "The metric is averaged over batches although the last one is smaller: its samples count too much.",
    "Sum over samples and divide by their number at the end.",
    0.3,
    follows=("evaluates-part",),
)
SUMMED = Cause(
    "metric-scale",
    "evaluate returns a sum, or divides by the wrong number: the metric depends on how many samples or batches there "
    "are and cannot be compared with the training loss or between datasets.",
    "Sum over samples and divide by the number of samples; give the loss what it takes in training (logits, not "
    "probabilities); bring outputs and targets to one scale.",
    0.4,
    follows=("metric-shuffled-labels",),
)
PART = Cause(
    "evaluates-part",
    "The metrics are those of a single batch: the others are never looked at, or overwritten.",
    "Add up over all batches; look for a return or break inside the loop of evaluate.",
    0.6,
)
MISMATCHED = Cause(
    "metric-shuffled-labels",
    "Predictions are compared with labels of other samples.",
    "Collect outputs and labels in the same loop over the loader, and compare them in one shape: outputs (n, 1) less "
    "targets (n,) are all pairs of samples.",
    0.8,
    follows=("targets-wrong-type", "targets-out-of-range"),
)
WRONG = Cause(
    "metric-wrong",
    "The metric is wrong for answers whose metric is known.",
    "Go through evaluate with outputs that are all right: along which axis classes are looked for, what is compared "
    "with what, and what the sum is divided by; areas under curves want scores, not decisions.",
    0.7,
    follows=(
        "targets-wrong-type",
        "targets-out-of-range",
        "probabilities-as-logits",
        "outputs-restricted",
        "loss-over-wrong-axis",
        "evaluation-keeps-state",
        "metric-scale",
        "loss-rises",
    ),
)

Answers = Callable[[Sample], torch.Tensor]


@check(family="evaluation", stage=2, cost=1.5, causes=[MISMATCHED, RAGGED, PART, SUMMED, WRONG])
def accuracy_of_known_answers_is_right(subject: Subject):
    """A model whose answers are all right has accuracy 1, one whose answers are all wrong has 0, and one that is right
    for some of the samples has the share of those."""
    classes = subject.classes
    if not classes or labels_of(subject.val.y, classes) is None:
        return skipped("There are no classes to be right about.")
    if int(_labels(subject, subject.val).min()) < 0:
        return skipped("Some samples have no class.")
    if not answers_are_heard(subject):
        return skipped("The model's outputs cannot be replaced where `forward` finds them.")
    if not can_say(subject.once(own_outputs), classes) or not names_classes(subject):
        return skipped("The outputs are not one per class.")
    trials = {kind: evaluate(subject, subject.model(), _right(subject, which)) for kind, which in KINDS.items()}
    names = [name for name in trials["all right"].metrics if is_accuracy(name)]
    if not all(trial.given for trial in trials.values()):
        return skipped("evaluate takes its data from elsewhere than the loader that it is given.")
    if not names:
        return skipped("evaluate returns no accuracy.")
    table = [{"answers": kind, **{name: trial.metrics.get(name) for name in names}} for kind, trial in trials.items()]
    values = {name: [trial.metrics.get(name, math.nan) for trial in trials.values()] for name in names}
    found = [_judged(subject, name, *values[name]) for name in names]
    for at, name in enumerate(names):
        if found[at] and len(set(values[name])) == 1 and asks_layers(subject, name, _right(subject, _all)):
            found[at] = WRONG.unsure(
                f"{name} is {values[name][0]:.4g} whatever the outputs are, and another one with other weights: "
                "evaluate asks its layers by themselves. Do they say what is used?"
            )
    wrong = [replace(each, evidence={**each.evidence, "table": table}) for each in found if each]
    return wrong or passed(
        "The accuracy is as it should be for answers all right, all wrong and partly right.", table=table
    )


def is_accuracy(name: str) -> bool:
    """Whether a metric means the share of right answers; its key is its author's word on that. What says more, as
    "acc@5", "acc_within_one" or "accuracy_of_cats", means another share."""
    words = set(re.findall(r"[a-z]+|\d+", name.lower()))
    return bool(words & ACCURACY) and words <= ACCURACY | PLAIN


def _all(sample: Sample) -> torch.Tensor:
    return torch.ones(len(sample), dtype=torch.bool)


def _none(sample: Sample) -> torch.Tensor:
    return ~_all(sample)


def _some(sample: Sample) -> torch.Tensor:
    """Another share in each batch, from 0.9 to none: no wrong average hits the right one, and the best is not the
    first."""
    chance = torch.Generator().manual_seed(1)
    shares = torch.linspace(0.9, 0.0, len(sample.sizes)).tolist() if len(sample.sizes) > 1 else [0.6]
    if len(shares) > 2:
        shares[:2] = shares[1::-1]
    each = zip(sample.sizes, shares, strict=True)
    return torch.cat([torch.rand(size, generator=chance) < share for size, share in each])


KINDS: dict[str, Answers] = {"all right": _all, "all wrong": _none, "some right": _some}


def _right(subject: Subject, which: Answers) -> Answers:
    """Answers that are right for some of the samples and say the next class for the others.

    How sure they are is no matter, unless outputs are compared over the batch instead of over the classes.
    """
    classes = subject.classes

    def answer(sample: Sample) -> torch.Tensor:
        labels = _labels(subject, sample)
        said = torch.where(which(sample), labels, (labels + 1) % classes)
        is_sure = (torch.arange(len(said)) % 2 == 1) & (said > 0)
        return answers(said, subject.once(own_outputs), torch.where(is_sure, SURE, UNSURE + math.log(max(2, classes))))

    return answer


def _labels(subject: Subject, sample: Sample) -> torch.Tensor:
    labels = labels_of(sample.y, subject.classes)
    assert labels is not None
    return labels


def _judged(subject: Subject, name: str, all_right: float, all_wrong: float, some_right: float) -> Result | None:
    """What is wrong with an accuracy, by its values for the three kinds of answers."""
    sample = subject.val
    share = float(_some(sample).float().mean())
    figures = f"{name} is {all_right:.4g} for answers all right, {all_wrong:.4g} for all wrong"
    unit = 100 if _near(all_right, 100) else 1
    if _near(all_right, unit) and _near(all_wrong, 0):
        if _near(some_right, share * unit):
            return None
        said = f"For answers right for {share:.2%} of the samples {name} is {some_right / unit:.2%}"
        parts = _some(sample).float().split(sample.sizes)
        means = [float(part.mean()) for part in parts]
        if _near(some_right / unit, sum(means) / len(means)):
            return ragged(sample, f"{said}, which is the mean over batches of unequal size.")
        if any(_near(some_right / unit, means[at]) for at in (0, -1)):
            return PART.failed(f"{said}, which is the share of a single batch.")
        if _near(some_right / unit, max(means)):
            return WRONG.failed(f"{said}, which is the share of the best batch.")
        if _near(some_right / unit, _balanced(subject)):
            return None
        return WRONG.failed(f"{said}.")
    if _near(all_right, 0) and any(_near(all_wrong, each) for each in (1, 100)):
        return WRONG.failed(f"{figures}: it counts the wrong answers.")
    if _near(all_wrong, 0) and all_right and _near(some_right / all_right, share):
        return SUMMED.failed(f"{figures}: it is divided by the wrong number of samples or batches.")
    shares = [each / unit for each in (all_right, all_wrong, some_right)]
    if _over_the_batch(subject, shares):
        return WRONG.failed(
            f"{figures}, as after a softmax over the samples of each batch instead of over the classes."
        )
    heard = _always_heard(subject, shares)
    if heard is not None:
        return WRONG.failed(f"{figures}, the share of class {heard}: every answer is taken for that class.")
    if not _near(all_right, unit) and _pairs_wrong_samples(subject, name, all_right):
        return MISMATCHED.failed(f"{figures}; were all samples of one class, it would be right.")
    if not _near(all_right, unit) and _ignores_labels(subject, name, all_right):
        return MISMATCHED.failed(f"{figures}, and the same where the loader gives other labels.")
    return WRONG.failed(f"{figures}.")


def _balanced(subject: Subject) -> float:
    """The mean over classes of the share of right answers: another thing that is called accuracy."""
    labels, right = _labels(subject, subject.val), _some(subject.val).float()
    return float(torch.stack([right[labels == each].mean() for each in labels.unique()]).mean())


def _pairs_wrong_samples(subject: Subject, name: str, all_right: float) -> bool:
    """Whether the accuracy of right answers becomes what it should be where all samples have the same label, whichever
    it is: what is always heard as one class is right for that one only."""
    if subject.val.y.ndim != 1 or subject.val.y.is_floating_point():
        return False
    for label in (0, 1):
        batches = [(x, torch.full_like(y, label)) for x, y in subject.val.batches]
        alike = Sample(batches, subject.val.complete, 0.0)
        healed = evaluate(subject, subject.model(), _right(subject, _all), [alike]).metrics.get(name, math.nan)
        if not _near(healed, 1) and not _near(healed, 100):
            return False
    return True


def _over_the_batch(subject: Subject, accuracies: list[float]) -> bool:
    """Whether accuracies are those of answers that went through a softmax over the samples of each batch."""
    sample = subject.val
    for which, accuracy in zip(KINDS.values(), accuracies, strict=True):
        outputs, labels = _right(subject, which)(sample), _labels(subject, sample)
        if outputs.shape != (len(labels), subject.classes):
            return False
        said = torch.cat([batch.float().softmax(0).argmax(1) for batch in outputs.split(sample.sizes)])
        if not _near(accuracy, float((said == labels).float().mean())):
            return False
    return True


def _always_heard(subject: Subject, accuracies: list[float]) -> int | None:
    """The class that every answer is taken for, if the accuracy is its share whatever the answers are."""
    shares = (_labels(subject, subject.val).bincount() / len(subject.val)).tolist()
    return next((each for each, share in enumerate(shares) if all(_near(value, share) for value in accuracies)), None)


def _ignores_labels(subject: Subject, name: str, all_right: float) -> bool:
    """Whether the accuracy of the same answers stays exactly what it is where all labels are others."""
    if subject.val.y.ndim != 1 or subject.val.y.is_floating_point():
        return False
    said = _right(subject, _all)(subject.val)
    batches = [(x, (y + 1) % subject.classes) for x, y in subject.val.batches]
    others = Sample(batches, subject.val.complete, 0.0)
    return evaluate(subject, subject.model(), lambda sample: said, [others]).metrics.get(name) == all_right


def ragged(sample: Sample, message: str) -> Result:
    """A mean over batches of unequal size: by how much the weight of a sample is off decides how much it matters."""
    count, total = len(sample.sizes), len(sample)
    off = max(abs(1 / count - size / total) for size in sample.sizes)
    told = {"batches": count, "last_batch": sample.sizes[-1], "batch": sample.sizes[0]}
    if off < HARMLESS:
        return passed(f"{message} With {count} batches it hardly matters.", **told)
    return RAGGED.failed(message, **told)


def _near(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= ROUNDING * max(1.0, abs(wanted))
