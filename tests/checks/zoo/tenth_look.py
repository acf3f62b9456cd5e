"""What a tenth and an eleventh adversary, told the same as the ninth, tripped the audit up with; developed against."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn
from tests.checks.zoo.sets import colours, digits, loader


@bug("optimisation", "wrong-mode-in-training")
def trains_by_a_mode_set_once(broken):
    """The first step sets the mode; after the first evaluation nobody does."""

    def step(model, batch, loss_fn, optimizer):
        if not broken or not hasattr(optimizer, "has_begun"):
            model.train()
            optimizer.has_begun = True
        loss = loss_fn(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return healthy(colours(), "cnn", train_step=step)


@bug("optimisation", "learning-rate-too-low")
def momentum_at_two_in_a_hundred_thousand(broken):
    """Of a training whose length is not told: an epoch has 44 batches, and none has thousands of epochs."""
    return healthy(digits(), "cnn", optimizer_fn=partial(sgd, rate=2e-5 if broken else 2e-2))


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


class Tagger(nn.Module):
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
        Tagger, loader(*texts(1200, 1), shuffle=True), loader(*texts(300, 2), 50), 8,
        loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=partial(adam, rate=5e-3),
    )  # fmt: skip


@unusual
def names_become_numbers_in_collate():
    """The dataset's own labels are words."""
    images = digits()
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

    def rows(x, y):
        return [(each, names[label]) for each, label in zip(images.normalise(x), y.tolist(), strict=True)]

    def collate(items):
        return torch.stack([x for x, _ in items]), torch.tensor([names.index(name) for _, name in items])

    def batches(x, y, **more):
        return torch.utils.data.DataLoader(rows(x, y), collate_fn=collate, **more)

    return healthy(
        images, lambda: cnn(1, 10),
        train_loader=batches(images.x, images.y, batch_size=32, shuffle=True),
        val_loader=batches(images.val_x, images.val_y, batch_size=64),
    )  # fmt: skip


@unusual
def scores_that_begin_between_zero_and_one():
    """One score for two classes, cut at zero; that of the fresh model looks like a probability."""
    images = digits()

    def model():
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
        nn.init.normal_(net[3].weight, std=0.01)
        nn.init.constant_(net[3].bias, 0.5)
        return net

    def batches(x, y, **more):
        return loader(images.normalise(x), (y > 4).float(), **more)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        scores, y = map(torch.cat, zip(*((model(x), y) for x, y in batches), strict=True))
        loss = F.binary_cross_entropy_with_logits(scores, y).item()
        return {"loss": loss, "accuracy": ((scores > 0) == (y > 0.5)).float().mean().item()}

    return Pipeline(
        model, batches(images.x, images.y, shuffle=True), batches(images.val_x, images.val_y, batch_size=64), 2,
        loss_fn=F.binary_cross_entropy_with_logits, evaluate=evaluate, optimizer_fn=adam,
    )  # fmt: skip


class BothSides(nn.Module):
    """Whether two pictures show the same digit, by an encoder that they share."""

    def __init__(self, reads_second):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24))
        self.head, self.reads_second = nn.Sequential(nn.Linear(72, 48), nn.ReLU(), nn.Linear(48, 2)), reads_second

    def forward(self, pairs):
        one, other = self.encoder(pairs[:, 0]), self.encoder(pairs[:, int(self.reads_second)])
        return self.head(torch.cat([one, other, (one - other).abs()], 1))


@bug("model", "input-partly-ignored")
def the_same_picture_on_both_sides(broken):
    images = digits()

    def pairs(x, y, count, seed):
        chance = torch.Generator().manual_seed(seed)
        order = y.argsort(stable=True)  # neighbours in it are of one class
        first = torch.randint(0, len(y) - 1, (count,), generator=chance)
        second = torch.where(torch.rand(count, generator=chance) < 0.5, first + 1, first.flip(0))
        first, second = order[first], order[second]
        return torch.stack([images.normalise(x)[first], images.normalise(x)[second]], 1), (y[first] == y[second]).long()

    train, val = pairs(images.x, images.y, 1500, 0), pairs(images.val_x, images.val_y, 300, 1)
    return Pipeline(
        partial(BothSides, not broken), loader(*train, shuffle=True), loader(*val, 64), 2, optimizer_fn=adam
    )
