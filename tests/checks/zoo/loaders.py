"""Bugs and unusual pipelines of datasets and loaders: what they count, draw, keep and say of themselves."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_regression, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.regressions import numbers
from tests.checks.zoo.sets import Made, digits, loader, photos, textures


class Prepared(Dataset):
    """Images kept as floats, each normalised when it is asked for."""

    def __init__(self, x, y, in_place):
        self.x, self.y, self.in_place = x.float(), y, in_place

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        image = self.x[index] if self.in_place else self.x[index].clone()
        image -= 110
        image /= 60
        return image.clone(), self.y[index]


@bug("data", "samples-drift")
def prepared_in_place(broken):
    images = photos()
    return healthy(
        images,
        "cnn",
        train_loader=DataLoader(Prepared(images.x, images.y, broken), 32, shuffle=True),
        val_loader=DataLoader(Prepared(images.val_x, images.val_y, broken), 64),
    )


class Counted(Dataset):
    """Says how many batches it has instead of how many samples."""

    def __init__(self, x, y, broken):
        self.x, self.y, self.broken = x, y, broken

    def __len__(self):
        return len(self.y) // 32 if self.broken else len(self.y)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


@bug("data", "samples-never-drawn")
def batches_counted_as_samples(broken):
    images = textures()
    train = Counted(images.normalise(images.x), images.y, broken)
    return healthy(images, "cnn", train_loader=DataLoader(train, 24, shuffle=True))


class Slices:
    """A loader of consecutive rows, in an order by chance."""

    def __init__(self, x, y, step):
        self.x, self.y, self.step = x, y, step

    def __len__(self):
        return len(self.x) // 32

    def __iter__(self):
        for number in torch.randperm(len(self)).tolist():
            rows = slice(number * self.step, number * self.step + 32)
            yield self.x[rows], self.y[rows]


@bug("data", "samples-drawn-unevenly")
def slices_one_row_apart(broken):
    chance = torch.Generator().manual_seed(3)
    x = torch.randn(1200, 6, generator=chance)
    y = (x[:, :1] * x[:, 1:2] + x[:, 2:3].sin()) + 0.1 * torch.randn(1200, 1, generator=chance)
    train = Slices(x[:960], y[:960], 1 if broken else 32)
    val = loader(x[960:], y[960:], 60)
    return Pipeline(lambda: mlp(6, 1), train, val, num_classes=0, loss_fn=F.mse_loss, optimizer_fn=adam)


@bug("data", "loader-used-up")
def validated_by_a_generator(broken):
    images = digits()
    batches = [*loader(images.normalise(images.val_x), images.val_y, 64)]
    return healthy(images, "mlp", val_loader=(each for each in batches) if broken else batches)


@unusual
def names_become_numbers_in_collate():
    """The dataset's own labels are words."""
    images = digits()
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

    def rows(x, y):
        return [(each, names[label]) for each, label in zip(images.normalise(x), y.tolist(), strict=True)]

    def collate(items):
        return torch.stack([x for x, _ in items]), torch.tensor([names.index(name) for _, name in items])

    def batches(x, y, **more):
        return torch.utils.data.DataLoader(rows(x, y), collate_fn=collate, **more)

    return healthy(
        images, lambda: cnn(1, 10),
        train_loader=batches(images.x, images.y, batch_size=32, shuffle=True),
        val_loader=batches(images.val_x, images.val_y, batch_size=64),
    )  # fmt: skip


class MadeUp(Dataset):
    """Noise around a colour, made up from the number that is asked for, of which an epoch takes so many."""

    def __init__(self, size, first):
        self.size, self.first = size, first

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        chance = np.random.RandomState(self.first + index)
        label = chance.randint(3)
        return torch.tensor(chance.randn(3, 8, 8) + 2 * np.eye(3)[label][:, None, None]).float(), label


@unusual
def pictures_made_up_by_their_number():
    return Pipeline(
        lambda: cnn(3, 3),
        DataLoader(MadeUp(320, 0), 32, shuffle=True),
        DataLoader(MadeUp(120, 10**6), 60),
        3,
        optimizer_fn=adam,
    )


class Endless(IterableDataset):
    """Fresh rows in each pass, as many as it says."""

    def __init__(self, count: int, seed: int):
        self.count, self.seed, self.passes = count, seed, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        self.passes += 1
        yield from zip(*numbers(self.count, 1000 * self.seed + self.passes), strict=True)


@unusual
def a_stream_that_says_how_long_it_is():
    train = DataLoader(Endless(1024, 1), 32)
    return Pipeline(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)),
        train,
        loader(*numbers(300, 5), 64),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        evaluate=evaluate_regression,
    )


@bug("data", "samples-drawn-unevenly", "samples-never-drawn")
def the_first_few_again_and_again(broken):
    """As it was when the pipeline was tried out: an index begins anew at 44."""
    images = digits()
    x, y, count = images.normalise(images.x), images.y, len(images.y)
    train = Made(count, lambda row: (x[row % (44 if broken else count)], y[row % (44 if broken else count)]))
    return healthy(images, "cnn", train_loader=DataLoader(train, 32, shuffle=True))
