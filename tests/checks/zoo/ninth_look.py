"""What a ninth adversary, told the families that the audit promises, tripped it up with; all were developed against."""

from functools import partial

import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits, load_sample_images
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import Images, colours, digits, loader, photos, positions, split, textures


@bug("data", "split-leak")
def rare_digits_evened_before_the_split(broken):
    """Four of each of the rare classes, before the split, so that all their samples come as often."""
    found = load_digits()
    x, y = torch.from_numpy(found.data / 16).float(), torch.from_numpy(found.target)
    rows = torch.cat([(y == each).nonzero().flatten()[: 90 if each < 6 else 25] for each in range(10)])

    def evened(rows):
        return torch.cat([rows, *[rows[y[rows] >= 6]] * 3])

    def shuffled(rows):
        return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]

    rows = shuffled(evened(rows) if broken else rows)
    train, val = rows[len(rows) // 5 :], rows[: len(rows) // 5]
    train = train if broken else evened(train)
    return Pipeline(
        lambda: mlp(64, 10), loader(x[train], y[train], shuffle=True), loader(x[val], y[val], 64), 10, optimizer_fn=adam
    )


def tiles_of_photos(stride: int, side: int = 24) -> Images:
    """Grey tiles of a temple and of a flower."""
    found, labels = [], []
    for label, photo in enumerate(load_sample_images().images):
        grey = photo[::2, ::2].mean(2).astype(np.uint8)
        height, width = grey.shape
        corners = [(top, left) for top in range(0, height - side, stride) for left in range(0, width - side, stride)]
        found += [grey[None, top : top + side, left : left + side] for top, left in corners]
        labels += [label] * len(corners)
    return split(np.stack(found), np.array(labels), len(found) // 4)


@bug("data", "split-leak")
def tiles_of_photos_overlap(broken):
    return healthy(tiles_of_photos(9 if broken else 24), "cnn")


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


def arrows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
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
    images = Images(*arrows(800, 1), *arrows(200, 2), 2)

    def collate(items):
        x, y = torch.utils.data.default_collate(items)
        mirrored = torch.rand(len(x)) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        return images.normalise(x), y if broken else torch.where(mirrored, 1 - y, y)

    return healthy(images, lambda: cnn(1, 2), train_loader=loader(images.x, images.y, shuffle=True, collate_fn=collate))


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


def penalised(penalty):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        loss = loss_fn(model(batch[0]), batch[1])
        optimizer.zero_grad()
        (loss + penalty(model)).backward()
        optimizer.step()
        return loss.item()

    return step


@bug("optimisation", "weight-decay-wins")
def squared_weights_in_the_loss(broken):
    factor = 0.2 if broken else 2e-5
    step = penalised(lambda model: factor * sum(each.square().sum() for each in model.parameters()))
    return healthy(digits(), "mlp", train_step=step)


@bug("optimisation", "weight-decay-wins")
def absolute_weights_in_the_loss(broken):
    factor = 0.02 if broken else 1e-6
    step = penalised(lambda model: factor * sum(each.abs().sum() for each in model.parameters() if each.ndim > 1))
    return healthy(textures(), "cnn", train_step=step)


@bug("optimisation", "learning-rate-too-high")
def adamw_at_a_rate_of_a_third(broken):
    """Something is learnt after the explosion, without weight decay by chance more."""
    return healthy(
        textures(), "vit", optimizer_fn=lambda model: torch.optim.AdamW(model.parameters(), 0.3 if broken else 1e-3)
    )


class Both(torch.optim.Optimizer):
    """Two optimizers behind one face."""

    def __init__(self, *optimizers):
        self.optimizers = optimizers
        super().__init__([group for each in optimizers for group in each.param_groups], {})
        self.param_groups = [group for each in optimizers for group in each.param_groups]

    def zero_grad(self, set_to_none=True):
        for each in self.optimizers:
            each.zero_grad(set_to_none)

    def step(self, closure=None):
        for each in self.optimizers:
            each.step()


@unusual
def one_optimizer_for_two():
    def optimizer(model):
        *body, head = model
        weights = [each for layer in body for each in layer.parameters()]
        return Both(torch.optim.SGD(weights, 0.05, momentum=0.9), torch.optim.Adam(head.parameters(), 1e-3))

    return healthy(digits(), "mlp", optimizer_fn=optimizer)


class MeanAndSpread(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp(144, 32)
        self.mean, self.spread = nn.Linear(32, 1), nn.Linear(32, 1)

    def forward(self, x):
        hidden = self.body(x).relu()
        return self.mean(hidden), self.spread(hidden).clamp(-6, 4)


@unusual
def a_mean_and_its_spread():
    """A tuple, which the loss takes as it is."""

    def likelihood(outputs, targets):
        mean, spread = outputs
        return (0.5 * (spread + (mean - targets).square() * (-spread).exp())).mean()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [(likelihood(model(x), y) * len(y), len(y)) for x, y in batches]
        return {"loss": float(sum(each for each, _ in found)) / sum(count for _, count in found)}

    return healthy(positions(), MeanAndSpread, loss_fn=likelihood, evaluate=evaluate)
