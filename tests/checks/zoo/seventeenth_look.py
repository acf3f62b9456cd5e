"""What a seventeenth adversary, of no special weight, tripped the audit up with; developed against."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.optimisation_steps import accumulating
from tests.checks.zoo.sets import digits, loader, textures
from tests.checks.zoo.several_answers import lights
from tests.checks.zoo.thirteenth_look import Made


class Opinion(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.states, self.scores = nn.Embedding(32, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, words):
        return self.scores(self.states(self.words(words))[0].mean(1))


@bug("data", "validation-prepared-differently")
def a_vocabulary_for_each_split(broken):
    """Praise and blame among 28 words, of which a few turn the next one round: hard to tell by a linear learner."""
    chance = np.random.default_rng(4)

    def texts(count):
        words = chance.integers(1, 29, (count, 14))
        worth = np.where(words <= 4, 1, np.where(words <= 8, -1, 0))
        turned = np.pad(words[:, :-1] >= 27, ((0, 0), (1, 0)))
        said = (np.where(turned, -worth, worth)).sum(1) + chance.normal(0, 0.5, count)
        return torch.tensor(words), torch.tensor(said > 0).long()

    train, val = texts(1500), texts(500)
    if broken:
        anew = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.tensor(chance.permutation(28))])
        val = (anew[val[0]], val[1])
    loaders = loader(*train, shuffle=True), loader(*val, 64)
    return Pipeline(Opinion, *loaders, num_classes=2, optimizer_fn=adam)


@bug("evaluation", "metric-scale", "metric-wrong")
def a_sigmoid_before_the_loss_in_evaluate(broken):
    x, y = lights()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        outputs = outputs.sigmoid() if broken else outputs
        right = (outputs.sigmoid() > 0.5).float() == y
        loss = F.binary_cross_entropy_with_logits(outputs, y)
        return {"loss": loss.item(), "label_accuracy": right.float().mean().item()}

    return Pipeline(
        lambda: cnn(1, 4),
        loader(x[:700], y[:700], shuffle=True),
        loader(x[700:], y[700:], 64),
        num_classes=4,
        loss_fn=F.binary_cross_entropy_with_logits,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@unusual
def batches_added_up_for_adam():
    """Adam divides by the size of the gradient: a sum is as good as a mean."""
    return healthy(textures(), "cnn", 16, train_step=accumulating(4, scaled=False))


@unusual
def two_classes_told_by_one_number():
    """Without a number of classes; scores may be as far out as they like."""
    images = digits()

    def loss_fn(outputs, y):
        return F.binary_cross_entropy_with_logits(outputs[:, 0], y)

    train = loader(images.normalise(images.x), (images.y > 4).float(), shuffle=True)
    val = loader(images.normalise(images.val_x), (images.val_y > 4).float(), 64)
    return Pipeline(lambda: mlp(64, 1), train, val, num_classes=0, loss_fn=loss_fn, optimizer_fn=adam)


class Direction(nn.Module):
    """A unit vector."""

    def __init__(self):
        super().__init__()
        self.net = cnn(1, 2)

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


@unusual
def angles_by_unit_vectors():
    """The loss is one less a product, and has no floor for outputs of other lengths."""
    chance = np.random.default_rng(20)
    angles, rows, columns = chance.uniform(0, 2 * np.pi, 800), *np.mgrid[-6:6, -6:6]
    x = np.tanh(columns * np.cos(angles)[:, None, None] + rows * np.sin(angles)[:, None, None])
    x = torch.tensor(x + chance.normal(0, 0.3, x.shape), dtype=torch.float32)[:, None]
    y = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1), dtype=torch.float32)

    def loss_fn(outputs, targets):
        return (1 - (outputs * targets).sum(1)).mean()

    loaders = loader(x[:600], y[:600], shuffle=True), loader(x[600:], y[600:], 64)
    return Pipeline(Direction, *loaders, num_classes=0, loss_fn=loss_fn, optimizer_fn=adam)


@unusual
def noise_taken_from_digits():
    """Of some pixels two samples of each split are all that varies."""
    images = digits()

    def noisy(x):
        return Made(len(x), lambda row: (x[row] + 0.2 * torch.randn(64), x[row]))

    x, val = ((each.float() / 255).flatten(1) for each in (images.x, images.val_x))
    x[:, 31], val[:, 31] = 0.0, 0.0
    x[3:5, 31], val[3:5, 31] = 0.05, 0.2
    return Pipeline(
        lambda: mlp(64, 64),
        DataLoader(noisy(x), 50, shuffle=True),
        loader(val, val, 64),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
    )
