"""Bugs of the evaluation, second part: what it keeps from before, or does not take over; and losses of two heads."""

import copy

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from recipe_core.training.pipeline import Pipeline, default_evaluate, default_train_step
from tests.checks.zoo.base import adam, healthy, step_on, stepping
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import digits, loader, photos, textures


def measured(pairs):
    outputs, y = (torch.cat(each) for each in zip(*pairs, strict=True))
    hits = (outputs.argmax(1) == y).double().mean()
    return {"loss": F.cross_entropy(outputs, y).item(), "accuracy": hits.item()}


class TwoHeads(nn.Module):
    """A body, and two heads that both tell the class."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU())
        self.head, self.other = nn.Linear(48, 10), nn.Linear(48, 10)

    def forward(self, x):
        seen = self.body(x)
        return self.head(seen), self.other(seen)


def of_two_heads(**changes):
    return healthy(digits(), TwoHeads, forward=lambda model, x: model(x)[0], **changes)


@bug("evaluation", "evaluates-other-model")
def an_old_body_under_the_head(broken):
    """What the body makes of the validation samples is kept; the head is asked each time."""
    kept = {}

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        if not broken or kept.get("model") is not model:
            kept.update(model=model, seen=[(model.body(x), y) for x, y in batches])
        return measured((model.head(x), y) for x, y in kept["seen"])

    return of_two_heads(evaluate=evaluate)


@bug("optimisation", "loss-rises")
def the_second_loss_subtracted(broken):
    def loss_of(model, x, y, loss_fn):
        one, other = model(x)
        return loss_fn(one, y) + (-0.5 if broken else 0.5) * loss_fn(other, y)

    return of_two_heads(train_step=step_on(loss_of))


@bug("evaluation", "batchnorm-statistics-off")
def an_average_without_its_statistics(broken):
    """evaluate measures an average of the weights, of which batch norms keep the statistics they were made with."""
    kept = {}

    def step(model, batch, loss_fn, optimizer):
        if kept.get("of") is not model:
            kept.update(of=model, average=copy.deepcopy(model))
        loss = default_train_step(model, batch, loss_fn, optimizer)
        with torch.no_grad():
            for mean, weight in zip(kept["average"].parameters(), model.parameters(), strict=True):
                mean.lerp_(weight, 0.2)
            for mean, number in zip(kept["average"].buffers(), model.buffers(), strict=True):
                mean.copy_(mean if broken else number)
        return loss

    @torch.no_grad()
    def evaluate(model, batches):
        used = kept["average"] if kept.get("of") is model else model
        used.eval()
        return measured((used(x), y) for x, y in batches)

    def norms():
        return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), cnn(16, 4))

    return healthy(textures(), norms, train_step=step, evaluate=evaluate)


class Noisy(Dataset):
    """Each time with other noise."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        return self.x[row] + 0.8 * torch.randn(self.x[row].shape), self.y[row]


@unusual
def much_noise_in_training():
    """So that training images have more fine detail than those of validation."""
    images = photos()
    train = DataLoader(Noisy(images.normalise(images.x), images.y), 32, shuffle=True)
    val = loader(images.normalise(images.val_x), images.val_y, 64)
    return Pipeline(lambda: cnn(3, images.classes), train, val, images.classes, optimizer_fn=adam)


class WithAverage(nn.Module):
    """Evaluated with an average of its weights."""

    def __init__(self, layers: nn.Module):
        super().__init__()
        self.layers, self.average = layers, copy.deepcopy(layers).requires_grad_(False)

    def forward(self, x):
        return self.layers(x) if self.training else self.average(x)

    @torch.no_grad()
    def renew(self):
        for mean, new in zip(self.average.parameters(), self.layers.parameters(), strict=True):
            mean.lerp_(new, 0.05)


@bug("evaluation", "evaluates-other-model")
def an_average_never_renewed(broken):
    step = stepping(after=lambda model: None if broken else model.renew())

    def model():
        return WithAverage(nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)))

    return healthy(digits(), model, train_step=step, optimizer_fn=lambda model: adam(model.layers))


@bug("evaluation", "evaluation-freezes-layers")
def frozen_since_the_first_evaluation(broken):
    def evaluate(model, batches):
        for each in list(model.parameters())[:-2]:
            each.requires_grad_(False)
        found = default_evaluate(model, batches)
        if not broken:
            model.requires_grad_(True)
        return found

    return healthy(digits(), "mlp", evaluate=evaluate)


class SpareHead(nn.Module):
    """A head that trains and one that does not, as nothing asks for it yet."""

    def __init__(self):
        super().__init__()
        self.body, self.main, self.spare = mlp(64, 32), nn.Linear(32, 10), nn.Linear(32, 10)

    def forward(self, x):
        features = self.body(x)
        return {"main": self.main(features), "spare": self.spare(features)}


@bug("evaluation", "evaluates-other-output")
def spare_head_evaluated(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0])["main"], batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        head = "spare" if broken else "main"
        outputs, y = (torch.cat(each) for each in zip(*((model(x)[head], y) for x, y in batches), strict=True))
        return {
            "loss": F.cross_entropy(outputs, y).item(),
            "accuracy": (outputs.argmax(1) == y).float().mean().item(),
        }

    return healthy(digits(), SpareHead, train_step=step, evaluate=evaluate, forward=lambda model, x: model(x)["main"])
