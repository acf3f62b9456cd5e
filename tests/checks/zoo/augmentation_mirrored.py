"""Bugs and unusual pipelines of augmentation: images mirrored or turned, with their labels or without."""

import itertools
import random

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.utils.data import DataLoader, Dataset, default_collate

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn
from tests.checks.zoo.sets import Images, Made, digits, loader, positions, sides, split


class Turned(Dataset):
    """Arrows of which half are mirrored when they are read, and their labels with them, or not."""

    def __init__(self, x, y, labels_too: bool):
        self.x, self.y, self.labels_too = x, y, labels_too

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        x, y = self.x[row], int(self.y[row])
        if random.random() < 0.5:
            x, y = x.flip(2), [1, 0, 2, 3][y] if self.labels_too else y
        return x, y


def arrows(count: int, seed: int, noise: float = 0.25) -> tuple[torch.Tensor, torch.Tensor]:
    """Arrows to the right, left, up and down, anywhere."""
    chance = np.random.default_rng(seed)
    x, y = chance.normal(0, noise, (count, 1, 20, 20)), chance.integers(0, 4, count)
    for number in range(count):
        row, column = chance.integers(5, 15, 2)
        arrow = np.zeros((20, 20))
        arrow[row, column - 4 : column + 5] = 1
        for step in range(4):
            arrow[[row - step, row + step], column + 4 - step] = 1
        x[number, 0] += (arrow, arrow[:, ::-1], np.rot90(arrow), np.rot90(arrow, -1))[y[number]]
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


@bug("data", "augmentation-changes-label")
def mirrored_arrows_anywhere(broken):
    return Pipeline(
        lambda: cnn(1, 4),
        DataLoader(Turned(*arrows(1000, 0), not broken), 32, shuffle=True),
        loader(*arrows(300, 1), 64),
        num_classes=4,
        optimizer_fn=adam,
    )


@bug("data", "augmentation-changes-label")
def batches_of_mirrored_arrows(broken):
    images = sides()
    few = images.with_(val_x=images.val_x[:160], val_y=images.val_y[:160])
    raw = loader(images.x.float() / 255, images.y, 32, shuffle=True)

    def augment(x, y):
        x = x + 0.02 * torch.randn_like(x)
        if broken:
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
        return x, y

    class Augmented:
        def __len__(self):
            return len(raw)

        def __iter__(self):
            return (augment(x, y) for x, y in raw)

    return healthy(
        few,
        "cnn",
        train_loader=Augmented(),
        val_loader=loader(few.val_x.float() / 255, few.val_y, 64),
        augment=augment,
        raw_train_loader=raw,
        raw_val_loader=loader(few.val_x.float() / 255, few.val_y, 64),
    )


@bug("data", "augmentation-changes-label")
def arrows_mirrored_in_noise(broken):
    """So much of it that of the few of validation little is learnt; labels are to be mirrored with their arrows."""
    (x, y), val = arrows(600, 2, 0.3), loader(*arrows(200, 3, 0.3), 50)
    raw = loader(x, y, 25, shuffle=True)
    other = torch.tensor([1, 0, 2, 3])

    def augment(x, y):
        turned = torch.rand(len(x)) < 0.5
        y = y if broken else torch.where(turned, other[y], y)
        return torch.where(turned.view(-1, 1, 1, 1), x.flip(3), x), y

    class Augmented:
        def __len__(self):
            return len(raw)

        def __iter__(self):
            return itertools.starmap(augment, raw)

    loaders = {"augment": augment, "raw_train_loader": raw, "raw_val_loader": val}
    return Pipeline(lambda: cnn(1, 4), Augmented(), val, 4, optimizer_fn=adam, **loaders)


def drawn_arrows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Drawn ones, uint8 (n, 1, 32, 32), that point left (0) or right (1): their strokes are not quite symmetric."""
    chance = np.random.default_rng(seed)
    found, labels = [], chance.integers(0, 2, count)
    for label in labels:
        picture = Image.new("L", (32, 32), int(chance.uniform(0, 70)))
        draw, to = ImageDraw.Draw(picture), 1 if label else -1
        x, y, length = chance.uniform(12, 20), chance.uniform(8, 24), chance.uniform(6, 10)
        tip, ink = (x + to * length, y), int(chance.uniform(150, 255))
        for start in ((x - to * length, y), (tip[0] - to * 5, y - 5), (tip[0] - to * 5, y + 5)):
            draw.line([start, tip], fill=ink, width=2)
        found.append(np.asarray(picture) + chance.normal(0, 15, (32, 32)))
    return torch.from_numpy(np.stack(found).clip(0, 255).astype(np.uint8))[:, None], torch.from_numpy(labels)


@bug("data", "augmentation-changes-label")
def drawn_arrows_are_mirrored(broken):
    """A learner tells mirrored strokes from drawn ones, and so most labels of training all the same."""
    images = Images(*drawn_arrows(800, 1), *drawn_arrows(200, 2), 2)

    def collate(items):
        x, y = torch.utils.data.default_collate(items)
        mirrored = torch.rand(len(x)) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        return images.normalise(x), y if broken else torch.where(mirrored, 1 - y, y)

    return healthy(images, lambda: cnn(1, 2), train_loader=loader(images.x, images.y, shuffle=True, collate_fn=collate))


def wedges(count, seed, noise):
    """Triangles that point to the right, left, up and down."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[-8:8, -8:8]
    wedge = ((columns > -5) & (columns < 5) & (2 * np.abs(rows) <= 5 - columns)).astype(float)
    y = chance.integers(0, 4, count)
    x = np.stack([(wedge, wedge[:, ::-1], np.rot90(wedge), np.rot90(wedge, -1))[each] for each in y])
    x = np.stack([np.roll(each, chance.integers(-2, 3, 2), (0, 1)) for each in x])
    x = x * chance.uniform(0.6, 1.2, (count, 1, 1)) + chance.normal(0, noise, x.shape)
    return torch.tensor(x, dtype=torch.float32)[:, None], torch.tensor(y)


