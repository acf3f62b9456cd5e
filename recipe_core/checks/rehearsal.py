"""The pipeline's own training, a few steps of it, watched from inside.

run = rehearse(subject, 30)
run.losses, run.calls[0].factors, run.updates[0].gradients
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from recipe_core.checks.parts import Parts
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything
from recipe_core.training.fit import endless

STEPS = 40
SHARE_OF_TIME = 0.1  # of the budget, that one rehearsal may take
KEPT = 12  # steps whose tensors are kept
NORMS = (nn.modules.batchnorm._BatchNorm,)
DROPOUTS = (nn.modules.dropout._DropoutNd,)


@dataclass
class LossCall:
    """One call of the loss function by the train step."""

    step: int
    outputs: Any
    targets: Any
    value: float
    factors: list[float] = field(default_factory=list)  # d(what was differentiated) / d(this loss), if it was at all


@dataclass
class ForwardCall:
    """One call of the model by the train step."""

    step: int
    x: Any
    training: bool  # the model's own mode
    modes: dict[str, bool]  # of the layers that act by mode
    learns: bool  # gradients are kept


@dataclass
class Update:
    """One step of an optimizer, as it found the gradients."""

    step: int
    optimizer: torch.optim.Optimizer
    gradients: dict[str, torch.Tensor | None]
    rate: float  # the highest of its groups


@dataclass
class Rehearsal:
    """What was seen in a few steps of training.

    Attributes:
        losses: as train_step returned them.
        moved: parameter -> whether it has changed.
        touched: parameters that had a gradient other than zero when an optimizer stepped.
        model: after the steps, a copy; `before`: its parameters before them.
    """

    losses: list[float]
    batches: list
    forwards: list[ForwardCall]
    calls: list[LossCall]
    updates: list[Update]
    moved: dict[str, bool]
    touched: set[str]
    before: dict[str, torch.Tensor]
    model: nn.Module
    optimizer: torch.optim.Optimizer

    @property
    def pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each parameter that trains, after and before; not those that a first forward pass made."""
        named = [(name, each) for name, each in self.model.named_parameters() if each.requires_grad]
        return [(each.detach(), self.before[name]) for name, each in named if name in self.before]

    @property
    def change(self) -> float:
        """|all changes together|, of the parameters that train."""
        return math.sqrt(sum(float((after - before).abs().square().sum()) for after, before in self.pairs))

    @property
    def update_ratio(self) -> float:
        """|all changes together| / |weights before|, of the parameters that train."""
        change = self.change
        size = math.sqrt(sum(float(before.abs().square().sum()) for _, before in self.pairs))
        return change / size if size else math.inf if change else 0.0


def rehearsal(subject: Subject) -> Rehearsal:
    """The pipeline's own training as it is; made once by `subject.once(rehearsal)`."""
    return rehearse(subject, STEPS)


def rehearse(
    subject: Subject,
    steps: int,
    *,
    scheduled: bool = True,
    change: Callable[[torch.optim.Optimizer], object] = lambda optimizer: None,
    model: nn.Module | None = None,
    scale: float = 1.0,
    after: Callable[[int, nn.Module], object] = lambda step, model: None,
    until_updates: int | None = None,
    batches: list | None = None,
) -> Rehearsal:
    """Train a fresh model for so many steps, fewer where they take long.

    Args:
        model: the one to train, in the mode it is in; by default a fresh one in train mode.
        scheduled: step the pipeline's schedule, too.
        change: what to change in the optimizer before the first step.
        scale: multiply the loss that the train step gets.
        after: called with the number of steps and the model after each.
        until_updates: stop after the step with this many updates.
        batches: others than the first training batches.
    """
    pipeline = subject.pipeline
    model = subject.model().train() if model is None else model
    optimizer = subject.optimizer(model)
    schedule = pipeline.scheduler_fn(optimizer) if pipeline.scheduler_fn and scheduled else None
    change(optimizer)
    seen = _Seen(model, pipeline.loss_fn, scale, subject.parts)
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    taken, losses = [], []
    seconds, started = max(1.0, SHARE_OF_TIME * subject.budget), time.monotonic()
    supply = endless(batches or subject.train.batches)
    per_epoch = len(subject.train.batches)
    seed_everything(1)
    with seen.watching():
        for step in range(steps):
            subject.check_time()
            if time.monotonic() - started > seconds and step >= 3:
                break
            x, y = next(supply)
            batch = (x.clone(), y.clone())
            seen.step = step
            losses.append(float(pipeline.train_step(model, batch, seen.loss_fn, optimizer)))
            if step < KEPT:
                taken.append((x, y))
            after(step + 1, model)
            if schedule and (pipeline.scheduler_interval == "step" or (step + 1) % per_epoch == 0):
                schedule.step()
            if not math.isfinite(losses[-1]) or len(seen.updates) >= (until_updates or math.inf):
                break
    moved = {name: not torch.equal(each, before[name]) for name, each in model.named_parameters() if name in before}
    return Rehearsal(
        losses, taken, seen.forwards, seen.calls, seen.updates, moved, seen.touched, before, subject.copy(model),
        optimizer,
    )  # fmt: skip


