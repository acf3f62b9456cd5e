"""Where images are mixed with each other (MixUp, CutMix), are their labels, too?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import default_collate

from recipe_core.checks.augmentation import CHANGED
from recipe_core.checks.registry import check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of

MOST = 32  # images of a batch that are looked at
ROUNDS = 8  # batches: chance may mix little
EXPLAINED = 1e-3  # of an image's length, or its numbers, may be missing if it is a mixture of those of the batch
UNMIXED = 0.98  # of an image is one of the batch
UNTOLD = 0.1  # of a label: what the loss does not know of what is mixed


@check(family="data", stage=1, cost=0.5, causes=[CHANGED])
def mixed_images_have_mixed_labels(subject: Subject) -> Result:
    """Where the loader's collate function, or `augment`, mixes the images of a batch, it mixes their labels alike."""
    found = {}
    for name, change in _changes(subject).items():
        classes = subject.pipeline.num_classes
        told = [untold(x, y, mixed, targets, classes) for x, y, (mixed, targets) in _tried(subject, change)]
        known = [each for each in told if each is not None]
        if known:
            found[name] = sum(known) / len(known)
    for name, share in found.items():
        if share > UNTOLD:
            return CHANGED.failed(
                f"{name} mixes images and not their labels: {share:.0%} of an image they do not tell."
            )
    return passed("Labels are mixed as images are, or nothing is mixed.") if found else skipped("No batch is mixed.")


def _changes(subject: Subject) -> dict[str, Any]:
    """What makes a batch of the list of samples."""
    collate = getattr(subject.pipeline.train_loader, "collate_fn", None)
    augment = subject.pipeline.augment
    found = {} if collate in (None, default_collate) else {"The loader's collate function": collate}
    return found | ({"`augment`": lambda items: augment(*default_collate(items))} if augment else {})


def _tried(subject: Subject, change: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor, Any]]:
    """Images and targets of some batches, and what was made of both."""
    loader: Any = subject.pipeline.train_loader
    dataset: Any = getattr(loader, "dataset", None)
    size = getattr(loader, "batch_size", None) or MOST
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        return
    for _ in range(ROUNDS):
        subject.check_time()
        items = [dataset[row] for row in torch.randperm(len(dataset))[: min(size, MOST)].tolist()]
        with contextlib.suppress(RuntimeError, ValueError, TypeError, IndexError):
            # A sample that is a batch of its own has nothing to be mixed with; in all else it is prepared alike.
            x, y = (torch.cat(each) for each in zip(*[change([item]) for item in items], strict=True))
            yield x.clone(), y.clone(), change(items)


def untold(x: torch.Tensor, y: torch.Tensor, mixed: torch.Tensor, told: torch.Tensor, classes: int) -> float | None:
    """How much of what is in mixed images, on average, their targets do not tell; None where that cannot be known.

    Args:
        x, y: images and targets before.
        mixed, told: those after.
    """
    labels, said = rows_of(y, classes), rows_of(told, classes)
    if labels is None or said is None or mixed.shape != x.shape or not (x.is_floating_point() or x.ndim == 4):
        return None
    rows, made = x.flatten(1).double().cpu(), mixed.flatten(1).double().cpu()[:MOST]
    of_each = _shares(rows, made) if bool(rows.isfinite().all() and made.isfinite().all()) else None
    if of_each is None:
        return None
    there, said = of_each @ labels, said[: len(of_each)]
    # The class that a target names most is not asked about: labels are smoothed on purpose.
    missing = (there - said).clamp_min(0).scatter(1, said.argmax(1, keepdim=True), 0.0).sum(1)
    return float(torch.where(of_each.amax(1) < UNMIXED, missing, 0.0).mean())


def _shares(rows: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor | None:
    """(mixed, rows) at least how much of each mixed image is from each of the others; None if they are no mixtures."""
    if len(rows) >= rows.shape[1]:
        return None  # anything would be a mixture of so many
    shares = torch.linalg.lstsq(rows.T, mixed.T).solution.T
    rest = (shares @ rows - mixed).norm() / mixed.norm().clamp_min(1e-9)
    if float(rest) < EXPLAINED and float((shares.sum(1) - 1).abs().max()) < 0.01 and float(shares.min()) > -0.01:
        return shares
    found = torch.zeros_like(shares)
    for row, image in enumerate(mixed):
        same = rows == image
        first = int(same.sum(1).argmax())
        second = int((same & ~same[first]).sum(1).argmax())
        if float((same[first] | same[second]).double().mean()) < 1 - EXPLAINED:
            return None
        # Where both are the same, as where nothing is to be seen, it may be from either.
        found[row, second] = (same[second] & ~same[first]).double().mean()
        found[row, first] = (same[first] & ~same[second]).double().mean() if found[row, second] else 1.0
    return found


def rows_of(targets: torch.Tensor, classes: int) -> torch.Tensor | None:
    """float64 (n, classes): shares of each class."""
    targets = targets.detach().cpu()
    if targets.ndim == 2 and targets.shape[1] == classes > 1:
        return targets.double()
    labels = labels_of(targets, classes)
    return None if labels is None or int(labels.min()) < 0 else F.one_hot(labels, classes).double()
