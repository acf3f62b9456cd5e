"""Bugs and unusual pipelines of a tag for each word: axes, and what fills up in losses and metrics."""

from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import accuracy_of, adam
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.sets import Made, loader
from tests.checks.zoo.words import WORDS, marked_words


class Tagger(nn.Module):
    """A class for each word, by a recurrence of both ways."""

    def __init__(self, broken):
        super().__init__()
        self.broken, self.words = broken, nn.Embedding(20, 24)
        self.state, self.scores = nn.GRU(24, 24, batch_first=True, bidirectional=True), nn.Linear(48, 6)

    def forward(self, x):
        scores = self.scores(self.state(self.words(x))[0])
        return scores.view(len(x), 6, -1) if self.broken else scores.transpose(1, 2)


def tagged(count, seed):
    x = torch.randint(20, (count, 14), generator=torch.Generator().manual_seed(seed))
    return x, x % 3 + 3 * (x.roll(-1, 1) > 9)


@bug("model", "outputs-scrambled")
def tags_brought_forward_by_view(broken):
    return Pipeline(
        lambda: Tagger(broken), loader(*tagged(900, 0), shuffle=True), loader(*tagged(250, 1), 64), 6, optimizer_fn=adam
    )


class EightTags(nn.Module):
    """One of eight tags for each of eight words."""

    def __init__(self):
        super().__init__()
        self.words, self.both_ways = nn.Embedding(20, 24), nn.GRU(24, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 8)

    def forward(self, words):
        return self.head(self.both_ways(self.words(words))[0])


