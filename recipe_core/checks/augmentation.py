"""Does chance change the images: in training only, and without changing what their label should be?"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch

from recipe_core.checks.probe import marks, same
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject, by_index
from recipe_core.training.checkpoint import seed_everything

ITEMS = 32
IN_COMMON = 0.05  # share of images that two passes share, where chance changes (nearly) all of them
READINGS = 5  # of a sample: by chance one in 24 would be farther each time
NEARLY_ALL = 0.9
HALF_CHANGED = 0.6  # the same where a flip changes half of them

CHANGED = Cause(
    "augmentation-changes-label",
    "The augmentation turns images into those of another class, or wipes out what the label rests on, and the label "
    "stays: flipped arrows, mixed images with one label, crops without the object.",
    "Leave out what changes the meaning, or change the label with the image.",
    0.7,
    follows=("inputs-constant",),
)
IN_VALIDATION = Cause(
    "augmentation-in-validation",
    "Chance changes validation images: the metrics are noisy and too low.",
    "Give the validation dataset a preparation without augmentation (resize, centre crop, normalise).",
    0.4,
)
DRIFTING = Cause(
    "samples-drift",
    "To read a sample changes it for good, as a preparation does that works in place on what the dataset keeps: epoch "
    "by epoch the inputs move away from what they were.",
    "Prepare a copy: x = x - mean instead of x -= mean, image.copy(), tensor.clone().",
    0.8,
)


@check(family="data", stage=1, cost=0.7, causes=[IN_VALIDATION, DRIFTING])
def validation_images_stay_the_same(subject: Subject) -> Result:
    """Two passes over the validation data give the same images, and to read a sample does not change it."""
    for name, loader in (("training", subject.pipeline.train_loader), ("validation", subject.pipeline.val_loader)):
        if share := _drifting(subject, loader):
            return DRIFTING.failed(
                f"{share:.0%} of the {name} samples looked at move farther from what they were each time that they are "
                "read.",
                drifting=share,
            )
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
    for row in _rows(dataset):
        subject.check_time()
        first, second = (_image(dataset[row]) for _ in range(2))
        if first is None or second is None or first.shape != second.shape:
            return []
        found.append((first, second))
    return found


def _rows(dataset: Any) -> list[int]:
    return torch.randperm(len(dataset))[:ITEMS].tolist()


def _drifting(subject: Subject, loader: Any) -> float:
    """The share of some samples that are farther from their first reading the more often they are read, though chance
    does the same each time; 0 where it is not nearly all."""
    dataset: Any = getattr(loader, "dataset", None)
    if not by_index(dataset):
        return 0.0
    drifting = []
    for row in _rows(dataset):
        subject.check_time()
        read: list[torch.Tensor] = []
        for _ in range(READINGS):
            seed_everything(0)
            image = _image(dataset[row])
            if image is None or (read and (image.shape != read[0].shape or torch.equal(image, read[0]))):
                return 0.0
            read.append(image)
        apart = [float((each.float() - read[0].float()).abs().mean()) for each in read[1:]]
        drifting.append(all(one < other for one, other in pairwise(apart)))
    share = sum(drifting) / max(1, len(drifting))
    return share if share > NEARLY_ALL else 0.0


def _image(item: Any) -> torch.Tensor | None:
    x = item[0] if isinstance(item, tuple | list) else None
    return x.clone() if isinstance(x, torch.Tensor) else None
