"""Does the loss make up for rare classes, where it weighs them at all?"""

import torch

from recipe_core.checks.probe import own_outputs
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import answers, labels_of

UNEVEN = 3.0  # times as many samples of the most frequent class as of the rarest: else weights have another reason
MORE = 2.0  # times the weight
ALONE = 1.05  # times the loss of one class by itself: the weights are not divided by
ALIKE = 0.8  # correlation of the logarithms of counts and weights
FEWEST, MOST = 5, 100  # samples of a class that is counted; classes that are asked about

INVERTED = Cause(
    "class-weights-inverted",
    "The loss gives frequent classes a larger weight than rare ones: the rare ones are hardly learnt.",
    "Weigh classes by the inverse of their frequency (or its root), or not at all.",
    0.6,
)


@check(family="optimisation", stage=2, cost=0.3, causes=[INVERTED])
def the_loss_favours_no_frequent_class(subject: Subject) -> Result:
    """A mistake about a sample of a rare class costs no less than one about a sample of a frequent class."""
    classes, like = subject.classes, subject.once(own_outputs)
    labels = labels_of(subject.drawn_train.y, classes)
    if labels is None or like.ndim != 2 or not 2 < like.shape[1] == classes <= MOST:
        return skipped("There are no three classes with an output each.")
    counts = torch.bincount(labels.clamp_min(0), minlength=classes).float()
    known = (counts >= FEWEST).nonzero().flatten()
    if len(known) < 3 or counts[known].max() < UNEVEN * counts[known].min():
        return skipped("The classes are about as frequent.")
    if subject.drawn_train.y.ndim != 1:
        return skipped("Targets are no class numbers.")
    weights = _weights(subject, known, like)
    if not bool(torch.isfinite(weights).all()) or float(weights.min()) <= 0:
        return skipped("The loss of single mistakes tells no weights.")
    frequent, weighed = counts[known].log(), weights.log()
    told = {"most": float(weights.max() / weights.min())}
    if told["most"] < MORE or float(torch.corrcoef(torch.stack([frequent, weighed]))[0, 1]) < ALIKE:
        return passed("Frequent classes have no larger weights than rare ones.", **told)
    most, least = (int(known[place]) for place in (weights.argmax(), weights.argmin()))
    return INVERTED.failed(
        f"A mistake about class {most}, of {int(counts[most])} samples, costs {told['most']:.2g} times as much as one "
        f"about class {least}, of {int(counts[least])}.",
        table=[
            {"class": int(k), "samples": int(counts[k]), "weight": float(w)}
            for k, w in zip(known, weights, strict=True)
        ],
        **told,
    )


def _weights(subject: Subject, classes: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """How much a mistake about each class costs."""

    def loss(labels: list[int], said: list[int]) -> float:
        targets = torch.tensor(labels).to(subject.drawn_train.y.dtype)
        outputs = answers(torch.tensor(said), like)
        return float(subject.pipeline.loss_fn(outputs.to(subject.device), targets.to(subject.device)).mean())

    count, first = like.shape[1], int(classes[0])
    alone = torch.tensor([loss([each], [(each + 1) % count]) for each in classes.tolist()])
    if float(alone.max()) > ALONE * float(alone.min()):
        return alone
    # A mean that is divided by the weights: beside a right answer about the first class, w / (w + w_first) is left.
    wrong = [loss([each, first], [(each + 1) % count, first]) for each in classes.tolist()]
    right = [loss([each, first], [each, first]) for each in classes.tolist()]
    part = (torch.tensor(wrong) - torch.tensor(right)) / (2 * (wrong[0] - right[0]))
    return part / (1 - part).clamp_min(1e-9)
