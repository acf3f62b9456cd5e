"""Bugs and unusual pipelines of series, waves and clips."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import default_collate

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.other_data import pipeline, waves
from tests.checks.zoo.sets import loader
from tests.checks.zoo.tables import table


class Recurrent(nn.Module):
    """A GRU whose places are weighed; the other fields are bugs."""

    def __init__(self, axis: int = 1, torn: bool = False):
        super().__init__()
        self.axis, self.torn = axis, torn
        self.body, self.weigh, self.head = nn.GRU(3, 24, batch_first=True), nn.Linear(24, 1), nn.Linear(24, 4)

    def forward(self, x):
        seen, _ = self.body(x)
        seen = torch.tensor(seen.detach().numpy()) if self.torn else seen
        return self.head((self.weigh(seen).softmax(self.axis) * seen).sum(1))


@bug("data", "labels-unrelated")
def series_have_the_label_of_the_one_before(broken):
    x, y, val_x, val_y, classes = waves()
    y, val_y = (y.roll(1), val_y.roll(1)) if broken else (y, val_y)
    return pipeline((x, y, val_x, val_y, classes), Recurrent)


@bug("data", "validation-prepared-differently")
def series_from_0_to_1_in_validation(broken):
    x, y, val_x, val_y, classes = waves()
    val_x = (val_x - val_x.min()) / (val_x.max() - val_x.min()) if broken else val_x
    return pipeline((x, y, val_x, val_y, classes), Recurrent)


@bug("data", "inputs-not-finite")
def logarithms_of_a_few_negative_values(broken):
    x, y, val_x, val_y, classes = waves()
    x, val_x = ((each + 2.2).log() if broken else (each.abs() + 1).log() for each in (x, val_x))
    return pipeline((x, y, val_x, val_y, classes), Recurrent)


@bug("model", "batch-mixed")
def places_weighed_over_the_batch(broken):
    return pipeline(waves(), lambda: Recurrent(axis=0 if broken else 1))


@bug("model", "layers-not-trained")
def a_body_behind_numpy(broken):
    return pipeline(waves(), lambda: Recurrent(torn=broken))


@unusual
def three_labels_of_ten_are_wrong_in_series():
    (x, y, *rest), chance = waves(), torch.Generator().manual_seed(3)
    wrong = torch.rand(len(y), generator=chance) < 0.3
    others = (y + torch.randint(1, 4, y.shape, generator=chance)) % 4
    return pipeline((x, torch.where(wrong, others, y), *rest), Recurrent)


class Spectrum(nn.Module):
    """Waves as rows of numbers."""

    def __init__(self):
        super().__init__()
        self.net = cnn(1, 3)

    def forward(self, waves):
        found = torch.stft(waves, 64, 16, window=torch.hann_window(64), return_complex=True)
        return self.net(found.abs().log1p()[:, None])


@bug("data", "augmentation-changes-label")
def sweeps_played_backwards(broken):
    """A rising tone becomes a falling one; the third is level."""
    chance = np.random.default_rng(18)
    y, time = chance.integers(0, 3, 1100), np.linspace(-1, 1, 768)
    middle, slope = chance.uniform(0.1, 0.2, (1100, 1)), np.array([0.05, -0.05, 0.0])[y][:, None]
    phase = 768 * np.pi * (middle * time + slope * time**2 / 2) + chance.uniform(0, 6.28, (1100, 1))
    x = torch.tensor(np.sin(phase) + chance.normal(0, 0.4, (1100, 768)), dtype=torch.float32)
    y = torch.tensor(y)

    def collate(items):
        x, y = default_collate(items)
        turned = x.flip(1) if broken else -x
        return torch.where(torch.rand(len(x), 1) < 0.5, turned, x), y

    train = loader(x[:850], y[:850], shuffle=True, collate_fn=collate)
    return Pipeline(Spectrum, train, loader(x[850:], y[850:], 50), num_classes=3, optimizer_fn=adam)


def temperatures():
    """Windows of a series in degrees, and the next value."""
    chance, time = np.random.default_rng(8), np.arange(3400)
    series = 61 + 8 * np.sin(2 * np.pi * time / 24) + 1.5 * chance.normal(size=3400)
    windows = torch.tensor(series, dtype=torch.float32).unfold(0, 25, 3)
    return (windows[:, :24] - 61) / 8, windows[:, 24:]


@bug("evaluation", "metric-wrong", "metric-scale")
def degrees_less_standard_units(broken):
    """The loss scales the targets; evaluate compares outputs with degrees, scaled back or not."""
    x, y = temperatures()
    mean, deviation = y[:880].mean(), y[:880].std()

    def loss_fn(outputs, targets):
        return F.mse_loss(outputs, (targets - mean) / deviation)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        degrees = outputs if broken else outputs * deviation + mean
        return {"loss": (F.mse_loss if broken else loss_fn)(outputs, y).item(), "mae": F.l1_loss(degrees, y).item()}

    loaders = loader(x[:880], y[:880], shuffle=True), loader(x[920:], y[920:], 64)
    return Pipeline(lambda: mlp(24, 1), *loaders, 0, loss_fn=loss_fn, optimizer_fn=adam, evaluate=evaluate)


class Forecast(nn.Module):
    """The next three values, on the scale of those that are known."""

    def __init__(self):
        super().__init__()
        self.next = mlp(32, 3)

    def forward(self, x):
        mean, deviation = x.mean(1, keepdim=True), x.std(1, keepdim=True) + 0.1
        return self.next((x - mean) / deviation) * deviation + mean


@unusual
def demand_that_grows():
    """Windows of a series, split by time."""
    chance, time = np.random.default_rng(6), np.arange(3600)
    series = 50 + 0.006 * time + 3 * np.sin(2 * np.pi * time / 24) + 0.8 * chance.normal(size=3600)
    windows = torch.tensor(series, dtype=torch.float32).unfold(0, 35, 3)
    x, y = windows[:, :32], windows[:, 32:]
    train, val = loader(x[:880], y[:880], shuffle=True), loader(x[920:], y[920:], 64)
    return Pipeline(Forecast, train, val, num_classes=0, loss_fn=F.l1_loss, optimizer_fn=adam)


class Trend(nn.Module):
    """What is slow in a series goes on by its mean, as long as nothing else is learnt (Zeng et al. 2023)."""

    def __init__(self):
        super().__init__()
        self.slow, self.fast = nn.Linear(48, 8), nn.Sequential(nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 8))
        nn.init.constant_(self.slow.weight, 1 / 48)

    def forward(self, x):
        slow = F.avg_pool1d(F.pad(x[:, None], (6, 6), mode="replicate"), 13, stride=1)[:, 0]
        return self.slow(slow) + self.fast(x - slow)


@unusual
def a_forecast_that_begins_as_a_mean():
    chance, time = np.random.default_rng(26), np.arange(2000)
    series = np.sin(2 * np.pi * time / 24) + 0.5 * np.sin(2 * np.pi * time / 90) + chance.normal(0, 0.2, 2000)
    windows = np.lib.stride_tricks.sliding_window_view(series, 56)
    x, y = (torch.tensor(each.copy(), dtype=torch.float32) for each in (windows[:, :48], windows[:, 48:]))
    loaders = loader(x[:1500], y[:1500], shuffle=True), loader(x[1560:], y[1560:], 64)
    return Pipeline(Trend, *loaders, num_classes=0, loss_fn=F.l1_loss, optimizer_fn=adam)


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


class Faults(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.Conv1d(16, 16, 7, padding=3), nn.ReLU())
        self.scores = nn.Conv1d(16, 1, 1)

    def forward(self, x):
        return self.scores(self.net(x.transpose(1, 2)))[:, 0]


@unusual
def a_yes_or_no_at_each_place():
    """Whether a series is noisier there; -1 where it is over."""

    def series(count, seed):
        chance, places = np.random.default_rng(seed), np.arange(60)
        x = np.sin(places * chance.uniform(0.2, 0.4, (count, 1)) + chance.uniform(0, 6, (count, 1)))
        starts, ends = chance.integers(0, 30, (count, 1)), chance.integers(38, 61, (count, 1))
        y = ((places >= starts) & (places < starts + 12)).astype(float)
        x = x + chance.normal(0, 0.2, x.shape) + y * chance.normal(0, 0.9, x.shape)
        over = places >= ends
        x, y = np.where(over, 0.0, x)[..., None], np.where(over, -1.0, y)
        return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)

    def loss_fn(outputs, y):
        return F.binary_cross_entropy_with_logits(outputs[y >= 0], y[y >= 0])

    loaders = loader(*series(800, 0), shuffle=True), loader(*series(240, 1), 60)
    return Pipeline(Faults, *loaders, num_classes=2, loss_fn=loss_fn, optimizer_fn=adam)


class OfClips(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv3d(1, 16, (3, 5, 5), padding=(1, 2, 2), padding_mode="circular")
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(F.relu(self.body(x.transpose(1, 2))).amax((2, 3, 4)))


@unusual
def clips_of_a_moving_spot():
    chance = np.random.default_rng(0)
    ways, y = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)]), chance.integers(0, 4, 500)
    x = chance.normal(0, 0.2, (500, 6, 1, 12, 12))
    for number, label in enumerate(y):
        start = chance.integers(0, 12, 2)
        for frame in range(6):
            x[(number, frame, 0, *((start + ways[label] * frame) % 12))] += 4
    return table(x, y, 380, OfClips)


class OneColumn(nn.Module):
    def __init__(self):
        super().__init__()
        self.state, self.next = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x):
        return self.next(self.state(x[..., None])[0][:, -1])


@bug("optimisation", "learning-rate-too-high")
def a_rate_that_rises_to_the_end(broken):
    """The network saturates at the end, and its loss comes down again to what it was at first."""
    x, y = temperatures()
    y = (y - 61) / 8
    train, val = loader(x[:880], y[:880], 40, shuffle=True), loader(x[920:], y[920:], 64)
    return Pipeline(
        OneColumn,
        train,
        val,
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=lambda model: adam(model, 5e-3),
        scheduler_fn=lambda optimizer: ExponentialLR(optimizer, 1.02 if broken else 0.99),
        total_steps=300,
    )
