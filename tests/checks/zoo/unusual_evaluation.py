"""Correct but unusual pipelines, fourth part: what evaluate asks, and how it adds up."""

import time

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import accuracy, adam, evaluate_by, gathered, healthy
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import digits, loader, positions, textures


def waves(count: int, seed: int, length: int) -> torch.Tensor:
    """Sines of all speeds and phases, with a little noise; (count, length)."""
    chance = torch.Generator().manual_seed(seed)
    speed, phase = 0.2 + 0.6 * torch.rand(count, 1, generator=chance), 6.28 * torch.rand(count, 1, generator=chance)
    return torch.sin(speed * torch.arange(length) + phase) + 0.05 * torch.randn(count, length, generator=chance)


@unusual
def a_summed_loss_told_per_sample():
    """All errors of a batch are added up, which the rate is made for; evaluate divides by the samples."""

    def summed(outputs, y):
        return F.mse_loss(outputs, y, reduction="sum")

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = gathered(model, batches)
        return {"loss": summed(outputs, y).item() / len(y)}

    train, val = (waves(count, seed, 64).split((48, 16), 1) for count, seed in ((960, 0), (320, 1)))
    return Pipeline(
        lambda: mlp(48, 16),
        loader(*train, 32, shuffle=True),
        loader(*val, 32),
        num_classes=0,
        loss_fn=summed,
        optimizer_fn=lambda model: torch.optim.SGD(model.parameters(), 2e-4, momentum=0.9),
        evaluate=evaluate,
    )


class Forecaster(nn.Module):
    """Reads the past, then tells one number after the other, from the true one before it or from its own."""

    def __init__(self):
        super().__init__()
        self.read, self.go_on, self.tell = nn.GRU(1, 32, batch_first=True), nn.GRUCell(1, 32), nn.Linear(32, 1)

    def run(self, past, fed, steps=8):
        state, number, told = self.read(past[..., None])[1][0], past[:, -1:], []
        for step in range(steps):
            state = self.go_on(number if fed is None else fed[:, step, None], state)
            number = self.tell(state)
            told.append(number)
        return torch.cat(told, 1)

    def forward(self, past, fed):
        return self.run(past, fed)


@unusual
def forecasts_fed_back():
    """In training the true number before comes in, in evaluation what the model said (teacher forcing)."""

    def of(count, seed):
        series = waves(count, seed, 32)
        return [({"past": each[:24], "fed": each[23:-1]}, each[24:]) for each in series]

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        told, y = zip(*((model.run(x["past"], None), y) for x, y in batches), strict=True)
        return {"loss": F.mse_loss(torch.cat(told), torch.cat(y)).item()}

    return Pipeline(
        Forecaster,
        DataLoader(of(800, 0), 50, shuffle=True),
        DataLoader(of(300, 1), 100),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        forward=lambda model, x: model(**x),
        evaluate=evaluate,
    )


@unusual
def chance_left_on_and_averaged_away():
    """Dropout that is on in any mode; evaluate takes the mean of sixteen answers (Gal & Ghahramani 2016)."""

    class Doubting(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, x):
            return self.head(F.dropout(F.relu(self.body(x.flatten(1))), 0.2, training=True))

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        means = [(torch.stack([model(x).softmax(1) for _ in range(16)]).mean(0), y) for x, y in batches]
        shares, y = (torch.cat(each) for each in zip(*means, strict=True))
        return {"loss": F.nll_loss(shares.log(), y).item()}

    return healthy(digits(), Doubting, evaluate=evaluate)


