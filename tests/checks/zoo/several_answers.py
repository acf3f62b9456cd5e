"""Bugs of several labels an image, and of a class for each pixel."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import accuracy_of, adam, evaluate_by, gathered
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import cnn
from tests.checks.zoo.sets import loader, textures

SIDE, CORNER = 16, 8


def _normalised(x: np.ndarray) -> torch.Tensor:
    return torch.tensor((x - x.mean()) / x.std(), dtype=torch.float32)


def lights(count: int = 900, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of which each of the four quarters may hold a light, and four labels, 0 or 1."""
    chance = np.random.default_rng(seed)
    x, y = chance.normal(0, 0.4, (count, 1, SIDE, SIDE)), chance.random((count, 4)) < 0.4
    for number, quarter in np.argwhere(y):
        row, column = CORNER * (quarter // 2), CORNER * (quarter % 2)
        at = chance.integers(0, 5, 2)
        x[number, 0, row + at[0] : row + at[0] + 3, column + at[1] : column + at[1] + 3] += 2
    return _normalised(x), torch.tensor(y, dtype=torch.float32)


def discs(count: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of a light and a dark disc, and the class of each pixel: ground, light, dark."""
    chance = np.random.default_rng(seed)
    x, y = chance.normal(0, 0.3, (count, 1, SIDE, SIDE)), np.zeros((count, SIDE, SIDE), np.int64)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        for label, grey in ((1, 1.5), (2, -1.5)):
            row, column = chance.integers(3, SIDE - 3, 2)
            inside = (rows - row) ** 2 + (columns - column) ** 2 < 9
            x[number, 0, inside], y[number, inside] = grey, label
    return _normalised(x), torch.tensor(y)


class OfPixels(nn.Module):
    """Scores (or shares) of three classes for each pixel."""

    def __init__(self, as_shares: bool):
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(16, 3, 1),
            )
        )
        self.as_shares = as_shares

    def forward(self, x):
        scores = self.layers(x)
        return scores.softmax(1) if self.as_shares else scores


def of(data, model_fn, classes: int, loss_fn, metrics) -> Pipeline:
    """A pipeline of which every fourth sample is for validation."""
    x, y = data
    val = torch.arange(len(x)) % 4 == 0
    return Pipeline(
        model_fn,
        loader(x[~val], y[~val], shuffle=True),
        loader(x[val], y[val], 64),
        num_classes=classes,
        loss_fn=loss_fn,
        optimizer_fn=adam,
        evaluate=evaluate_by(metrics),
    )


@bug("model", "probabilities-as-logits")
def four_labels_of_a_sigmoid_before_bce_with_logits(broken):
    def model():
        return nn.Sequential(cnn(1, 4), nn.Sigmoid()) if broken else cnn(1, 4)

    loss = F.binary_cross_entropy_with_logits
    return of(lights(), model, 4, loss, {"loss": loss, "accuracy": lambda z, y: ((z > 0) == (y > 0)).float().mean()})


@bug("model", "outputs-restricted", "dead-units")
def relu_on_the_scores_of_four_labels(broken):
    def model():
        return nn.Sequential(cnn(1, 4), nn.ReLU()) if broken else cnn(1, 4)

    loss = F.binary_cross_entropy_with_logits
    return of(lights(), model, 4, loss, {"loss": loss, "accuracy": lambda z, y: ((z > 0) == (y > 0)).float().mean()})


@bug("model", "probabilities-as-logits")
def softmax_of_pixels_before_cross_entropy(broken):
    return of(
        discs(),
        lambda: OfPixels(broken),
        3,
        F.cross_entropy,
        {"loss": F.cross_entropy, "accuracy": lambda z, y: (z.argmax(1) == y).float().mean()},
    )


@bug("model", "outputs-restricted")
def softmax_of_several_labels(broken):
    shares = nn.Softmax(1) if broken else nn.Sigmoid()
    loss = F.binary_cross_entropy
    metrics = {"loss": loss, "accuracy": lambda z, y: ((z > 0.5) == (y > 0)).float().mean()}
    return of(lights(), lambda: nn.Sequential(cnn(1, 4), shares), 4, loss, metrics)


@bug("data", "targets-out-of-range")
def minus_one_for_no(broken):
    x, y = lights()
    loss = F.binary_cross_entropy_with_logits
    metrics = {"loss": loss, "accuracy": lambda z, t: ((z > 0) == (t > 0)).float().mean()}
    return of((x, 2 * y - 1 if broken else y), lambda: cnn(1, 4), 4, loss, metrics)


@bug("evaluation", "metric-wrong")
def four_scores_cut_at_one_half(broken):
    loss, cut = F.binary_cross_entropy_with_logits, 0.5 if broken else 0
    metrics = {"loss": loss, "accuracy": lambda z, y: ((z > cut) == (y > 0)).float().mean()}
    return of(lights(), lambda: cnn(1, 4), 4, loss, metrics)


@bug("evaluation", "metric-wrong")
def four_answers_for_each_sample(broken):
    images = textures()
    several = torch.stack([images.y % 2, images.y // 2, images.y == 1, images.y != 2], 1).float()
    val_several = torch.stack([images.val_y % 2, images.val_y // 2, images.val_y == 1, images.val_y != 2], 1).float()

    def right(outputs, y):
        return ((outputs > 0) == (y > 0)).sum().item() / (len(y) if broken else y.numel())

    return Pipeline(
        lambda: cnn(3, 4),
        loader(images.normalise(images.x), several, 32, shuffle=True),
        loader(images.normalise(images.val_x), val_several, 64),
        4,
        loss_fn=F.binary_cross_entropy_with_logits,
        optimizer_fn=adam,
        evaluate=lambda model, batches: accuracy_of(model, batches, right),
    )


@bug("evaluation", "metric-scale", "metric-wrong")
def a_sigmoid_before_the_loss_in_evaluate(broken):
    x, y = lights()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = gathered(model, batches)
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
