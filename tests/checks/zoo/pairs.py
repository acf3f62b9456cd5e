"""Bugs and unusual pipelines of pairs and embeddings: what is alike, what is near, what is found again."""

import math

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_by, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, groups, mlp
from tests.checks.zoo.sets import Made, digits


def contrastive(distance, same, margin=2.0):
    """Near where they are the same, a margin apart where not (Hadsell et al. 2006)."""
    return (same * distance**2 + (1 - same) * F.relu(margin - distance) ** 2).mean()


def pairs_of_digits(make, count, seed):
    """Pairs of different digits, half of them of one class; `make` makes an item of two rows and whether they are."""
    images, chance = digits(), np.random.default_rng(seed)
    labels = images.y.numpy()
    first, same = chance.integers(0, len(labels), count), chance.random(count) < 0.5
    others = [np.flatnonzero((labels == labels[row]) == each) for row, each in zip(first, same, strict=True)]
    second = [int(chance.choice(each)) for each in others]
    x = images.normalise(images.x)
    return Made(count, lambda row: make(x[first[row]], x[second[row]], int(same[row])))


class Apart(nn.Module):
    """The distance between the embeddings of two pictures."""

    def __init__(self):
        super().__init__()
        self.embed = cnn(1, 8)

    def forward(self, pair):
        return F.pairwise_distance(self.embed(pair[0]), self.embed(pair[1]))


@unusual
def two_pictures_by_their_distance():
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        distance, same = (torch.cat(each) for each in zip(*[(model(x), y) for x, y in batches], strict=True))
        hits = (distance < 1) == (same == 1)
        return {"loss": contrastive(distance, same).item(), "accuracy": hits.double().mean().item()}

    def pair(one, other, same):
        return (one, other), same

    train = DataLoader(pairs_of_digits(pair, 1500, 0), 32, shuffle=True)
    val = DataLoader(pairs_of_digits(pair, 400, 1), 64)
    return Pipeline(Apart, train, val, 2, contrastive, optimizer_fn=adam, evaluate=evaluate)


class Near(nn.Module):
    """Distances that stay below 1 as long as nothing is learnt."""

    def __init__(self):
        super().__init__()
        self.embed = cnn(1, 6, norm=groups)

    def forward(self, pair):
        return 0.3 * F.pairwise_distance(self.embed(pair[0]), self.embed(pair[1]))


@unusual
def a_short_distance_between_pictures():
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        distance, same = (torch.cat(each) for each in zip(*[(model(x), y) for x, y in batches], strict=True))
        return {"loss": contrastive(distance, same).item(), "auroc": float(roc_auc_score(same, -distance))}

    def pair(one, other, same):
        return (one, other), float(same)

    train = DataLoader(pairs_of_digits(pair, 1500, 0), 32, shuffle=True)
    val = DataLoader(pairs_of_digits(pair, 400, 1), 64)
    return Pipeline(Near, train, val, 2, contrastive, optimizer_fn=adam, evaluate=evaluate)


