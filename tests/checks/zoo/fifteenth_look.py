"""What a fifteenth adversary, of correct pipelines above all, tripped the audit up with; developed against."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.fourteenth_look import Rows
from tests.checks.zoo.fourth_look import WORDS, marked_words
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import digits, loader


def vibration(machine, length=700):
    """Of a machine with tones of its own, and one of its state."""
    chance, time = np.random.default_rng(machine), np.arange(length)
    tones = [*chance.uniform(0.02, 0.3, 2), (0.06, 0.12, 0.2)[machine % 3] * chance.uniform(0.85, 1.2)]
    waves = [np.sin(2 * np.pi * tone * time + chance.uniform(0, 6)) for tone in tones]
    return torch.tensor(sum(waves) + 0.15 * chance.normal(size=length), dtype=torch.float32)


@bug("data", "split-leak")
def windows_of_each_machine_in_both_splits(broken):
    found = [vibration(machine).unfold(0, 64, 16) for machine in range(24)]
    x, of = torch.cat(found), torch.arange(24).repeat_interleave(len(found[0]))
    held = torch.rand(len(x), generator=torch.Generator().manual_seed(1)) < 0.25 if broken else of >= 18
    train, val = loader(x[~held], of[~held] % 3, shuffle=True), loader(x[held], of[held] % 3, 64)

    def waves():
        layers = nn.Conv1d(1, 16, 9, 2), nn.ReLU(), nn.Conv1d(16, 32, 9, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(1)
        return nn.Sequential(nn.Unflatten(1, (1, -1)), *layers, nn.Flatten(), nn.Linear(32, 3))

    return Pipeline(waves, train, val, num_classes=3, optimizer_fn=adam)


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


@unusual
def neighbours_among_training_samples():
    """An embedding, validated by the labels of the nearest training samples."""
    images = digits()
    known = images.normalise(images.x)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        there, right, count = F.normalize(model(known), dim=1), 0, 0
        for x, y in batches:
            nearest = images.y[(F.normalize(model(x), dim=1) @ there.T).topk(5).indices]
            right += int((nearest.mode(1).values == y).sum())
            count += len(y)
        return {"accuracy": right / count}

    def alike(outputs, labels):
        units = F.normalize(outputs, dim=1)
        similar = (units @ units.T / 0.2).fill_diagonal_(-1e4)
        same = (labels[:, None] == labels).float().fill_diagonal_(0)
        return -((similar.log_softmax(1) * same).sum(1) / same.sum(1).clamp_min(1)).mean()

    return healthy(images, lambda: mlp(64, 16), num_classes=0, loss_fn=alike, evaluate=evaluate)


class OfColumns(nn.Module):
    """A token for each column of a table and one for the class, which is read; attention left as torch has it."""

    def __init__(self, by_rows):
        super().__init__()
        self.weights, self.places = nn.Parameter(torch.randn(1, 6, 16)), nn.Parameter(torch.randn(1, 6, 16))
        self.class_token = nn.Parameter(torch.randn(1, 1, 16) * 0.02)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=by_rows)
        self.scores = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x):
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), x[:, :, None] * self.weights + self.places], 1)
        return self.scores((tokens + self.attention(tokens, tokens, tokens)[0])[:, 0])


@bug("model", "batch-mixed")
def a_class_token_that_hears_only_others(broken):
    chance = torch.Generator().manual_seed(2)
    x = torch.randn(1200, 6, generator=chance)
    y = (x[:, 0] + x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
    train, val = loader(x[:900], y[:900], shuffle=True), loader(x[900:], y[900:], 60)
    return Pipeline(lambda: OfColumns(by_rows=not broken), train, val, num_classes=3, optimizer_fn=adam)


TOWNS, TRADES = 12, 8


class OfCustomers(nn.Module):
    def __init__(self):
        super().__init__()
        self.towns, self.trades = nn.Embedding(TOWNS, 6), nn.Embedding(TRADES, 4)
        self.scores = mlp(13, 2)

    def forward(self, x):
        return self.scores(torch.cat([x["numbers"], self.towns(x["town"]), self.trades(x["trade"])], 1))


@bug("data", "validation-prepared-differently")
def towns_by_appearance_in_validation(broken):
    chance = np.random.default_rng(12)
    numbers = chance.normal(size=(2000, 3))
    town, trade = chance.integers(0, TOWNS, 2000), chance.integers(0, TRADES, 2000)
    effects = 1.5 * chance.normal(size=TOWNS)[town] + 1.5 * chance.normal(size=TRADES)[trade] + numbers @ [0.8, 0.5, 0]
    y = (effects + 0.5 * chance.logistic(size=2000) > 0).astype(np.int64)

    def by_appearance(codes):
        found = {code: number for number, code in enumerate(dict.fromkeys(codes.tolist()))}
        return np.array([found[code] for code in codes.tolist()])

    def rows(part, anew):
        codes = {
            name: by_appearance(each[part]) if anew else each[part] for name, each in (("town", town), ("trade", trade))
        }
        x = {"numbers": numbers[part].astype(np.float32), **codes}
        return Rows({name: torch.from_numpy(each) for name, each in x.items()}, torch.from_numpy(y[part]))

    train, val = rows(slice(1500), anew=False), rows(slice(1500, None), anew=broken)
    return Pipeline(
        OfCustomers, DataLoader(train, 32, shuffle=True), DataLoader(val, 64), num_classes=2, optimizer_fn=adam
    )


@unusual
def words_with_sparse_gradients():
    words, labels = marked_words(900, 0)
    train, val = loader(words, labels, shuffle=True), loader(*marked_words(250, 1), 50)

    def bag():
        return nn.Sequential(nn.EmbeddingBag(WORDS, 24, mode="mean", sparse=True), nn.Linear(24, 3))

    def plain(model):
        return torch.optim.SGD(model.parameters(), lr=0.5)

    return Pipeline(bag, train, val, num_classes=3, optimizer_fn=plain)
