"""Targets that are the inputs, that the loss moves, or that the step makes; some with a bug, most of them right."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_regression, gathered, healthy, step_on
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import Made, digits, loader
from tests.checks.zoo.unusual_evaluation import waves
from tests.checks.zoo.words import WORDS, WordsBefore, sequences


def next_words(outputs, y):
    """The loss moves the targets, as that of the usual libraries does."""
    return F.cross_entropy(outputs[:, :, :-1], y[:, 1:])


@torch.no_grad()
def evaluate_next_words(model, batches):
    model.eval()
    outputs, y = gathered(model, batches)
    hits = outputs[:, :, :-1].argmax(1) == y[:, 1:]
    return {"loss": next_words(outputs, y).item(), "accuracy": hits.double().mean().item()}


def of_texts(model_fn, moved=0):
    length = 24
    loaders = (
        loader(words[:, :length], words[:, moved : length + moved], 32, shuffle=bool(seed == 0))
        for seed, words in enumerate([sequences(600, 0, length), sequences(200, 1, length)])
    )
    return Pipeline(
        model_fn, *loaders, num_classes=WORDS, loss_fn=next_words, optimizer_fn=adam, evaluate=evaluate_next_words
    )


@bug("model", "targets-shifted-twice")
def targets_moved_twice(broken):
    return of_texts(WordsBefore, moved=1 if broken else 0)


@bug("model", "future-leaks")
def texts_given_as_their_own_targets(broken):
    return of_texts(lambda: WordsBefore(both_ways=broken))


@unusual
def rotations_without_a_sign():
    """A quaternion and its opposite turn alike; which of both is the target is up to chance, and the loss knows."""
    body = torch.randn(8, 3, generator=torch.Generator().manual_seed(9))

    def turned(count, seed):
        chance = torch.Generator().manual_seed(seed)
        axis = F.normalize(torch.randn(count, 3, generator=chance), dim=1)
        half = torch.rand(count, 1, generator=chance)
        real, points = half.cos(), body.expand(count, -1, -1)
        other = (axis * half.sin())[:, None].expand_as(points)
        moved = torch.linalg.cross(other, points)
        points = points + 2 * real[:, :, None] * moved + 2 * torch.linalg.cross(other, moved)
        sign = 2 * (torch.rand(count, 1, generator=chance) < 0.5).float() - 1
        return points.flatten(1), sign * torch.cat([real, other[:, 0]], 1)

    class Turn(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp(24, 4)

        def forward(self, x):
            near = torch.tensor([1.0, 0, 0, 0])
            return F.normalize(near + 0.1 * self.body(x), dim=1)

    return Pipeline(
        Turn,
        loader(*turned(1500, 0), 50, shuffle=True),
        loader(*turned(300, 1), 100),
        num_classes=0,
        loss_fn=lambda outputs, y: (1 - (outputs * y).sum(1) ** 2).mean(),
        optimizer_fn=adam,
    )


@unusual
def half_of_a_picture_is_hidden():
    """A masked autoencoder: hidden is drawn in evaluation, too; only there the loss looks (He et al. 2022)."""

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp(128, 64)

        def forward(self, x):
            hidden = (torch.rand_like(x) < 0.5).float()
            told = self.body(torch.cat([x * (1 - hidden), hidden], 1).flatten(1)).reshape(x.shape)
            return torch.cat([told, hidden], 1)

    def loss(outputs, y):
        return ((outputs[:, :1] - y).square() * outputs[:, 1:]).sum() / outputs[:, 1:].sum()

    images = digits()
    train, val = images.normalise(images.x), images.normalise(images.val_x)
    loaders = loader(train, train, shuffle=True), loader(val, val, 64)
    return Pipeline(Hidden, *loaders, num_classes=0, loss_fn=loss, optimizer_fn=adam)


class Denoiser(nn.Module):
    """Tells the noise in a series from it and how much there is (Ho et al. 2020)."""

    def __init__(self):
        super().__init__()
        self.body = mlp(17, 16)

    def forward(self, x, time):
        return self.body(torch.cat([x, time], 1))


def noisy(x, time, noise):
    return torch.cos(time * math.pi / 2) * x + torch.sin(time * math.pi / 2) * noise


@unusual
def noise_told_by_the_step():
    """Diffusion: the step adds noise and has it told; the targets of the loader are the series themselves."""

    def loss_of(model, x, _, loss_fn):
        time, noise = 0.02 + 0.96 * torch.rand(len(x), 1), torch.randn_like(x)
        return loss_fn(model(noisy(x, time, noise), time), noise)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        chance, losses = torch.Generator().manual_seed(5), []
        for x, _ in batches:
            time, noise = 0.02 + 0.96 * torch.rand(len(x), 1, generator=chance), torch.randn(x.shape, generator=chance)
            losses.append((model(noisy(x, time, noise), time) - noise).square().mean(1))
        return {"loss": torch.cat(losses).mean().item()}

    def forward(model, x):
        time = torch.full((len(x), 1), 0.1)
        return (x - math.sin(0.1 * math.pi / 2) * model(x, time)) / math.cos(0.1 * math.pi / 2)

    train, val = waves(1000, 0, 16), waves(250, 1, 16)
    return Pipeline(
        Denoiser,
        loader(train, train, 50, shuffle=True),
        loader(val, val, 125),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        forward=forward,
        train_step=step_on(loss_of),
        evaluate=evaluate,
    )


@unusual
def told_from_noise_of_the_step():
    """All that is loaded is real, and the step adds what is not (noise-contrastive estimation)."""
    loss_fn = F.binary_cross_entropy_with_logits

    def real(count, seed):
        chance = torch.Generator().manual_seed(seed)
        angle = torch.randint(0, 5, (count,), generator=chance) * (2 * math.pi / 5)
        centre = 2 * torch.stack([angle.cos(), angle.sin()], 1)
        return centre + 0.2 * torch.randn(count, 2, generator=chance), torch.ones(count, 1)

    def both(model, x, y, noise):
        return loss_fn(model(x), y) + loss_fn(model(noise), torch.zeros(len(noise), 1))

    def loss_of(model, x, y, loss_fn):
        return loss_fn(model(x), y) + loss_fn(model(1.5 * torch.randn_like(x)), torch.zeros_like(y))

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        chance, total, count = torch.Generator().manual_seed(5), 0.0, 0
        for x, y in batches:
            total += float(both(model, x, y, 1.5 * torch.randn(x.shape, generator=chance))) * len(x)
            count += len(x)
        return {"loss": total / count}

    return Pipeline(
        lambda: mlp(2, 1),
        loader(*real(1200, 0), 60, shuffle=True),
        loader(*real(300, 1), 100),
        num_classes=0,
        loss_fn=loss_fn,
        optimizer_fn=adam,
        train_step=step_on(loss_of),
        evaluate=evaluate,
    )


class Curved(nn.Module):
    """Its output is the curvature of a network of the place, by autograd within forward."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def height(self, x):
        return x * (1 - x) * self.body(2 * x - 1)

    def forward(self, x):
        learns = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.height(x).sum(), x, create_graph=True)
            (curvature,) = torch.autograd.grad(slope.sum(), x, create_graph=learns)
        return (curvature if learns else curvature.detach()) / 10