@unusual
def a_tower_less_itself():
    """One tower and one head for two pictures; that both are linear at their seam is how the difference works."""

    class Difference(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.head = (
                nn.Sequential(cnn(1, 48), nn.ReLU(), nn.Linear(48, 24)),
                nn.Linear(24, 1, bias=False),
            )

        def forward(self, pair):
            return self.head(self.tower(pair["before"])) - self.head(self.tower(pair["after"]))

    def pair(one, other, _):
        return {"before": one, "after": other}, (one.mean() - other.mean())[None] * 4

    train = DataLoader(pairs_of_digits(pair, 1200, 0), 32, shuffle=True)
    val = DataLoader(pairs_of_digits(pair, 300, 1), 64)
    return Pipeline(Difference, train, val, 0, F.mse_loss, optimizer_fn=adam)


class Distance(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = mlp(64, 16)

    def forward(self, pair):
        return F.pairwise_distance(self.tower(pair[0]), self.tower(pair[1]))


@bug("evaluation", "loss-against-metric")
def equal_digits_are_pushed_apart(broken):
    """Label 1 says same; a loss of the other convention takes it for different."""
    images = digits()

    def pairs(x, y, count, seed):
        chance = np.random.default_rng(seed)
        first, same = chance.integers(0, len(y), count), chance.integers(0, 2, count)
        second = [
            chance.choice(np.flatnonzero((y == y[i]).numpy() == bool(s))) for i, s in zip(first, same, strict=True)
        ]
        x = images.normalise(x)
        return Made(count, lambda row: ((x[first[row]], x[second[row]]), torch.tensor(float(same[row]))))

    def contrastive(distance, same):
        pulled = 1 - same if broken else same
        return (pulled * distance**2 + (1 - pulled) * F.relu(1.5 - distance) ** 2).mean()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        far, same = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        return {"loss": contrastive(far, same).item(), "accuracy": ((far < 0.75) == same.bool()).float().mean().item()}

    train, val = pairs(images.x, images.y, 1500, 1), pairs(images.val_x, images.val_y, 400, 2)
    loaders = DataLoader(train, 50, shuffle=True), DataLoader(val, 100)
    return Pipeline(Distance, *loaders, 0, loss_fn=contrastive, optimizer_fn=adam, evaluate=evaluate)


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = mlp(64, 16)

    def forward(self, pair):
        return self.tower(pair[0]), self.tower(pair[1])


@bug("optimisation", "loss-ignores-class")
def unlike_pairs_marked_by_zero(broken):
    """To the loss of cosines they are -1."""
    images = digits()

    def pairs(x, y, count, seed):
        one, other = torch.randint(len(x), (2, count), generator=torch.Generator().manual_seed(seed))
        other[::2] = torch.stack([(y == y[each]).nonzero().flatten()[each % 30] for each in one[::2]])
        same = (y[one] == y[other]).float()
        return Made(count, lambda row: ((x[one[row]], x[other[row]]), same[row] if broken else 2 * same[row] - 1))

    def loss_fn(outputs, y):
        return F.cosine_embedding_loss(*outputs, y, margin=0.2)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [loss_fn(model(x), y) * len(y) for x, y in batches]
        return {"loss": float(sum(found)) / len(batches.dataset)}

    train = pairs(images.normalise(images.x), images.y, 1200, 0)
    val = pairs(images.normalise(images.val_x), images.val_y, 300, 1)
    loaders = DataLoader(train, 40, shuffle=True), DataLoader(val, 60)
    return Pipeline(Twins, *loaders, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.sharp = mlp(32, 24), mlp(32, 24), nn.Parameter(torch.tensor(math.log(10)))

    def forward(self, halves):
        left, right = F.normalize(self.left(halves[0]), dim=1), F.normalize(self.right(halves[1]), dim=1)
        return self.sharp.exp() * left @ right.T


@unusual
def pairs_found_in_the_batch():
    """The upper half of a digit finds its lower half among those of the batch; targets are numbers of rows."""

    def halves(x, first):
        return Made(len(x), lambda row: ((x[row, 0, :4].flatten(), x[row, 0, 4:].flatten()), first + row))

    def loss_fn(found, rows):
        wanted = torch.arange(len(found))
        return (F.cross_entropy(found, wanted) + F.cross_entropy(found.T, wanted)) / 2

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [model(x) for x, _ in batches]
        right = sum(int((each.argmax(1) == torch.arange(len(each))).sum()) for each in found)
        loss = sum(float(loss_fn(each, None)) * len(each) for each in found)
        return {"loss": loss / sum(map(len, found)), "recall_at_1": right / sum(map(len, found))}

    images = digits()
    train = DataLoader(halves(images.normalise(images.x), 0), 50, shuffle=True, drop_last=True)
    val = DataLoader(halves(images.normalise(images.val_x)[:350], 2000), 50)
    return Pipeline(Towers, train, val, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


class Found(nn.Module):
    """How near a question is to all answers of the batch, and to the wrong ones beside them."""

    def __init__(self):
        super().__init__()
        self.asks, self.answers = mlp(32, 24), mlp(32, 24)

    def forward(self, x):
        asks, right, wrong = x
        answers = F.normalize(self.answers(torch.cat([right, wrong])), dim=1)
        return 10 * F.normalize(self.asks(asks), dim=1) @ answers.T


@unusual
def found_among_hard_ones():
    """The upper half of a digit finds its lower half among those of the batch, and as many of other digits."""

    def halves(x, y, seed):
        others = torch.randint(len(x), (len(x),), generator=torch.Generator().manual_seed(seed))
        upper, lower = x[:, 0, :4].flatten(1), x[:, 0, 4:].flatten(1)
        return Made(len(x), lambda row: ((upper[row], lower[row], lower[others[row]]), y[row]))

    def loss_fn(found, _):
        return F.cross_entropy(found, torch.arange(len(found)))

    def evaluate(model, batches):
        with torch.no_grad():
            found = [model.eval()(x) for x, _ in batches]
        right = sum(int((each.argmax(1) == torch.arange(len(each))).sum()) for each in found)
        return {"recall_at_1": right / sum(map(len, found))}

    images = digits()
    train = halves(images.normalise(images.x), images.y, 0)
    val = halves(images.normalise(images.val_x)[:350], images.val_y[:350], 1)
    loaders = DataLoader(train, 50, shuffle=True, drop_last=True), DataLoader(val, 50)
    return Pipeline(Found, *loaders, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


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
    evaluate = evaluate_by({"loss": near_to_its_class, "accuracy": of_the_nearest})
    return healthy(digits(), lambda: mlp(64, 16), 64, loss_fn=near_to_its_class, evaluate=evaluate)


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