@unusual
def logarithms_corrected_to_money():
    """The error is told in money, with what an exponential of a mean falls short of (Duan 1983)."""
    chance = torch.Generator().manual_seed(6)
    x = torch.randn(1400, 6, generator=chance)
    y = x[:, :1] + 0.5 * x[:, 1:2] * x[:, 2:3] + 0.25 * torch.randn(1400, 1, generator=chance)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = gathered(model, batches)
        off = ((outputs + 5 + 0.25**2 / 2).exp() - (y + 5).exp()).abs()
        return {"loss": F.mse_loss(outputs, y).item(), "median_error": off.median().item()}

    return Pipeline(
        lambda: mlp(6, 1),
        loader(x[:1000], y[:1000], shuffle=True),
        loader(x[1000:], y[1000:], 100),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@unusual
def a_long_tail_in_training_only():
    """Classes of training are less frequent one after the other; scores are adjusted for it (Menon et al. 2021)."""
    images = textures(classes=8, train=2400, val=400, noise=60)
    kept = torch.cat([(images.y == label).nonzero().flatten()[: 280 >> label] for label in range(8)])
    x, y = images.normalise(images.x)[kept], images.y[kept]
    prior = (y.bincount() / len(y)).log()
    loaders = loader(x, y, 32, shuffle=True), loader(images.normalise(images.val_x), images.val_y, 40)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = gathered(model, batches)
        return {"loss": F.cross_entropy(outputs, y).item(), "accuracy": (outputs.argmax(1) == y).double().mean().item()}

    return Pipeline(
        lambda: cnn(3, 8),
        *loaders,
        num_classes=8,
        loss_fn=lambda outputs, y: F.cross_entropy(outputs + prior, y),
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@unusual
def dropout_averaged_over_in_evaluation():
    """Gal & Ghahramani (2016)."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.train()
        told, targets = [], []
        for x, y in batches:
            told.append(torch.stack([model(x).softmax(1) for _ in range(5)]).mean(0))
            targets.append(y)
        shares, y = torch.cat(told), torch.cat(targets)
        return {"loss": F.nll_loss(shares.clamp_min(1e-9).log(), y).item(), "accuracy": accuracy(shares, y).item()}

    return healthy(digits(), lambda: mlp(64, 10, dropout=0.2), evaluate=evaluate)


@unusual
def other_shares_than_of_all_right_answers():
    metrics = {
        "loss": F.cross_entropy,
        "acc@1": accuracy,
        "acc@5": lambda outputs, y: (outputs.topk(5, 1).indices == y[:, None]).any(1).float().mean(),
        "acc_of_sevens": lambda outputs, y: accuracy(outputs[y == 7], y[y == 7]),
        "worst_acc": lambda outputs, y: min(accuracy(outputs[y == each], y[y == each]) for each in range(10)),
    }
    return healthy(digits(), "mlp", evaluate=evaluate_by(metrics))


@unusual
def seconds_among_the_metrics():
    inner = evaluate_by({"loss": F.cross_entropy, "accuracy": accuracy})

    def evaluate(model, batches):
        started = time.perf_counter()
        metrics = inner(model, batches)
        seconds = time.perf_counter() - started
        return {**metrics, "seconds": seconds, "images_per_second": len(batches.dataset) / seconds}

    return healthy(digits(), "mlp", evaluate=evaluate)


@torch.no_grad()
def evaluate_after_a_look(model, batches):
    """Goes through the loader once for the largest output, then once more for the metrics."""
    model.eval()
    largest = max(model(x).abs().max() for x, _ in batches)
    outputs, targets = (torch.cat(each) for each in zip(*[(model(x), y) for x, y in batches], strict=True))
    right = (outputs.argmax(1) == targets).float().mean()
    return {"loss": F.cross_entropy(outputs, targets).item(), "accuracy": right.item(), "largest": largest.item()}


@unusual
def evaluated_in_two_passes_over_a_shuffled_loader():
    images = digits()
    val = loader(images.normalise(images.val_x), images.val_y, 64, shuffle=True)
    return healthy(images, "mlp", val_loader=val, evaluate=evaluate_after_a_look)


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


@unusual
def a_threshold_from_other_samples():
    """The cut is chosen on a third part of the rows, which evaluate keeps."""
    chance = np.random.default_rng(21)
    x = chance.normal(size=(2400, 8))
    y = chance.random(2400) < 1 / (1 + np.exp(2.5 - 1.5 * x[:, 0] - 1.2 * x[:, 1] * x[:, 2]))
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    others, of_others = x[1500:1900], y[1500:1900]

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        scores, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        known = model(others)
        cut = max(known.quantile(torch.linspace(0.5, 0.99, 40)), key=lambda each: f1_score(of_others, known > each))
        return {
            "loss": F.binary_cross_entropy_with_logits(scores, y).item(),
            "f1": float(f1_score(y, scores > cut)),
        }

    return Pipeline(
        lambda: nn.Sequential(mlp(8, 1), nn.Flatten(0)),
        loader(x[:1500], y[:1500], shuffle=True),
        loader(x[1900:], y[1900:], 120),
        num_classes=2,
        loss_fn=F.binary_cross_entropy_with_logits,
        evaluate=evaluate,
        optimizer_fn=adam,
    )


@unusual
def neighbours_among_training_samples():
    """An embedding, validated by the labels of the nearest training samples."""
    images = digits()
    known = images.normalise(images.x)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        there, right, count = F.normalize(model(known), dim=1), 0, 0
        for x, y in batches:
            nearest = images.y[(F.normalize(model(x), dim=1) @ there.T).topk(5).indices]
            right += int((nearest.mode(1).values == y).sum())
            count += len(y)
        return {"accuracy": right / count}

    def alike(outputs, labels):
        units = F.normalize(outputs, dim=1)
        similar = (units @ units.T / 0.2).fill_diagonal_(-1e4)
        same = (labels[:, None] == labels).float().fill_diagonal_(0)
        return -((similar.log_softmax(1) * same).sum(1) / same.sum(1).clamp_min(1)).mean()

    return healthy(images, lambda: mlp(64, 16), num_classes=0, loss_fn=alike, evaluate=evaluate)