@unusual
def a_curvature_as_output():
    """A physics-informed network (Raissi et al. 2019); how far its own heights are off is measured, too."""

    def points(count, seed):
        x = torch.rand(count, 1, generator=torch.Generator().manual_seed(seed))
        return x, -(math.pi**2) * torch.sin(math.pi * x) / 10

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [(model(x), y, model.height(x), torch.sin(math.pi * x)) for x, y in batches]
        outputs, y, heights, true = (torch.cat(each) for each in zip(*found, strict=True))
        return {"loss": F.mse_loss(outputs, y).item(), "rmse": F.mse_loss(heights, true).sqrt().item()}

    return Pipeline(
        Curved,
        loader(*points(1000, 0), 50, shuffle=True),
        loader(*points(250, 1), 125),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


class Liking(nn.Module):
    """How much more a user likes one item than another."""

    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(60, 12), nn.Embedding(90, 12)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, x):
        user, liked, other = x.unbind(1)
        return (self.users(user) * (self.items(liked) - self.items(other))).sum(1)


@unusual
def what_is_liked_comes_first():
    """Bayesian personalised ranking (Rendle et al. 2009): all targets are 1."""
    chance = torch.Generator().manual_seed(3)
    likes = torch.randn(60, 6, generator=chance) @ torch.randn(6, 90, generator=chance) > 2
    pairs = likes.nonzero()[torch.randperm(int(likes.sum()), generator=chance)]
    other = torch.multinomial((~likes).double()[pairs[:, 0]], 1, generator=chance)
    x, count = torch.cat([pairs, other], 1), len(pairs) * 4 // 5

    def loss(outputs, y):
        return F.softplus(-outputs * y).mean()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = gathered(model, batches)
        return {"loss": loss(outputs, y).item(), "auc": (outputs > 0).double().mean().item()}

    return Pipeline(
        Liking,
        loader(x[:count], torch.ones(count), 64, shuffle=True),
        loader(x[count:], torch.ones(len(x) - count), 128),
        num_classes=0,
        loss_fn=loss,
        optimizer_fn=lambda model: adam(model, 0.01),
        evaluate=evaluate,
    )


@unusual
def noise_to_be_taken_away():
    """A target for each pixel, some of which are never inked in one of the splits."""
    images = digits()
    x, val_x = (images.normalise(each) for each in (images.x, images.val_x))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return healthy(
        images,
        lambda: nn.Sequential(mlp(64, 64), nn.Unflatten(1, (1, 8, 8))),
        num_classes=0,
        train_loader=loader(x + 0.5 * noise, x, shuffle=True),
        val_loader=loader(val_x + 0.5 * noise[: len(val_x)], val_x, 64),
        loss_fn=F.mse_loss,
        evaluate=evaluate_regression,
    )


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
