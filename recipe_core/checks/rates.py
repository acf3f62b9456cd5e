"""Is the learning rate of the right size? The training is repeated with others."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from recipe_core.checks.accumulation import share_of_sum
from recipe_core.checks.optimisation import UPHILL
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import Rehearsal, rehearsal, rehearse
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.schedules import LOW, batches_per_epoch, schedule_of
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything

STEPS = 30
UNRELATED = 0.3  # correlation, of targets by chance
PROBES = 4  # batches that the loss is measured on
USUAL_STEPS, USUAL_EPOCHS = 10_000, 100  # of a training whose length is not told
FEW_STEPS = 1000  # a training that is shorter is a trial
STILL = 1e-2  # the share of their own length that weights move by in the whole training, if it is too low
CRAWL = 1e-4  # of their own length, that weights move by in a step: a tenth of what is usual
USUAL = 3e-3  # of their own length, that weights move by in a step at good rates
OUTGROWN = 10.0  # times the optimizer's own rate
EXPLODED = 3.0  # times the first loss
MOST_MOMENTUM = 0.99  # more is looked at for longer, as it takes hundreds of steps to pile up
PATIENT = 120  # steps
LEAPS = 0.1  # of their own length, that weights move by in each step; 0.001 is usual
BOLD, NOWHERE = 0.02, 0.9  # the same from where on a longer look is taken; share of the loss that is left after it
NOTHING, SOMETHING = 0.98, 0.9  # of the loss, that is left where bold steps learn nothing, and smaller ones do
MUCH_MORE = 1.3  # times what is learnt, by a smaller rate, where the loss has exploded on the way
FASTER = 0.03  # of the loss, that a larger rate must learn meanwhile
MAGNIFIED = 10.0  # times the gradient of the loss
CRUSHED, MUCH_FASTER = 0.01, 10  # share of a gradient that clipping leaves; times what is learnt with it

HIGH = Cause(
    "learning-rate-too-high",
    "The steps are so large that training gets worse instead of better.",
    "Lower the learning rate by an order of magnitude or more, or a momentum above 0.95; average the loss over the "
    "batch; divide a loss scale out of the gradients before the step.",
    0.9,
    follows=(
        "not-shuffled",
        "gradients-not-zeroed",
        "accumulation-not-scaled",
        "loss-rises",
        "train-step-labels-shuffled",
        "pretrained-input-differs",
        "wrong-mode-in-training",
    ),
)


@dataclass(frozen=True)
class Course:
    """How a short training went: losses of the fresh and the trained model on the same batches."""

    run: Rehearsal
    before: float
    after: float

    @property
    def share(self) -> float:
        """What is left of the loss, which may have begun below zero; infinite if it was lost to NaN."""
        fallen = self.before - self.after
        return 1 - fallen / abs(self.before) if math.isfinite(self.after) and self.before else math.inf

    @property
    def highest(self) -> float:
        """The largest loss on the way, as a multiple of the first."""
        losses = self.run.losses
        if not all(map(math.isfinite, losses)):
            return math.inf
        return max(losses) / abs(losses[0]) if losses[0] else math.inf


Change = Callable[[torch.optim.Optimizer], object]


def course(
    subject: Subject,
    change: Change = lambda optimizer: None,
    scheduled: bool = True,
    steps: int = STEPS,
    model: torch.nn.Module | None = None,
) -> Course:
    """Train for a few steps with a change to the optimizer, or of another model than a fresh one."""
    with subject.untouched():
        before = _loss(subject, subject.model())
    with subject.untouched():
        run = rehearse(subject, steps, change=change, scheduled=scheduled, model=model)
        if _teaches_something_else(run):
            some = max(1, len(run.losses) // 4)
            return Course(run, sum(run.losses[:some]) / some, sum(run.losses[-some:]) / some)
        return Course(run, before, _loss(subject, run.model))


def _teaches_something_else(run: Rehearsal) -> bool:
    """Whether the steps give the loss targets that have nothing to do with those of their batches, as the noise that
    was added: the loss of the batches' own need not fall."""
    pairs = [(call.targets, run.batches[call.step][1]) for call in run.calls if call.step < len(run.batches)]
    return bool(pairs) and all(
        isinstance(told, torch.Tensor)
        and told.is_floating_point()
        and told.numel() == y.numel() > 1
        and abs(float(torch.corrcoef(torch.stack([told.cpu().flatten(), y.cpu().flatten().to(told.dtype)]))[0, 1]))
        < UNRELATED
        for told, y in pairs
    )


@torch.no_grad()
def _loss(subject: Subject, model: torch.nn.Module) -> float:
    """In train mode, by the same chance each time: what the steps themselves lower."""
    model = subject.copy(model).train()
    seed_everything(0)
    losses = [float(subject.loss(model, batch).float().mean()) for batch in subject.train.batches[:PROBES]]
    return sum(losses) / len(losses)


def own_course(subject: Subject) -> Course:
    """The training as it is; made once by `subject.once(own_course)`."""
    return course(subject)


