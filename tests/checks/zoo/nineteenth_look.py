"""What a nineteenth adversary, of practitioners' fields, tripped the audit up with; developed against."""

import math
from collections import Counter

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug
from tests.checks.zoo.fourth_look import WORDS, marked_words, sequences
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import digits, loader, textures
from tests.checks.zoo.thirteenth_look import Made


class Read(nn.Module):
    def __init__(self, words, classes):
        super().__init__()
        self.words, self.near = nn.Embedding(words, 24, padding_idx=0), nn.Conv1d(24, 48, 3, padding=1)
        self.scores = nn.Linear(48, classes)

    def forward(self, words):
        found = F.relu(self.near(self.words(words).transpose(1, 2))) * (words != 0)[:, None]
        return self.scores(found.sum(2) / 4)


@bug("data", "inputs-constant")
def unknown_words_only(broken):
    """All words are looked up in capitals in a vocabulary of small letters, say."""

    def looked_up(words, labels):
        return torch.where(words == 0, 0, 1 if broken else words), labels

    train, val = looked_up(*marked_words(900, 0)), looked_up(*marked_words(250, 1))
    loaders = loader(*train, shuffle=True), loader(*val, 64)
    return Pipeline(lambda: Read(WORDS, 3), *loaders, num_classes=3, optimizer_fn=adam)


@bug("data", "targets-out-of-range")
def one_and_two_for_no_and_yes(broken):
    images = digits()

    def coded(y):
        return ((y > 4).float() + broken)[:, None]

    return Pipeline(
        lambda: mlp(64, 1),
        loader(images.normalise(images.x), coded(images.y), shuffle=True),
        loader(images.normalise(images.val_x), coded(images.val_y), 64),
        num_classes=2,
        loss_fn=F.binary_cross_entropy_with_logits,
        optimizer_fn=adam,
    )


def opinions(count, seed):
    """Texts of 60 words, of which eight praise, eight blame and one turns the next one round; and what they say."""
    chance = np.random.default_rng(seed)
    often = 1 / np.arange(2, 46)
    texts, said = [], []
    for _ in range(count):
        text, worth = [], 0
        for _ in range(chance.integers(1, 4)):
            text += (16 + chance.choice(44, chance.integers(3, 8), p=often / often.sum())).tolist()
            sign, turned = chance.integers(2), chance.random() < 0.25
            text += [60] * turned + [int(8 * (sign ^ turned) + chance.integers(8))]
            worth += 2 * sign - 1
        texts.append([f"word {each}" for each in text])
        said.append(int(np.sign(worth)) + 1)
    return texts, said


@bug("data", "validation-prepared-differently")
def words_ranked_in_each_split(broken):
    """Words are numbered by how often they are: in their own split, or in training."""
    train, val = opinions(1200, 0), opinions(400, 1)

    def ranked(texts):
        counts = Counter(word for text in texts for word in text)
        return {word: 2 + rank for rank, (word, _) in enumerate(sorted(counts.items(), key=lambda item: -item[1]))}

    def numbered(texts, said, ranks):
        return Made(len(texts), lambda row: (torch.tensor([ranks.get(word, 1) for word in texts[row]]), said[row]))

    def collate(items):
        texts, said = zip(*items, strict=True)
        return nn.utils.rnn.pad_sequence(texts, batch_first=True), torch.tensor(said)

    ranks = ranked(train[0])
    loaders = (
        DataLoader(numbered(*train, ranks), 32, shuffle=True, collate_fn=collate),
        DataLoader(numbered(*val, ranked(val[0]) if broken else ranks), 80, collate_fn=collate),
    )
    return Pipeline(lambda: Read(64, 3), *loaders, num_classes=3, optimizer_fn=adam)


class Tied(nn.Module):
    def __init__(self, spread):
        super().__init__()
        self.words, self.read, self.even = nn.Embedding(WORDS, 48), nn.GRU(48, 48, batch_first=True), nn.LayerNorm(48)
        nn.init.normal_(self.words.weight, std=spread)

    def forward(self, words):
        return (self.even(self.read(self.words(words))[0]) @ self.words.weight.T).transpose(1, 2)


@bug("model", "initial-loss-off")
def scores_of_a_tied_embedding(broken):
    """An embedding's usual deviation of 1 makes scores of a deviation of 7."""
    train, val = sequences(600, 1), sequences(200, 2)
    loaders = loader(train[:, :-1], train[:, 1:], shuffle=True), loader(val[:, :-1], val[:, 1:], 64)
    return Pipeline(lambda: Tied(1.0 if broken else 0.05), *loaders, num_classes=WORDS, optimizer_fn=adam)


@bug("optimisation", "schedule-ends-early")
def drops_counted_in_batches(broken):
    """To a hundredth of the rate in all, which is no more than is usual in the last epochs."""
    images = textures()
    return healthy(
        images,
        "cnn",
        scheduler_fn=lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [8, 12], gamma=0.1),
        scheduler_interval="step" if broken else "epoch",
        total_steps=15 * math.ceil(len(images.x) / 32),
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


class Places(nn.Module):
    """A point on a sphere."""

    def __init__(self):
        super().__init__()
        self.net = mlp(64, 16)

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


@bug("evaluation", "metric-wrong")
def a_gallery_with_the_query(broken):
    """The nearest of all is the digit itself."""

    def loss_fn(places, y):
        itself = torch.eye(len(y), dtype=torch.bool)
        logs = (5 * places @ places.T).masked_fill(itself, -1e9).log_softmax(1)
        same = (y[:, None] == y) & ~itself
        return -(logs * same).sum() / same.sum()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        places, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        near = places @ places.T
        if not broken:
            near.fill_diagonal_(-2)
        return {"loss": loss_fn(places, y).item(), "recall@1": (y[near.argmax(1)] == y).float().mean().item()}

    return healthy(digits(), Places, 64, loss_fn=loss_fn, evaluate=evaluate)
