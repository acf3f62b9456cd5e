"""Does the data win over weight decay, whether the optimizer, the train step or the loss adds it?"""

import contextlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from recipe_core.checks.rates import LEAPS, PATIENT, STEPS, Course, course, own_course, times
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import Rehearsal, dense, rehearse
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything

SHRUNK_BY_LOSS = 0.6  # of the weights' length, where no decay is told of
ALL_TO_ZERO, MOST_TO_ZERO = 0.9, 0.7  # share of the weights that move towards zero: by decay, and by the data at most
PULLED = 0.99  # of the weights' length, that is left of a decay that can be felt
SHRUNK = 0.3  # of the weights' length, by weight decay in these few steps
LEARNED = 0.1  # of the loss, that another rate learns meanwhile
FEWER = 0.1  # of the steps, that the other training may have taken more or less in the time given
NOTICED = 0.03  # the same: then it is looked at for longer
EXACT = 0.02  # of a gradient, that the loss and a penalty leave unexplained

DECAY = Cause(
    "weight-decay-wins",
    "Weight decay pulls the weights to zero faster than the data can pull them away.",
    "Lower weight_decay (1e-4 to 5e-2 are usual), or the factor of a penalty in the loss.",
    0.8,
    follows=("outputs-restricted", "dead-units"),
)


Pull = Callable[[torch.Tensor], torch.Tensor]
PULLS: dict[str, Pull] = {"the squares": lambda weight: 2 * weight, "the absolute values": torch.sgn}


@dataclass(frozen=True)
class Penalty:
    """What a train step adds to the loss: so many times the square, or the absolute value, of each weight."""

    of: str  # of PULLS
    strength: dict[str, float]  # name of a parameter -> factor

    @property
    def told(self) -> str:
        return f"The train step adds {max(self.strength.values()):.3g} times {self.of} of the weights to the loss"


@check(family="optimisation", stage=2, cost=3, causes=[DECAY])
def data_wins_over_weight_decay(subject: Subject):
    """Without weight decay the same steps learn about as much as with it."""
    optimizer = subject.optimizer(subject.model())
    most = max(float(group.get("weight_decay", 0) or 0) for group in optimizer.param_groups)
    own = subject.once(own_course)
    penalty, shrinking = _penalty(subject), _shrinking(subject)
    if not most and not penalty and not shrinking:
        # No data pulls that fast: usual rates and decays shrink weights by a hundredth in so many steps.
        left = _length(own.run)
        if left < SHRUNK_BY_LOSS and _length(course(subject, times(0)).run) > SHRUNK_BY_LOSS:
            return DECAY.failed(
                f"In {len(own.run.losses)} steps all but {left:.0%} of the weights' length is gone, by the loss itself."
            )
        return skipped("There is no weight decay.")
    decay = f"Weight decay is {most:g}"
    if penalty:
        decay = penalty.told
    elif shrinking:
        decay = f"The train step itself multiplies weights by {min(shrinking.values()):.4g} each time"
    other = _without(subject, penalty, shrinking)
    told = _compared(own, other, decay)
    if told.verdict == "pass" and own.share - other.share > NOTICED:  # what it costs may grow from step to step
        return _compared(course(subject, steps=PATIENT), _without(subject, penalty, shrinking, PATIENT), decay)
    return told


def _compared(own: Course, other: Course, decay: str) -> Result:
    """The training as it is and without its decay."""
    steps, left = len(own.run.losses), _length(own.run)
    if abs(steps - len(other.run.losses)) > FEWER * steps:
        return skipped("There was no time for as many steps twice.")
    told = f"{decay}: the loss goes from {own.before:.3g} to {own.after:.3g}, without it to {other.after:.3g}"
    gained, missed = 1 - own.share, own.share - other.share
    # Regularisation may cost some of the training loss, but not most of what can be learned. Where weights are thrown
    # about without it, too, what comes of it is chance.
    if missed > LEARNED and missed > gained and other.run.update_ratio < LEAPS * steps:
        return DECAY.failed(f"{told}.")
    if left < SHRUNK and _length(other.run) > 2 * SHRUNK:
        return DECAY.failed(f"{decay}: in {steps} steps it leaves {left:.0%} of the weights' length.")
    to_zero, usual = _share_to_zero(own.run), _share_to_zero(other.run)
    # At so small a pull they go there only as long as the data has none, as behind a layer that starts at zero.
    if left < PULLED and to_zero > ALL_TO_ZERO and usual < MOST_TO_ZERO:
        return DECAY.failed(
            f"{decay}: in {steps} steps {to_zero:.0%} of the weights move towards zero, without it {usual:.0%} do: the "
            f"data has no say."
        )
    return passed(f"{told}.")


