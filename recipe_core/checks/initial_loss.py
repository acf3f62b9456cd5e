"""Is the fresh model about as wrong as one that knows nothing?"""

import math

import torch
from torch.nn import functional as F

from recipe_core.checks.objective import Objective, objective
from recipe_core.checks.reach import MOST
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import rehearsal
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.wanted import right_scale

FAR_OFF = 4.0  # times the uninformed loss: more than scores of a usual scale, cosines with a temperature among them
ODD = 2.5  # times it: worth a look
TOO_VARIED = 30.0  # times the deviation of the targets; targets in another unit than usual stay below
LARGE, TIMID = 100, 0.01  # deviation of targets; share of it that outputs have
ASTRAY = 5.0  # deviations of the targets, between their mean and the fresh model's outputs

INITIAL = Cause(
    "initial-loss-off",
    "The fresh model is far more wrong than one that knows nothing: training first has to unlearn that.",
    "Start the last layer with small weights, its bias at the logarithm of the classes' frequencies or at the mean; "
    "average what is summed before it; scale inputs and the targets of a regression.",
    0.4,
    follows=("targets-wrong-type", "targets-out-of-range", "pretrained-input-differs", "inputs-not-scaled"),
)


@check(family="model", stage=2, cost=0.5, causes=[INITIAL])
def initial_loss_is_that_of_a_guess(subject: Subject):
    """The loss of the fresh model is about that of one that gives every class the same probability."""
    asked = subject.once(objective)
    if asked.labels is None and not _tells_classes_of_places(asked):
        return _initial_outputs(subject, asked)
    model = subject.model().train()
    with torch.no_grad():
        losses = [float(subject.loss(model, batch).float().mean()) for batch in subject.train.batches[:4]]
    own, guess = sum(losses) / len(losses), asked.loss(asked.uninformed())
    told = f"The loss of the fresh model is {own:.3g}, that of an uninformed one {guess:.3g}"
    if not (math.isfinite(own) and guess > 0):
        return skipped(f"{told}: they cannot be compared.")
    if own > FAR_OFF * guess and not _are_usual_scores(subject, asked):
        return INITIAL.failed(f"{told}.", initial=own, uninformed=guess)
    if own > ODD * guess:
        return INITIAL.unsure(f"{told}; are its outputs meant to be that large?", initial=own, uninformed=guess)
    return passed(f"{told}.", initial=own, uninformed=guess)


def _tells_classes_of_places(asked: Objective) -> bool:
    """Whether outputs are (n, classes, places) or (n, classes, rows, columns) and targets a class for each of these."""
    return asked.truth is not None and asked.like.ndim > 2 and asked.targets.shape != asked.like.shape


def _are_usual_scores(subject: Subject, asked: Objective) -> bool:
    """Whether the outputs in training are scores of the classes of no odd size, which a loss, as a focal one,
    magnifies."""
    labels = asked.targets.long() if asked.labels is None else asked.labels
    classes = asked.like.shape[1] if asked.like.ndim > 1 else 1
    if classes < 2:
        return False
    with torch.no_grad():
        scores = subject.outputs(subject.model().train(), subject.train.first(MOST)[0]).float().cpu()
    return float(F.cross_entropy(scores.reshape(asked.like.shape), labels)) < ODD * math.log(classes)


def _initial_outputs(subject: Subject, asked: Objective):
    """In regression a guess is the mean: the outputs of a fresh model vary no more than the targets do."""
    if subject.classes or asked.targets.shape != asked.like.shape or subject.once(right_scale) is None:
        return skipped("It is not known what a guess would be.")
    wanted = asked.wanted
    own, usual = float(asked.like.std(0).mean()), float(wanted.std(0).mean())
    told = f"The outputs of the fresh model have a deviation of {own:.3g}, the targets of {usual:.3g}"
    if math.isfinite(own) and usual and own > TOO_VARIED * usual:
        return INITIAL.failed(f"{told}: training first has to unlearn them.", initial=own, targets=usual)
    trained = subject.copy(subject.once(rehearsal).model).eval()
    with torch.no_grad():
        later = subject.outputs(trained, subject.train.first(MOST)[0]).float().cpu()
    grown = float(later.std(0).mean())
    if usual > LARGE and max(own, grown) < TIMID * usual:
        return INITIAL.failed(
            f"{told}, and after some steps still of {grown:.3g}: the targets are not scaled.",
            initial=own,
            targets=usual,
        )
    away, still = (_deviations_off(outputs, wanted) for outputs in (asked.like, later))
    if usual and min(away, still) > ASTRAY:
        return INITIAL.failed(
            f"The outputs of the fresh model are on average {away:.3g} deviations of the targets away from them, and "
            f"after some steps still {still:.3g}.",
            away=away,
        )
    return passed(f"{told}.", initial=own, targets=usual)


def _deviations_off(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """How far off outputs are on average, of the target that is nearest to them."""
    return float(((outputs - targets).mean(0).abs() / targets.std(0)).min())