@bug("evaluation", "metric-wrong")
def the_greatest_over_words_for_tags(broken):
    """There are as many words as tags, and the metric has a name of its own."""

    def texts(count, seed):
        words = torch.randint(0, 20, (count, 8), generator=torch.Generator().manual_seed(seed))
        before = torch.cat([torch.zeros(count, 1).long(), words[:, :-1]], 1)
        return words, (words // 3 + (before > 9).long()) % 8

    def loss_fn(outputs, tags):
        return F.cross_entropy(outputs.reshape(-1, 8), tags.reshape(-1))

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, tags = map(torch.cat, zip(*((model(words), tags) for words, tags in batches), strict=True))
        said = outputs.argmax(1 if broken else 2)
        return {"loss": loss_fn(outputs, tags).item(), "tag_accuracy": (said == tags).float().mean().item()}

    return Pipeline(
        EightTags, loader(*texts(1200, 1), shuffle=True), loader(*texts(300, 2), 50), 8,
        loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=partial(adam, rate=5e-3),
    )  # fmt: skip


def tagged_by_the_one_before(count, seed):
    """Words, (count, 10), and a tag of each, by itself and the word before it."""
    words = torch.from_numpy(np.random.default_rng(seed).integers(0, 16, (count, 10)))
    before = F.pad(words[:, :-1], (1, 0))
    return words, torch.where(words < 5, 0, 1 + before % 2)


class ThreeTags(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.read, self.tags = nn.Embedding(16, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, words):
        return self.tags(self.read(self.words(words))[0])


def tagging(measure):
    def loss_fn(outputs, tags):
        return F.cross_entropy(outputs.transpose(1, 2), tags)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [measure(model(words), tags) for words, tags in batches]
        return {name: sum(each[name] for each in found) / sum(each["tags"] for each in found) for name in found[0]}

    train, val = loader(*tagged_by_the_one_before(600, 0), shuffle=True), loader(*tagged_by_the_one_before(200, 1), 40)
    return Pipeline(ThreeTags, train, val, num_classes=3, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


@bug("evaluation", "metric-wrong")
def the_loss_by_a_softmax_over_places(broken):
    def measure(scores, tags):
        logs = scores.log_softmax(1 if broken else 2)
        return {"loss": F.nll_loss(logs.transpose(1, 2), tags, reduction="sum").item(), "tags": tags.numel()}

    return tagging(measure)


@bug("evaluation", "metric-wrong")
def tags_told_by_shares_of_the_places(broken):
    def measure(scores, tags):
        shares = scores.softmax(1 if broken else 2)
        return {"accuracy": (shares.argmax(2) == tags).sum().item(), "tags": tags.numel()}

    return tagging(measure)


@bug("data", "ignored-targets-count")
def padding_counts_as_class_zero(broken):
    def filled(count, seed):
        x, y = tagged(count, seed)
        for row, length in enumerate(torch.arange(len(y)) % 9 + 4):
            y[row, length:] = -100
        return x, y

    return Pipeline(
        lambda: Tagger(False),
        loader(*filled(900, 0), shuffle=True),
        loader(*filled(250, 1), 64),
        6,
        loss_fn=lambda outputs, y: F.cross_entropy(outputs, y.clamp_min(0) if broken else y),
        optimizer_fn=adam,
        evaluate=lambda model, batches: accuracy_of(
            model, batches, lambda outputs, y: (outputs.argmax(1) == y)[y >= 0].float().mean().item()
        ),
    )


@bug("evaluation", "metric-wrong")
def tags_counted_with_padding(broken):
    def filled(x, y):
        y = y.clone()
        for row, length in enumerate(torch.arange(len(y)) % 10 + 4):
            y[row, length:] = -100
        return x, y

    def right(outputs, y):
        return (outputs.argmax(1) == y).sum().item() / (y.numel() if broken else (y != -100).sum().item())

    return Pipeline(
        lambda: Tagger(False),
        loader(*filled(*tagged(900, 0)), shuffle=True),
        loader(*filled(*tagged(250, 1)), 64),
        6,
        optimizer_fn=adam,
        evaluate=lambda model, batches: accuracy_of(model, batches, right),
    )


class FourTags(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.state = nn.Embedding(WORDS, 24, padding_idx=0), nn.GRU(24, 32, batch_first=True)
        self.tags = nn.Linear(32, 4)

    def forward(self, x):
        return self.tags(self.state(self.words(x))[0])


@bug("evaluation", "metric-wrong")
def padding_counts_in_evaluation(broken):
    """Each word is tagged 1 to 3 by its number, what fills up 0; the loss leaves that out."""

    def loss_fn(outputs, y):
        return F.cross_entropy(outputs.flatten(0, 1), y.flatten(), ignore_index=0)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        losses, right = [], []
        for x, y in batches:
            outputs, y = model(x).flatten(0, 1), y.flatten()
            if not broken:
                outputs, y = outputs[y != 0], y[y != 0]
            losses.append(F.cross_entropy(outputs, y, reduction="none"))
            right.append((outputs.argmax(1) == y).float())
        return {"loss": torch.cat(losses).mean().item(), "accuracy": torch.cat(right).mean().item()}

    train, val = (marked_words(count, seed)[0] for count, seed in ((1200, 0), (300, 1)))
    tags = [torch.where(x == 0, 0, 1 + x % 3) for x in (train, val)]
    return Pipeline(
        FourTags,
        loader(train, tags[0], 32, shuffle=True),
        loader(val, tags[1], 32),
        num_classes=4,
        loss_fn=loss_fn,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


class Tags(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.near = nn.Embedding(WORDS, 24, padding_idx=0), nn.Conv1d(24, 32, 3, padding=1)
        self.scores = nn.Linear(32, 3)

    def forward(self, words):
        return self.scores(F.relu(self.near(self.words(words).transpose(1, 2))).transpose(1, 2))


@bug("evaluation", "metric-wrong")
def what_fills_up_counts_as_right(broken):
    """What is said of them is set to the tag of what fills up before it is compared."""

    def tagged(count, seed):
        words, _ = marked_words(count, seed)
        before = F.pad(words[:, :-1], (1, 0))
        return words, torch.where(words == 0, 0, 1 + (words + before) % 2)

    def loss_fn(outputs, tags):
        return F.cross_entropy(outputs.transpose(1, 2), tags, ignore_index=0)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        right, places = 0, 0
        for words, tags in batches:
            said = (model(words)[..., 1:].argmax(2) + 1).masked_fill(words == 0, 0)
            counted = torch.full(tags.shape, True) if broken else tags != 0
            right, places = right + int((said == tags)[counted].sum()), places + int(counted.sum())
        return {"token_accuracy": right / places}

    train, val = loader(*tagged(700, 0), shuffle=True), loader(*tagged(200, 1), 50)
    return Pipeline(Tags, train, val, num_classes=3, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


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
