"""Is what moves the weights the gradient of the loss? Layers are moved by hand, and the weights are looked at after."""

import torch
from torch import nn

from recipe_core.checks.layers import layers_of
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import Rehearsal, rehearsal, rehearse
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything

BATCHES = 3
MOST_LAYERS = 40
CHANGE = 1e-2  # of the loss, that a step by hand is to make
LEAST = 1e-4  # of it: less may be rounding
FARTHEST = 0.05  # of a layer's length
RISES = 0.5  # of what the gradient says, in the other direction; a gradient that is only a guess falls near 0
MOST_AT_BOUNDS = 0.2  # of the weights
SLIGHT = 0.02  # of the loss function's value enters what is differentiated; a batch taken in parts enters by more
PATIENT, LAST = 120, 20  # steps
STEPS = {"round", "floor", "ceil", "trunc", "sign", "sgn"}
FALLS = 0.9  # what is left of the loss, where something is learnt

REVERSED = Cause(
    "gradient-reversed",
    "What reaches some layers is not the gradient of the loss but points the other way: they learn to be wrong.",
    "Look for a reversal of the gradient, a hook or a backward() of its own on the way to them.",
    0.9,
)
CUT_OFF = Cause(
    "weights-clipped",
    "Each step cuts the weights themselves off at a bound, where most of them then sit and cannot learn.",
    "Clip the gradient (torch.nn.utils.clip_grad_norm_) before the step, not the weights after it.",
    0.8,
)
OUTWEIGHED = Cause(
    "loss-outweighed",
    "The loss function's value is a tiny part of what the step differentiates: the rest decides what is learnt.",
    "Look at the weights of the terms of the loss: were they swapped, or is one a mean and another a sum?",
    0.8,
)


FLAT = Cause(
    "no-slope",
    "On the way from the weights to the loss stands a function of steps (round, floor, sign), whose slope is zero: "
    "nothing is learnt.",
    "Leave it out in training, and round when the answers are read.",
    1.0,
)


@check(family="model", stage=2, cost=0.2, causes=[FLAT])
def the_loss_has_a_slope(subject: Subject):
    """The loss of a batch has a gradient other than zero, unless its way back leads through no function of steps."""
    model, loss = _differentiated(subject, subject.train.batches[0])
    if loss is None:
        return skipped("The loss cannot be differentiated.")
    steps = sorted(_functions_of_steps(subject.loss(model, subject.train.batches[0])))
    if not steps:
        return passed("No function of steps is on its way back.")
    if any(each.grad is not None and bool(each.grad.any()) for each in model.parameters()):
        return passed(f"It has one, though {' and '.join(steps)} are on its way back.")
    return FLAT.failed(f"All gradients are zero: the way back from the loss leads through {' and '.join(steps)}.")


def _functions_of_steps(loss: torch.Tensor) -> set[str]:
    """Those in the graph of a loss."""
    found, seen, wait = set(), set(), [loss.grad_fn]
    while wait:
        node = wait.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name().removesuffix("Backward0").lower()
        found |= {name} & STEPS
        wait += [each for each, _ in node.next_functions]
    return found


