"""Correct pipelines that a sixth adversary saw accused, or a check of which ended in an error.

All were developed against; their names lie in the first half.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_regression, healthy
from tests.checks.zoo.case import unusual
from tests.checks.zoo.fourth_look import WORDS, WordsBefore, sequences
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import digits, loader, positions
from tests.checks.zoo.sixth_look import table


@unusual
def an_r2_with_the_unbiased_variance():
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(part) for part in zip(*[(model(x), y) for x, y in batches], strict=True))
        loss = F.mse_loss(outputs, y)
        return {"loss": loss.item(), "r2": (1 - loss / y.var()).item()}

    images = positions()
    return healthy(images, lambda: mlp(144, 1), evaluate=evaluate)


@unusual
def words_that_share_their_weights():
    def model():
        net = WordsBefore()
        net.scores = nn.Linear(24, WORDS)
        net.state = nn.GRU(24, 24, batch_first=True)
        net.scores.weight = net.words.weight
        nn.init.normal_(net.words.weight, std=0.1)
        return net

    def shifted(words):
        return words[:, :-1], words[:, 1:]

    train, val = shifted(sequences(600, 1)), shifted(sequences(200, 2))
    return Pipeline(model, loader(*train, 32, shuffle=True), loader(*val, 64), num_classes=WORDS, optimizer_fn=adam)


class Endless(IterableDataset):
    """Fresh rows in each pass, as many as it says."""

    def __init__(self, count: int, seed: int):
        self.count, self.seed, self.passes = count, seed, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        self.passes += 1
        yield from zip(*table(self.count, 1000 * self.seed + self.passes), strict=True)


@unusual
def a_stream_that_says_how_long_it_is():
    train = DataLoader(Endless(1024, 1), 32)
    return Pipeline(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)),
        train,
        loader(*table(300, 5), 64),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        evaluate=evaluate_regression,
    )


class Erased(Dataset):
    """Digits of which training gets a square of 4x4 px erased by chance, and noise."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, in_training: bool):
        self.x, self.y, self.in_training = x, y, in_training

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, at: int):
        image = self.x[at].clone()
        if self.in_training:
            row, column = torch.randint(0, 5, (2,))
            image[:, row : row + 4, column : column + 4] = 0
            image += 0.2 * torch.randn_like(image)
        return image, self.y[at]


@unusual
def squares_erased_from_digits():
    images = digits()
    return healthy(
        images,
        "cnn",
        train_loader=DataLoader(Erased(images.x / 255, images.y, True), 64, shuffle=True),
        val_loader=DataLoader(Erased(images.val_x / 255, images.val_y, False), 64),
    )


@unusual
def a_slow_start_under_sgd():
    """As behind a head that starts small."""

    def model():
        net = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2048, 10),
        )
        nn.init.normal_(net[-1].weight, 0, 0.01)
        return net

    images = digits()
    return healthy(
        images,
        model,
        train_loader=loader(images.x / 255, images.y, 32, shuffle=True),
        val_loader=loader(images.val_x / 255, images.val_y, 64),
        optimizer_fn=lambda model: torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9),
        total_steps=1000,
    )


@unusual
def dollars_scaled_in_evaluate():
    (x, y), (val_x, val_y) = table(1200, 0), table(400, 1)
    y, val_y = 200 + 50 * y, 200 + 50 * val_y
    mean, deviation = y.mean(), y.std()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        errors = [(model(x) - (y - mean) / deviation).square() for x, y in batches]
        return {"loss": torch.cat(errors).mean().item()}

    return Pipeline(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)),
        loader(x, (y - mean) / deviation, 32, shuffle=True),
        loader(val_x, val_y, 64),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        evaluate=evaluate,
    )
