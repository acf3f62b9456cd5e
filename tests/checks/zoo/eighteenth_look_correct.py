"""Correct pipelines that an eighteenth adversary saw accused, asked about, or a check of which ended in an error.

All were developed against; their names lie in the first half.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import unusual
from tests.checks.zoo.eighteenth_look import Tags
from tests.checks.zoo.fourth_look import WORDS
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import digits, loader
from tests.checks.zoo.thirteenth_look import Made


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
def tags_of_long_and_short_sentences():
    """Filled up in each batch, with tags of -100: the third place fills up one sentence of training."""

    def tagged(count, seed):
        chance = np.random.default_rng(seed)
        lengths = np.where(np.arange(count) < 1 + 12 * seed, 2, 3 + chance.geometric(0.15, count))
        words = [torch.tensor(chance.integers(1, WORDS, length)[:24]) for length in lengths]
        return Made(count, lambda row: (words[row], words[row] % 3))

    def collate(items):
        words, tags = zip(*items, strict=True)
        filled = nn.utils.rnn.pad_sequence
        return filled(words, batch_first=True), filled(tags, batch_first=True, padding_value=-100)

    def loss_fn(outputs, tags):
        return F.cross_entropy(outputs.transpose(1, 2), tags)

    train = DataLoader(tagged(800, 0), 25, shuffle=True, collate_fn=collate)
    val = DataLoader(tagged(250, 1), 50, collate_fn=collate)
    return Pipeline(Tags, train, val, num_classes=3, loss_fn=loss_fn, optimizer_fn=adam)


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.sharp = mlp(32, 24), mlp(32, 24), nn.Parameter(torch.tensor(math.log(10)))

    def forward(self, halves):
        left, right = F.normalize(self.left(halves[0]), dim=1), F.normalize(self.right(halves[1]), dim=1)
        return self.sharp.exp() * left @ right.T


@unusual
def pairs_found_in_the_batch():
    """The upper half of a digit finds its lower half among those of the batch; targets are numbers of rows."""

    def halves(x, first):
        return Made(len(x), lambda row: ((x[row, 0, :4].flatten(), x[row, 0, 4:].flatten()), first + row))

    def loss_fn(found, rows):
        wanted = torch.arange(len(found))
        return (F.cross_entropy(found, wanted) + F.cross_entropy(found.T, wanted)) / 2

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [model(x) for x, _ in batches]
        right = sum(int((each.argmax(1) == torch.arange(len(each))).sum()) for each in found)
        loss = sum(float(loss_fn(each, None)) * len(each) for each in found)
        return {"loss": loss / sum(map(len, found)), "recall_at_1": right / sum(map(len, found))}

    images = digits()
    train = DataLoader(halves(images.normalise(images.x), 0), 50, shuffle=True, drop_last=True)
    val = DataLoader(halves(images.normalise(images.val_x)[:350], 2000), 50)
    return Pipeline(Towers, train, val, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


class Cosines(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.centres = mlp(64, 24), nn.Parameter(torch.randn(10, 24))

    def forward(self, x):
        return F.linear(F.normalize(self.body(x), dim=1), F.normalize(self.centres, dim=1))


@unusual
def cosines_with_a_margin():
    """Training scales them and makes it harder by a margin (Deng et al. 2019), evaluation only scales them."""

    def loss_fn(cosines, y):
        angles = cosines.clamp(-1 + 1e-6, 1 - 1e-6).acos() + 0.2 * F.one_hot(y, 10)
        return F.cross_entropy(16 * angles.cos(), y)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        cosines, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        right = (cosines.argmax(1) == y).float().mean()
        return {"loss": F.cross_entropy(16 * cosines, y).item(), "accuracy": right.item()}

    return healthy(digits(), Cosines, loss_fn=loss_fn, evaluate=evaluate)


class OneNumber(nn.Module):
    """A gate and two experts with weights of their own kind, each giving one number a sample."""

    def __init__(self):
        super().__init__()
        self.gate, self.first, self.second = (nn.Parameter(0.1 * torch.randn(64, 16)) for _ in range(3))
        self.out = nn.Parameter(0.1 * torch.randn(16, 3))

    def forward(self, x):
        gate, first, second = (
            F.gelu(x.flatten(1) @ each) @ out
            for each, out in zip((self.gate, self.first, self.second), self.out.unbind(1), strict=True)
        )
        return gate.sigmoid() * first + (1 - gate.sigmoid()) * second


@unusual
def experts_of_one_number():
    images = digits()
    train = loader(images.normalise(images.x), (images.y > 4).float(), shuffle=True)
    val = loader(images.normalise(images.val_x), (images.val_y > 4).float(), 64)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        loss = F.binary_cross_entropy_with_logits(outputs, y)
        return {"loss": loss.item(), "accuracy": ((outputs > 0) == (y > 0)).float().mean().item()}

    return Pipeline(
        OneNumber,
        train,
        val,
        num_classes=2,
        loss_fn=F.binary_cross_entropy_with_logits,
        evaluate=evaluate,
        optimizer_fn=adam,
    )


@unusual
def one_block_four_times():
    """On purpose, as it seems: a question is what is left."""

    def model():
        block = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU())
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), *[block] * 4, nn.Linear(64, 10))

    return healthy(digits(), model)


@unusual
def not_is_number_zero():
    """A word among others that the model takes for what fills up: a question."""

    def texts(count, seed):
        chance = np.random.default_rng(seed)
        words, y = np.zeros((count, 20), np.int64), chance.integers(0, 3, count)
        for row in range(count):
            length = chance.integers(6, 14)
            words[row, :length] = np.where(chance.random(length) < 0.08, 0, chance.integers(4, WORDS, length))
            words[row, chance.integers(length)] = 1 + y[row]
        return torch.tensor(words), torch.tensor(y)

    train, val = texts(900, 0), texts(250, 1)
    return Pipeline(Mean, loader(*train, shuffle=True), loader(*val, 64), num_classes=3, optimizer_fn=adam)


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.scores = nn.Embedding(WORDS, 32, padding_idx=0), mlp(32, 3)

    def forward(self, words):
        there = (words != 0).float()[..., None]
        return self.scores((self.words(words) * there).sum(1) / there.sum(1).clamp_min(1))
