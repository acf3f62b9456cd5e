"""Does the train step learn from the batch that it is given: its images, with their labels?"""

import torch

from recipe_core.checks.augmentation import CHANGED
from recipe_core.checks.mixtures import UNTOLD, rows_of, untold
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import ForwardCall, LossCall, Rehearsal, rehearsal
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject

CHANGED_LITTLE = 0.5  # of the distance to the next image
MOST_DISTURBED = 0.7  # of a batch's labels are left as they are
THE_SAME = 1e-3  # of it: the image itself

IGNORED = Cause(
    "train-step-ignores-batch",
    "The step trains on another batch than the one it is given.",
    "Use the batch that train_step gets.",
    0.9,
)
SHUFFLED = Cause(
    "train-step-labels-shuffled",
    "Within the step, inputs and labels come into different orders.",
    "Shuffle inputs and labels by the same permutation, or not at all.",
    1.0,
    follows=("inputs-not-finite",),
)


@check(family="optimisation", stage=2, cost=0.5, causes=[IGNORED, SHUFFLED, CHANGED])
def the_step_uses_its_batch(subject: Subject):
    """The model sees the samples of the batch that the step is given, and the loss their labels in the same order."""
    run = subject.once(rehearsal)
    seen = [call for call in run.forwards if call.x is not None and call.step < len(run.batches)]
    if len({call.step for call in seen}) < 2:
        return skipped("The train step does not call the model as a whole.")
    later = {call.step for call in seen if call.step} - {call.step for call in seen if not _is_stale(call, seen, run)}
    if later and len(later) == len({call.step for call in seen}) - 1:
        return IGNORED.failed(
            f"In each of {len(later)} steps after the first the model sees the inputs of the first again."
        )
    shuffled = _shuffled(run, THE_SAME)
    if shuffled:
        return shuffled
    share = _mixed_without_labels(subject, run)
    if share > UNTOLD:
        return CHANGED.failed(
            f"The train step mixes inputs and not their labels: {share:.0%} of what is in an input the loss does not "
            "know of."
        )
    return _shuffled(run, CHANGED_LITTLE) or passed("Images and labels are those of the batch.")


def _shuffled(run: Rehearsal, far: float) -> Result | None:
    """Whether images that are those of the batch, or were changed so far, come with other labels."""
    pairs = [pair for pair in (_pair(run, step, far) for step in range(len(run.batches))) if pair]
    shares = [float(_alike(targets, y[order]).float().mean()) for order, targets, y in pairs]
    if len(shares) < 2 or max(shares) >= MOST_DISTURBED:  # labels are disturbed on purpose, too (Xie et al. 2016)
        return None
    share = sum(shares) / len(shares)
    return SHUFFLED.failed(f"The loss gets the label of its sample for {share:.0%} of a batch only.")


def _alike(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Which numbers are equal; a missing one (NaN) is like another."""
    return (one == other) | ((one != one) & (other != other))


def _is_stale(call: ForwardCall, seen: list[ForwardCall], run: Rehearsal) -> bool:
    """Whether it sees what the first step's model saw, though its batch is another."""
    x, first = (run.batches[step][0].to(call.x.device) for step in (call.step, 0))
    known = [each.x for each in seen if each.step == 0]
    return not _equal(call.x, x) and not _equal(x, first) and any(_equal(call.x, each) for each in known)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _pair(run: Rehearsal, step: int, far: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """The order in which the model saw the batch of a step, the targets that the loss got, and the batch's own."""
    forwards = [call.x for call in run.forwards if call.step == step]
    calls: list[LossCall] = [call for call in run.calls if call.step == step]
    x, y = run.batches[step]
    if len(forwards) != 1 or len(calls) != 1 or forwards[0].shape != x.shape:
        return None
    if not isinstance(calls[0].targets, torch.Tensor) or calls[0].targets.shape != y.shape:
        return None
    distances = torch.cdist(*(each.reshape(len(each), -1).float() for each in (forwards[0], x.to(forwards[0]))))
    if len(distances) < 3:
        return None
    nearest, second = distances.topk(2, 1, largest=False).values.T
    # Each is one of the batch, or one that was changed a little.
    if float((nearest < far * second).float().mean()) < 0.9:
        return None
    return distances.argmin(1).cpu(), calls[0].targets.cpu(), y.cpu()


def _mixed_without_labels(subject: Subject, run: Rehearsal) -> float:
    """How much of what is in the images the labels that the loss gets do not tell; the mean over some steps."""
    classes = subject.classes
    found = [each for step in range(len(run.batches)) if (each := _untold(run, step, classes)) is not None]
    return sum(found) / len(found) if found else 0.0


def _untold(run: Rehearsal, step: int, classes: int) -> float | None:
    seen = [call.x for call in run.forwards if call.step == step]
    calls = [call for call in run.calls if call.step == step and call.factors]
    x, y = run.batches[step]
    if len(seen) != 1 or not calls:
        return None
    told, total = torch.zeros(len(x), classes, dtype=torch.float64), sum(sum(call.factors) for call in calls)
    for call in calls:
        known = rows_of(call.targets, classes) if isinstance(call.targets, torch.Tensor) else None
        if known is None or len(known) != len(x):
            return None
        told += known * (sum(call.factors) / total if total else 0.0)
    return untold(x, y, seen[0], told, classes)
