"""Regression: does the target move with what augmentation moves?"""

import torch
from torch.utils.data import default_collate

from recipe_core.checks.augmentation import CHANGED, changes_from_pass_to_pass
from recipe_core.checks.learner import as_images
from recipe_core.checks.lessons import Lessons, lessons
from recipe_core.checks.registry import check
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject, by_index

ITEMS, READINGS = 48, 4
MOVED = 0.2  # of the targets' variance, by which the same sample seems to move
TOLD, MUCH_LESS = 0.7, 0.7  # of validation's variance, that must be told of it; of that, what is told of training
# Of the targets' deviation, by which all seem to be less or more than their targets say; then less needs to be lost,
# and samples to move less.
ASIDE, LESS, STIRRED = 0.5, 0.85, 0.05


@check(family="data", stage=1, cost=1, causes=[CHANGED])
def targets_move_with_their_images(subject: Subject):
    """In regression a learner of augmented training samples tells as much of others of them as one of validation
    samples tells of those, unless augmentation moves what the target says and the target stays."""
    both = subject.once(lessons)
    if subject.classes or not both.usable or not changes_from_pass_to_pass(subject):
        return skipped("It is no regression whose training samples are augmented.")
    in_training, in_validation = (each.known for each in (both.train, both.val))
    said = f"Of the targets {in_validation:.0%} are told in validation, {max(0.0, in_training):.0%} in training"
    fewer = len(both.train.images) < len(both.val.images)
    if fewer or in_validation < TOLD or in_training > LESS * in_validation:
        return passed(f"{said}.")
    moved, aside = _moved(subject, both)
    told = {"moved": moved, "aside": aside, "training": in_training, "validation": in_validation}
    much = moved > MOVED and in_training <= MUCH_LESS * in_validation
    if much or (moved > STIRRED and aside > ASIDE):
        by = f", by {aside:.1f} deviations to one side" if aside > ASIDE else ""
        return CHANGED.failed(
            f"{said}: read again, an augmented training sample seems to move by {moved:.0%} of the targets' variance"
            f"{by}, and its target does not move with it.",
            **told,
        )
    return passed(f"{said}, though augmentation does not move what they say.", **told)


def _moved(subject: Subject, both: Lessons) -> tuple[float, float]:
    """By how much of the targets' variance a learner of validation sees a training sample move from reading to reading,
    less what its target moves; and by how many deviations all samples seem to be aside of their targets."""
    readings = _readings(subject)
    if not readings or not _fit(both, readings):
        return 0.0, 0.0
    told = subject.drawn_val.y.reshape(len(subject.drawn_val.y), -1).float()
    mean, deviation = told.mean(0), told.std(0).clamp_min(1e-9)
    residues = torch.stack(
        [
            both.val.learner.predict(as_images(x)) - (y.reshape(len(y), -1).float() - mean) / deviation
            for x, y in readings
        ]
    )
    return float(residues.var(0).mean()), float(residues.mean((0, 1)).abs().max())


def _fit(both: Lessons, readings: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    shapes = {as_images(x[:1]).shape[1:] for x, _ in readings}
    targets = {y[0].numel() for _, y in readings}
    return shapes == {both.val.images.shape[1:]} and targets == {both.val.targets.shape[1]}


def _readings(subject: Subject) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The same training samples, read several times."""
    pipeline, raw = subject.pipeline, subject.raw_train
    if pipeline.augment is not None and raw is not None:
        x, y = raw.batches[0]
        prepare = pipeline.preprocess_train or (lambda images: images)
        augmented = (pipeline.augment(x.clone(), y.clone()) for _ in range(READINGS))
        return [(prepare(images), targets) for images, targets in augmented]
    dataset = getattr(pipeline.train_loader, "dataset", None)
    collate = getattr(pipeline.train_loader, "collate_fn", None) or default_collate
    if not by_index(dataset):
        return []
    rows = torch.randperm(len(dataset))[:ITEMS].tolist()  # type: ignore[arg-type]
    found = []
    for _ in range(READINGS):
        subject.check_time()
        found.append(subject.batch(collate([dataset[row] for row in rows])))  # type: ignore[index]
    return found
