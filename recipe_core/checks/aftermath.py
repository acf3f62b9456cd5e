"""What a train step leaves: does what the optimizer did stay, and did all of the batch have a say in it?"""

import math
from contextlib import ExitStack

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import LossCall, Rehearsal, dense, rehearsal, rehearse
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject

STEPS = 6
UNDONE = 0.5  # of an update; a constraint on the weights, or an average now and then, takes back less
MOST_HEARD = 0.75  # of a batch; what is left out of it on purpose is chosen by its loss, and not by its place
FEWEST = 3  # steps
MOST_LEFT = 0.999  # of a gradient that was clipped

TAKEN_BACK = Cause(
    "update-taken-back",
    "After the optimizer has moved the weights the train step moves them back: training goes on as if at a tiny rate.",
    "Keep averages of the weights in a copy of the model, and leave the one that trains alone.",
    0.8,
)
UNHEARD = Cause(
    "loss-over-part-of-batch",
    "The loss is taken over the same part of each batch: the other samples are computed and teach nothing.",
    "Look for a slice or an index where outputs and targets enter the loss.",
    0.6,
)

TOO_LATE = Cause(
    "clipped-after-step",
    "Gradients are clipped when the optimizer has used them: the clipping changes nothing, and a large gradient throws "
    "the weights as far as it likes.",
    "Clip between loss.backward() and optimizer.step().",
    0.5,
)


@check(family="optimisation", stage=2, cost=0.3, causes=[TOO_LATE])
def gradients_are_clipped_before_they_are_used(subject: Subject):
    """What a train step leaves of the gradients is what the optimizer used, or nothing."""
    left: list[dict[str, torch.Tensor]] = []

    def look(step: int, model: torch.nn.Module) -> None:
        gradients = {name: dense(each.grad, copied=True) for name, each in model.named_parameters()}
        left.append({name: each for name, each in gradients.items() if each is not None})

    with subject.untouched():
        run = rehearse(subject, STEPS, after=look, scheduled=False)
    used = {update.step: update.gradients for update in run.updates}
    shares = [share for step, after in enumerate(left) if (share := _scaled_by(used.get(step, {}), after))]
    if len(shares) >= FEWEST - 1:
        return TOO_LATE.failed(
            f"After {len(shares)} of {len(left)} steps the gradients are {min(shares):.2g} to {max(shares):.2g} of "
            "what the optimizer has used."
        )
    return passed("It is.")


def _scaled_by(used: dict[str, torch.Tensor | None], left: dict[str, torch.Tensor]) -> float:
    """By which factor below 1 all gradients are smaller afterwards; 0 where it is none, or not one."""
    pairs = [(each, left[name]) for name, each in used.items() if each is not None and name in left]
    if not pairs or len(left) != len(pairs):
        return 0.0
    before, after = (torch.cat([each.flatten().float() for each in part]) for part in zip(*pairs, strict=True))
    share = float(after.norm() / before.norm().clamp_min(1e-30))
    return share if 0 < share < MOST_LEFT and torch.allclose(after, share * before, rtol=1e-2, atol=1e-12) else 0.0


@check(family="optimisation", stage=2, cost=0.3, causes=[TAKEN_BACK])
def the_update_stays(subject: Subject):
    """When a train step has ended the weights are where the optimizer left them, or near."""
    seen = _Moves()
    with subject.untouched(), seen.watching():
        rehearse(subject, STEPS, after=seen.ended, scheduled=False)
    shares = sorted(each for each in seen.undone if each is not None)
    if len(shares) < FEWEST:
        return skipped("There is not one update in each step.")
    usual = shares[len(shares) // 2]
    if usual > UNDONE:
        return TAKEN_BACK.failed(
            f"Of what the optimizer has just done to the weights, {usual:.1%} is taken back before the step ends."
        )
    return passed("Nothing takes it back.")


class _Moves:
    """Which share of each update is gone at the end of its step; None where there was not one update."""

    def __init__(self) -> None:
        self.undone: list[float | None] = []
        self._steps: list[list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]] = []  # parameter, before and after
        self._before: list[list[torch.Tensor]] = []  # of each optimizer that has begun: one may step others

    def watching(self) -> ExitStack:
        stack = ExitStack()
        stack.callback(register_optimizer_step_pre_hook(self._starts).remove)
        stack.callback(register_optimizer_step_post_hook(self._stepped).remove)
        return stack

    def ended(self, step: int, model: torch.nn.Module) -> None:
        moves, self._steps = self._steps, []
        self.undone.append(self._share(moves[0]) if len(moves) == 1 else None)

    def _starts(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        self._before.append([each.detach().clone() for group in optimizer.param_groups for each in group["params"]])

    def _stepped(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        weights = [each for group in optimizer.param_groups for each in group["params"]]
        self._steps.append(
            [(each, old, each.detach().clone()) for each, old in zip(weights, self._before.pop(), strict=True)]
        )

    def _share(self, moves: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> float | None:
        back = done = 0.0
        for weight, before, after in moves:
            update = (after - before).double()
            back -= float(((weight.detach() - after).double() * update).sum())
            done += float(update.square().sum())
        return back / done if done else None


@check(family="optimisation", stage=2, cost=0.2, causes=[UNHEARD])
def all_of_a_batch_enters_the_loss(subject: Subject):
    """The loss is not taken over the first or the last few samples of each batch alone."""
    run = subject.once(rehearsal)
    heard = [share for step in range(len(run.batches)) if (share := _heard(run, step))]
    if len(heard) >= FEWEST and len(heard) == len(run.batches) and max(heard) < MOST_HEARD:
        count = round(heard[0] * len(run.batches[0][1]))
        return UNHEARD.failed(
            f"Of a batch of {len(run.batches[0][1])} the loss gets the same {count} places each time."
        )
    return passed("It is not.")


def _heard(run: Rehearsal, step: int) -> float | None:
    """The share of a batch whose targets enter the loss, where those are its first or its last; else None, also where
    the step returns more than that loss: samples without labels may teach by one of their own."""
    calls: list[LossCall] = [call for call in run.calls if call.step == step]
    y = run.batches[step][1]
    if len(calls) != 1 or not isinstance(calls[0].targets, torch.Tensor) or len(y.unique()) < 2:
        return None
    if not math.isclose(calls[0].value, run.losses[step], rel_tol=1e-3):
        return None
    targets = calls[0].targets.cpu()
    count = len(targets) if targets.ndim else 0
    if not 0 < count < len(y) or targets.shape[1:] != y.shape[1:]:
        return None
    ends = (y[:count].cpu(), y[-count:].cpu())
    return count / len(y) if any(torch.equal(targets.to(each), each) for each in ends) else None