class _Seen:
    """Watches a model, its loss and all optimizers."""

    def __init__(self, model: nn.Module, loss_fn: Callable, scale: float, parts: Parts):
        self.model, self._loss_fn, self._scale, self._parts = model, loss_fn, scale, parts
        self.step = 0
        self.forwards: list[ForwardCall] = []
        self.calls: list[LossCall] = []
        self.updates: list[Update] = []
        self.touched: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            for handle in (
                self.model.register_forward_pre_hook(self._forward, with_kwargs=True),
                register_optimizer_step_pre_hook(self._update),
            ):
                stack.callback(handle.remove)
            yield

    def loss_fn(self, outputs, targets, *more, **named):
        """The pipeline's own, which tells how its value is used."""
        loss = self._loss_fn(outputs, targets, *more, **named) * self._scale
        if is_functorch_wrapped_tensor(loss):  # one of many at once, as gradients of single samples are
            return loss
        kept = self.step < KEPT
        value = float(loss.detach().float().mean())
        call = LossCall(self.step, _detached(outputs) if kept else None, _detached(targets) if kept else None, value)
        self.calls.append(call)
        if loss.requires_grad:
            loss.register_hook(lambda gradient: call.factors.append(float(gradient.sum())))
        return loss

    def _forward(self, module: nn.Module, inputs, named) -> None:
        if self.step < KEPT:
            x = next(iter(self._parts.seen(inputs, named)), None)
            if x is not None and is_functorch_wrapped_tensor(x):
                return
            layers = {name: each.training for name, each in module.named_modules() if acts_by_mode(each)}
            self.forwards.append(ForwardCall(self.step, _detached(x), module.training, layers, torch.is_grad_enabled()))

    def _update(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = {name: each.grad for name, each in self.model.named_parameters()}
        self.touched |= {name for name, each in gradients.items() if each is not None and bool(each.any())}
        keep = self.step < KEPT or not self.updates
        kept = {name: dense(each, copied=True) for name, each in gradients.items()} if keep else {}
        rate = max((float(group["lr"]) for group in optimizer.param_groups if "lr" in group), default=0.0)
        self.updates.append(Update(self.step, optimizer, kept, rate))


def dense(gradient: torch.Tensor | None, copied: bool = False) -> torch.Tensor | None:
    """A gradient as it is, or what an embedding's sparse one stands for."""
    if gradient is None or gradient.is_sparse:
        return gradient if gradient is None else gradient.detach().to_dense()
    return gradient.detach().clone() if copied else gradient


def acts_by_mode(layer: nn.Module) -> bool:
    """Whether a layer does something else in training than in evaluation."""
    return isinstance(layer, NORMS) or (isinstance(layer, DROPOUTS) and layer.p > 0)


def _detached(item: Any) -> Any:
    return item.detach().clone() if isinstance(item, torch.Tensor) else None
