"""Correct but unusual pipelines, third part: data and loaders."""

from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, IterableDataset, WeightedRandomSampler

from recipe_core.training.pipeline import Pipeline, default_train_step
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import Then, cnn, mlp
from tests.checks.zoo.sets import (
    colours,
    digits,
    imbalanced,
    lazily,
    loader,
    moons,
    photos,
    positions,
    sides,
    split,
    textures,
)


@unusual
def a_sampler_against_imbalance():
    images = imbalanced(textures(), 0.9)
    weights = (1 / torch.bincount(images.y).double())[images.y]
    sampler = WeightedRandomSampler(weights.tolist(), len(images.y))
    return healthy(images, "cnn", train_loader=loader(images.normalise(images.x), images.y, 32, sampler=sampler))


@unusual
def imbalance_left_as_it_is():
    return healthy(imbalanced(digits(), 0.95), "mlp")


@unusual
def noisy_labels():
    """A fifth of the labels at random, as in data from the web."""
    images = digits()
    chance = torch.Generator().manual_seed(0)
    wrong = torch.rand(len(images.y), generator=chance) < 0.2
    others = torch.randint(0, 10, images.y.shape, generator=chance)
    return healthy(images.with_(y=torch.where(wrong, others, images.y)), "cnn")


@unusual
def a_hard_problem():
    """Much noise: even a good model is right in half of the cases."""
    return healthy(textures(noise=110), "cnn")


@unusual
def few_images():
    images = digits()
    images = images.with_(x=images.x[:60], y=images.y[:60], val_x=images.val_x[:40], val_y=images.val_y[:40])
    return healthy(images, "mlp", 16)


@unusual
def two_classes():
    return healthy(photos(), "cnn")


@unusual
def a_hundred_classes():
    return healthy(colours(100, train=2000, val=600, noise=10), lambda: mlp(192, 100, width=128))


@unusual
def grey_spots():
    return healthy(moons(), "cnn")


@unusual
def flips_that_change_no_label():
    images = photos()

    def augment(x, y):
        flip = torch.rand(len(x)) < 0.5
        return torch.where(flip[:, None, None, None], x.flip(3), x), y

    return healthy(
        images,
        "cnn",
        train_loader=lazily(images, images.normalise, augment),
        augment=augment,
        preprocess_train=images.normalise,
        preprocess_eval=images.normalise,
    )


@unusual
def random_crops_in_train_and_the_centre_in_validation():
    images = textures()

    def crop(raw, row, column):
        return images.normalise(raw)[:, :, row : row + 12, column : column + 12]

    def random_crop(raw):
        row, column = torch.randint(0, 5, (2,)).tolist()
        return crop(raw, row, column)

    return healthy(
        images,
        lambda: cnn(3, 4),
        train_loader=lazily(images, random_crop),
        val_loader=lazily(images, partial(crop, row=2, column=2), split="val", batch_size=64),
        preprocess_train=random_crop,
        preprocess_eval=partial(crop, row=2, column=2),
    )


@unusual
def strong_augmentation():
    """Noise, brightness, a hole: hard to look at, and right."""
    images = sides()

    def augment(x, y):
        x = x.float() * torch.empty(len(x), 1, 1, 1).uniform_(0.6, 1.3) + torch.randn(x.shape) * 15
        row, column = torch.randint(0, 9, (2,)).tolist()
        x[:, :, row : row + 3, column : column + 3] = 0
        return x.clamp(0, 255), y

    return healthy(
        images,
        "cnn",
        train_loader=lazily(images, images.normalise, augment),
        augment=augment,
        preprocess_train=images.normalise,
        preprocess_eval=images.normalise,
    )


class Stream(IterableDataset):
    """Images that come one after the other, without a number."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        for row in torch.randperm(len(self.x)).tolist():
            yield self.x[row], self.y[row]


@unusual
def a_stream():
    images = digits()
    return healthy(images, "mlp", train_loader=DataLoader(Stream(images.normalise(images.x), images.y), 32))


class Endless:
    """A loader of one's own without a length and without an end."""

    def __init__(self, x, y, batch_size):
        self.x, self.y, self.batch_size = x, y, batch_size

    def __iter__(self):
        while True:
            rows = torch.randint(0, len(self.x), (self.batch_size,))
            yield self.x[rows], self.y[rows]


@unusual
def a_loader_without_an_end():
    images = colours()
    return healthy(images, "mlp", train_loader=Endless(images.normalise(images.x), images.y, 32), total_steps=300)


@unusual
def validation_drawn_at_random():
    images = digits()
    val = loader(images.normalise(images.val_x), images.val_y, 64, shuffle=True)
    return healthy(images, "cnn", val_loader=val)


@unusual
def validation_of_a_few_large_batches():
    images = textures()
    return healthy(images, "cnn", val_loader=loader(images.normalise(images.val_x), images.val_y, 256))


