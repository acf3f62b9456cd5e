"""Bugs and unusual pipelines of pictures of things, of which pixels alone teach a learner little."""

import torch

from tests.checks.zoo.base import healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.sets import lazily, scenes


@bug("data", "labels-partly-wrong")
def a_file_of_scenes_off_by_one(broken):
    """Of three files one lost the first line of its labels."""
    images = scenes()
    y = images.y.clone()
    if broken:
        y[300:600] = y[300:600].roll(-1)
    return healthy(images.with_(y=y), "cnn")


@bug("data", "validation-classes-differ")
def things_numbered_otherwise_in_validation(broken):
    images = scenes()
    numbers = torch.tensor([2, 4, 0, 5, 1, 3]) if broken else torch.arange(6)
    return healthy(images.with_(val_y=numbers[images.val_y]), "cnn")


@unusual
def scenes_of_six_things_with_noise():
    """A fifth of training's labels are by chance, as of pictures found by a word, and half of its colours inverted."""
    images, chance = scenes(), torch.Generator().manual_seed(0)
    by_chance = torch.rand(len(images.y), generator=chance) < 0.2
    y = torch.where(by_chance, torch.randint(6, images.y.shape, generator=chance), images.y)

    def augment(x, y):
        inverted = torch.rand(len(x), 1, 1, 1) < 0.5
        return torch.where(inverted, 255 - x, x), y

    images = images.with_(y=y)
    return healthy(images, "cnn", train_loader=lazily(images, images.normalise, augment))
