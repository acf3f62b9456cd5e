"""Correct pipelines that a twenty-first adversary, of such only, saw accused, or a check of which ended in an error.

All were developed against; their names lie in the first half.
"""

import copy

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import unusual
from tests.checks.zoo.fourth_look import marked_words
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import digits, loader


class Taught(nn.Module):
    """A network that trains, and the average of its weights, which is used (Tarvainen & Valpola 2017)."""

    def __init__(self):
        super().__init__()
        self.student = mlp(64, 10, dropout=0.1)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, x):
        return self.student(x) if self.training else self.teacher(x)


@unusual
def labels_for_a_third():
    """Two of three samples have no label, -1, which the loss leaves out; the step calls the parts by themselves."""
    images = digits()
    y = torch.where(torch.arange(len(images.y)) % 3 == 0, images.y, -1)

    def loss_fn(outputs, y):
        return F.cross_entropy(outputs, y, ignore_index=-1)

    def step(model, batch, loss_fn, optimizer):
        model.train()
        x, y = batch
        with torch.no_grad():
            wanted = model.teacher(x + 0.1 * torch.randn_like(x)).softmax(1)
        outputs = model.student(x)
        loss = loss_fn(outputs, y) + F.mse_loss(outputs.softmax(1), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for mean, each in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
                mean.lerp_(each, 0.05)
        return loss.item()

    return Pipeline(
        Taught,
        loader(images.normalise(images.x), y, 48, shuffle=True),
        loader(images.normalise(images.val_x), images.val_y, 64),
        num_classes=10,
        loss_fn=loss_fn,
        train_step=step,
        optimizer_fn=lambda model: adam(model.student),
    )


@unusual
def a_threshold_from_other_samples():
    """The cut is chosen on a third part of the rows, which evaluate keeps."""
    chance = np.random.default_rng(21)
    x = chance.normal(size=(2400, 8))
    y = chance.random(2400) < 1 / (1 + np.exp(2.5 - 1.5 * x[:, 0] - 1.2 * x[:, 1] * x[:, 2]))
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    others, of_others = x[1500:1900], y[1500:1900]

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        scores, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        known = model(others)
        cut = max(known.quantile(torch.linspace(0.5, 0.99, 40)), key=lambda each: f1_score(of_others, known > each))
        return {
            "loss": F.binary_cross_entropy_with_logits(scores, y).item(),
            "f1": float(f1_score(y, scores > cut)),
        }

    return Pipeline(
        lambda: nn.Sequential(mlp(8, 1), nn.Flatten(0)),
        loader(x[:1500], y[:1500], shuffle=True),
        loader(x[1900:], y[1900:], 120),
        num_classes=2,
        loss_fn=F.binary_cross_entropy_with_logits,
        evaluate=evaluate,
        optimizer_fn=adam,
    )


class Hashed(nn.Module):
    def __init__(self):
        super().__init__()
        self.numbers, self.scores = nn.Embedding(40, 24, padding_idx=0), mlp(24, 3)

    def forward(self, words):
        there = (words[..., 0] != 0).float()[..., None]
        return self.scores((self.numbers(words).sum(2) * there).sum(1) / there.sum(1))


@unusual
def two_numbers_a_word():
    """Each word is the sum of two embeddings (Svenstrup et al. 2017): texts are (n, places, 2)."""

    def hashed(words, labels):
        twice = torch.stack([1 + words * 7 % 19, 20 + words * 5 % 17], 2)
        return torch.where(words[..., None] == 0, 0, twice), labels

    train, val = hashed(*marked_words(900, 0)), hashed(*marked_words(250, 1))
    loaders = loader(*train, shuffle=True), loader(*val, 64)
    return Pipeline(Hashed, *loaders, num_classes=3, optimizer_fn=adam)


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
