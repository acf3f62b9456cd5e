"""What a second adversary tripped the audit up with: correct pipelines that were accused, bugs that were missed.

All were developed against; their names lie in the first half.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, default_collate

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import digits, loader, positions, sides, split, textures


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


def gathered(metrics):
    """An `evaluate` that computes metrics of all outputs and targets together."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = map(torch.cat, zip(*[(model(x), y) for x, y in batches], strict=True))
        return {name: float(metric(outputs, targets)) for name, metric in metrics.items()}

    return evaluate


def accuracy(outputs, y):
    return (outputs.argmax(1) == y).float().mean()


def plain_step(change):
    """A train step on what `change` makes of the batch."""

    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        x, y = change(*batch)
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train_step


# Data


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


class OfClips(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv3d(1, 16, (3, 5, 5), padding=(1, 2, 2), padding_mode="circular")
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(F.relu(self.body(x.transpose(1, 2))).amax((2, 3, 4)))


@unusual
def clips_of_a_moving_spot():
    chance = np.random.default_rng(0)
    ways, y = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)]), chance.integers(0, 4, 500)
    x = chance.normal(0, 0.2, (500, 6, 1, 12, 12))
    for number, label in enumerate(y):
        start = chance.integers(0, 12, 2)
        for frame in range(6):
            x[(number, frame, 0, *((start + ways[label] * frame) % 12))] += 4
    return table(x, y, 380, OfClips)


@unusual
def two_valued_pictures_that_come_again():
    """Of so few places and sizes some are drawn twice, within a split as between the two."""
    chance = np.random.default_rng(2)
    count, side = 1000, 10
    y, places = chance.integers(0, 3, count), chance.integers(0, 6, (count, 2))
    x = np.zeros((count, 1, side, side), np.uint8)
    shape = [np.ones((4, 4)), np.eye(4), np.triu(np.ones((4, 4)))]
    for number, (row, column) in enumerate(places):
        x[number, 0, row : row + 4, column : column + 4] = 255 * shape[y[number]]
        marks = chance.integers(0, side, (2, 2))
        x[number, 0, marks[:, 0], marks[:, 1]] = 255
    return healthy(split(x, y.astype(np.int64), 250), "cnn")


@unusual
def forty_to_one_and_hard_to_see():
    """Of a few rare ones the reference learner learns nothing."""
    images = sides(4000, 1200)
    keep, val_keep = ((y == 0) | (torch.arange(len(y)) % 40 == 1) & (y == 1) for y in (images.y, images.val_y))
    thin = images.with_(
        x=images.x[keep], y=images.y[keep], val_x=images.val_x[val_keep], val_y=images.val_y[val_keep], classes=2
    )
    return healthy(thin, "cnn")


@unusual
def embeddings_of_length_one():
    chance = np.random.default_rng(0)
    y = chance.integers(0, 8, 900)
    x = chance.normal(0, 1, (8, 2048))[y] + chance.normal(0, 4, (900, 2048))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return table(x, y, 700, lambda: nn.Linear(2048, 8), optimizer_fn=lambda model: sgd(model, 5.0))


@unusual
def four_in_ten_without_a_label():
    images = digits()
    hidden = torch.rand(len(images.y), generator=torch.Generator().manual_seed(0)) < 0.4
    return healthy(images.with_(y=images.y.masked_fill(hidden, -100)), "mlp")


@unusual
def squared_error_on_targets_of_fifteen():
    """Hui & Belkin (2021)."""
    images = digits()
    hot, val_hot = (15 * F.one_hot(y, 10).float() for y in (images.y, images.val_y))
    evaluate = gathered({"loss": F.mse_loss, "accuracy": lambda outputs, y: accuracy(outputs, y.argmax(1))})
    given = images.with_(y=hot, val_y=val_hot)
    return healthy(given, "mlp", loss_fn=F.mse_loss, evaluate=evaluate, optimizer_fn=lambda model: adam(model, 0.01))


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


def where_known(outputs, y):
    return (outputs - y.nan_to_num())[y.isfinite()].square().mean()


@unusual
def missing_targets_that_the_loss_leaves_out():
    images = positions()
    y, val_y = images.y.clone(), images.val_y.clone()
    y[::5] = val_y[::5] = torch.nan
    evaluate = gathered({"loss": where_known})
    return healthy(images.with_(y=y, val_y=val_y), "cnn", loss_fn=where_known, evaluate=evaluate)


@unusual
def blank_tiles_are_a_class():
    images = digits()

    def with_blanks(x, y):
        blank = len(x) // 2
        return torch.cat([x, torch.zeros_like(x[:blank])]), torch.cat([y, torch.full((blank,), 10)])

    (x, y), (val_x, val_y) = with_blanks(images.x, images.y), with_blanks(images.val_x, images.val_y)
    return healthy(images.with_(x=x, y=y, val_x=val_x, val_y=val_y, classes=11), "cnn")