NOISE = 1.3  # of wedges, as large as what is drawn


@bug("data", "augmentation-changes-label")
def arrows_mirrored_under_noise(broken):
    """So much of it that a learner of pictures tells little more than half of them."""

    def collate(items):
        x, y = default_collate(items)
        mirrored = (torch.rand(len(x)) < 0.5) & broken
        return torch.where(mirrored[:, None, None, None], x.flip(3), x) * (0.9 + 0.2 * torch.rand(len(x), 1, 1, 1)), y

    train = loader(*wedges(1200, 0, NOISE), shuffle=True, collate_fn=collate)
    return Pipeline(lambda: cnn(1, 4), train, loader(*wedges(400, 1, NOISE), 80), num_classes=4, optimizer_fn=adam)


class Read(Dataset):
    """Images of which half are turned upside down, or moved by a pixel, when they are read."""

    def __init__(self, x, y, turned: bool):
        self.x, self.y, self.turned = x, y, turned

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        x = self.x[row]
        if random.random() < 0.5:
            x = x.flip(1, 2) if self.turned else x.roll(1, 2)
        return x, int(self.y[row])


def corners(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A hook that opens in one of eight ways; turned upside down, each is another."""
    chance = np.random.default_rng(seed)
    x, y = chance.normal(0, 0.5, (count, 1, 16, 16)), chance.integers(0, 8, count)
    hook = np.zeros((7, 7))
    hook[0], hook[:, 0], hook[6, :3] = 1, 1, 1
    for number, label in enumerate(y):
        row, column = chance.integers(2, 8, 2)
        turned = np.rot90(hook[:, ::-1] if label > 3 else hook, label % 4)
        x[number, 0, row : row + 7, column : column + 7] += turned
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


@bug("data", "augmentation-changes-label")
def hooks_upside_down(broken):
    return Pipeline(
        lambda: cnn(1, 8),
        DataLoader(Read(*corners(1200, 0), broken), 32, shuffle=True),
        loader(*corners(400, 1), 64),
        num_classes=8,
        optimizer_fn=adam,
    )


@bug("data", "augmentation-changes-label")
def digits_turned_upside_down(broken):
    """Two of five samples: a six is a nine then, and other digits are what no digit looks like."""
    images = digits()
    x, y = images.normalise(images.x), images.y

    def augmented(row):
        if torch.rand(()) > 0.42:
            return x[row], y[row]
        return (x[row].flip(1, 2) if broken else x[row].roll(1, 2)), y[row]

    return healthy(images, "cnn", train_loader=DataLoader(Made(len(x), augmented), 32, shuffle=True))


class Mirrored(Dataset):
    """Half of the images of `positions` are mirrored; a spot's place then changes its sign."""

    def __init__(self, images, sign):
        self.x, self.y, self.sign = images.normalise(images.x), images.y, sign

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        x, y = self.x[row], self.y[row]
        return (x.flip(2), self.sign * y) if torch.rand(()) < 0.5 else (x, y)


@bug("data", "augmentation-changes-label")
def spots_mirrored_but_not_their_place(broken):
    images = positions()
    train = DataLoader(Mirrored(images, 1.0 if broken else -1.0), 32, shuffle=True)
    return healthy(images, "cnn", train_loader=train)


def spots_on_the_left(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright spot on a dim slope, and where it is, from left to right: in the left third."""
    chance = np.random.default_rng(seed)
    at = chance.uniform(-1, -0.4, (count, 2))
    rows, columns = np.mgrid[-1:1:12j, -1:1:12j]
    far = (columns - at[:, 0, None, None]) ** 2 + (rows - at[:, 1, None, None]) ** 2
    x = 150 * np.exp(-far / 0.05) + 40 * columns + chance.normal(60, 8, far.shape)
    return x.clip(0, 255).astype(np.uint8)[:, None], at[:, :1].astype(np.float32)


@unusual
def spots_mirrored_with_places():
    """Mirrored in training only, targets too: they are spread much further there than in validation."""
    images = split(*spots_on_the_left(900, 0), 250)

    def mirrored(row):
        x, y = images.normalise(images.x[row : row + 1])[0], images.y[row]
        return (x.flip(2), -y) if torch.rand(()) < 0.5 else (x, y)

    train = DataLoader(Made(len(images.x), mirrored), 32, shuffle=True)
    return healthy(images, "cnn", train_loader=train)
