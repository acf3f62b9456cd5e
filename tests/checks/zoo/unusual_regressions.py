"""Correct but unusual regressions: scaled by the loss, with a width, of counts, ages, angles and dials."""

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_by, gathered, healthy
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.regressions import numbers
from tests.checks.zoo.sets import drawn, loader, positions, split
from tests.checks.zoo.tables import table


def progression():
    """(x, y) of 442 patients, the targets in their own unit, between 25 and 346."""
    found = load_diabetes()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.data[order], found.target[order, None].astype(np.float32)
    return x / x.std(0), y


@unusual
def targets_scaled_by_the_loss():
    x, y = progression()
    loss = lambda outputs, y: F.mse_loss(outputs, (y - 150) / 77)  # noqa: E731
    metrics = {"loss": loss, "mae": lambda outputs, y: (outputs * 77 + 150 - y).abs().mean()}
    return table(x, y, 330, lambda: mlp(10, 1), num_classes=0, loss_fn=loss, evaluate=evaluate_by(metrics))


@unusual
def logarithms_of_targets_in_the_loss():
    """Outputs that are far off give an infinite error in the targets' unit, each time."""
    x, y = progression()
    loss = lambda outputs, y: F.mse_loss(outputs, y.log() - 5)  # noqa: E731
    metrics = {"loss": loss, "mae": lambda outputs, y: ((outputs + 5).exp() - y).abs().mean()}
    return table(x, y, 330, lambda: mlp(10, 1), num_classes=0, loss_fn=loss, evaluate=evaluate_by(metrics))


@unusual
def dollars_scaled_in_evaluate():
    (x, y), (val_x, val_y) = numbers(1200, 0), numbers(400, 1)
    y, val_y = 200 + 50 * y, 200 + 50 * val_y
    mean, deviation = y.mean(), y.std()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        errors = [(model(x) - (y - mean) / deviation).square() for x, y in batches]
        return {"loss": torch.cat(errors).mean().item()}

    return Pipeline(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)),
        loader(x, (y - mean) / deviation, 32, shuffle=True),
        loader(val_x, val_y, 64),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@unusual
def a_loss_that_takes_a_column():
    """It brings targets to units of their deviation, and outputs (n, 1) to their shape (n,)."""
    found = load_diabetes()
    x, y = (torch.tensor(each, dtype=torch.float32) for each in (found.data, found.target))
    x, mean, deviation = x / x[:340].std(0), y[:340].mean(), y[:340].std()

    def loss_fn(outputs, y):
        return F.smooth_l1_loss(outputs[:, 0], (y - mean) / deviation)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        off = (outputs[:, 0] * deviation + mean - y).abs().mean()
        return {"loss": loss_fn(outputs, y).item(), "mae": off.item()}

    loaders = loader(x[:340], y[:340], 20, shuffle=True), loader(x[340:], y[340:], 51)
    return Pipeline(lambda: mlp(10, 1), *loaders, 0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


@unusual
def squeezed_in_the_step():
    (x, y), (val_x, val_y) = numbers(1200, 0), numbers(400, 1)

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0])[:, 0], batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        return {"loss": torch.cat([(model(x)[:, 0] - y).square() for x, y in batches]).mean().item()}

    return Pipeline(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)),
        loader(x, y[:, 0], 32, shuffle=True),
        loader(val_x, val_y[:, 0], 64),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        train_step=step,
        evaluate=evaluate,
    )


@unusual
def counts_by_a_log_rate():
    (x, y), (val_x, val_y) = numbers(1200, 0), numbers(400, 1)
    chance = np.random.default_rng(0)
    counts, val_counts = (torch.tensor(chance.poisson(np.exp(0.7 * each.numpy()))).float() for each in (y, val_y))

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        loss = F.poisson_nll_loss(outputs.flatten(), targets.flatten())
        return {"loss": loss.item(), "mae": (outputs.exp() - targets).abs().mean().item()}

    return Pipeline(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)),
        loader(x, counts[:, 0], 32, shuffle=True),
        loader(val_x, val_counts, 64),
        num_classes=0,
        loss_fn=lambda outputs, y: F.poisson_nll_loss(outputs.flatten(), y.flatten()),
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@unusual
def hardly_ever_more_than_none():
    """Counts, by squared errors: a question, as prices that were cut off look like them."""
    chance = torch.Generator().manual_seed(20)
    x = torch.randn(1200, 6, generator=chance)
    y = torch.poisson((x[:, :1] - 1.2).exp().clamp_max(2), generator=chance).clamp_max(4)
    loaders = loader(x[:900], y[:900], shuffle=True), loader(x[900:], y[900:], 60)
    return Pipeline(lambda: mlp(6, 1), *loaders, 0, loss_fn=F.mse_loss, optimizer_fn=adam)


