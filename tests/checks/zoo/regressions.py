"""Bugs of regressions: the scale of targets, missing ones, and what a model or a loss makes of them."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_by, evaluate_regression, healthy
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import loader, positions


def numbers(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of six numbers, and one that follows from them, of mean 0 and deviation 1 or so."""
    x = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    y = x[:, 0] + np.sin(2 * x[:, 1]) + 0.5 * x[:, 2] * x[:, 3]
    return torch.tensor(x), torch.tensor(y[:, None])


def of_numbers(model_fn, change=lambda y: y, **changes) -> Pipeline:
    (x, y), (val_x, val_y) = numbers(1200, 0), numbers(400, 1)
    given = {"loss_fn": F.mse_loss, "evaluate": evaluate_regression, "optimizer_fn": adam} | changes
    return Pipeline(
        model_fn, loader(x, change(y), 32, shuffle=True), loader(val_x, change(val_y), 64), num_classes=0, **given
    )


@bug("model", "initial-loss-off", "targets-out-of-range")
def unscaled_prices_as_targets(broken):
    def dollars(y):
        return 2e5 + 6e4 * y

    return of_numbers(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)), dollars if broken else lambda y: y
    )


@bug("model", "initial-loss-off")
def targets_far_off(broken):
    images = positions()
    by = 400 if broken else 0
    return healthy(images.with_(y=images.y + by, val_y=images.val_y + by), "mlp", loss_fn=F.l1_loss)


@bug("data", "validation-prepared-differently")
def targets_in_pixels_in_validation(broken):
    images = positions()
    mean, deviation = images.y.mean(), images.y.std()
    scaled = images.with_(y=(images.y - mean) / deviation, val_y=(images.val_y - mean) / deviation)
    return healthy(scaled.with_(val_y=scaled.val_y * 8 + 16) if broken else scaled, "mlp")


@bug("data", "targets-wrong-type")
def targets_in_no_column(broken):
    """Batch norm lets the fresh outputs be nearly equal, so that it hardly matters what they are compared with."""
    images = positions()
    y = images.y[:, 0] if broken else images.y
    train = loader(images.normalise(images.x), y, shuffle=True)
    return healthy(images, "cnn", train_loader=train, loss_fn=nn.SmoothL1Loss())


@bug("data", "targets-not-finite")
def spots_without_a_place(broken):
    images = positions()
    y = images.y.clone()
    if broken:
        y[::40] = torch.nan
    return healthy(images.with_(y=y), "mlp")


class Experts(nn.Module):
    def __init__(self, copied: bool):
        super().__init__()

        def make():
            return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))

        first = make()
        self.members = nn.ModuleList(copy.deepcopy(first) if copied else make() for _ in range(5))

    def forward(self, x):
        return torch.stack([member(x) for member in self.members]).mean(0)


@bug("model", "identical-initial-weights")
def experts_copied_from_one(broken):
    return of_numbers(lambda: Experts(broken))


@bug("model", "no-slope")
def counts_rounded_in_forward(broken):
    chance = torch.Generator().manual_seed(0)
    x = torch.rand(900, 1, 8, 8, generator=chance)
    x = (x > 0.9).float() + 0.1 * torch.randn(x.shape, generator=chance)
    y = (x > 0.5).float().sum((1, 2, 3))[:, None]

    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(64, 1)

        def forward(self, x):
            return torch.round(self.net(x)) if broken else self.net(x)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        return {"loss": torch.cat([(model(x) - y).square() for x, y in batches]).mean().item()}

    return Pipeline(
        Rounded,
        loader(x[:700], y[:700], 32, shuffle=True),
        loader(x[700:], y[700:], 64),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@bug("evaluation", "loss-against-metric")
def quantiles_upside_down(broken):
    """The pinball loss takes outputs less targets for targets less outputs: the first of three comes out highest."""
    chance, levels = np.random.default_rng(19), torch.tensor([0.1, 0.5, 0.9])
    x = chance.normal(size=(1600, 6))
    y = x[:, 0] + 0.6 * np.abs(x[:, 1]) + chance.gamma(2.0, 0.3 + 0.25 * (x[:, 2] > 0))
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)

    def loss_fn(outputs, y):
        missed = outputs - y[:, None] if broken else y[:, None] - outputs
        return torch.maximum(levels * missed, (levels - 1) * missed).mean()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        inside = (outputs[:, 0] <= y) & (y <= outputs[:, 2])
        return {"loss": loss_fn(outputs, y).item(), "coverage_80": inside.float().mean().item()}

    loaders = loader(x[:1200], y[:1200], shuffle=True), loader(x[1200:], y[1200:], 80)
    return Pipeline(lambda: mlp(6, 3), *loaders, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


@bug("data", "targets-wrong-type")
def a_scaled_target_cut_off(broken):
    """Between 0 and 1, and made whole on the way: the largest is 1, all others are 0."""
    low, high = (float(getattr(numbers(1200, 0)[1], name)()) for name in ("min", "max"))

    def scaled(y):
        shares = ((y - low) / (high - low)).clamp(0, 1)
        return shares.long().float() if broken else shares

    return of_numbers(lambda: mlp(6, 1), scaled)


@bug("evaluation", "loss-against-metric")
def counts_taken_for_logarithms(broken):
    """The network says how many; poisson_nll_loss is left to take it for the logarithm of that."""
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(1600, 6, generator=chance)
    y = torch.poisson(torch.exp(1 + 0.6 * x[:, 0] - 0.4 * x[:, 1] * x[:, 2].sign()), generator=chance)[:, None]

    def loss_fn(outputs, y):
        return F.poisson_nll_loss(outputs, y, log_input=broken)

    evaluate = evaluate_by({"loss": loss_fn, "mae": F.l1_loss})
    loaders = loader(x[:1200], y[:1200], shuffle=True), loader(x[1200:], y[1200:], 80)
    model = nn.Sequential(nn.Linear(6, 48), nn.SiLU(), nn.Linear(48, 1), nn.Softplus())
    return Pipeline(
        lambda: copy.deepcopy(model), *loaders, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam
    )


@bug("evaluation", "metric-wrong")
def centres_taken_for_corners(broken):
    """Boxes are centre and size; of the two that the metric compares it turns one only into corners."""
    chance = torch.Generator().manual_seed(0)
    size = 0.2 + 0.4 * torch.rand(1000, 2, generator=chance)
    centre = size / 2 + (1 - size) * torch.rand(1000, 2, generator=chance)
    places = (torch.arange(16) + 0.5) / 16
    along, down = ((places - centre[:, at, None]).abs() < size[:, at, None] / 2 for at in (0, 1))
    x = (down[:, :, None] & along[:, None]).float()[:, None]
    x = x + 0.3 * torch.randn(x.shape, generator=chance)

    def corners(boxes):
        return torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)

    def iou(outputs, y):
        one, other = outputs if broken else corners(outputs), corners(y)
        both = torch.cat([torch.maximum(one, other)[:, :2], torch.minimum(one, other)[:, 2:]], 1)
        shared, first, second = ((each[:, 2:] - each[:, :2]).clamp_min(0).prod(1) for each in (both, one, other))
        return (shared / (first + second - shared).clamp_min(1e-6)).mean()

    y = torch.cat([centre, size], 1)
    loaders = loader(x[:750], y[:750], shuffle=True), loader(x[750:], y[750:], 50)
    evaluate = evaluate_by({"loss": F.l1_loss, "iou": iou})
    return Pipeline(
        lambda: mlp(256, 4), *loaders, num_classes=0, loss_fn=F.l1_loss, evaluate=evaluate, optimizer_fn=adam
    )
