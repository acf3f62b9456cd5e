"""Does the learning rate last as long as the training, whoever lowers it?"""

import gc
import math
from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import LRScheduler

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import Rehearsal, rehearsal, rehearse
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject

OVER = 0.005  # of the peak rate: nothing is learned below it
GONE = 1e-6  # of it: none
NEVER_REACHED = 0.1  # of the rate that the optimizer was made with
MOST_GONE = 0.3  # of the training
MOST_OVER = 0.6  # of the training; step decay, cosine and one cycle spend less there
SMALL, NEARLY_ALWAYS = 0.02, 0.9  # of the peak rate; of the training: one over the root of the step is so at its end
FEWEST_RATES, SAME_FACTOR = 10, 0.05  # updates of either half; difference of their factors
SIMULATED = 3000  # steps of a schedule, at most
FALLEN = 0.1  # of the peak rate
LAST, MUCH_LESS = 20, 0.7  # steps whose loss is compared; of it, that is left where the rate is kept

LOW = Cause(
    "learning-rate-too-low",
    "The weights hardly move in the whole training.",
    "Raise the learning rate by orders of magnitude (3e-4 is a good start for Adam), or lessen what shrinks the steps, "
    "as a clip of the gradient to a tiny norm.",
    0.8,
    follows=(
        "not-shuffled",
        "step-does-nothing",
        "wrong-mode-in-training",
        "optimizer-over-other-parameters",
        "probabilities-as-logits",
        "update-taken-back",
        "initial-loss-off",
    ),
)
EARLY = Cause(
    "schedule-ends-early",
    "The learning rate is used up long before the training ends.",
    "Count the schedule in what it is stepped by: batches or epochs (scheduler_interval).",
    0.7,
)
NO_EFFECT = Cause(
    "schedule-has-no-effect",
    "The schedule changes the rate of another optimizer than the one that trains.",
    "Make the schedule from the optimizer that steps.",
    0.4,
)


@dataclass(frozen=True)
class Schedule:
    """Learning rates step by step, as they are and as they would be were the schedule stepped by the other unit."""

    own: list[float]
    other: list[float]
    per_epoch: int | None
    is_ours: bool


def schedule_of(subject: Subject) -> Schedule:
    """The schedule over the training, on an optimizer that trains nothing; empty where there is none."""
    pipeline = subject.pipeline
    if pipeline.scheduler_fn is None:
        return Schedule([], [], None, True)
    per_epoch = batches_per_epoch(subject)
    if pipeline.scheduler_interval == "epoch" and not per_epoch:
        return Schedule([], [], None, True)
    total = min(pipeline.total_steps or SIMULATED, 100_000)
    by_step = pipeline.scheduler_interval == "step"
    own, ours = _rates(subject, total if by_step else math.ceil(total / (per_epoch or 1)))
    other, _ = _rates(subject, math.ceil(total / (per_epoch or 1)) if by_step else total)
    return Schedule(own, other, per_epoch, ours)


def batches_per_epoch(subject: Subject) -> int | None:
    """Of the training loader; None where there is no knowing."""
    try:
        return len(subject.pipeline.train_loader)  # type: ignore[arg-type]
    except TypeError:
        return len(subject.drawn_train.batches) if subject.drawn_train.complete else None


def _rates(subject: Subject, count: int) -> tuple[list[float], bool]:
    optimizer = subject.optimizer(subject.model())
    assert subject.pipeline.scheduler_fn is not None
    schedule = subject.pipeline.scheduler_fn(optimizer)
    ours = getattr(schedule, "optimizer", optimizer) is optimizer
    optimizer.zero_grad(set_to_none=True)  # so that its steps change nothing
    rates = []
    for _ in range(min(count, SIMULATED * 4)):
        rates.append(max(float(group["lr"]) for group in optimizer.param_groups))
        try:
            optimizer._opt_called = True  # type: ignore[attr-defined]  # what a schedule looks for before it warns
            schedule.step()
        except (ValueError, TypeError):  # at its end, or one that wants a metric
            break
    return rates, ours


