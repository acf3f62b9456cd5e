"""Bugs and unusual pipelines of models that read words: order, state, axes, and what trains how fast."""

import itertools
import math
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_by
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.sets import loader
from tests.checks.zoo.words import PLACES, WORDS, WordsBefore, marked_words, of_marked_words, of_texts, sequences


def next_words(model_fn, places: int = PLACES) -> Pipeline:
    train, val = sequences(600, 1, places), sequences(200, 2, places)
    return Pipeline(
        model_fn,
        loader(train[:, :-1], train[:, 1:], shuffle=True),
        loader(val[:, :-1], val[:, 1:], 64),
        num_classes=WORDS,
        optimizer_fn=adam,
        evaluate=evaluate_by({"loss": F.cross_entropy, "accuracy": lambda z, y: (z.argmax(1) == y).float().mean()}),
    )


@bug("model", "future-leaks")
def next_words_by_a_recurrence_of_both_ways(broken):
    return next_words(lambda: WordsBefore(broken))


@unusual
def as_many_places_as_words():
    return next_words(WordsBefore, WORDS)


@bug("model", "loss-over-wrong-axis")
def places_are_taken_for_words(broken):
    def loss(scores, words):
        return F.cross_entropy(scores.transpose(1, 2) if broken else scores, words)

    train, val = sequences(600, 1, WORDS), sequences(200, 2, WORDS)
    return Pipeline(
        WordsBefore,
        loader(train[:, :-1], train[:, 1:], shuffle=True),
        loader(val[:, :-1], val[:, 1:], 64),
        num_classes=WORDS,
        loss_fn=loss,
        optimizer_fn=adam,
        evaluate=evaluate_by({"loss": loss, "accuracy": lambda z, y: (z.argmax(1) == y).float().mean()}),
    )


ORDERED = list(itertools.permutations([1, 2, 3]))