def times(factor: float) -> Change:
    """Multiply the learning rates of an optimizer."""

    def change(optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor

    return change


@check(family="optimisation", stage=2, cost=2, causes=[HIGH, UPHILL])
def training_lowers_the_loss(subject: Subject):
    """A few steps of training leave the loss lower than it was; or a smaller learning rate does not either."""
    if subject.is_large:
        return skipped("The model is too large to be trained on whole batches in the time given.")
    own = subject.once(own_course)
    if not math.isfinite(own.before) or own.before <= 0:
        return skipped("The loss of the fresh model is not a positive number.")
    told = f"{len(own.run.losses)} steps take the loss from {own.before:.3g} to {own.after:.3g}"
    if own.highest > 3:
        told += f", by way of {own.highest:.3g} times the first"
    if own.share < 1.02 and not (own.highest > 3 and own.share > 0.3):
        found = _outpaced(subject, own, told) or _carried_away(subject, told) or _outgrown(subject, told)
        return found or passed(f"{told}.")
    leaps, worst = own.run.update_ratio > LEAPS * len(own.run.losses), own.share
    if own.share < EXPLODED and own.highest < 10 * EXPLODED:
        longer = course(subject, steps=PATIENT)  # deep networks may stumble first
        if longer.share < 1:
            bound = 1 - MUCH_MORE * (1 - longer.share) if leaps else 0.5 * longer.share
            bold = own.run.update_ratio > BOLD * len(own.run.losses)
            found = _surpassed(subject, longer, bound, told) if bold else None
            return found or passed(f"{told}, {len(longer.run.losses)} steps to {longer.after:.3g}.")
        told += f", {len(longer.run.losses)} steps to {longer.after:.3g}"
        worst = max(worst, longer.share)
        if len(longer.run.losses) < PATIENT and longer.share < EXPLODED:
            return HIGH.unsure(f"{told}; more steps would tell, which need more time than was given.")
    # A network that is thrown about may die with the loss of a guess: smaller rates get the time to be better at all.
    leaps = leaps and worst > 1.02
    bound = 0.97 if leaps else min(0.97 if own.share < EXPLODED else 1.0, 0.8 * own.share)
    # Warm-up or not, a schedule keeps its shape: only the size of the steps is another.
    for factor in (0.1, 0.01, 1e-3, *((1e-4, 1e-5) if math.isinf(own.share) else ())):
        other = course(subject, times(factor), scheduled=False, steps=PATIENT if leaps else STEPS)
        if other.share < bound and other.highest < 2:
            return HIGH.failed(
                f"{told}; with {factor:g} of the learning rate, to {other.after:.3g}.{_magnified(subject, own.run)}",
                curve={"step": list(range(len(own.run.losses))), "loss": own.run.losses},
            )
    if own.share > 1.5:
        return HIGH.unsure(f"{told}, and smaller learning rates do no better; is the loss one that should fall?")
    return passed(f"{told}; smaller learning rates do no better.")


def _magnified(subject: Subject, run: Rehearsal) -> str:
    """A word on gradients that are many times those of the loss."""
    factor = share_of_sum(subject, run, 1) if run.updates else 1.0
    return (
        f" The optimizer gets {factor:,.4g} times the gradient of the loss: was it scaled up and never down again?"
        if factor > MAGNIFIED
        else ""
    )


def _outpaced(subject: Subject, own: Course, told: str) -> Result | None:
    """Whether bold steps, which seem to learn or at least not to harm, get nowhere where smaller ones learn."""
    if own.run.update_ratio < BOLD * len(own.run.losses):
        return None
    longer = course(subject, steps=PATIENT)
    if longer.share < NOWHERE and longer.highest < 3:
        return None
    # Of noisy labels there is little to be learnt, so that little is enough where bold steps learn nothing at all.
    return _surpassed(subject, longer, SOMETHING if longer.share > NOTHING else 0.5 * longer.share, told)


def _surpassed(subject: Subject, longer: Course, bound: float, told: str) -> Result | None:
    """Whether as many smaller steps leave a share of the loss below a bound."""
    for factor in (0.1, 0.01):
        other = course(subject, times(factor), scheduled=False, steps=PATIENT)
        if other.share < bound and other.highest < 2:
            return HIGH.failed(
                f"{told}, and {len(longer.run.losses)} to {longer.after:.3g}; as many with {factor:g} of the learning "
                f"rate to {other.after:.3g}.",
                curve={"step": list(range(len(longer.run.losses))), "loss": longer.run.losses},
            )
    return None


def _carried_away(subject: Subject, told: str) -> Result | None:
    """Whether so much momentum piles up that it throws away what the first steps have learnt."""
    optimizer = subject.optimizer(subject.model())
    most = max(float(group.get("momentum") or 0.0) for group in optimizer.param_groups)
    if most <= MOST_MOMENTUM:
        return None

    def usual(optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            group["momentum"] = 0.9

    longer, other = (course(subject, each, steps=2 * PATIENT) for each in (lambda optimizer: None, usual))
    if other.share < longer.share / 2:
        return HIGH.failed(
            f"{told}, and {len(longer.run.losses)} to {longer.after:.3g}; as many with a momentum of 0.9 instead of "
            f"{most:g} to {other.after:.3g}.",
            curve={"step": list(range(len(longer.run.losses))), "loss": longer.run.losses},
        )
    return None


def _outgrown(subject: Subject, told: str) -> Result | None:
    """Whether the schedule raises the rate to its end, far beyond the optimizer's own, to where training explodes."""
    rates, optimizer = schedule_of(subject).own, subject.optimizer(subject.model())
    meant = max(group["lr"] for group in optimizer.param_groups)
    if not rates or not meant or rates[-1] < max(rates) or rates[-1] < OUTGROWN * meant:
        return None
    times_as_high = rates[-1] / meant
    last = course(subject, times(times_as_high), scheduled=False)
    if last.share < EXPLODED and not (last.share > 1 and last.highest > 10 * EXPLODED):
        return None
    return HIGH.failed(
        f"{told}; the schedule raises the rate from {meant:.2g} to {rates[-1]:.2g} at the end, where the loss goes to "
        f"{last.after:.3g}, by way of {last.highest:.3g} times the first.",
        curve={
            "step": list(range(0, len(rates), max(1, len(rates) // 200))),
            "rate": rates[:: max(1, len(rates) // 200)],
        },
    )


@check(family="optimisation", stage=2, cost=3, causes=[LOW])
def weights_move_far_enough(subject: Subject):
    """In the whole training the weights can move; or a larger rate learns no more in the same steps."""
    subject.once(rehearsal)
    rates = schedule_of(subject)
    peak = max(rates.own, default=0.0)
    optimizer = subject.optimizer(subject.model())
    first = max(group["lr"] for group in optimizer.param_groups)
    to_peak = peak / first if peak and first else 1.0
    own = course(subject, times(to_peak), scheduled=False)
    if not own.run.updates or not any(own.run.moved.values()) or not math.isfinite(own.run.update_ratio):
        return skipped("No weight moves, or all are lost to NaN.")
    steps = len(own.run.losses)
    per_step = own.run.update_ratio / steps
    total = max(subject.pipeline.total_steps or _usual_steps(subject), FEW_STEPS)
    crushed = _is_crushed(subject, own.run)
    told = f"At the highest rate, {peak or first:.2g}, the weights move by {per_step:.1g} of their length in a step"
    if crushed:
        told += ", as next to nothing of the loss's gradient reaches the optimizer: it is clipped or divided on its way"
    # What this rate can learn in the whole training, if it went on learning as fast as at the start.
    hoped = max(0.0, 1 - own.share) * total / steps
    if hoped < 1:  # some are slow to begin
        longer = course(subject, times(to_peak), scheduled=False, steps=PATIENT)
        hoped = max(hoped, (1 - longer.share) * total / len(longer.run.losses))
    if hoped > 1 and not crushed:
        return passed(f"{told}, and {steps} steps take the loss from {own.before:.3g} to {own.after:.3g}.")
    tries = []
    for factor in sorted((1e2, 1e3, 1e4, 1e6, 1e8), key=lambda each: _far_off(per_step * each)):
        # What is slow to begin is so at better rates, too.
        tries += [(STEPS, factor), *([(PATIENT, factor)] if per_step < CRAWL and factor <= 1e4 else [])]
    for tried, factor in tries:
        other = course(subject, times(to_peak * factor), scheduled=False, steps=tried)
        learned = 1 - other.share
        crawls = hoped < learned / 2 or (crushed and learned > MUCH_FASTER * (1 - own.share))
        if learned > FASTER and (per_step * total < STILL or crawls):
            return LOW.failed(
                f"{told}; {steps} steps take the loss from {own.before:.3g} to {own.after:.3g}, so that {total:,} may "
                f"not bring what {len(other.run.losses)} do with {factor:g} times the rate: {other.after:.3g}."
            )
    if per_step * total > STILL:
        return passed(f"{told}.")
    return LOW.unsure(f"{told}, and larger rates do no better; a longer run would tell.")


def _usual_steps(subject: Subject) -> int:
    """Of a training whose length is not told."""
    per_epoch = batches_per_epoch(subject)
    return min(USUAL_STEPS, USUAL_EPOCHS * per_epoch) if per_epoch else USUAL_STEPS


def _far_off(per_step: float) -> float:
    """How many orders of magnitude a step is off the usual size."""
    return abs(math.log10(max(per_step, 1e-300) / USUAL))


def _is_crushed(subject: Subject, run: Rehearsal) -> bool:
    """Whether the gradient that the optimizer finds is next to nothing of the loss's own, as after hard clipping."""
    return len(run.updates) == len(run.losses) and 0 < share_of_sum(subject, run, 1) < CRUSHED
