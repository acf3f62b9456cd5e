"""Regression: which outputs does the loss want for a target? Mostly the target itself, or it on another scale."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch

from recipe_core.checks.probe import own_outputs
from recipe_core.checks.rehearsal import rehearsal
from recipe_core.checks.subject import Subject

NEXT_TO_NOTHING = 0.02  # of the loss of outputs that are off by a deviation
MOST = 256  # samples
ITERATIONS = 60  # of L-BFGS
OTHERS = 0.5  # deviations of what the loss wants, by which outputs in evaluation differ from those in training
NO_OUTPUTS = (RuntimeError, ValueError, IndexError, TypeError)  # what a loss raises for outputs that are none for it


@dataclass(frozen=True)
class Scale:
    """Outputs are right that are `factor` times the targets and `shift`, (columns,) each, or (1,) of maps."""

    factor: torch.Tensor
    shift: torch.Tensor

    def of(self, y: torch.Tensor) -> torch.Tensor:
        """(n, ...) of targets (n, ...)."""
        return y.float() * self.factor + self.shift


def is_error(subject: Subject) -> bool:
    """Whether the pipeline's loss is next to nothing where outputs are the targets, and more of one sign where they are
    too high or too low: a likelihood's is not, nor a product's."""
    like, y = subject.once(own_outputs), subject.val.batches[0][1].cpu().float()
    if like.numel() != y.numel():
        return False
    shift = float(subject.val.y.float().std()) or 1.0
    with contextlib.suppress(*NO_OUTPUTS):
        for targets in (y, y.reshape(like.shape)):  # of another shape they may be broadcast, which is told elsewhere
            outputs = ((y + by).reshape(like.shape) for by in (0, shift, -shift))
            right, high, low = (_loss(subject, each, targets) for each in outputs)
            if high * low > 0 and abs(right) < NEXT_TO_NOTHING * min(abs(high), abs(low)):
                return True
    return False


def takes_the_opposite(subject: Subject) -> bool:
    """Whether to the loss the opposite of the targets is as right as they are, as of rotations by quaternions."""
    like, y = subject.once(own_outputs), subject.val.batches[0][1].cpu().float()
    if subject.classes or like.numel() != y.numel():
        return False
    with contextlib.suppress(*NO_OUTPUTS):
        off = y + float(subject.val.y.float().std())
        right, opposite, high = (_loss(subject, each.reshape(like.shape), y) for each in (y, -y, off))
        return max(abs(right), abs(opposite)) < NEXT_TO_NOTHING * abs(high)
    return False


def right_scale(subject: Subject) -> Scale | None:
    """On which scale of the targets outputs have next to no loss; None where they have on none.

    A loss may bring targets to another scale before it compares them, as a part of the pipeline's own.
    """
    if subject.once(takes_the_opposite):
        return None
    y = subject.train.y[:MOST].cpu()
    if is_error(subject):
        return Scale(torch.ones(1), torch.zeros(1))
    like = subject.once(own_outputs)
    if subject.classes or like[0].numel() != y[0].numel() or not torch.isfinite(y.float()).all():
        return None
    with contextlib.suppress(*NO_OUTPUTS):
        scale = _fitted(subject, y, like.shape[1:])
        return scale if scale and _is_evaluated(subject, scale) else None
    return None


def right_outputs(subject: Subject, y: torch.Tensor) -> torch.Tensor:
    """What the loss wants for targets (n, ...), in their shape; the targets where that is not known."""
    scale = subject.once(right_scale)
    return y.float() if scale is None else scale.of(y.cpu())


def _fitted(subject: Subject, y: torch.Tensor, shape: torch.Size) -> Scale | None:
    rows = y.float() if y.ndim == 2 else y.reshape(-1, 1).float()
    mean, deviation = rows.mean(0), rows.std(0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    units = (rows - mean) / deviation
    factor, shift = torch.ones(rows.shape[1], requires_grad=True), torch.zeros(rows.shape[1], requires_grad=True)

    def loss(by: float = 0.0, times: float = 1.0) -> torch.Tensor:
        outputs = (factor * (times * units + by) + shift).reshape(len(y), *shape)
        return subject.pipeline.loss_fn(outputs.to(subject.device), y.to(subject.device)).float().mean()

    minimise(loss, factor, shift)
    with torch.no_grad():
        right, off, farther = (abs(float(loss(*each))) for each in ((0.0, 1.0), (1.0, 1.0), (0.0, 2.0)))
    if not right < NEXT_TO_NOTHING * min(off, farther):  # scores may be as far out as they like
        return None
    by_unit = factor.detach() / deviation
    return Scale(by_unit, shift.detach() - by_unit * mean)


def minimise(loss: Callable[[], torch.Tensor], *tensors: torch.Tensor) -> None:
    """Change these tensors in place until a loss of them falls no more."""
    optimizer = torch.optim.LBFGS(tensors, max_iter=ITERATIONS, tolerance_grad=0, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)


def _is_evaluated(subject: Subject, scale: Scale) -> bool:
    """Whether the model, after some steps, says about the same in evaluation as in training: it may bring its outputs
    back to the scale of the targets there."""
    model, batch = subject.copy(subject.once(rehearsal).model), subject.train.batches[0]
    with torch.no_grad():
        training, evaluation = (subject.outputs(model.train(mode), batch[0]).float().mean() for mode in (True, False))
    deviation = float(scale.of(batch[1].cpu()).std())
    return abs(float(training - evaluation)) < OTHERS * deviation


def _loss(subject: Subject, outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float(subject.pipeline.loss_fn(outputs.to(subject.device), targets.to(subject.device)).mean())
