"""Correct pipelines that a twenty-second adversary, of such only, saw accused; all developed against."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, gathered
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import digits, loader
from tests.checks.zoo.thirteenth_look import Made


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


@unusual
def ages_as_shares_of_bins():
    """Each age is spread over its neighbours, so that none has most; of the oldest bins none ever leads (Geng 2016)."""
    chance, x, of = rows(1800, 12)
    ages = np.clip(45 + 16 * of + 3 * chance.normal(size=len(of)), 5, 90)
    shares = np.exp(-0.5 * ((ages[:, None] - np.arange(2.5, 100, 5)) / 4) ** 2)

    def loss_fn(outputs, shares):
        return F.kl_div(outputs.log_softmax(1), shares, reduction="batchmean")

    return of_rows(x, shares / shares.sum(1, keepdims=True), lambda: mlp(8, 20), 20, loss_fn=loss_fn)


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
def some_digits_are_unknown():
    """Eight and nine are -1, of which training shows the one; for them the loss wants even scores."""
    images = digits()
    seen = images.y < 9
    y, val_y = (torch.where(each < 8, each, -1) for each in (images.y[seen], images.val_y))

    def loss_fn(outputs, y):
        logs = outputs.log_softmax(1)
        known = -logs.gather(1, y.clamp_min(0)[:, None])[:, 0]
        return torch.where(y >= 0, known, -logs.mean(1)).mean()

    def evaluate(model, batches):
        outputs, y = gathered(model.eval(), batches)
        right = (outputs.argmax(1) == y)[y >= 0].float().mean()
        return {"loss": loss_fn(outputs, y).item(), "known_acc": right.item()}

    loaders = (
        loader(images.normalise(images.x[seen]), y, shuffle=True),
        loader(images.normalise(images.val_x), val_y, 64),
    )
    return Pipeline(lambda: cnn(1, 8), *loaders, num_classes=8, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


@unusual
def a_series_that_comes_back():
    """Of Mackey and Glass: chaotic, and now and then near where it was; validation is of a later time."""
    series = [1.2] * 18
    for _ in range(2900):
        series.append(series[-1] + 0.2 * series[-18] / (1 + series[-18] ** 10) - 0.1 * series[-1])
    series = (np.array(series[300:]) - 0.9) / 0.23
    windows = np.lib.stride_tricks.sliding_window_view(series, 74)
    x, y = windows[:, None, :64], windows[:, 73:]
    x, y = (torch.tensor(each.copy(), dtype=torch.float32) for each in (x, y))
    loaders = loader(x[:1930], y[:1930], shuffle=True), loader(x[2004:], y[2004:], 64)

    def model():
        return nn.Sequential(
            *(nn.Conv1d(1, 16, 5, 2), nn.ReLU(), nn.Conv1d(16, 16, 5, 2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(16 * 13, 1)),
        )

    return Pipeline(model, *loaders, num_classes=0, loss_fn=F.mse_loss, optimizer_fn=adam)


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


@unusual
def rare_words_weigh_more():
    """Of a word that only one topic has, all rows but those without it are alike."""
    chance = np.random.default_rng(22)
    y = chance.integers(0, 4, 1200)
    shares = 0.55 * np.pad(chance.dirichlet(np.full(100, 0.1), 4), ((0, 0), (50, 0)))
    shares[:, 50:] += 0.0035
    shares[np.arange(50) % 4, np.arange(50)] = 0.1 / 12.5
    counts = np.stack([chance.multinomial(25, shares[each] / shares[each].sum()) for each in y])
    seen = (counts[:900] > 0).sum(0)
    x = counts * (np.log(901 / (1 + seen)) + 1)
    x = torch.tensor(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=torch.float32)
    y = torch.tensor(y)
    loaders = loader(x[:900], y[:900], shuffle=True), loader(x[900:], y[900:], 60)
    return Pipeline(lambda: nn.Linear(150, 4), *loaders, num_classes=4, optimizer_fn=lambda model: adam(model, 0.02))


class Found(nn.Module):
    """How near a question is to all answers of the batch, and to the wrong ones beside them."""

    def __init__(self):
        super().__init__()
        self.asks, self.answers = mlp(32, 24), mlp(32, 24)

    def forward(self, x):
        asks, right, wrong = x
        answers = F.normalize(self.answers(torch.cat([right, wrong])), dim=1)
        return 10 * F.normalize(self.asks(asks), dim=1) @ answers.T


@unusual
def found_among_hard_ones():
    """The upper half of a digit finds its lower half among those of the batch, and as many of other digits."""

    def halves(x, y, seed):
        others = torch.randint(len(x), (len(x),), generator=torch.Generator().manual_seed(seed))
        upper, lower = x[:, 0, :4].flatten(1), x[:, 0, 4:].flatten(1)
        return Made(len(x), lambda row: ((upper[row], lower[row], lower[others[row]]), y[row]))

    def loss_fn(found, _):
        return F.cross_entropy(found, torch.arange(len(found)))

    def evaluate(model, batches):
        with torch.no_grad():
            found = [model.eval()(x) for x, _ in batches]
        right = sum(int((each.argmax(1) == torch.arange(len(each))).sum()) for each in found)
        return {"recall_at_1": right / sum(map(len, found))}

    images = digits()
    train = halves(images.normalise(images.x), images.y, 0)
    val = halves(images.normalise(images.val_x)[:350], images.val_y[:350], 1)
    loaders = DataLoader(train, 50, shuffle=True, drop_last=True), DataLoader(val, 50)
    return Pipeline(Found, *loaders, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)
