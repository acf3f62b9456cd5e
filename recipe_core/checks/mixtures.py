"""Where images are mixed with each other (MixUp, CutMix), are their labels, too?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import default_collate

from recipe_core.checks.augmentation import CHANGED
from recipe_core.checks.labels import UNRELATED
from recipe_core.checks.registry import check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject, by_index
from recipe_core.checks.targets import labels_of

MOST = 32  # images of a batch that are looked at
ROUNDS = 8  # batches: chance may mix little
EXPLAINED = 1e-3  # of an image's length, or its numbers, may be missing if it is a mixture of those of the batch
UNMIXED = 0.98  # of an image is one of the batch
MOST_DISTURBED = 0.7  # of a batch's labels are left as they are: some are changed on purpose (Xie et al. 2016)
COLLATE = "The loader's collate function"
UNTOLD = 0.1  # of a label: what the loss does not know of what is mixed


@check(family="data", stage=1, cost=0.5, causes=[CHANGED, UNRELATED])
def mixed_images_have_mixed_labels(subject: Subject) -> Iterator[Result]:
    """What the loader's collate function, or `augment`, makes of a batch leaves each image its label, and mixes labels
    as it mixes images."""
    results, known = [], False
    for name, change in _changes(subject).items():
        tried = list(_tried(subject, name, change))
        kept = [each for each in (_kept(*one) for one in tried) if each is not None]
        classes = subject.classes
        told = [each for each in (untold(*one, classes) for one in tried) if each is not None]
        known |= bool(kept or told)
        if len(kept) == len(tried) > 1 and max(kept) < MOST_DISTURBED:
            results.append(
                UNRELATED.failed(
                    f"{name} brings images and labels into different orders: {sum(kept) / len(kept):.0%} of a batch "
                    "keep theirs."
                )
            )
        elif told and sum(told) / len(told) > UNTOLD:
            results.append(
                CHANGED.failed(
                    f"{name} mixes images and not their labels: {sum(told) / len(told):.0%} of an image they do not "
                    "tell."
                )
            )
    healthy = passed("Labels stay with their images.") if known else skipped("No batch is mixed.")
    yield from results or [healthy]


def _changes(subject: Subject) -> dict[str, Any]:
    """What makes a batch of the list of samples, or of a raw batch."""
    collate = getattr(subject.pipeline.train_loader, "collate_fn", None)
    augment = subject.pipeline.augment
    return ({} if collate in (None, default_collate) else {COLLATE: collate}) | (
        {"`augment`": augment} if augment else {}
    )


def _tried(
    subject: Subject, name: str, change: Any
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Images and targets of some batches, and what was made of them."""
    for items in _raw_items(subject, name):
        subject.check_time()
        make = change if name == COLLATE else lambda each: change(*default_collate(each))
        with contextlib.suppress(RuntimeError, ValueError, TypeError, IndexError):
            # A sample that is a batch of its own has nothing to be mixed with; in all else it is prepared alike.
            alone, targets = zip(*[subject.batch(make([item])) for item in items], strict=True)
            made, told = subject.batch(make(items))
            if made.ndim == 2 and not made.is_floating_point():  # texts, filled up to the longest of their batch
                alone = tuple(F.pad(x, (0, made.shape[1] - x.shape[1])) for x in alone)
            yield torch.cat(alone), torch.cat(targets), made, told


def _raw_items(subject: Subject, name: str) -> Iterator[list]:
    """Lists of samples (x, y), as the dataset gives them or as they stand in the raw batches."""
    dataset: Any = getattr(subject.pipeline.train_loader, "dataset", None)
    size = min(getattr(subject.pipeline.train_loader, "batch_size", None) or MOST, MOST)
    if name != COLLATE and subject.pipeline.raw_train_loader is not None and subject.raw_train is not None:
        for x, y in subject.raw_train.batches[:ROUNDS]:
            yield [(image, target) for image, target in zip(x[:size], y[:size], strict=True)]
    elif by_index(dataset):
        for _ in range(ROUNDS):
            yield [dataset[row] for row in torch.randperm(len(dataset))[:size].tolist()]


def _kept(x: torch.Tensor, y: torch.Tensor, made: torch.Tensor, targets: torch.Tensor) -> float | None:
    """The share of targets that are still those of their images, where these only have another order; else None."""
    if x.shape[1:] != made.shape[1:] or y.shape != targets.shape or len(x) != len(made) or len(y.unique()) < 2:
        return None
    rows, found = x.flatten(1).cpu(), made.flatten(1).to(x).cpu()
    same = (found[:, None] == rows).all(2)
    if not bool((same.sum(1) == 1).all()):
        return None
    return float((y.cpu()[same.double().argmax(1)] == targets.cpu()).double().mean())


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
    if labels is None or int(labels.min()) < 0 or int(labels.max()) >= classes:
        return None
    return F.one_hot(labels, classes).double()
