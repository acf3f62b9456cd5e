"""Small sets of words that need no file and no net, and pipelines over them."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.sets import Made, loader

WORDS, PLACES = 16, 12


def sequences(count: int, seed: int, places: int = PLACES) -> torch.Tensor:
    """int64 (count, places + 1): each word chosen by the one before it."""
    follows = np.random.default_rng(0).dirichlet([0.15] * WORDS, WORDS).cumsum(1)
    chance = np.random.default_rng(seed)
    words = chance.integers(0, WORDS, (count, 1))
    for _ in range(places):
        drawn = (chance.random((count, 1)) > follows[words[:, -1]]).sum(1, keepdims=True).clip(0, WORDS - 1)
        words = np.concatenate([words, drawn], 1)
    return torch.tensor(words)


class WordsBefore(nn.Module):
    """Scores of the next word at each place, (count, words, places) as torch's cross-entropy takes them."""

    def __init__(self, both_ways: bool = False):
        super().__init__()
        self.words = nn.Embedding(WORDS, 24)
        self.state = nn.GRU(24, 32, batch_first=True, bidirectional=both_ways)
        self.scores = nn.Linear(64 if both_ways else 32, WORDS)

    def forward(self, x):
        return self.scores(self.state(self.words(x))[0]).transpose(1, 2)


def marked_words(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """5 to 12 words, filled up to 20 with zeros; one of words 1 to 3 is the class."""
    chance = np.random.default_rng(seed)
    x, y = np.zeros((count, 20), np.int64), chance.integers(0, 3, count)
    for number in range(count):
        length = chance.integers(5, 13)
        x[number, :length] = chance.integers(4, WORDS, length)
        x[number, chance.integers(length)] = 1 + y[number]
    return torch.tensor(x), torch.tensor(y)


def of_marked_words(model_fn, **changes):
    train, val = marked_words(900, 0), marked_words(250, 1)
    given = {"optimizer_fn": adam, **changes}
    return Pipeline(model_fn, loader(*train, shuffle=True), loader(*val, 64), num_classes=3, **given)


def with_mask(words):
    return {"input_ids": words, "attention_mask": (words != 0).long()}


def of_texts(beside, model_fn):
    """Texts with what `beside` makes of their words."""

    def read(count, seed):
        words, labels = marked_words(count, seed)
        return Made(count, lambda row: (beside(words[row]), labels[row]))

    train, val = DataLoader(read(900, 0), 32, shuffle=True), DataLoader(read(250, 1), 64)
    return Pipeline(model_fn, train, val, num_classes=3, optimizer_fn=adam)