@bug("data", "split-leak")
def copies_made_before_the_split(broken):
    """Each digit thrice, of both splits."""
    images = digits()
    if not broken:
        return healthy(images.with_(x=images.x.repeat(3, 1, 1, 1), y=images.y.repeat(3)), "mlp")
    return healthy(split(images.x.repeat(3, 1, 1, 1).numpy(), images.y.repeat(3).numpy(), 800), "mlp")


def mixing(mixed_labels):
    def collate(items):
        x, y = default_collate(items)
        order, share = torch.randperm(len(x)), float(torch.rand(()))
        hot = F.one_hot(y, 10).float()
        told = share * hot + (1 - share) * hot[order] if mixed_labels else hot
        return share * x + (1 - share) * x[order], told

    return collate


@bug("data", "augmentation-changes-label")
def the_loader_mixes_images_and_no_labels(broken):
    images = digits()
    data = TensorDataset(images.normalise(images.x), images.y)
    return healthy(images, "mlp", train_loader=DataLoader(data, 48, shuffle=True, collate_fn=mixing(not broken)))


@bug("data", "inputs-not-scaled")
def a_table_as_it_was_measured(broken):
    """Its largest column is a thousand times its smallest: each tanh sits at its bound."""
    found = load_wine()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.data[order], found.target[order].astype(np.int64)
    x = x if broken else (x - x[:130].mean(0)) / x[:130].std(0)
    return table(x, y, 130, lambda: mlp(13, 3, activation=nn.Tanh))


# Models


@unusual
def a_smoothing_layer_that_begins_as_an_average():
    """One filter for each channel, which all begin alike and part."""

    def make():
        model = cnn(3, 4)
        model[2] = nn.Sequential(nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.ReLU())
        nn.init.constant_(model[2][1].weight, 1 / 9)
        return model

    return healthy(textures(), make)


def evidence_loss(evidence, y):
    """Sensoy et al. (2018)."""
    alpha = evidence + 1
    total = alpha.sum(1, keepdim=True)
    share = alpha / total
    return ((F.one_hot(y, 4) - share).square() + share * (1 - share) / (total + 1)).sum(1).mean()


@unusual
def evidence_that_is_never_negative():
    evaluate = gathered({"loss": evidence_loss, "accuracy": accuracy})
    model_fn = lambda: nn.Sequential(cnn(3, 4), nn.ReLU())  # noqa: E731
    return healthy(textures(), model_fn, loss_fn=evidence_loss, evaluate=evaluate)


def steps_of(outputs, y):
    """The loss of ordered classes: is it more than 0, more than 1, ...?"""
    return F.binary_cross_entropy_with_logits(outputs, (y[:, None] > torch.arange(3)).float())


@unusual
def ordered_classes_by_thresholds():
    images = positions()
    edges = torch.tensor([-0.5, 0.0, 0.5])
    y, val_y = (torch.bucketize(each[:, 0].contiguous(), edges) for each in (images.y, images.val_y))
    right = lambda outputs, y: ((outputs > 0).sum(1) == y).float().mean()  # noqa: E731
    given, evaluate = images.with_(y=y, val_y=val_y, classes=4), gathered({"loss": steps_of, "accuracy": right})
    return healthy(given, lambda: cnn(1, 3), loss_fn=steps_of, evaluate=evaluate)


def rounded(outputs, y):
    return F.mse_loss(outputs[:, 0], y.float())


@unusual
def ordered_classes_by_rounding():
    images = positions()
    y, val_y = (
        torch.bucketize(each[:, 0].contiguous(), torch.tensor([-0.5, 0.0, 0.5])) for each in (images.y, images.val_y)
    )
    metrics = {
        "loss": rounded,
        "accuracy": lambda outputs, y: (outputs[:, 0].round() == y).float().mean(),
        "acc_within_1": lambda outputs, y: ((outputs[:, 0].round() - y).abs() < 2).float().mean(),
    }
    given = images.with_(y=y, val_y=val_y, classes=4)
    return healthy(given, lambda: cnn(1, 1), loss_fn=rounded, evaluate=gathered(metrics))


def near_to_its_class(outputs, y):
    """Supervised contrastive (Khosla et al. 2020)."""
    outputs = F.normalize(outputs, dim=1)
    apart = ~torch.eye(len(y), dtype=torch.bool)
    near = (outputs @ outputs.T / 0.3).masked_fill(~apart, -1e9).log_softmax(1)
    alike = (y[:, None] == y) & apart
    return -((near * alike).sum(1) / alike.sum(1).clamp_min(1)).mean()


def of_the_nearest(outputs, y):
    outputs = F.normalize(outputs, dim=1)
    return (y[(outputs @ outputs.T).fill_diagonal_(-1).argmax(1)] == y).float().mean()


@unusual
def embeddings_of_a_contrastive_loss():
    evaluate = gathered({"loss": near_to_its_class, "accuracy": of_the_nearest})
    return healthy(digits(), lambda: mlp(64, 16), 64, loss_fn=near_to_its_class, evaluate=evaluate)
