"""Bugs and unusual pipelines of augmentation: images mixed, pasted, shifted, erased and tinted."""

import random
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy, plain_step
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.losses import soft
from tests.checks.zoo.sets import Made, digits, drawn, lazily, loader, photos, positions, split, textures


def mixing(mixed_labels):
    def collate(items):
        x, y = default_collate(items)
        order, share = torch.randperm(len(x)), float(torch.rand(()))
        hot = F.one_hot(y, 10).float()
        told = share * hot + (1 - share) * hot[order] if mixed_labels else hot
        return share * x + (1 - share) * x[order], told

    return collate


@bug("data", "augmentation-changes-label")
def the_loader_mixes_images_and_no_labels(broken):
    images = digits()
    data = TensorDataset(images.normalise(images.x), images.y)
    return healthy(images, "mlp", train_loader=DataLoader(data, 48, shuffle=True, collate_fn=mixing(not broken)))


@bug("data", "augmentation-changes-label")
def shares_the_other_way_round(broken):
    images = textures()

    def mixed(x, y):
        share = random.uniform(0.6, 0.9)
        other, labels = torch.randperm(len(x)), F.one_hot(y, 4).float()
        told = 1 - share if broken else share
        return share * x + (1 - share) * x[other], told * labels + (1 - told) * labels[other]

    class Mixed:
        def __len__(self):
            return len(raw)

        def __iter__(self):
            for x, y in raw:
                x, y = mixed(x.float(), y)
                yield images.normalise(x), y

    raw = loader(images.x.float(), images.y, shuffle=True)
    return healthy(
        images,
        "cnn",
        train_loader=Mixed(),
        augment=mixed,
        raw_train_loader=raw,
        preprocess_train=images.normalise,
        preprocess_eval=images.normalise,
    )


def cut_and_pasted(mixed_labels):
    def change(x, y):
        order, side = torch.randperm(len(x)), int(torch.randint(5, 13, ()))
        row, column = torch.randint(0, 17 - side, (2,)).tolist()
        x, pasted = x.clone(), x[order]
        x[:, :, row : row + side, column : column + side] = pasted[:, :, row : row + side, column : column + side]
        share, hot = side**2 / 256, F.one_hot(y, 2).float()
        return x, (1 - share) * hot + share * hot[order] if mixed_labels else hot

    return plain_step(change)


@bug("optimisation", "augmentation-changes-label")
def patches_of_others_pasted_in_the_step(broken):
    return healthy(photos(), "cnn", train_step=cut_and_pasted(not broken), loss_fn=soft)


class Shifted(Dataset):
    """Images that are shifted by some pixels, and a target that says how far right their spot is, in -1..1."""

    def __init__(self, images, moves_target):
        self.x, self.y, self.moves_target = images.normalise(images.x), images.y, moves_target

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        by = int(torch.randint(-3, 4, ()))
        by = -by if abs(self.y[index] + by / 4) > 1.1 else by  # not over the edge
        return self.x[index].roll(by, 2), self.y[index] + (by / 4 if self.moves_target else 0)


@bug("data", "augmentation-changes-label")
def spots_shifted_alone(broken):
    images = positions()
    return healthy(images, "mlp", train_loader=DataLoader(Shifted(images, not broken), 32, shuffle=True))