def where_known(outputs, y):
    return (outputs - y.nan_to_num())[y.isfinite()].square().mean()


@unusual
def missing_targets_that_the_loss_leaves_out():
    images = positions()
    y, val_y = images.y.clone(), images.val_y.clone()
    y[::5] = val_y[::5] = torch.nan
    evaluate = evaluate_by({"loss": where_known})
    return healthy(images.with_(y=y, val_y=val_y), "cnn", loss_fn=where_known, evaluate=evaluate)


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


def rows(count: int, seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Chance, columns (count, 8), and a number that hangs on three of them."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(count, 8))
    return chance, x, np.sin(x[:, 0]) + 0.5 * x[:, 1] * x[:, 2]


def of_rows(x: np.ndarray, y: np.ndarray, model_fn, classes: int = 0, **changes) -> Pipeline:
    x, y = (torch.tensor(each, dtype=torch.float32) for each in (x, y))
    train, val = len(x) * 3 // 4, len(x) // 4
    loaders = loader(x[:train], y[:train], shuffle=True), loader(x[-val:], y[-val:], 80)
    return Pipeline(model_fn, *loaders, num_classes=classes, optimizer_fn=adam, **changes)


class MeanAndWidth(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp(8, 2)

    def forward(self, x):
        mean, width = self.net(x).unbind(1)
        return torch.stack([mean, F.softplus(width) + 0.01], 1)


@unusual
def a_mean_and_a_width():
    chance, x, of = rows(1800, 13)
    y = of + (0.1 + 0.4 / (1 + np.exp(-2 * x[:, 4]))) * chance.normal(size=len(of))

    def loss_fn(outputs, y):
        return F.gaussian_nll_loss(outputs[:, 0], y, outputs[:, 1].square())

    def evaluate(model, batches):
        outputs, y = gathered(model.eval(), batches)
        inside = ((y - outputs[:, 0]) / outputs[:, 1]).abs() < 1.645
        return {"loss": loss_fn(outputs, y).item(), "coverage90": inside.float().mean().item()}

    return of_rows(x, y, MeanAndWidth, loss_fn=loss_fn, evaluate=evaluate)


@unusual
def ages_as_shares_of_bins():
    """Each age is spread over its neighbours, so that none has most; of the oldest bins none ever leads (Geng 2016)."""
    chance, x, of = rows(1800, 12)
    ages = np.clip(45 + 16 * of + 3 * chance.normal(size=len(of)), 5, 90)
    shares = np.exp(-0.5 * ((ages[:, None] - np.arange(2.5, 100, 5)) / 4) ** 2)

    def loss_fn(outputs, shares):
        return F.kl_div(outputs.log_softmax(1), shares, reduction="batchmean")

    return of_rows(x, shares / shares.sum(1, keepdims=True), lambda: mlp(8, 20), 20, loss_fn=loss_fn)


@unusual
def many_passes_with_dropout():
    """Evaluation goes through all batches twenty times, dropout on, and averages (Gal & Ghahramani 2016)."""
    chance, x, of = rows(1800, 48)

    def evaluate(model, batches):
        model.eval()
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.train()
        torch.manual_seed(0)
        passes = [gathered(model, batches) for _ in range(20)]
        model.eval()
        mean, y = torch.stack([outputs for outputs, _ in passes]).mean(0), passes[0][1]
        return {"loss": F.mse_loss(mean, y).item()}

    y = (of + 0.3 * chance.normal(size=len(of)))[:, None]
    return of_rows(x, y, lambda: mlp(8, 1, dropout=0.1), loss_fn=F.mse_loss, evaluate=evaluate)


class Direction(nn.Module):
    """A unit vector."""

    def __init__(self):
        super().__init__()
        self.net = cnn(1, 2)

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


@unusual
def angles_by_unit_vectors():
    """The loss is one less a product, and has no floor for outputs of other lengths."""
    chance = np.random.default_rng(20)
    angles, rows, columns = chance.uniform(0, 2 * np.pi, 800), *np.mgrid[-6:6, -6:6]
    x = np.tanh(columns * np.cos(angles)[:, None, None] + rows * np.sin(angles)[:, None, None])
    x = torch.tensor(x + chance.normal(0, 0.3, x.shape), dtype=torch.float32)[:, None]
    y = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1), dtype=torch.float32)

    def loss_fn(outputs, targets):
        return (1 - (outputs * targets).sum(1)).mean()

    loaders = loader(x[:600], y[:600], shuffle=True), loader(x[600:], y[600:], 64)
    return Pipeline(Direction, *loaders, num_classes=0, loss_fn=loss_fn, optimizer_fn=adam)


