"""Correct pipelines that a twentieth adversary saw accused, and one like a bug of its; all developed against."""

import torch
from sklearn.datasets import load_diabetes
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import cnn, groups, mlp
from tests.checks.zoo.sets import loader
from tests.checks.zoo.thirteenth_look import contrastive, pairs_of_digits


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
def a_loss_that_takes_a_column():
    """It brings targets to units of their deviation, and outputs (n, 1) to their shape (n,)."""
    found = load_diabetes()
    x, y = (torch.tensor(each, dtype=torch.float32) for each in (found.data, found.target))
    x, mean, deviation = x / x[:340].std(0), y[:340].mean(), y[:340].std()

    def loss_fn(outputs, y):
        return F.smooth_l1_loss(outputs[:, 0], (y - mean) / deviation)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        off = (outputs[:, 0] * deviation + mean - y).abs().mean()
        return {"loss": loss_fn(outputs, y).item(), "mae": off.item()}

    loaders = loader(x[:340], y[:340], 20, shuffle=True), loader(x[340:], y[340:], 51)
    return Pipeline(lambda: mlp(10, 1), *loaders, 0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


@unusual
def hardly_ever_more_than_none():
    """Counts, by squared errors: a question, as prices that were cut off look like them."""
    chance = torch.Generator().manual_seed(20)
    x = torch.randn(1200, 6, generator=chance)
    y = torch.poisson((x[:, :1] - 1.2).exp().clamp_max(2), generator=chance).clamp_max(4)
    loaders = loader(x[:900], y[:900], shuffle=True), loader(x[900:], y[900:], 60)
    return Pipeline(lambda: mlp(6, 1), *loaders, 0, loss_fn=F.mse_loss, optimizer_fn=adam)
