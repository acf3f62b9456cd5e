"""Correct pipelines that a nineteenth adversary saw accused, or a check of which ended in an error.

All were developed against; their names lie in the first half.
"""

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import unusual
from tests.checks.zoo.fourth_look import WORDS
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import digits, loader
from tests.checks.zoo.thirteenth_look import Made


@unusual
def spots_as_heat_maps():
    """Up to five spots anywhere, and a small hill at the middle of each: of any pixel few samples say anything."""

    def spots(count, seed):
        chance, (rows, columns) = np.random.default_rng(seed), np.mgrid[:32, :32]
        x, y = chance.normal(0, 0.1, (count, 32, 32)), np.zeros((count, 32, 32))
        for number in range(count):
            for row, column in chance.integers(3, 29, (chance.integers(1, 6), 2)):
                apart = (rows - row) ** 2 + (columns - column) ** 2
                x[number] += np.exp(-apart / chance.uniform(4, 12))
                y[number] = np.maximum(y[number], np.exp(-apart / 2))
        return (torch.tensor(each[:, None], dtype=torch.float32) for each in (x, y))

    def loss_fn(outputs, hills):
        shares = outputs.sigmoid().clamp(1e-4, 1 - 1e-4)
        peaks = (hills == 1).float()
        loss = (
            peaks * (1 - shares) ** 2 * shares.log() + (1 - peaks) * (1 - hills) ** 4 * shares**2 * (1 - shares).log()
        )
        return -loss.sum() / peaks.sum()

    def model():
        net = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.ReLU()),
            nn.Conv2d(16, 1, 1),
        )
        nn.init.constant_(net[-1].bias, -2.2)
        return net

    loaders = loader(*spots(500, 0), 20, shuffle=True), loader(*spots(120, 1), 40)
    return Pipeline(model, *loaders, num_classes=0, loss_fn=loss_fn, optimizer_fn=adam)


class Error(nn.Module):
    """How far off a picture comes out of a narrow network."""

    def __init__(self):
        super().__init__()
        self.net = mlp(64, 64, width=12)

    def forward(self, x):
        return (self.net(x) - x.flatten(1)).square().mean(1)


@unusual
def learnt_from_what_is_usual():
    """Training has digits of one kind only, labelled 0; the others are to stand out in validation."""
    images = digits()
    x, val_x = images.normalise(images.x)[images.y < 5], images.normalise(images.val_x)

    def loss_fn(errors, unusual):
        return errors[unusual == 0].sum() / (unusual == 0).sum().clamp_min(1)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        errors, unusual = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        return {"loss": loss_fn(errors, unusual).item(), "auc": float(roc_auc_score(unusual, errors))}

    return Pipeline(
        Error,
        loader(x, torch.zeros(len(x)), shuffle=True),
        loader(val_x, (images.val_y > 4).float(), 64),
        num_classes=0,
        loss_fn=loss_fn,
        evaluate=evaluate,
        optimizer_fn=adam,
    )


class Speller(nn.Module):
    """Reads a word, and spells it letter by letter, the letter before given."""

    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(WORDS + 1, 32)
        self.reads, self.spells = nn.GRU(32, 64, batch_first=True), nn.GRU(32, 64, batch_first=True)
        self.scores = nn.Linear(64, WORDS + 1)

    def forward(self, both):
        word, before = both
        return self.scores(self.spells(self.letters(before), self.reads(self.letters(word))[1])[0])

    def alone(self, word):
        state, letter, spelled = self.reads(self.letters(word))[1], torch.full((len(word), 1), WORDS), []
        for _ in range(word.shape[1]):
            heard, state = self.spells(self.letters(letter), state)
            letter = self.scores(heard).argmax(2)
            spelled.append(letter)
        return torch.cat(spelled, 1)