def dial(pen, chance) -> float:
    """A ring and a needle on 28x28 pixels, and its angle in radians."""
    angle, (x, y), radius = chance.uniform(-2.2, 2.2), 14 + chance.uniform(-0.5, 0.5, 2), 11.8
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], outline=150)
    pen.line([x, y, x + radius * 0.9 * np.sin(angle), y - radius * 0.9 * np.cos(angle)], fill=240, width=2)
    return angle


@unusual
def dials_and_angles():
    """One number is nearly all that they differ by: each has neighbours that look like copies, at other angles."""
    pictures, told = drawn(1800, 241, 28, 60, dial)
    return healthy(split(pictures, np.array(told, np.float32)[:, None], 300), "cnn")


@unusual
def a_bar_by_its_cosine():
    """At twice its angle, as it looks the same the other way round; the loss asks for no length of the outputs."""
    chance = np.random.default_rng(26)
    angles, centres = chance.uniform(0, np.pi, 1000)[:, None, None], chance.uniform(-2, 2, (2, 1000, 1, 1))
    rows, columns = np.mgrid[-8:8, -8:8]
    right, down = columns - centres[0], rows - centres[1]
    along, across = right * np.cos(angles) + down * np.sin(angles), down * np.cos(angles) - right * np.sin(angles)
    x = ((abs(along) < 6) & (abs(across) < 1.5)) + chance.normal(0, 0.3, along.shape)
    x, y = torch.tensor(x, dtype=torch.float32)[:, None], torch.tensor(2 * angles[:, 0, 0], dtype=torch.float32)
    y = torch.stack([y.cos(), y.sin()], 1)

    def loss_fn(outputs, y):
        return (1 - F.cosine_similarity(outputs, y)).mean()

    evaluate = evaluate_by({"loss": loss_fn})
    loaders = loader(x[:750], y[:750], shuffle=True), loader(x[750:], y[750:], 64)
    return Pipeline(lambda: cnn(1, 2), *loaders, 0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


class Weighed(nn.Module):
    """Three numbers, and how much the loss of each is to count (Kendall et al. 2018)."""

    def __init__(self):
        super().__init__()
        self.net, self.log_variances = mlp(6, 3), nn.Parameter(torch.zeros(3))

    def forward(self, x):
        told = self.net(x)
        return torch.cat([told, self.log_variances.expand_as(told)], 1)


@unusual
def weights_of_tasks_are_learnt():
    """The loss has no least: of what is told rightly it falls with the variance, without end."""
    chance = torch.Generator().manual_seed(31)
    x = torch.randn(1600, 6, generator=chance)
    y = torch.stack([x[:, 0] + x[:, 1].abs(), torch.sin(2 * x[:, 2]), x[:, 3] * x[:, 4]], 1)
    y = y + torch.tensor([0.1, 0.3, 0.6]) * torch.randn(y.shape, generator=chance)

    def loss_fn(outputs, y):
        told, log_variances = outputs.chunk(2, 1)
        return ((told - y).square() * (-log_variances).exp() + log_variances).mean() / 2

    evaluate = evaluate_by({"loss": loss_fn, "mse": lambda outputs, y: F.mse_loss(outputs[:, :3], y)})
    loaders = loader(x[:1200], y[:1200], shuffle=True), loader(x[1200:], y[1200:], 80)
    return Pipeline(Weighed, *loaders, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)
