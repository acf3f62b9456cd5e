"""What a fourth adversary tripped the audit up with.

All were developed against; their names lie in the first half.
"""

import copy
import itertools
import random

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn
from tests.checks.zoo.second_look import gathered
from tests.checks.zoo.sets import digits, loader, photos, positions, split, textures
from tests.checks.zoo.several_answers import discs, lights, of

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


def next_words(model_fn, places: int = PLACES) -> Pipeline:
    train, val = sequences(600, 1, places), sequences(200, 2, places)
    return Pipeline(
        model_fn,
        loader(train[:, :-1], train[:, 1:], shuffle=True),
        loader(val[:, :-1], val[:, 1:], 64),
        num_classes=WORDS,
        optimizer_fn=adam,
        evaluate=gathered({"loss": F.cross_entropy, "accuracy": lambda z, y: (z.argmax(1) == y).float().mean()}),
    )


@bug("model", "future-leaks")
def next_words_by_a_recurrence_of_both_ways(broken):
    return next_words(lambda: WordsBefore(broken))


@unusual
def as_many_places_as_words():
    return next_words(WordsBefore, WORDS)


@bug("data", "targets-out-of-range")
def masks_of_zero_and_255(broken):
    x, y = discs()
    loss = F.binary_cross_entropy_with_logits

    def model():
        return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))

    masks = (y == 1).float()[:, None] * (255 if broken else 1)
    return of((x, masks), model, 2, loss, {"loss": loss, "accuracy": lambda z, t: ((z > 0) == (t > 0)).float().mean()})


@bug("evaluation", "metric-wrong")
def four_scores_cut_at_one_half(broken):
    loss, cut = F.binary_cross_entropy_with_logits, 0.5 if broken else 0
    metrics = {"loss": loss, "accuracy": lambda z, y: ((z > cut) == (y > 0)).float().mean()}
    return of(lights(), lambda: cnn(1, 4), 4, loss, metrics)


@bug("data", "validation-prepared-differently")
def targets_in_pixels_in_validation(broken):
    images = positions()
    mean, deviation = images.y.mean(), images.y.std()
    scaled = images.with_(y=(images.y - mean) / deviation, val_y=(images.val_y - mean) / deviation)
    return healthy(scaled.with_(val_y=scaled.val_y * 8 + 16) if broken else scaled, "mlp")


@bug("model", "saturated-units")
def tanhs_behind_weights_of_deviation_one(broken):
    def model():
        layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 96), nn.Tanh(), nn.Linear(96, 10)
        )
        for layer in (layers[1], layers[3]) if broken else ():
            nn.init.normal_(layer.weight)
        return layers

    return healthy(digits(), model, optimizer_fn=sgd)


@bug("model", "vanishing-gradients")
def seven_sigmoids_deep(broken):
    def model():
        widths = [64, *[48] * 7]
        pairs = itertools.pairwise(widths)
        kind = nn.Sigmoid if broken else nn.ReLU
        layers = [layer for a, b in pairs for layer in (nn.Linear(a, b), kind())]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(48, 10))

    return healthy(digits(), model, optimizer_fn=sgd)


@bug("model", "outputs-restricted")
def dropout_after_the_last_layer(broken):
    def model():
        return nn.Sequential(cnn(3, 4), nn.Dropout(0.5)) if broken else cnn(3, 4, dropout=0.5)

    return healthy(textures(), model)


@bug("model", "batchnorm-statistics-off", "wrong-mode-in-training")
def fresh_batch_norms_in_eval_mode(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        for layer in model.modules() if broken else ():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    return healthy(textures(), "cnn", train_step=step)


class WithAverage(nn.Module):
    """Evaluated with an average of its weights."""

    def __init__(self, layers: nn.Module):
        super().__init__()
        self.layers, self.average = layers, copy.deepcopy(layers).requires_grad_(False)

    def forward(self, x):
        return self.layers(x) if self.training else self.average(x)

    @torch.no_grad()
    def renew(self):
        for mean, new in zip(self.average.parameters(), self.layers.parameters(), strict=True):
            mean.lerp_(new, 0.05)


@bug("evaluation", "evaluates-other-model")
def an_average_never_renewed(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        if not broken:
            model.renew()
        return loss.item()

    def model():
        return WithAverage(nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)))

    return healthy(digits(), model, train_step=step, optimizer_fn=lambda model: adam(model.layers))


@bug("optimisation", "class-weights-inverted")
def class_weights_as_the_counts(broken):
    images = digits()
    kept = torch.cat([(images.y == each).nonzero().flatten()[: 20 if each < 5 else None] for each in range(10)])
    images = images.with_(x=images.x[kept], y=images.y[kept])
    counts = torch.bincount(images.y, minlength=10).float()
    weights = counts if broken else 1 / counts
    return healthy(images, "mlp", loss_fn=nn.CrossEntropyLoss(weights / weights.mean()))


class Attending(nn.Module):
    """Attention over the words that are there; zero fills up."""

    def __init__(self, words: int, classes: int, inverted: bool):
        super().__init__()
        self.words = nn.Embedding(words, 32, padding_idx=0)
        self.asks = nn.Parameter(torch.randn(1, 1, 32))
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.scores, self.inverted = nn.Linear(32, classes), inverted

    def forward(self, x):
        words, empty = self.words(x), (x != 0) if self.inverted else (x == 0)
        asks = self.asks.expand(len(x), -1, -1)
        return self.scores(self.attention(asks, words, words, key_padding_mask=empty)[0][:, 0])