@check(family="optimisation", stage=4, cost=0.5, causes=[EARLY, NO_EFFECT, LOW])
def the_schedule_lasts_as_long_as_the_training(subject: Subject):
    """The learning rate comes near its end only near the end of the training."""
    rates = schedule_of(subject)
    if not subject.pipeline.scheduler_fn and (
        lowered := _decayed_by_the_step(subject) or _dropped_by_the_step(subject)
    ):
        return lowered
    if not rates.own:
        return skipped("There is no schedule, or no knowing how long an epoch is.")
    every = max(1, len(rates.own) // 200)
    curve = {"step": list(range(0, len(rates.own), every)), "rate": rates.own[::every]}
    if not rates.is_ours:
        return NO_EFFECT.failed("The schedule was made for another optimizer than the pipeline's.")
    total, peak = subject.pipeline.total_steps, max(rates.own)
    if peak <= 0:
        return LOW.failed("The learning rate is zero throughout.", curve=curve)
    optimizer = subject.optimizer(subject.model())
    meant = max(float(group["lr"]) for group in optimizer.param_groups)
    if total and peak < NEVER_REACHED * meant and rates.own[-1] == peak > rates.own[0]:
        return LOW.failed(
            f"The rate still rises when the {total:,} steps of training end, at {peak:.2g}: {peak / meant:.1%} of the "
            "optimizer's own.",
            curve=curve,
        )
    over = sum(rate < OVER * peak for rate in rates.own) / len(rates.own)
    if total and over > MOST_OVER:
        return EARLY.failed(
            f"For {over:.0%} of the {total:,} steps of training the rate is below {OVER:.1%} of its peak"
            f"{_at_first(rates.own)}.",
            curve=curve,
        )
    gone = sum(rate <= GONE * peak for rate in rates.own) / len(rates.own)
    if total and gone > MOST_GONE:
        return EARLY.failed(f"For {gone:.0%} of the {total:,} steps of training the rate is zero.", curve=curve)
    turns = _returns(rates.own)
    if total and subject.pipeline.scheduler_interval == "step" and turns >= 3 and _fits(rates.other):
        return EARLY.failed(
            f"The rate falls and rises {turns} times; stepped once per epoch it would fall once, just to the end of "
            "training.",
            curve=curve,
        )
    low, meant_low = (
        sum(rate < SMALL * peak for rate in each) / max(1, len(each)) for each in (rates.own, rates.other)
    )
    if total and subject.pipeline.scheduler_interval == "step" and low > NEARLY_ALWAYS and meant_low < MOST_OVER:
        return EARLY.failed(
            f"For {low:.0%} of the {total:,} steps of training the rate is below {SMALL:.0%} of its peak; stepped once "
            f"per epoch it would be for {meant_low:.0%}.",
            curve=curve,
        )
    if not total and rates.per_epoch and subject.pipeline.scheduler_interval == "step":
        early = rates.own[rates.per_epoch :]
        if early and max(early) < OVER * peak:
            return EARLY.failed("The rate is used up before the first epoch is over.", curve=curve)
    return passed(f"The rate is below {OVER:.1%} of its peak for {over:.0%} of the training.", curve=curve)


def _decayed_by_the_step(subject: Subject) -> Result | None:
    """A failure where the train step itself lowers the rate by one factor each time, and so far too soon."""
    run = subject.once(rehearsal)
    rates = [each.rate for each in run.updates if each.optimizer is run.updates[0].optimizer]
    half = len(rates) // 2
    if half < FEWEST_RATES or min(rates) <= 0:
        return None
    first, second = (math.log(rates[at + half - 1] / rates[at]) / (half - 1) for at in (0, half))
    if first >= 0 or abs(first - second) > SAME_FACTOR * abs(first):
        return None
    lasts = int(math.log(OVER) / first * len(run.losses) / len(rates))
    total = subject.pipeline.total_steps
    if lasts < ((1 - MOST_OVER) * total if total else batches_per_epoch(subject) or 0):
        of = f"{total:,}" if total else "the first epoch"
        return EARLY.failed(
            f"The train step itself lowers the rate by {-math.expm1(first):.2g} each time: after {lasts:,} steps of "
            f"{of} it is below {OVER:.1%} of what it was."
        )
    return None


def _dropped_by_the_step(subject: Subject) -> Result | None:
    """A failure where a schedule inside the train step lowers the rate in the first half of the training, and much more
    is learnt where it stays."""
    total = subject.pipeline.total_steps
    if not total or not _has_schedule(rehearse(subject, 2).optimizer):
        return None
    own = rehearse(subject, min(total, SIMULATED))
    rates = [each.rate for each in own.updates]
    fallen = next((at for at, rate in enumerate(rates) if rate < FALLEN * max(rates)), None)
    if fallen is None or fallen > total / 2 or len(own.losses) - fallen < LAST:
        return None
    kept = rehearse(subject, len(own.losses), change=_keep_rates)
    if len(kept.losses) < len(own.losses) or not _last_loss(kept) < MUCH_LESS * _last_loss(own):
        return None
    return EARLY.failed(
        f"The train step itself lowers the rate to {rates[fallen] / max(rates):.1%} of its peak by step {fallen:,} of "
        f"{total:,}: after {len(own.losses):,} steps the loss is {_last_loss(own):.3g}, where the rate is kept "
        f"{_last_loss(kept):.3g}."
    )


def _has_schedule(optimizer: torch.optim.Optimizer) -> bool:
    """Whether one of torch's schedules was made for it."""
    return any(
        issubclass(type(each), LRScheduler) and getattr(each, "optimizer", None) is optimizer
        for each in gc.get_objects()
    )


def _keep_rates(optimizer: torch.optim.Optimizer) -> None:
    rates = [group["lr"] for group in optimizer.param_groups]

    def restore(*_: object) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    optimizer.register_step_pre_hook(restore)


def _last_loss(run: Rehearsal) -> float:
    return sum(run.losses[-LAST:]) / len(run.losses[-LAST:])


def _at_first(rates: list[float]) -> str:
    """How long a rate takes to come near its peak, where that is long."""
    start = next(at for at, rate in enumerate(rates) if rate >= OVER * max(rates)) / len(rates)
    return f", as it is all through the first {start:.0%}" if start > MOST_OVER / 2 else ""


def _returns(rates: list[float]) -> int:
    """How often the rate climbs back from a tenth of its peak to most of it."""
    peak, low, count = max(rates), False, 0
    for rate in rates:
        if rate < 0.1 * peak:
            low = True
        elif rate > 0.9 * peak and low:
            low, count = False, count + 1
    return count


def _fits(rates: list[float]) -> bool:
    """Whether a schedule falls once, and is low at the end only."""
    peak = max(rates)
    return len(rates) > 2 and rates[-1] < 0.2 * peak and _returns(rates) == 0