def dots(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (n, 1, 24, 24) of one to nine dots, and how many there are, as a share of nine."""
    chance = torch.Generator().manual_seed(seed)
    numbers = torch.randint(1, 10, (count,), generator=chance)
    x = torch.rand(count, 1, 24, 24, generator=chance) * 0.1
    for picture, number in zip(x, numbers.tolist(), strict=True):
        for place in torch.randperm(36, generator=chance)[:number].tolist():
            top, left = 4 * (place // 6), 4 * (place % 6)
            picture[0, top + 1 : top + 3, left + 1 : left + 3] = 1
    return x, numbers[:, None] / 9


@bug("data", "augmentation-changes-label")
def dots_erased_by_squares(broken):
    (x, y), (val_x, val_y) = dots(800, 0), dots(200, 1)

    def augment(x, y):
        x = x.clone()
        for picture in x:
            top, left = torch.randint(0, 9, (2,)).tolist()
            if broken:
                picture[:, top : top + 15, left : left + 15] = 0.05
            elif top % 2:
                picture[:] = picture.flip(2)
        return x, y

    def collate(items):
        return augment(*torch.utils.data.default_collate(items))

    return Pipeline(
        lambda: nn.Sequential(nn.Conv2d(1, 16, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 121, 1)),
        loader(x, y, shuffle=True, collate_fn=collate),
        loader(val_x, val_y, 64),
        0,
        loss_fn=F.mse_loss,
        optimizer_fn=partial(adam, rate=1e-3),
    )


@unusual
def a_position_behind_squares():
    """What the squares cover is harder to find, and stays where it is."""
    images = positions()

    def collate(items):
        x, y = torch.utils.data.default_collate(items)
        x = images.normalise(x)
        for picture in x:
            top, left = torch.randint(0, 9, (2,)).tolist()
            picture[:, top : top + 3, left : left + 3] = 0
        return x, y

    return healthy(images, "cnn", train_loader=loader(images.x, images.y, shuffle=True, collate_fn=collate))


class Erased(Dataset):
    """Digits of which training gets a square of 4x4 px erased by chance, and noise."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, in_training: bool):
        self.x, self.y, self.in_training = x, y, in_training

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, at: int):
        image = self.x[at].clone()
        if self.in_training:
            row, column = torch.randint(0, 5, (2,))
            image[:, row : row + 4, column : column + 4] = 0
            image += 0.2 * torch.randn_like(image)
        return image, self.y[at]


@unusual
def squares_erased_from_digits():
    images = digits()
    return healthy(
        images,
        "cnn",
        train_loader=DataLoader(Erased(images.x / 255, images.y, True), 64, shuffle=True),
        val_loader=DataLoader(Erased(images.val_x / 255, images.val_y, False), 64),
    )


def arrow(pen, chance) -> int:
    """To the left, right, top or bottom of 32x32 pixels."""
    to = int(chance.integers(4))
    across, down = [(-1, 0), (1, 0), (0, -1), (0, 1)][to]
    x, y, half, ink = *chance.uniform(13, 19, 2), chance.uniform(8, 12), int(chance.integers(150, 256))
    tip = (x + across * half, y + down * half)
    pen.line([x - across * half, y - down * half, *tip], fill=ink, width=int(chance.integers(2, 4)))
    for side in (-5, 5):
        pen.line([*tip, tip[0] - 5 * across + side * down, tip[1] - 5 * down + side * across], fill=ink, width=2)
    return to


@unusual
def arrows_erased_and_shifted():
    """A fifth of each picture is erased in training: it is harder to tell then, and nothing else than before."""
    pictures, told = drawn(1500, 0, 32, 80, arrow)
    images = split(pictures, np.array(told), 300)

    def changed(row):
        x = images.x[row].float() / 255 * float(torch.empty(()).uniform_(0.4, 1.3)) + 0.12 * torch.randn(1, 32, 32)
        top, left, down, across = (int(torch.randint(each, ())) for each in (19, 19, 9, 9))
        x[:, top : top + 14, left : left + 14] = torch.rand(())
        return (x.roll((down - 4, across - 4), (1, 2)) - 0.3) / 0.25, images.y[row]

    train = DataLoader(Made(len(images.x), changed), 60, shuffle=True)
    val = loader((images.val_x / 255 - 0.3) / 0.25, images.val_y, 60)
    return healthy(images, "mlp", train_loader=train, val_loader=val)


@unusual
def tinted_and_covered_photos():
    def faded(x):
        return (0.5 * x + 0.5 * x.float().mean(1, keepdim=True)).to(torch.uint8)

    images = photos()
    images = images.with_(x=faded(images.x), val_x=faded(images.val_x))

    def augment(x, y):
        x = x * torch.empty(len(x), 3, 1, 1).uniform_(0.3, 1.7)
        for each in x:
            top, left = torch.randint(0, 9, (2,)).tolist()
            each[:, top : top + 8, left : left + 8] = 5 * torch.rand(3, 1, 1) - 2.5
        return x, y

    train = lazily(images, images.normalise, augment)
    return healthy(images, "cnn", train_loader=train)
