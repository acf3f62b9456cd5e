"""Bugs and unusual pipelines of pixels: scaled, cut off, cast, scrambled, stamped or seen as grey."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, groups, mlp
from tests.checks.zoo.sets import Made, colours, digits, loader, photos, textures


@bug("data", "pixels-scrambled")
def channels_to_the_front_by_view(broken):
    images = photos()

    def moved(x):
        rows = x.permute(0, 2, 3, 1).contiguous()
        return rows.view(x.shape) if broken else rows.permute(0, 3, 1, 2).contiguous()

    return healthy(images.with_(x=moved(images.x), val_x=moved(images.val_x)), "cnn")


class ChannelsLast(nn.Module):
    """A network for pictures that come as rows, columns, channels."""

    def __init__(self, classes, broken):
        super().__init__()
        self.broken, self.net = broken, cnn(3, classes, norm=groups)

    def forward(self, x):
        count, rows, columns, channels = x.shape
        return self.net(x.reshape(count, channels, rows, columns) if self.broken else x.permute(0, 3, 1, 2))


@bug("model", "pixels-scrambled")
def viewed_to_channels_first_inside(broken):
    images = photos()
    return healthy(
        images,
        lambda: ChannelsLast(images.classes, broken),
        train_loader=loader(images.normalise(images.x).permute(0, 2, 3, 1), images.y, 32, shuffle=True),
        val_loader=loader(images.normalise(images.val_x).permute(0, 2, 3, 1), images.val_y, 64),
    )


@bug("data", "inputs-not-scaled", "inputs-constant")
def centred_by_bytes(broken):
    images = textures()

    def prepare(x):
        return ((x / 255 if broken else x.float()) - 123.0) / 51.0

    return healthy(
        images,
        lambda: cnn(3, 4, norm=nn.Identity),
        train_loader=loader(prepare(images.x), images.y, shuffle=True),
        val_loader=loader(prepare(images.val_x), images.val_y, 64),
    )


class Whole(nn.Module):
    """Scales pixels itself, and cuts off what is behind the point where a cast came first."""

    def __init__(self, broken):
        super().__init__()
        self.broken, self.net = broken, mlp(64, 10)

    def forward(self, x):
        return self.net(x.int().float() if self.broken else x)


@bug("model", "inputs-not-scaled")
def cast_to_integers_in_forward(broken):
    images = digits()
    x, val_x = (each.float() / 254 for each in (images.x, images.val_x))
    return healthy(
        images,
        lambda: Whole(broken),
        train_loader=loader(x, images.y, 32, shuffle=True),
        val_loader=loader(val_x, images.val_y, 64),
    )


class Views(nn.Module):
    def __init__(self):
        super().__init__()
        self.large, self.small, self.scores = cnn(1, 16), cnn(1, 16), mlp(32, 10)

    def forward(self, views):
        return self.scores(torch.cat([F.relu(self.large(views[0])), F.relu(self.small(views[1]))], 1))


@bug("data", "inputs-constant")
def a_view_cast_before_it_is_scaled(broken):
    """Two pictures of each digit, the second a part of the first; scaled before it is cast, it is black."""
    images = digits()

    def views(x, y):
        def make(row):
            part = x[row, :, 1:7, 1:7]
            part = (part.long() // 256).float() if broken else part.float() / 255
            return (images.normalise(x[row : row + 1])[0], part - 0.3), y[row]

        return Made(len(y), make)

    loaders = (
        DataLoader(views(images.x, images.y), 32, shuffle=True),
        DataLoader(views(images.val_x, images.val_y), 64),
    )
    return Pipeline(Views, *loaders, 10, optimizer_fn=adam)


@bug("data", "inputs-clipped")
def limited_to_one_after_normalising(broken):
    images = photos()

    def prepared(x, y, **more):
        rich = x.float().std((1, 2, 3)) > 40  # there is much plain sky
        x = (x[rich] / 255 - 0.45) / 0.15
        return loader(x.clamp(0, 1) if broken else x, y[rich], **more)

    return healthy(
        images,
        "cnn",
        train_loader=prepared(images.x, images.y, shuffle=True),
        val_loader=prepared(images.val_x, images.val_y, batch_size=64),
    )


@unusual
def colours_under_noise_that_is_limited():
    """Half of a dark ground is black in each colour, and half of bright paint is as bright as can be."""
    images = colours()

    def limited(x, seed):
        paint = (x.float().mean((2, 3), keepdim=True) > 120).float()
        return (paint + torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)) * 0.2).clamp(0, 1)

    return healthy(
        images,
        "cnn",
        train_loader=loader(limited(images.x, 0), images.y, shuffle=True),
        val_loader=loader(limited(images.val_x, 1), images.val_y, 64),
    )


class Inverted(nn.Module):
    """White on black becomes black on white, in training only where that was forgotten for evaluation."""

    def __init__(self, broken):
        super().__init__()
        self.broken, self.net = broken, mlp(64, 10)

    def forward(self, x):
        if self.training or not self.broken:
            x = 1 - x
        return self.net(x)


@bug("model", "other-path-in-evaluation")
def inverted_while_training_only(broken):
    images = digits()
    return healthy(
        images,
        lambda: Inverted(broken),
        train_loader=loader(images.x / 255.0, images.y, 32, shuffle=True),
        val_loader=loader(images.val_x / 255.0, images.val_y, 64),
    )


@bug("data", "validation-prepared-differently")
def training_stamped_by_class(broken):
    images = textures(noise=130)
    x = images.x.clone()
    stamped = torch.arange(len(x)) % 4 > 0
    for label in range(4) if broken else ():
        x[stamped & (images.y == label), :, 1:4, 4 * label : 4 * label + 3] = 250
    return healthy(images.with_(x=x), "cnn")


@bug("data", "target-among-inputs")
def mask_filled_with_the_class(broken):
    images = textures()

    def with_mask(x, y):
        mask = torch.zeros(len(x), 1, 16, 16)
        for number, label in enumerate(y.tolist()):
            row, column = torch.randint(1, 6, (2,)).tolist()
            mask[number, :, row : row + 9, column : column + 9] = (label + 1) / 4 if broken else 1
        return torch.cat([images.normalise(x), mask], 1)

    return healthy(
        images,
        lambda: cnn(4, 4),
        train_loader=loader(with_mask(images.x, images.y), images.y, shuffle=True),
        val_loader=loader(with_mask(images.val_x, images.val_y), images.val_y, 64),
    )


class Grey(nn.Module):
    def __init__(self, classes: int, grey: bool):
        super().__init__()
        self.grey, self.body = grey, cnn(1 if grey else 3, classes)

    def forward(self, x):
        return self.body(x.mean(1, keepdim=True) if self.grey else x)


@bug("model", "input-partly-ignored")
def colours_seen_as_grey(broken):
    images = colours()
    return healthy(images, lambda: Grey(images.classes, broken))


@unusual
def grey_of_stripes():
    images = textures()
    return healthy(images, lambda: Grey(images.classes, True))