def ordered_words(count: int, seed: int, places: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Words 4 and more, and among them 1, 2 and 3 in the order that is the class."""
    chance = np.random.default_rng(seed)
    x, y = chance.integers(4, WORDS, (count, places)), chance.integers(0, 6, count)
    for number in range(count):
        x[number, np.sort(chance.choice(places, 3, replace=False))] = ORDERED[y[number]]
    return torch.tensor(x), torch.tensor(y)


class Attentive(nn.Module):
    """Two layers of attention over words; `positions(x)` is what is added to them."""

    def __init__(self, positions):
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, 32), positions
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.scores = nn.Linear(32, 6)

    def forward(self, x):
        return self.scores(self.layers(self.words(x) + self.positions(x)).mean(1))


def of_ordered_words(positions) -> Pipeline:
    train, val = ordered_words(1600, 0), ordered_words(400, 1)
    return Pipeline(
        lambda: Attentive(positions),
        loader(*train, 64, shuffle=True),
        loader(*val, 64),
        num_classes=6,
        optimizer_fn=adam,
    )


def waves(count: int) -> torch.Tensor:
    """(count, 32): sines of the place (Vaswani et al. 2017)."""
    angles = torch.arange(count)[:, None] * torch.exp(torch.arange(0, 32, 2) * (-math.log(1e4) / 32))
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


@bug("model", "order-ignored")
def no_positions_are_added(broken):
    return of_ordered_words((lambda x: 0.0) if broken else lambda x: waves(x.shape[1]))


@bug("model", "batch-mixed")
def batch_gets_the_positions(broken):
    return of_ordered_words(lambda x: waves(len(x))[:, None] if broken else waves(x.shape[1]))


class Recurrent(nn.Module):
    """The state behind the last word of each text."""

    def __init__(self, by_rows):
        super().__init__()
        self.words, self.read = nn.Embedding(WORDS, 24), nn.GRU(24, 32, batch_first=by_rows)
        self.scores = nn.Linear(32, 3)

    def forward(self, text):
        words, lengths = text
        return self.scores(self.read(self.words(words))[0][torch.arange(len(words)), lengths - 1])


@bug("model", "batch-mixed")
def a_recurrence_over_texts_with_lengths(broken):
    return of_texts(lambda words: (words, (words != 0).sum()), lambda: Recurrent(by_rows=not broken))


class Heads(nn.Module):
    def __init__(self, by_view):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 24, padding_idx=0), nn.Parameter(0.3 * torch.randn(20, 24))
        self.three, self.scores, self.by_view = nn.Linear(24, 72), nn.Linear(24, 3), by_view

    def split(self, x):
        if self.by_view:
            return x.reshape(len(x), 4, x.shape[1], 6)
        return x.reshape(len(x), x.shape[1], 4, 6).transpose(1, 2)

    def forward(self, words):
        x = self.words(words) + self.places
        asks, keys, values = map(self.split, self.three(x).chunk(3, 2))
        heard = F.scaled_dot_product_attention(asks, keys, values).transpose(1, 2).reshape(x.shape)
        return self.scores((x + heard).mean(1))


@bug("model", "axes-scrambled")
def heads_by_view(broken):
    return of_marked_words(lambda: Heads(broken))


class Remembering(nn.Module):
    """A class for a text by a recurrence; its last state may be the next batch's first."""

    def __init__(self, keeps):
        super().__init__()
        self.keeps, self.state = keeps, None
        self.words, self.memory = nn.Embedding(WORDS, 24), nn.GRU(24, 32, batch_first=True)
        self.scores = nn.Linear(32, 3)

    def forward(self, x):
        begin = self.state if self.keeps and self.state is not None and self.state.shape[1] == len(x) else None
        states, last = self.memory(self.words(x), begin)
        self.state = last.detach()
        return self.scores(states.amax(1))


@bug("model", "model-keeps-state")
def state_from_batch_to_batch(broken):
    return Pipeline(
        lambda: Remembering(broken),
        loader(*marked_words(900, 0), 30, shuffle=True),
        loader(*marked_words(240, 1), 60),
        3,
        optimizer_fn=adam,
    )


class Unrolled(nn.Module):
    def __init__(self, detached):
        super().__init__()
        self.words, self.cell, self.scores = nn.Embedding(WORDS, 24), nn.GRUCell(24, 32), nn.Linear(32, 3)
        self.detached = detached

    def forward(self, words):
        state = torch.zeros(len(words), 32)
        for word in self.words(words).unbind(1):
            state = self.cell(word, state.detach() if self.detached else state)
        return self.scores(state)


@bug("model", "gradient-stops-short")
def a_state_detached_at_each_word(broken):
    return of_marked_words(lambda: Unrolled(broken))


@bug("model", "layers-not-trained")
def random_recurrence_is_frozen(broken):
    class Body(nn.Module):
        def __init__(self):
            super().__init__()
            self.state = nn.LSTM(16, 32, batch_first=True).requires_grad_(not broken)

        def forward(self, words):
            return self.state(words)[0]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.body, self.scores = nn.Embedding(WORDS, 16), Body(), nn.Linear(32, 3)

        def forward(self, x):
            return self.scores(self.body(self.words(x)).amax(1))

    return Pipeline(
        Net,
        loader(*marked_words(900, 0), shuffle=True),
        loader(*marked_words(250, 1), 64),
        num_classes=3,
        optimizer_fn=lambda model: adam(nn.ModuleList([model.words, model.scores]) if broken else model),
    )


@bug("optimisation", "optimizer-misses-parameters")
def only_the_weights_that_decay(broken):
    """Under a model that sets its seed itself, so that all weights begin the same each time."""

    def model():
        torch.manual_seed(0)
        return Unrolled(False)

    def optimizer(model):
        groups = [{"params": [each for each in model.parameters() if each.ndim > 1 and len(each) != WORDS]}]
        if not broken:
            rest = [each for each in model.parameters() if each.ndim < 2 or len(each) == WORDS]
            groups.append({"params": rest, "weight_decay": 0.0})
        return torch.optim.AdamW(groups, lr=3e-3, weight_decay=0.01)

    return of_marked_words(model, optimizer_fn=optimizer)


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


class Counter(nn.Module):
    """A small transformer over words, normalised after each block."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(12, 32), nn.Parameter(torch.randn(1, 20, 32) * 0.02)
        block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.blocks, self.head = nn.TransformerEncoder(block, 2), nn.Linear(32, 3)

    def forward(self, words):
        return self.head(self.blocks(self.words(words) + self.places).mean(1))


@bug("optimisation", "learning-rate-too-high")
def a_transformer_by_adam_at_a_tenth(broken):
    """The loss stumbles once and stays that of a guess."""

    def texts(count, seed):
        chance = torch.Generator().manual_seed(seed)
        most = torch.randint(0, 3, (count,), generator=chance)  # which of the words 1, 2 and 3 is the most frequent
        words = torch.randint(1, 12, (count, 20), generator=chance)
        for _ in range(5):
            words[torch.arange(count), torch.randint(0, 20, (count,), generator=chance)] = most + 1
        return words, most

    return Pipeline(
        Counter, loader(*texts(1500, 1), shuffle=True), loader(*texts(300, 2), 64), 3,
        optimizer_fn=partial(adam, rate=0.1 if broken else 1e-3),
    )  # fmt: skip


class OfAllWords(nn.Module):
    """The mean of all words, and two tanhs behind weights of some deviation."""

    def __init__(self, deviation: float):
        super().__init__()
        self.words, self.layers = nn.Embedding(WORDS, 16), nn.ModuleList([nn.Linear(16, 48), nn.Linear(48, 48)])
        self.scores = nn.Linear(48, 4)
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=deviation)

    def forward(self, words):
        hidden = 2 * self.words(words).mean(1)
        for layer in self.layers:
            hidden = torch.tanh(layer(hidden))
        return self.scores(hidden)


@bug("model", "saturated-units")
def tanhs_of_words_at_their_bounds(broken):
    """A third of the words of a text are of its class's own four."""

    def texts(count, seed):
        chance = np.random.default_rng(seed)
        y, x = chance.integers(0, 4, count), chance.integers(0, WORDS, (count, PLACES))
        own = 4 * y[:, None] + chance.integers(0, 4, x.shape)
        return torch.tensor(np.where(chance.random(x.shape) < 0.35, own, x)), torch.tensor(y)

    loaders = loader(*texts(900, 0), shuffle=True), loader(*texts(250, 1), 64)
    return Pipeline(lambda: OfAllWords(8.0 if broken else 0.15), *loaders, num_classes=4, optimizer_fn=adam)