def _without(subject: Subject, penalty: Penalty | None, shrinking: dict[str, float], steps: int = STEPS) -> Course:
    """The same training without the optimizer's weight decay, without what the step adds to the loss, and without what
    it does to the weights itself."""
    model = subject.model().train()
    strength = penalty.strength if penalty else {}
    pulled = [(each, strength[name]) for name, each in model.named_parameters() if name in strength]

    def relieve(*_) -> None:
        for weight, by in pulled:
            if penalty and weight.grad is not None:
                weight.grad.sub_(PULLS[penalty.of](weight.detach()), alpha=by)

    @torch.no_grad()
    def stretch(*_) -> None:
        for name, weight in model.named_parameters():
            weight.div_(shrinking.get(name, 1.0))

    def change(optimizer: torch.optim.Optimizer) -> None:
        _relieved(optimizer)
        optimizer.register_step_pre_hook(relieve)
        optimizer.register_step_post_hook(stretch)

    return course(subject, change, steps=steps, model=model)


def _penalty(subject: Subject) -> Penalty | None:
    """Of the gradient that the optimizer finds, what is a multiple of the weights, or of their signs, beside that of
    the loss."""
    batch = subject.train.batches[0]
    with subject.untouched():
        run = rehearse(subject, 1, scheduled=False, batches=[batch])
    seed_everything(1)  # as the rehearsal does
    model = subject.model().train()
    loss = subject.loss(model, batch).float().mean()
    if not run.updates or not loss.requires_grad:
        return None
    loss.backward()
    for of, pull in PULLS.items():
        strength = {}
        for name, weight in model.named_parameters():
            found, own = run.updates[0].gradients.get(name), dense(weight.grad)
            if weight.ndim > 1 and found is not None and own is not None and found.shape == weight.shape:
                strength[name] = _share_of_pull(found, own, pull(weight.detach()))
        if any(strength.values()):
            return Penalty(of, {name: by for name, by in strength.items() if by})
    return None


def _relieved(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0


def _shrinking(subject: Subject) -> dict[str, float]:
    """By what the train step multiplies weights in each step without a gradient and without the optimizer's decay."""
    seen: list[dict[str, torch.Tensor]] = []

    def look(_: int, model: nn.Module) -> None:
        seen.append({name: each.detach().clone() for name, each in model.named_parameters()})

    with subject.untouched(), contextlib.suppress(Exception):  # as of a step that divides by its gradient
        before = rehearse(subject, 2, scheduled=False, scale=0.0, change=_relieved, after=look).before
        found = {name: _factor(each, *(after[name] for after in seen)) for name, each in before.items()}
        return {name: factor for name, factor in found.items() if factor < 1}
    return {}


def _factor(*weights: torch.Tensor) -> float:
    """What a weight was multiplied by from one to the next, each time; 1 if that is not all that was done to it."""
    factors: list[float] = []
    for old, new in itertools.pairwise(weights) if weights[0].is_floating_point() else ():
        factor = float((old * new).sum() / old.square().sum().clamp_min(1e-30))
        if not 0 < factor < 1 or float((new - factor * old).norm()) > EXACT * float((new - old).norm()):
            return 1.0
        factors.append(factor)
    return factors[0] if len(factors) > 1 and math.isclose(*factors, rel_tol=EXACT) else 1.0


def _share_of_pull(found: torch.Tensor, own: torch.Tensor, pull: torch.Tensor) -> float:
    """How many times a pull is in a gradient that is otherwise a multiple of the loss's own; 0 if something else is."""
    parts, target = torch.stack([own.flatten(), pull.flatten()], 1).double(), found.flatten().double()
    if not (parts.isfinite().all() and target.isfinite().all()):
        return 0.0
    by_loss, by_pull = torch.linalg.lstsq(parts.T @ parts, parts.T @ target).solution.tolist()
    rest, size = (target - by_loss * parts[:, 0] - by_pull * parts[:, 1]).norm(), target.norm()
    if not rest <= EXACT * size or by_loss <= 0 or by_pull * parts[:, 1].norm() <= EXACT * size:
        return 0.0
    return by_pull


def _length(run: Rehearsal) -> float:
    """Of all weights together after the steps, as a share of that before."""
    after = sum(float(each.detach().abs().square().sum()) for each in run.model.parameters())
    return math.sqrt(after / max(sum(float(each.abs().square().sum()) for each in run.before.values()), 1e-30))


def _share_to_zero(run: Rehearsal) -> float:
    """Of all weights of layers those that have moved towards zero; data alone moves about half of them there."""
    pairs = [(after, before) for after, before in run.pairs if before.ndim > 1]
    towards = sum(int(((after - before) * before < 0).sum()) for after, before in pairs)
    return towards / max(1, sum(int((after != before).sum()) for after, before in pairs))