def marked_words(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """5 to 12 words, filled up to 20 with zeros; one of words 1 to 3 is the class."""
    chance = np.random.default_rng(seed)
    x, y = np.zeros((count, 20), np.int64), chance.integers(0, 3, count)
    for number in range(count):
        length = chance.integers(5, 13)
        x[number, :length] = chance.integers(4, WORDS, length)
        x[number, chance.integers(length)] = 1 + y[number]
    return torch.tensor(x), torch.tensor(y)


@bug("model", "input-ignored")
def attention_to_padding_only(broken):
    return Pipeline(
        lambda: Attending(WORDS, 3, broken),
        loader(*marked_words(900, 0), shuffle=True),
        loader(*marked_words(250, 1), 64),
        num_classes=3,
        optimizer_fn=adam,
    )


@bug("data", "pixels-scrambled")
def channels_to_the_front_by_view(broken):
    images = photos()

    def moved(x):
        rows = x.permute(0, 2, 3, 1).contiguous()
        return rows.view(x.shape) if broken else rows.permute(0, 3, 1, 2).contiguous()

    return healthy(images.with_(x=moved(images.x), val_x=moved(images.val_x)), "cnn")


def wide_photos(count: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """Tiles of 32 px of the two photographs, and which one."""
    tiles, labels = [], []
    for label, photo in enumerate(load_sample_images().images):
        parts = photo[:416, :640].reshape(13, 32, 20, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)
        textured = parts[parts.std((1, 2, 3)) > 20]
        tiles.append(textured[: count // 2])
        labels.append(np.full(len(tiles[-1]), label))
    return np.concatenate(tiles), np.concatenate(labels)


@bug("data", "split-leak")
def copies_moved_before_the_split(broken):
    x, y = wide_photos()
    images = split(x, y, len(x) // 4)

    def with_copies(x, y):
        """Each picture, and it mirrored and moved by one pixel or two."""
        moved = [torch.roll(x.flip(3) if by % 2 else x, (by, -by), (2, 3)) for by in (1, 2)]
        return torch.cat([x, *moved]), torch.cat([y] * 3)

    if broken:
        both = with_copies(torch.cat([images.x, images.val_x]), torch.cat([images.y, images.val_y]))
        images = split(*(each.numpy() for each in both), len(both[0]) // 4, seed=1)
    else:
        x, y = with_copies(images.x, images.y)
        images = images.with_(x=x, y=y)
    return healthy(images, "cnn")


class Turned(Dataset):
    """Arrows of which half are mirrored when they are read, and their labels with them, or not."""

    def __init__(self, x, y, labels_too: bool):
        self.x, self.y, self.labels_too = x, y, labels_too

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        x, y = self.x[row], int(self.y[row])
        if random.random() < 0.5:
            x, y = x.flip(2), [1, 0, 2, 3][y] if self.labels_too else y
        return x, y


def arrows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Arrows to the right, left, up and down, anywhere."""
    chance = np.random.default_rng(seed)
    x, y = chance.normal(0, 0.25, (count, 1, 20, 20)), chance.integers(0, 4, count)
    for number in range(count):
        row, column = chance.integers(5, 15, 2)
        arrow = np.zeros((20, 20))
        arrow[row, column - 4 : column + 5] = 1
        for step in range(4):
            arrow[[row - step, row + step], column + 4 - step] = 1
        x[number, 0] += (arrow, arrow[:, ::-1], np.rot90(arrow), np.rot90(arrow, -1))[y[number]]
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


@bug("data", "augmentation-changes-label")
def mirrored_arrows_anywhere(broken):
    return Pipeline(
        lambda: cnn(1, 4),
        DataLoader(Turned(*arrows(1000, 0), not broken), 32, shuffle=True),
        loader(*arrows(300, 1), 64),
        num_classes=4,
        optimizer_fn=adam,
    )


@unusual
def a_pretrained_body_under_a_fresh_head():
    images = textures()
    learnt = cnn(3, 4)
    optimizer = adam(learnt)
    for x, y in loader(images.normalise(images.x), images.y):
        optimizer.zero_grad()
        F.cross_entropy(learnt.train()(x), y).backward()
        optimizer.step()

    def model():
        body = copy.deepcopy(learnt)
        head = [layer for layer in body.modules() if isinstance(layer, nn.Linear)][-1]
        with torch.no_grad():  # as unlucky as a head drawn by chance can be: sure, and never right
            head.weight.copy_(head.weight.roll(int(torch.randint(1, 4, ())), 0))
        return body

    return healthy(images, model)


def recording(length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy wave whose pitch changes now and then, and the pitch at each place."""
    chance = np.random.default_rng(seed)
    pitch = np.repeat(chance.integers(0, 3, length // 60 + 1), 60)[:length]
    wave = np.sin(np.cumsum(np.array([0.2, 0.45, 0.9])[pitch])) + chance.normal(0, 0.4, length)
    return wave.astype(np.float32), pitch


@bug("data", "split-leak")
def windows_shared_by_the_splits(broken):
    wave, pitch = recording(6000, 0)
    starts = np.arange(0, len(wave) - 40, 6)
    x = torch.tensor(np.stack([wave[at : at + 40] for at in starts]))[:, None]
    y = torch.tensor(pitch[starts + 20])
    # Else all of the last part of the recording, behind a gap.
    order = np.random.default_rng(1).permutation(len(x)) if broken else np.arange(len(x))
    train, val = order[:750], order[760:]

    def model():
        layers = (nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.Conv1d(16, 32, 7, padding=3), nn.ReLU())
        return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 3))

    return Pipeline(
        model, loader(x[train], y[train], shuffle=True), loader(x[val], y[val], 64), num_classes=3, optimizer_fn=adam
    )