@unusual
def a_decoder_by_itself():
    """Words are spelled backwards; training gives the letter before, evaluation takes what was said before."""

    def words(count, seed):
        word = torch.randint(1, WORDS, (count, 5), generator=torch.Generator().manual_seed(seed))
        wanted = word.flip(1)
        before = F.pad(wanted[:, :-1], (1, 0), value=WORDS)
        return Made(count, lambda row: ((word[row], before[row]), wanted[row]))

    def loss_fn(outputs, wanted):
        return F.cross_entropy(outputs.transpose(1, 2), wanted)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        loss = right = letters = 0
        for x, wanted in batches:
            loss += loss_fn(model(x), wanted).item() * wanted.numel()
            right += int((model.alone(x[0]) == wanted).sum())
            letters += wanted.numel()
        return {"loss": loss / letters, "token_accuracy": right / letters}

    loaders = DataLoader(words(1500, 0), 32, shuffle=True), DataLoader(words(300, 1), 60)
    return Pipeline(Speller, *loaders, num_classes=WORDS + 1, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


@unusual
def an_r2_of_all_numbers():
    """Of several outputs with means of their own, the variance of all numbers together is the measure."""
    chance = np.random.default_rng(19)
    x = chance.normal(size=(1000, 8))
    y = np.tanh(x @ chance.normal(size=(8, 6))) + np.arange(6) / 2 + chance.normal(0, 0.1, (1000, 6))
    x, y = (torch.tensor(each, dtype=torch.float32) for each in (x, y))

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        loss = F.mse_loss(outputs, y)
        return {"loss": loss.item(), "r2": (1 - loss / y.var(unbiased=False)).item()}

    loaders = loader(x[:750], y[:750], shuffle=True), loader(x[750:], y[750:], 50)
    return Pipeline(
        lambda: mlp(8, 6), *loaders, num_classes=0, loss_fn=F.mse_loss, evaluate=evaluate, optimizer_fn=adam
    )


class Views(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp(64, 24)

    def forward(self, views):
        return torch.stack([F.normalize(self.net(each), dim=1) for each in views], 1)


@unusual
def views_found_in_their_batch():
    """One noisy view of a digit finds the other among those of the batch; nobody reads the labels."""

    def noisy(x, y, by):
        return Made(
            len(x), lambda row: ((x[row] + by * torch.randn(1, 8, 8), x[row] + by * torch.randn(1, 8, 8)), y[row])
        )

    def loss_fn(places, _):
        return F.cross_entropy(5 * places[:, 0] @ places[:, 1].T, torch.arange(len(places)))

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [model(x) for x, _ in batches]
        right = sum(int(((each[:, 0] @ each[:, 1].T).argmax(1) == torch.arange(len(each))).sum()) for each in found)
        loss = sum(float(loss_fn(each, None)) * len(each) for each in found)
        return {"loss": loss / sum(map(len, found)), "view_top1": right / sum(map(len, found))}

    images = digits()
    val = noisy(images.normalise(images.val_x)[:350], images.val_y[:350], 0.0)
    train = noisy(images.normalise(images.x), images.y, 0.3)
    loaders = DataLoader(train, 50, shuffle=True, drop_last=True), DataLoader(val, 50)
    return Pipeline(Views, *loaders, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.read, self.scores = nn.Embedding(WORDS, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, words):
        packed = nn.utils.rnn.pack_padded_sequence(self.words(words), (words != 0).sum(1), batch_first=True)
        return self.scores(self.read(packed)[1][0])


@unusual
def texts_with_the_longest_first():
    """As pack_padded_sequence wants them by default: the loader sorts each batch."""

    def texts(count, seed):
        chance, y = np.random.default_rng(seed), np.random.default_rng(seed + 9).integers(0, 3, count)
        words = [torch.tensor(chance.integers(4, WORDS, length)) for length in chance.integers(4, 14, count)]
        for text, each in zip(words, y, strict=True):
            text[chance.integers(len(text))] = 1 + int(each)
        return Made(count, lambda row: (words[row], int(y[row])))

    def collate(items):
        words, y = zip(*sorted(items, key=lambda item: -len(item[0])), strict=True)
        return nn.utils.rnn.pad_sequence(words, batch_first=True), torch.tensor(y)

    train = DataLoader(texts(900, 0), 32, shuffle=True, collate_fn=collate)
    val = DataLoader(texts(250, 1), 50, collate_fn=collate)
    return Pipeline(Packed, train, val, num_classes=3, optimizer_fn=adam)