@check(family="optimisation", stage=2, cost=1, causes=[REVERSED])
def each_layer_goes_downhill(subject: Subject):
    """Moved a little against its gradient, no layer makes the loss larger."""
    if subject.is_large:
        return skipped("The model is too large for so many passes.")
    left = list(layers_of(subject.model()).items())
    left = left[:: -(-len(left) // MOST_LAYERS)] if left else []
    for batch in subject.train.batches[:BATCHES]:
        model, loss = _differentiated(subject, batch)
        if loss is None:
            return skipped("The loss cannot be differentiated.")
        named = dict(model.named_parameters())
        left = [(name, own) for name, own in left if _rises(subject, model, batch, loss, [named[each] for each in own])]
        if not left:
            return passed("None does.")
    return REVERSED.failed(
        f"Moved against its gradient, {_named([name for name, _ in left])} the loss larger, on each of "
        f"{min(BATCHES, len(subject.train.batches))} batches: the gradient there has the wrong sign.",
        layers=[name for name, _ in left],
    )


def _differentiated(subject: Subject, batch) -> tuple[nn.Module, float | None]:
    """A fresh model with the gradients of a batch's loss, and the loss; None where there is no gradient."""
    model = subject.model().train()
    loss = _loss(subject, model, batch)
    if not loss.requires_grad or not bool(loss.isfinite()):
        return model, None
    loss.backward()
    return model, abs(float(loss))


def _loss(subject: Subject, model: nn.Module, batch) -> torch.Tensor:
    """By the same chance each time."""
    seed_everything(0)
    return subject.loss(model, batch).float().mean()


@torch.no_grad()
def _rises(subject: Subject, model: nn.Module, batch, loss: float, weights: list[nn.Parameter]) -> bool:
    """Whether steps of two sizes against the gradient of these weights make the loss larger, both times."""
    pairs = [(each, each.grad.clone()) for each in weights if each.grad is not None]
    steep = sum(float(gradient.abs().square().sum()) for _, gradient in pairs) ** 0.5
    length = sum(float(each.abs().square().sum()) for each, _ in pairs) ** 0.5
    if not steep or not length:
        return False
    for share in (1, 1 / 4):
        step = min(CHANGE * loss * share / steep, FARTHEST * length)
        if step * steep < LEAST * loss:
            return False
        down = _loss_after(subject, model, batch, pairs, step / steep)
        up = _loss_after(subject, model, batch, pairs, -step / steep)
        if not down - up > RISES * 2 * step * steep:
            return False
    return True


def _loss_after(subject: Subject, model: nn.Module, batch, pairs: list, rate: float) -> float:
    """The loss where weights have moved against their gradients, which is taken back."""
    before = [each.clone() for each, _ in pairs]
    for each, gradient in pairs:
        each.sub_(gradient, alpha=rate)
    loss = float(_loss(subject, model, batch))
    for (each, _), value in zip(pairs, before, strict=True):
        each.copy_(value)
    return loss


def _named(layers: list[str]) -> str:
    return f"layer {layers[0]} makes" if len(layers) == 1 else f"{len(layers)} layers ({', '.join(layers[:4])}) make"


@check(family="optimisation", stage=2, cost=0.3, causes=[CUT_OFF])
def weights_are_not_cut_off(subject: Subject):
    """After some steps the weights do not sit at a common bound."""
    run = subject.once(rehearsal)
    total = cut = 0
    for name, weight in run.model.named_parameters():
        before = run.before.get(name)
        # What starts at zero is moved by whole steps of the rate, so that many weights are equally large.
        if weight.ndim > 1 and weight.requires_grad and before is not None and before.any():
            total += weight.numel()
            cut += _at_bounds(weight.detach()) if not _at_bounds(before) else 0
    if not total:
        return skipped("There are no layers of weights that train.")
    share = cut / total
    if share > MOST_AT_BOUNDS:
        return CUT_OFF.failed(f"After {len(run.losses)} steps {share:.0%} of the weights sit exactly at a bound.")
    return passed(f"{share:.1%} of them do.")


def _at_bounds(weight: torch.Tensor) -> int:
    """How many weights are as large as the largest, if that is so on both sides."""
    most = weight.abs().max()
    above, below = int((weight == most).sum()), int((weight == -most).sum())
    return above + below if most and min(above, below) > 1 else 0


@check(family="optimisation", stage=2, cost=2, causes=[OUTWEIGHED])
def the_loss_is_not_outweighed(subject: Subject):
    """Where the step gives the loss function's value little weight, the loss falls all the same, or falls no more if it
    gets its whole weight."""
    factors = [sum(call.factors) for call in subject.once(rehearsal).calls if call.factors]
    weight = max(factors, default=1.0)
    if not 0 < weight < SLIGHT:
        return passed(f"The step takes it {weight:.3g} times.")
    own = _left_of_loss(rehearse(subject, PATIENT))
    told = f"The loss enters {weight:.3g} times what the step differentiates, and {PATIENT} steps leave {own:.0%} of it"
    if own < FALLS:
        return passed(f"{told}.")
    other = _left_of_loss(rehearse(subject, PATIENT, scale=1 / weight))
    if other < FALLS:
        return OUTWEIGHED.failed(f"{told}; if it enters once, {other:.0%}.", weight=weight)
    return passed(f"{told}; if it enters once, {other:.0%}.")


def _left_of_loss(run: Rehearsal) -> float:
    """After the steps, of what the loss function gave at first."""
    values = [call.value for call in run.calls if call.factors]
    last = values[-LAST:]
    return sum(last) / len(last) / values[0] if values and values[0] else 1.0
