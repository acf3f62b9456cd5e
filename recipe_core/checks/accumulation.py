"""Where several batches make one update: is its gradient their mean?"""

import itertools

import torch

from recipe_core.checks.optimisation import MOST_ACCUMULATED
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import Rehearsal, rehearse
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.training.fit import endless

UNMOVED = 0.7  # of an update's length, that is left where the loss is divided by the number of batches

NOT_SCALED = Cause(
    "accumulation-not-scaled",
    "Gradients are added up over several batches without being divided by their number: the rate is that much larger.",
    "Divide the loss by the number of accumulated batches.",
    0.6,
)
WASTED = Cause(
    "accumulated-gradients-lost",
    "Of the batches that make one update together only some have a say: the others are computed and thrown away.",
    "Zero the gradients once per update, after optimizer.step(), and not before each batch.",
    0.6,
)


@check(family="optimisation", stage=2, cost=1, causes=[NOT_SCALED, WASTED])
def accumulated_gradients_are_averaged(subject: Subject):
    """Where several batches make one update, its gradient is their mean gradient, not their sum, nor that of one."""
    run = rehearse(subject, MOST_ACCUMULATED, until_updates=1)
    count = len(run.losses)
    if run.updates and count == 1:
        return _in_parts(subject, run)
    if not run.updates:
        return skipped("No optimizer stepped.")
    if _first_is_lost(subject, run, count):
        return WASTED.failed(f"One update takes {count} batches, and is the same whatever the first of them was.")
    share = share_of_sum(subject, run, count)
    if share > 2 * count:  # scaled up for half precision and not yet down
        return skipped("The gradients are scaled.")
    # The mean is 1 / count of the sum; between it and the whole sum lies the square root.
    if share > count**-0.5:
        told = f"One update takes {count} batches, and its gradient is {share * count:.2g} times their mean"
        return _not_scaled(subject, told, count, factor=share)
    return passed(f"One update takes {count} batches; its gradient is {share * count:.2g} times their mean.")


def _not_scaled(subject: Subject, told: str, count: int, **evidence: float) -> Result:
    """A failure, unless the optimizer makes the same of the mean: Adam divides by the size of the gradient."""
    own, mean = (rehearse(subject, MOST_ACCUMULATED, until_updates=1, scale=by).change for by in (1, 1 / count))
    if mean > UNMOVED * own:
        return NOT_SCALED.unsure(
            f"{told}; the optimizer moves the weights as far by the mean. Do clipping or weight decay mind?", **evidence
        )
    return NOT_SCALED.failed(f"{told}.", **evidence)


def _first_is_lost(subject: Subject, run: Rehearsal, count: int) -> bool:
    """Whether the update that several batches make together is the same if the first of them is another."""
    first, *others = _taken(subject, count)
    if all(torch.equal(*pair) for pair in zip(first, others[-1], strict=True)):
        return False
    return _is_the_same(subject, run, [others[-1], *others])


def _is_the_same(subject: Subject, run: Rehearsal, batches: list) -> bool:
    """Whether the first update has the gradient that it has with other batches."""
    with subject.untouched():
        other = rehearse(subject, len(batches), until_updates=1, batches=batches)
    found = [each.updates[0].gradients for each in (run, other) if each.updates]
    if len(found) < 2:
        return False
    pairs = [(one, found[1].get(name)) for name, one in found[0].items()]
    given = [(one, two) for one, two in pairs if one is not None and two is not None]
    return bool(given) and all(torch.equal(one, two) for one, two in given)


def _first_part_is_lost(subject: Subject, run: Rehearsal, size: int) -> bool:
    """The same of the parts of so many samples in which a step takes its batch."""
    batch = _taken(subject, 1)[0]
    other = tuple(torch.cat([part[-size:], part[size:]]) for part in batch)
    return not all(map(torch.equal, batch, other)) and _is_the_same(subject, run, [other])


def _taken(subject: Subject, count: int) -> list:
    """The batches of the first steps."""
    return list(itertools.islice(endless(subject.train.batches), count))


def share_of_sum(subject: Subject, run: Rehearsal, count: int) -> float:
    """What the first update's gradient is as a multiple of the sum of those of its batches."""
    model = subject.model().train()
    for x, y in _taken(subject, count):
        subject.loss(model, (x, y)).backward()
    product = size = 0.0
    for name, each in model.named_parameters():
        own, total = run.updates[0].gradients.get(name), each.grad
        if own is not None and total is not None and own.shape == total.shape:
            product += float((own * total.conj()).real.sum()) if own.is_complex() else float((own * total).sum())
            size += float(total.abs().square().sum())
    return product / max(size, 1e-30)


def _in_parts(subject: Subject, run: Rehearsal):
    """Of a batch that the step itself takes in parts, the gradients of their mean losses."""
    calls = [call for call in run.calls if call.factors and isinstance(call.targets, torch.Tensor)]
    whole = len(run.batches[0][1])
    if len(calls) < 2 or sum(len(call.targets) for call in calls) != whole:
        return skipped("Every train step makes an update by its whole batch.")
    if _first_part_is_lost(subject, run, len(calls[0].targets)):
        return WASTED.failed(
            f"The step takes its batch in {len(calls)} parts, and its update is the same whatever the first of them is."
        )
    total = sum(sum(call.factors) for call in calls)
    device = subject.device
    parts = [torch.cat([getattr(call, name).to(device) for call in calls]) for name in ("outputs", "targets")]
    loss, added = float(subject.pipeline.loss_fn(*parts).float().mean()), sum(call.value for call in calls)
    most = len(calls) ** 0.5
    # The losses of the parts are means, so that their sum is that many times the loss of the whole; and so is what the
    # optimizer finds, unless it was divided or clipped afterwards.
    if total > most and added > most * loss > 0 and share_of_sum(subject, run, 1) > most:
        told = f"The step takes its batch in {len(calls)} parts and adds up their gradients: {total:.2g} times the mean"
        return _not_scaled(subject, told, len(calls), factor=total)
    return passed(f"The step takes its batch in {len(calls)} parts, and their gradients are averaged.")
