"""Does chance change the images: in training only, and without changing what their label should be?"""

from __future__ import annotations

from typing import Any

import torch

from recipe_core.checks.probe import marks, same
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed
from recipe_core.checks.subject import Sample, Subject, by_index

ITEMS = 32
IN_COMMON = 0.05  # share of images that two passes share, where chance changes (nearly) all of them
HALF_CHANGED = 0.6  # the same where a flip changes half of them

CHANGED = Cause(
    "augmentation-changes-label",
    "The augmentation turns images into those of another class, or wipes out what the label rests on, and the label "
    "stays: flipped arrows, mixed images with one label, crops without the object.",
    "Leave out what changes the meaning, or change the label with the image.",
    0.7,
)
IN_VALIDATION = Cause(
    "augmentation-in-validation",
    "Chance changes validation images: the metrics are noisy and too low.",
    "Give the validation dataset a preparation without augmentation (resize, centre crop, normalise).",
    0.4,
)


@check(family="data", stage=1, cost=0.7, causes=[IN_VALIDATION])
def validation_images_stay_the_same(subject: Subject) -> Result:
    """Two passes over the validation data give the same images."""
    items = _items(subject, subject.pipeline.val_loader)
    if items:
        changed = sum(not same(*pair) for pair in items)
        if changed > len(items) / 2:
            return IN_VALIDATION.failed(
                f"{changed} of {len(items)} validation images are others when they are read again.", changed=changed
            )
    common = in_common(subject.drawn_val, subject.drawn_val_again)
    if common is not None and common < IN_COMMON:
        return IN_VALIDATION.failed(
            f"{common:.0%} of the {len(subject.drawn_val)} validation images of one pass come again in the next.",
            common=common,
        )
    return passed("The images of one pass come again in the next.")


def changes_from_pass_to_pass(subject: Subject) -> bool:
    """Whether training images are changed by chance."""
    if items_change(subject, subject.pipeline.train_loader):
        return True
    common = in_common(subject.drawn_train, subject.drawn_train_again)
    return common is not None and common < HALF_CHANGED


def items_change(subject: Subject, loader: Any) -> bool:
    """Whether many samples of a loader's dataset are others when they are read again."""
    items = _items(subject, loader)
    return sum(not same(*pair) for pair in items) > len(items) / 4


def in_common(first: Sample, second: Sample) -> float | None:
    """The share of a pass' images that the next one has, too; None where the passes were cut off."""
    if not (first.complete and second.complete):
        return None
    known = {mark for x, _ in second.batches for mark in marks(x)}
    found = [mark in known for x, _ in first.batches for mark in marks(x)]
    return sum(found) / max(1, len(found))


def _items(subject: Subject, loader: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Some samples of the loader's dataset, each read twice; none where the dataset cannot be asked for one."""
    dataset: Any = getattr(loader, "dataset", None)
    if not by_index(dataset):
        return []
    found = []
    for row in torch.randperm(len(dataset))[:ITEMS].tolist():
        subject.check_time()
        first, second = (_image(dataset[row]) for _ in range(2))
        if first is None or second is None or first.shape != second.shape:
            return []
        found.append((first, second))
    return found


def _image(item: Any) -> torch.Tensor | None:
    x = item[0] if isinstance(item, tuple | list) else None
    return x.clone() if isinstance(x, torch.Tensor) else None
