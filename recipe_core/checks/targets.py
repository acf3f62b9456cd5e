"""What targets mean: labels out of whatever form a loss takes them in, and outputs that would be right answers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from recipe_core.training.checkpoint import seed_everything

if TYPE_CHECKING:
    from recipe_core.checks.subject import Subject

MOST = 0.6  # of a sample's shares
SURE = 8.0  # logit of an answer without doubt
ALONE = 8  # samples that the loss is asked about one by one


def labels_of(targets: torch.Tensor, num_classes: int) -> torch.Tensor | None:
    """int64 (n,): the class of each sample, from indices, one-hot rows or shares; None for regression."""
    if not num_classes or not len(targets):
        return None
    rows = targets.reshape(len(targets), -1)
    if rows.shape[1] == 1:
        flat = rows[:, 0]
        if num_classes == 2 and bool((flat.abs() == 1).all()) and bool((flat < 0).any()):
            return (flat > 0).long()  # as hinge losses have them
        return flat.round().long() if torch.equal(flat.float(), flat.float().round()) else None
    return rows.argmax(1) if rows.shape[1] == num_classes and _are_one_each(rows.float()) else None


@torch.no_grad()
def classes_of_places(subject: Subject) -> int:
    """How many classes each place of a text or a picture may have, where the pipeline names no number of them: as many
    numbers as outputs have for each, if the loss is less for those that say the targets; 0 where there are none."""
    if subject.train.is_whole:
        return 0
    x, y = (part.to(subject.device) for part in subject.train.batches[0])
    if y.ndim < 2 or y.is_floating_point():
        return 0
    with contextlib.suppress(RuntimeError, ValueError, IndexError, TypeError):
        outputs = subject.outputs(subject.model().eval(), x)
        for axis in {1, outputs.ndim - 1}:
            classes = outputs.shape[axis]
            if outputs.shape[:axis] + outputs.shape[axis + 1 :] != y.shape or classes <= int(y.max()):
                continue
            said = [F.one_hot((y.long().clamp_min(0) + by) % classes, classes).movedim(-1, axis) for by in (0, 1)]
            right, wrong = (float(subject.pipeline.loss_fn(SURE * each, y).float().mean()) for each in said)
            if right < wrong and not subject.once(loss_looks_ahead):
                return classes
    return 0


def _are_one_each(rows: torch.Tensor) -> bool:
    """Whether rows name one class each: by shares of a whole, or by one number that is larger than all the others."""
    shares = (rows.sum(1) - 1).abs() < 1e-3
    low, high = rows.min(), rows.max()
    one = ((rows == high).sum(1) == 1) & ((rows == low).sum(1) == rows.shape[1] - 1)
    return bool((shares | one).all())


def are_spread(targets: torch.Tensor) -> bool:
    """Whether targets are shares of classes of which mostly none has most, as of ages or of many annotators."""
    if targets.ndim != 2 or not targets.is_floating_point() or targets.shape[1] < 3:
        return False
    return bool((targets >= 0).all()) and float((targets.amax(1) / targets.sum(1).clamp_min(1e-9)).median()) < MOST


def can_say(outputs: torch.Tensor, classes: int) -> bool:
    """Whether outputs have one number per class, or one number for two classes: what `answers` can be given as."""
    columns = 1 if outputs.ndim == 1 else outputs.shape[1]
    return columns >= classes or (columns == 1 and classes == 2)


def answers(labels: torch.Tensor, like: torch.Tensor, sure: torch.Tensor | float = SURE) -> torch.Tensor:
    """Outputs that say these classes, in the form that a model's own outputs have.

    Args:
        labels: int64 (n,).
        like: outputs of the model: (n, classes), or (n,) or (n, 1) of two classes; scores, log-probabilities or
            probabilities.
        sure: the logit by which an answer stands out, of all samples or (n,).
    """
    sure = torch.as_tensor(sure, dtype=torch.float32).expand(len(labels))
    if like.ndim == 1 or like.shape[1] == 1:
        logits = (2 * labels.float() - 1) * sure
        logits = logits if like.ndim == 1 else logits[:, None]
        return torch.sigmoid(logits) if _are_shares(like) else logits
    logits = F.one_hot(labels, like.shape[1]).float() * sure[:, None]
    return as_outputs(logits, like)


def as_outputs(logits: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Logits (n, classes) as the probabilities or log-probabilities that a model's own outputs are."""
    if _are_shares(like):
        return logits.softmax(1) if torch.allclose(like.sum(1), torch.ones(len(like)), atol=1e-3) else logits.sigmoid()
    if torch.allclose(like.logsumexp(1), torch.zeros(len(like)), atol=1e-3):
        return logits.log_softmax(1)
    return logits


def _are_shares(outputs: torch.Tensor) -> bool:
    return bool((outputs >= 0).all() and (outputs <= 1).all()) and bool((outputs > 0).any())


@torch.no_grad()
def targets_are_read(subject: Subject) -> bool:
    """Whether the loss changes with the targets: one that compares the samples of a batch need not look at them."""
    model = subject.model().eval()
    for x, y in subject.train.batches[:2]:
        outputs, own = subject.forward(model, x.to(subject.device)), y.to(subject.device)
        found = []
        for targets in (own, own.flip(0), own.roll(1, 0), own + 1):
            seed_everything(0)
            try:
                found.append(float(subject.pipeline.loss_fn(outputs, targets).float().mean()))
            except (RuntimeError, ValueError, IndexError, TypeError):
                return True
        if len(set(found)) > 1:
            return True
    return False


def samples_are_judged_alone(subject: Subject) -> bool:
    """Whether the loss of a sample by itself has a gradient: one that compares samples with each other has none."""
    model = subject.model().eval()
    x, y = (part.to(subject.device) for part in subject.train.batches[0])
    outputs = subject.outputs(model, x).detach().float()
    for row in range(min(ALONE, len(outputs), len(y))):
        own = outputs[row : row + 1].clone().requires_grad_()
        try:
            loss = subject.pipeline.loss_fn(own, y[row : row + 1]).float().mean()
            (slope,) = torch.autograd.grad(loss, own, allow_unused=True)
        except (RuntimeError, ValueError, IndexError, TypeError):
            continue
        if slope is not None and bool(slope.isfinite().all()) and bool(slope.any()):
            return True
    return False


@torch.enable_grad()
def loss_looks_ahead(subject: Subject) -> bool:
    """Whether the loss compares what the model says at a place of a text with the target of the next place."""
    x, y = (part.to(subject.device) for part in subject.train.batches[0])
    if y.ndim != 2 or y.is_floating_point() or y.shape[1] < 3:
        return False
    outputs = subject.outputs(subject.model().eval(), x).detach().requires_grad_()
    middle, other = y.shape[1] // 2, y.clone()
    other[:, middle] = torch.where(y[:, middle] == y.min(), y.max(), y.min())
    try:
        slopes = [
            torch.autograd.grad(subject.pipeline.loss_fn(outputs, each).float().mean(), outputs)[0]
            for each in (y, other)
        ]
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False
    changed = (slopes[0] - slopes[1]).abs()
    for axis in range(1, outputs.ndim):
        if outputs.shape[axis] == y.shape[1]:
            places = changed.movedim(axis, 0).flatten(1).sum(1).nonzero().flatten().tolist()
            if places == [middle - 1]:
                return True
    return False
