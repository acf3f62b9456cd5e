"""Bugs and unusual pipelines of tables: columns of numbers, and codes of people, things and towns."""

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import Made, Rows, loader


def table(x, y, train: int, model_fn, **changes) -> Pipeline:
    """A pipeline over rows of numbers, as they are."""
    x, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
    loaders = {
        "train_loader": loader(x[:train], y[:train], shuffle=True),
        "val_loader": loader(x[train:], y[train:], 64),
    }
    return Pipeline(
        **{"model_fn": model_fn, **loaders, "num_classes": int(y.max()) + 1, "optimizer_fn": adam} | changes
    )


@unusual
def digits_as_a_table():
    """Some pixels are hardly ever inked, so that chance alone decides in which split they vary at all."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.data[order], found.target[order].astype(np.int64)
    return table((x - x[:1300].mean(0)) / (x[:1300].std(0) + 1e-6), y, 1300, lambda: mlp(64, 10))


@unusual
def rare_categories():
    chance = np.random.default_rng(0)
    category = np.minimum(chance.zipf(1.5, 900) - 1, 39)
    numbers, effect = chance.normal(0, 1, (900, 4)), chance.normal(0, 1, 40)
    y = (numbers[:, 0] + effect[category] + chance.normal(0, 0.5, 900) > 0).astype(np.int64)
    return table(np.concatenate([np.eye(40)[category], numbers], 1), y, 700, lambda: mlp(44, 2))


@unusual
def embeddings_of_length_one():
    chance = np.random.default_rng(0)
    y = chance.integers(0, 8, 900)
    x = chance.normal(0, 1, (8, 2048))[y] + chance.normal(0, 4, (900, 2048))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return table(x, y, 700, lambda: nn.Linear(2048, 8), optimizer_fn=lambda model: sgd(model, 5.0))


class FillsIn(nn.Module):
    """Tells by a column of its own where a number is missing."""

    def __init__(self):
        super().__init__()
        self.body = mlp(26, 3)

    def forward(self, x):
        missing = x.isnan()
        return self.body(torch.cat([x.masked_fill(missing, 0), missing.float()], 1))


@unusual
def numbers_that_are_missing():
    found, chance = load_wine(), np.random.default_rng(0)
    order = chance.permutation(len(found.target))
    x = ((found.data - found.data.mean(0)) / found.data.std(0))[order]
    x[chance.random(x.shape) < 0.1] = np.nan
    return table(x, found.target[order].astype(np.int64), 130, FillsIn)


@bug("data", "inputs-not-scaled")
def a_table_as_it_was_measured(broken):
    """Its largest column is a thousand times its smallest: each tanh sits at its bound."""
    found = load_wine()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.data[order], found.target[order].astype(np.int64)
    x = x if broken else (x - x[:130].mean(0)) / x[:130].std(0)
    return table(x, y, 130, lambda: mlp(13, 3, activation=nn.Tanh))


def measurements(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten columns of deviation 1, three classes that some of them tell."""
    centres = np.random.default_rng(0).normal(0, 1.2, (3, 10)) * (np.arange(10) < 6)
    chance = np.random.default_rng(seed)
    y = chance.integers(0, 3, count)
    x = centres[y] + chance.normal(0, 1, (count, 10))
    return torch.tensor(x / x.std(0), dtype=torch.float32), torch.tensor(y)


def of_measurements(val_x, val_y, train=None) -> Pipeline:
    return Pipeline(
        lambda: mlp(val_x.shape[1], 3),
        loader(*(train or measurements(1200, 1)), shuffle=True),
        loader(val_x, val_y, 64),
        num_classes=3,
        optimizer_fn=adam,
    )


@bug("data", "validation-prepared-differently")
def columns_in_another_order_in_validation(broken):
    x, y = measurements(400, 2)
    return of_measurements(x[:, [0, 3, 4, 1, 2, 9, 5, 7, 6, 8]] if broken else x, y)


@bug("data", "target-among-inputs")
def the_class_is_a_column(broken):
    def with_column(x, y):
        return torch.cat([x, (y.float()[:, None] - 1 if broken else torch.randn(len(y), 1))], 1), y

    return of_measurements(*with_column(*measurements(400, 2)), with_column(*measurements(1200, 1)))


