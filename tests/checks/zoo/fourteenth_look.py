"""What a fourteenth adversary tripped the audit up with; developed against."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import lazily, loader, photos, split


class Slices:
    """A loader of consecutive rows, in an order by chance."""

    def __init__(self, x, y, step):
        self.x, self.y, self.step = x, y, step

    def __len__(self):
        return len(self.x) // 32

    def __iter__(self):
        for number in torch.randperm(len(self)).tolist():
            rows = slice(number * self.step, number * self.step + 32)
            yield self.x[rows], self.y[rows]


@bug("data", "samples-drawn-unevenly")
def slices_one_row_apart(broken):
    chance = torch.Generator().manual_seed(3)
    x = torch.randn(1200, 6, generator=chance)
    y = (x[:, :1] * x[:, 1:2] + x[:, 2:3].sin()) + 0.1 * torch.randn(1200, 1, generator=chance)
    train = Slices(x[:960], y[:960], 1 if broken else 32)
    val = loader(x[960:], y[960:], 60)
    return Pipeline(lambda: mlp(6, 1), train, val, num_classes=0, loss_fn=F.mse_loss, optimizer_fn=adam)


def tagged(count, seed):
    """Words, (count, 10), and a tag of each, by itself and the word before it."""
    words = torch.from_numpy(np.random.default_rng(seed).integers(0, 16, (count, 10)))
    before = F.pad(words[:, :-1], (1, 0))
    return words, torch.where(words < 5, 0, 1 + before % 2)


class Tagger(nn.Module):
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

    train, val = loader(*tagged(600, 0), shuffle=True), loader(*tagged(200, 1), 40)
    return Pipeline(Tagger, train, val, num_classes=3, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


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


@unusual
def tinted_and_covered_photos():
    def faded(x):
        return (0.5 * x + 0.5 * x.float().mean(1, keepdim=True)).to(torch.uint8)

    images = photos()
    images = images.with_(x=faded(images.x), val_x=faded(images.val_x))

    def augment(x, y):
        x = x * torch.empty(len(x), 3, 1, 1).uniform_(0.3, 1.7)
        for each in x:
            top, left = torch.randint(0, 9, (2,)).tolist()
            each[:, top : top + 8, left : left + 8] = 5 * torch.rand(3, 1, 1) - 2.5
        return x, y

    train = lazily(images, images.normalise, augment)
    return healthy(images, "cnn", train_loader=train)


@unusual
def shapes_in_any_place_on_noise():
    chance = np.random.default_rng(4)
    y = chance.integers(0, 3, 760)
    x = np.zeros((760, 1, 24, 24), np.uint8)
    for number, kind in enumerate(y):
        canvas = Image.new("L", (24, 24), 60)
        side = int(chance.integers(9, 13))
        left, top = chance.integers(0, 24 - side, 2).tolist()
        draw, box = ImageDraw.Draw(canvas), (left, top, left + side, top + side)
        if kind == 2:
            draw.polygon([(left, top + side), (left + side, top + side), (left + side // 2, top)], 200)
        else:
            (draw.rectangle, draw.ellipse)[kind](box, 200)
        x[number, 0] = (np.asarray(canvas) + chance.normal(0, 8, (24, 24))).clip(0, 255)
    return healthy(split(x, y.astype(np.int64), 240), "cnn")


class Rows(Dataset):
    """Parts of each row and its target."""

    def __init__(self, parts, y):
        self.parts, self.y = parts, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        return {name: part[row] for name, part in self.parts.items()}, self.y[row]


class OfSets(nn.Module):
    def __init__(self):
        super().__init__()
        self.each, self.all = (
            nn.Sequential(nn.Linear(2, 48), nn.SiLU(), nn.Linear(48, 24)),
            mlp(24, 1, activation=nn.SiLU),
        )

    def forward(self, sets):
        there = sets["there"].unsqueeze(-1).float()
        return self.all((self.each(sets["points"]) * there).sum(1) / there.sum(1))


@unusual
def sets_of_points_with_a_mask():
    def made(count, seed):
        chance = torch.Generator().manual_seed(seed)
        points = torch.randn(count, 8, 2, generator=chance) * (0.4 + torch.rand(count, 1, 1, generator=chance))
        there = torch.arange(8) < torch.randint(3, 9, (count, 1), generator=chance)
        points = points * there[..., None]  # which makes -0.0, too
        spread = (points.square().sum(2).sum(1, keepdim=True) / there.sum(1, keepdim=True)).sqrt()
        return Rows({"points": points, "there": there}, spread - 1.2)

    train, val = DataLoader(made(900, 0), 32, shuffle=True), DataLoader(made(300, 1), 64)
    return Pipeline(OfSets, train, val, num_classes=0, loss_fn=F.mse_loss, optimizer_fn=adam)


SIZES = (2, 3, 4, 2, 6)


class OfCodes(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables, self.scores = nn.ModuleList([nn.Embedding(size, 6) for size in SIZES]), mlp(6 * len(SIZES), 2)

    def forward(self, codes):
        return self.scores(torch.cat([table(codes[:, at]) for at, table in enumerate(self.tables)], 1))


@unusual
def a_table_of_coarse_codes():
    chance = np.random.default_rng(9)
    codes = np.stack([chance.integers(0, size, 1300) for size in SIZES], 1)
    effects = sum(chance.normal(0, 1.2, size)[column] for size, column in zip(SIZES, codes.T, strict=True))
    likes = effects - np.median(effects) + chance.logistic(0, 0.6, 1300) > 0
    x, y = torch.from_numpy(codes), torch.from_numpy(likes.astype(np.int64))
    train, val = loader(x[:1000], y[:1000], shuffle=True), loader(x[1000:], y[1000:], 100)
    return Pipeline(OfCodes, train, val, num_classes=2, optimizer_fn=adam)


@unusual
def lines_of_unequal_length():
    """The word after each word, of lines that each batch fills up to its longest."""

    def lines(count, seed):
        chance, found = np.random.default_rng(seed), []
        for _ in range(count):
            line = [int(chance.integers(1, 12))]
            for _ in range(3 + int(chance.geometric(0.3))):
                line.append((3 * line[-1] + int(chance.random() < 0.2)) % 11 + 1)
            found.append(torch.tensor(line))
        return found

    def filled_up(found):
        words = nn.utils.rnn.pad_sequence(found, batch_first=True)
        return words[:, :-1], words[:, 1:].masked_fill(words[:, 1:] == 0, -100)

    class Speaker(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.read, self.next = nn.Embedding(12, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 12)

        def forward(self, words):
            return self.next(self.read(self.words(words))[0])

    def loss_fn(outputs, words):
        return F.cross_entropy(outputs.flatten(0, 1), words.flatten())

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        total = count = 0
        for words, following in batches:
            total += float(F.cross_entropy(model(words).flatten(0, 1), following.flatten(), reduction="sum"))
            count += int((following >= 0).sum())
        return {"loss": total / count}

    train = DataLoader(lines(900, 0), 32, shuffle=True, collate_fn=filled_up)
    val = DataLoader(lines(240, 1), 40, collate_fn=filled_up)
    return Pipeline(Speaker, train, val, num_classes=12, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)
