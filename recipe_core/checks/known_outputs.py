"""Outputs of known worth, to be put in place of the model's: right ones, wrong ones, random ones.

if can_be_said(subject):
    evaluate(subject, model, outputs_off(subject, by=1))
"""

from collections.abc import Callable, Iterable

import torch
from torch.nn import functional as F

from recipe_core.checks.probe import names_classes, own_outputs
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import SURE, answers, as_outputs, can_say, labels_of, loss_looks_ahead
from recipe_core.checks.wanted import is_error, right_outputs


def can_be_said(subject: Subject) -> bool:
    """Whether outputs are one number per class, for each sample or each place, or as many as there are targets."""
    like, y, classes = subject.once(own_outputs), subject.val.y, subject.classes
    if labels_of(y, classes) is not None:
        return can_say(like, classes) and names_classes(subject)
    if subject.once(axis_of_classes) is not None:
        return True
    return like[0].numel() == y[0].numel() and (not classes or float(y.max()) <= 1 or is_error(subject))


def axis_of_classes(subject: Subject) -> int | None:
    """Along which axis outputs have one number per class for each place of the targets; None where along none."""
    like, y, classes = subject.once(own_outputs), subject.val.batches[0][1].cpu(), subject.classes
    if not classes or y.is_floating_point() or like.ndim != y.ndim + 1 or subject.once(loss_looks_ahead):
        return None
    axes = [axis for axis in (1, like.ndim - 1) if like.shape[:axis] + like.shape[axis + 1 :] == y.shape]
    axes = [axis for axis in dict.fromkeys(axes) if like.shape[axis] > int(y.max())]
    if len(axes) < 2:
        return axes[0] if axes else None
    first, last = (_one_each(y, like.shape[axis], axis) for axis in axes)  # as many places as classes: the loss decides
    losses = [float(subject.pipeline.loss_fn(*to_device(subject, (each, y))).mean()) for each in (first, last)]
    return axes[losses[0] > losses[1]]


def outputs_off(subject: Subject, by: int) -> Callable[[Sample], torch.Tensor]:
    """Outputs that are the targets, or off by one class or one deviation."""

    def answer(sample: Sample) -> torch.Tensor:
        like = subject.once(own_outputs)
        labels = labels_of(sample.y, subject.classes)
        if labels is not None:
            return answers((labels + by) % subject.classes, like)
        axis = subject.once(axis_of_classes)
        if axis is not None:
            return _one_each((sample.y.long() + by) % like.shape[axis], like.shape[axis], axis)
        y = sample.y.float()
        if subject.classes and bool(((y == 0) | (y == 1)).all()):  # several labels a sample
            return as_shares((2 * (y == 1 - by) - 1.0) * SURE, like).reshape(len(y), *like.shape[1:])
        right = right_outputs(subject, y)
        return (right + by * float(right_outputs(subject, subject.val.y).std())).reshape(len(y), *like.shape[1:])

    return answer


def varied(subject: Subject, seed: int = 0) -> Callable[[Sample], torch.Tensor]:
    """Random outputs, twice as far from zero in the last batch as in the first."""

    def answer(sample: Sample) -> torch.Tensor:
        like = subject.once(own_outputs)
        chance = torch.Generator().manual_seed(seed)
        scale = torch.cat([torch.full((size,), 1.0 + at / len(sample.sizes)) for at, size in enumerate(sample.sizes)])
        noise = torch.randn(len(sample), *like.shape[1:], generator=chance) * scale.view(-1, *[1] * (like.ndim - 1))
        if not subject.classes:
            if sample.y.numel() != noise.numel():
                return noise
            right = right_outputs(subject, sample.y)
            return (right + noise.reshape(right.shape) * (float(right.std()) or 1.0)).reshape(noise.shape)
        return as_outputs(2 * noise, like) if like.ndim == 2 and like.shape[1] > 1 else as_shares(noise, like)

    return answer


def as_shares(logits: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Logits as the probabilities that a model's own outputs are, if they are such."""
    shares = bool((like >= 0).all() and (like <= 1).all())
    return logits.sigmoid() if shares else logits


def _one_each(labels: torch.Tensor, classes: int, axis: int) -> torch.Tensor:
    """Outputs that say these classes, along an axis."""
    return (F.one_hot(labels.clamp_min(0), classes) * SURE).movedim(-1, axis)


def to_device(subject: Subject, parts: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return [part.to(subject.device) for part in parts]