@bug("data", "target-among-inputs")
def the_mean_target_of_a_shop(broken):
    """Of all rows, those of validation as well; or of the other folds of training, drawn towards the mean of all."""
    chance = np.random.default_rng(34)
    shop, x, train = chance.integers(0, 400, 1800), chance.normal(size=(1800, 5)), np.arange(1800) < 1350
    y = 0.6 * chance.normal(size=400)[shop] + 0.8 * x[:, 0] - 0.5 * np.abs(x[:, 1]) + chance.normal(size=1800)

    def mean(rows):
        sums, counts = (np.bincount(shop[rows], each, 400) for each in (y[rows], np.ones(len(y[rows]))))
        return ((sums + 3 * y[train].mean()) / (counts + 3))[shop]

    fold = np.arange(1800) % 5
    column = mean(np.full(1800, True)) if broken else mean(train)
    for each in range(0 if broken else 5):
        held_out = train & (fold == each)
        column[held_out] = mean(train & (fold != each))[held_out]
    x = torch.tensor(np.concatenate([x, column[:, None]], 1), dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32)[:, None]
    loaders = loader(x[:1350], y[:1350], shuffle=True), loader(x[1350:], y[1350:], 90)
    return Pipeline(lambda: mlp(6, 1), *loaders, num_classes=0, loss_fn=F.mse_loss, optimizer_fn=adam)


class OfColumns(nn.Module):
    """A token for each column of a table and one for the class, which is read; attention left as torch has it."""

    def __init__(self, by_rows):
        super().__init__()
        self.weights, self.places = nn.Parameter(torch.randn(1, 6, 16)), nn.Parameter(torch.randn(1, 6, 16))
        self.class_token = nn.Parameter(torch.randn(1, 1, 16) * 0.02)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=by_rows)
        self.scores = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x):
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), x[:, :, None] * self.weights + self.places], 1)
        return self.scores((tokens + self.attention(tokens, tokens, tokens)[0])[:, 0])


