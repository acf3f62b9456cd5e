"""Does what is learnt in training hold better for validation images that are turned, mirrored or otherwise changed?"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from recipe_core.checks.leak import relatives
from recipe_core.checks.lessons import Lesson, Lessons, lessons
from recipe_core.checks.subject import Subject

ASKED = 400  # validation images: enough to see a tenth more of them told right
GAIN = 0.1  # of all samples that become right when validation images are changed back
SURE = 5.0  # deviations

Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Undone:
    """What a change of validation images brings.

    Attributes:
        gains: how much more of validation is told right after each change; 0 where that may be chance.
        best: the change that brings most.
        right: the share that is told right after it, in regression of the variance; 0 where it brings nothing.
        before: the same of the images as they are.
    """

    gains: dict[str, float]
    best: str
    right: float
    before: float = 0.0


def best_change(subject: Subject) -> Undone:
    """The change of validation images after which what is learnt in training holds best for them."""
    both = subject.once(lessons)
    changes = _changes(both.val.images) if both.comparable else {}
    gains = {name: gained(both, change) for name, change in changes.items()}
    best = max(gains, key=lambda name: gains[name], default="")
    if not gains.get(best):
        return Undone(gains, "", 0.0)
    before = float(told_right(both.val.first(ASKED), both.across_in_units[:ASKED], both.places).mean())
    return Undone(gains, best, before + gains[best], before)


def _changes(images: torch.Tensor) -> dict[str, Change]:
    if images.shape[2] == 1:
        return {}  # the columns of a table have no neighbours
    changes: dict[str, Change] = {
        "mirrored": lambda x: x.flip(3),
        "upside down": lambda x: x.flip(2),
        "turned by 180 degrees": lambda x: x.flip(2, 3),
        "inverted": lambda x: x.amax() + x.amin() - x,
    }
    if images.shape[2] == images.shape[3]:
        changes |= {
            "with rows and columns swapped": lambda x: x.transpose(2, 3),
            "turned by 90 degrees": lambda x: x.rot90(1, (2, 3)),
            "turned by 270 degrees": lambda x: x.rot90(3, (2, 3)),
        }
    if images.shape[1] == 3:
        changes["with channels in reverse order"] = lambda x: x.flip(1)
    return changes


def gained(both: Lessons, change: Change) -> float:
    """How much more of validation is told right after a change of its images; 0 where that may be chance."""
    asked = both.val.first(ASKED)
    before = told_right(asked, both.across_in_units[:ASKED], both.places)
    if float(before.mean()) >= 1 - GAIN:
        return 0.0  # there is no more to gain
    changed = both.train.learner.predict(change(asked.images))
    after = told_right(asked, both.train.in_units_of(asked, changed), both.places)
    differences = after - before
    gain = float(differences.mean())
    if gain <= GAIN:
        return 0.0
    error = float(differences.std()) / math.sqrt(len(differences) / relatives(asked.images))  # which go together
    return gain if gain > SURE * error else 0.0


def told_right(split: Lesson, scores: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(n,) 1 where the label is told; in regression how much of the variance of the targets at these places, or of
    all if at none, is told."""
    if split.labels is not None:
        return (scores.argmax(1) == split.labels).double()
    missed = scores - split.targets
    return 1 - (missed[:, places] if bool(places.any()) else missed).square().mean(1).clamp_max(4)