@unusual
def unbalanced_validation():
    """Validation as it will be met, train balanced by hand."""
    images = digits()
    rare = (images.val_y >= 5) & (torch.arange(len(images.val_y)) % 3 > 0)
    return healthy(images.with_(val_x=images.val_x[~rare], val_y=images.val_y[~rare]), "mlp")


@unusual
def each_image_by_its_own_mean():
    """Every image is normalised by itself."""
    images = photos()

    def prepare(raw):
        x = raw.float()
        return (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + 1)

    return healthy(
        images,
        "cnn",
        train_loader=lazily(images, prepare),
        val_loader=lazily(images, prepare, split="val", batch_size=64),
        preprocess_train=prepare,
        preprocess_eval=prepare,
    )


@unusual
def two_numbers_to_predict():
    images = positions()
    y, val_y = [torch.cat([each, 0.5 - each**2], 1) for each in (images.y, images.val_y)]
    return healthy(images.with_(y=y, val_y=val_y), lambda: cnn(1, 2), optimizer_fn=sgd)


@unusual
def an_output_kept_in_range():
    """A regression onto 0..1 that ends in a sigmoid."""
    images = positions()
    images = images.with_(y=(images.y + 1) / 2, val_y=(images.val_y + 1) / 2)
    return healthy(images, lambda: nn.Sequential(mlp(144, 1), nn.Sigmoid()))


@unusual
def faint_pictures_of_ones_own_scale():
    """Inputs in 0..1 without centring, and dark ones."""
    images = digits()
    x, val_x = images.x.float() / 255 * 0.5, images.val_x.float() / 255 * 0.5
    return healthy(
        images,
        lambda: nn.Sequential(Then(lambda h: h * 2), mlp(64, 10)),
        train_loader=loader(x, images.y, 32, shuffle=True),
        val_loader=loader(val_x, images.val_y, 64),
    )


@unusual
def alike_but_not_the_same():
    """Frames that resemble each other in both splits, drawn from one distribution without a copy."""
    return healthy(split(*_stripes(), val=200), "mlp")


def _stripes():
    chance = np.random.default_rng(9)
    y = chance.integers(0, 3, 800)
    base = chance.integers(60, 200, (3, 1, 10, 10))
    x = base[y] + chance.normal(0, 12, (800, 1, 10, 10))
    return x.clip(0, 255).astype(np.uint8), y.astype(np.int64)


@unusual
def a_stream_with_a_schedule_by_epoch():
    """Nobody can tell how long an epoch is."""
    images = digits()
    return healthy(
        images,
        "mlp",
        train_loader=DataLoader(Stream(images.normalise(images.x), images.y), 32),
        scheduler_fn=partial(StepLR, step_size=5, gamma=0.1),
        scheduler_interval="epoch",
        total_steps=15 * 44,
    )


@unusual
def labels_disturbed_in_the_step():
    """A tenth of the labels is drawn anew each time (Xie et al. 2016)."""

    def train_step(model, batch, loss_fn, optimizer):
        x, y = batch
        y = torch.where(torch.rand(len(y)) < 0.1, torch.randint(0, 10, y.shape), y)
        return default_train_step(model, (x, y), loss_fn, optimizer)

    return healthy(digits(), "mlp", train_step=train_step)


class ByTurns:
    """Batches of pictures in three sizes, one after the other."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for number, (x, y) in enumerate(self.batches):
            yield F.interpolate(x, size=(16, 12, 20)[number % 3], mode="bilinear"), y


@unusual
def pictures_of_three_sizes_by_turns():
    images = textures()
    train = loader(images.normalise(images.x), images.y, 32, shuffle=True)
    val = loader(images.normalise(images.val_x), images.val_y, 40)
    return healthy(images, "cnn", train_loader=ByTurns(train), val_loader=ByTurns(val))


class Thinned:
    """All that are rare, and each time as many others, drawn anew."""

    def __init__(self, x, y):
        self.x, self.y, self.chance = x, y, torch.Generator().manual_seed(4)

    def __len__(self):
        return -(-2 * int(self.y.sum()) // 32)

    def __iter__(self):
        rare, others = ((self.y[:, 0] == each).nonzero().flatten() for each in (1, 0))
        drawn = others[torch.randperm(len(others), generator=self.chance)[: len(rare)]]
        rows = torch.cat([rare, drawn])
        for some in rows[torch.randperm(len(rows), generator=self.chance)].split(32):
            yield self.x[some], self.y[some]


@unusual
def no_thinned_out_in_training():
    """One in eight is a yes, in training one in two (King and Zeng 2001)."""

    def cases(count, seed):
        chance = torch.Generator().manual_seed(seed)
        y = (torch.rand(count, generator=chance) < 0.12).float()
        x = torch.randn(count, 10, generator=chance)
        x[:, :3] += 0.9 * y[:, None]
        return x, y[:, None]

    train, val = cases(3000, 0), cases(600, 1)
    return Pipeline(
        lambda: mlp(10, 1),
        Thinned(*train),
        loader(*val, 150),
        num_classes=0,
        loss_fn=F.binary_cross_entropy_with_logits,
        optimizer_fn=adam,
    )