@bug("model", "batch-mixed")
def a_class_token_that_hears_only_others(broken):
    chance = torch.Generator().manual_seed(2)
    x = torch.randn(1200, 6, generator=chance)
    y = (x[:, 0] + x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
    train, val = loader(x[:900], y[:900], shuffle=True), loader(x[900:], y[900:], 60)
    return Pipeline(lambda: OfColumns(by_rows=not broken), train, val, num_classes=3, optimizer_fn=adam)


TOWNS, TRADES = 12, 8


class OfCustomers(nn.Module):
    def __init__(self):
        super().__init__()
        self.towns, self.trades = nn.Embedding(TOWNS, 6), nn.Embedding(TRADES, 4)
        self.scores = mlp(13, 2)

    def forward(self, x):
        return self.scores(torch.cat([x["numbers"], self.towns(x["town"]), self.trades(x["trade"])], 1))


@bug("data", "validation-prepared-differently")
def towns_by_appearance_in_validation(broken):
    chance = np.random.default_rng(12)
    numbers = chance.normal(size=(2000, 3))
    town, trade = chance.integers(0, TOWNS, 2000), chance.integers(0, TRADES, 2000)
    effects = 1.5 * chance.normal(size=TOWNS)[town] + 1.5 * chance.normal(size=TRADES)[trade] + numbers @ [0.8, 0.5, 0]
    y = (effects + 0.5 * chance.logistic(size=2000) > 0).astype(np.int64)

    def by_appearance(codes):
        found = {code: number for number, code in enumerate(dict.fromkeys(codes.tolist()))}
        return np.array([found[code] for code in codes.tolist()])

    def rows(part, anew):
        codes = {
            name: by_appearance(each[part]) if anew else each[part] for name, each in (("town", town), ("trade", trade))
        }
        x = {"numbers": numbers[part].astype(np.float32), **codes}
        return Rows({name: torch.from_numpy(each) for name, each in x.items()}, torch.from_numpy(y[part]))

    train, val = rows(slice(1500), anew=False), rows(slice(1500, None), anew=broken)
    return Pipeline(
        OfCustomers, DataLoader(train, 32, shuffle=True), DataLoader(val, 64), num_classes=2, optimizer_fn=adam
    )


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
def ratings_of_users_and_films():
    """Two codes and nothing else, of tables that end."""
    chance = torch.Generator().manual_seed(0)
    tastes, films = torch.randn(30, 3, generator=chance), torch.randn(80, 3, generator=chance)
    user, film = torch.randint(30, (2600,), generator=chance), torch.randint(80, (2600,), generator=chance)
    rating = (tastes[user] * films[film]).sum(1) + 0.1 * torch.randn(2600, generator=chance)

    class Factors(nn.Module):
        def __init__(self):
            super().__init__()
            self.users, self.films = nn.Embedding(30, 6), nn.Embedding(80, 6)

        def forward(self, x):
            return (self.users(x["user"]) * self.films(x["film"])).sum(1)

    def rows(first, count):
        at = range(first, first + count)
        return Made(count, lambda row: ({"user": user[at[row]], "film": film[at[row]]}, rating[at[row]]))

    loaders = DataLoader(rows(0, 2200), 32, shuffle=True), DataLoader(rows(2200, 400), 64)
    return Pipeline(Factors, *loaders, 0, loss_fn=F.mse_loss, optimizer_fn=lambda model: adam(model, 0.01))


class Factors(nn.Module):
    """Ratings by people and things."""

    def __init__(self):
        super().__init__()
        self.people, self.things = nn.Embedding(60, 8), nn.Embedding(40, 8)
        self.liking, self.liked = nn.Embedding(60, 1), nn.Embedding(40, 1)
        for each, spread in ((self.people, 0.3), (self.things, 0.3), (self.liking, 0.0), (self.liked, 0.0)):
            nn.init.normal_(each.weight, std=spread)

    def forward(self, pairs):
        people, things = pairs.T
        own = self.liking(people) + self.liked(things)
        return own[:, 0] + (self.people(people) * self.things(things)).sum(1)


@bug("optimisation", "weight-decay-wins")
def factors_that_fade(broken):
    chance = torch.Generator().manual_seed(61)
    people, things = torch.randn(60, 3, generator=chance), torch.randn(40, 3, generator=chance)
    chosen = torch.randperm(2400, generator=chance)[:2000]
    pairs = torch.stack([chosen // 40, chosen % 40], 1)
    ratings = 0.7 * (people[pairs[:, 0]] * things[pairs[:, 1]]).sum(1) + 0.2 * torch.randn(2000, generator=chance)
    ratings += 0.4 * (people[pairs[:, 0], 0] + things[pairs[:, 1], 0])
    return Pipeline(
        Factors,
        loader(pairs[:1600], ratings[:1600], 80, shuffle=True),
        loader(pairs[1600:], ratings[1600:], 100),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=lambda model: torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=0.1 if broken else 1e-4),
        total_steps=600,
    )


class Tastes(nn.Module):
    """Scores of all things for a person."""

    def __init__(self):
        super().__init__()
        self.people, self.things = nn.Embedding(200, 12), nn.Embedding(80, 12)

    def forward(self, people):
        return self.people(people) @ self.things.weight.T


@unusual
def people_who_come_again():
    """Inputs are one number each, and come several times in training and again in validation."""
    chance = torch.Generator().manual_seed(107)
    taste = torch.randn(200, 3, generator=chance) @ torch.randn(3, 80, generator=chance)
    chosen = torch.multinomial(taste.softmax(1), 10, generator=chance)
    people = torch.arange(200)[:, None].expand(200, 10)
    train = loader(people[:, :8].flatten(), chosen[:, :8].flatten(), 64, shuffle=True)
    return Pipeline(Tastes, train, loader(people[:, 8:].flatten(), chosen[:, 8:].flatten(), 64), 80, optimizer_fn=adam)


@unusual
def random_fourier_features():
    """Rahimi & Recht 2007: cosines of fixed random weights; outputs are small, and have no bounds."""

    def rings(count, seed):
        chance = torch.Generator().manual_seed(seed)
        y = torch.randint(3, (count,), generator=chance)
        angle = 2 * torch.pi * torch.rand(count, generator=chance)
        radius = 0.5 + 0.9 * y + 0.15 * torch.randn(count, generator=chance)
        return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), y

    class Cosines(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weights", 1.2 * torch.randn(2, 200))
            self.register_buffer("phases", 2 * torch.pi * torch.rand(200))
            self.head = nn.Linear(200, 3)

        def forward(self, x):
            return self.head(0.26 * torch.cos(x @ self.weights + self.phases))

    loaders = (loader(*rings(900, 11), shuffle=True), loader(*rings(300, 12), 100))
    return Pipeline(Cosines, *loaders, 3, optimizer_fn=lambda model: adam(model, 0.01))
