"""Correct but unusual pipelines, second part: models."""

from functools import cache, partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import Mixer, Residual, Then, cnn, groups, mlp, no_norm, two_parts
from tests.checks.zoo.sets import (
    colours,
    digits,
    imbalanced,
    loader,
    photos,
    textures,
)


@unusual
def group_norm():
    return healthy(textures(), lambda: cnn(3, 4, norm=groups))


@unusual
def layer_norm():
    return healthy(digits(), lambda: cnn(1, 10, norm=lambda width: nn.GroupNorm(1, width)))


@unusual
def no_norm_at_all():
    return healthy(textures(), lambda: cnn(3, 4, norm=no_norm))


@unusual
def instance_norm():
    return healthy(digits(), lambda: cnn(1, 10, norm=partial(nn.InstanceNorm2d, affine=True)))


@unusual
def batch_norm_without_running_statistics():
    """It normalises by the batch in evaluation too: on purpose, as in some few-shot learners."""
    return healthy(textures(), lambda: cnn(3, 4, norm=partial(nn.BatchNorm2d, track_running_stats=False)))


@unusual
def batch_norm_with_tiny_batches():
    return healthy(photos(), "cnn", 4, optimizer_fn=partial(adam, rate=1e-3))


@unusual
def a_transformer():
    return healthy(textures(), "vit")


@unusual
def a_mixer():
    return healthy(textures(), lambda: Mixer(3, 16, 4))


@unusual
def blocks_that_begin_as_the_identity():
    return healthy(digits(), lambda: Residual(1, 10, zero_last=True))


@unusual
def a_head_that_begins_at_zero():
    def build():
        model = cnn(3, 4)
        nn.init.zeros_(model[-1].weight)
        nn.init.zeros_(model[-1].bias)
        return model

    return healthy(textures(), build)


@unusual
def a_linear_model_that_begins_at_zero():
    """Its loss is convex: there is no symmetry to break."""

    def build():
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        nn.init.zeros_(model[1].weight)
        nn.init.zeros_(model[1].bias)
        return model

    return healthy(digits(), build)


@unusual
def a_bias_at_the_prior():
    images = imbalanced(digits(), 0.95)
    prior = torch.bincount(images.y) / len(images.y)

    def build():
        model = mlp(64, 2)
        model[-1].bias.data = prior.log()
        return model

    return healthy(images, build)


@cache
def _features():
    """A body that was trained once, as a download would be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return cnn(1, 10).state_dict()


def _frozen_body():
    model = cnn(1, 10)
    model.load_state_dict(_features())
    model[:-1].requires_grad_(False)
    model[-1].reset_parameters()
    return model


@unusual
def a_frozen_body():
    return healthy(digits(), _frozen_body, optimizer_fn=lambda model: Adam(model[-1].parameters(), 1e-2))


@unusual
def a_frozen_body_whose_optimizer_holds_everything():
    return healthy(digits(), _frozen_body, optimizer_fn=partial(adam, rate=1e-2))


class Tied(nn.Module):
    """One matrix on the way in and on the way out."""

    def __init__(self):
        super().__init__()
        self.into, self.bias = nn.Linear(64, 32), nn.Parameter(torch.zeros(64))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        h = torch.relu(self.into(x.flatten(1)))
        return self.head(torch.relu(F.linear(h, self.into.weight.t(), self.bias)))


@unusual
def tied_weights():
    return healthy(digits(), Tied)


class Twice(nn.Module):
    """The same block again and again, as in a recurrent network."""

    def __init__(self):
        super().__init__()
        self.first, self.block, self.head = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10)

    def forward(self, x):
        h = torch.relu(self.first(x.flatten(1)))
        for _ in range(3):
            h = h + torch.relu(self.block(h))
        return self.head(h)


@unusual
def a_block_used_three_times():
    return healthy(digits(), Twice)


class Answers(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.body, self.head, self.kind = two_parts(3, 16, lambda h: h), nn.Linear(16, 4), kind

    def forward(self, x):
        features = self.body(x)
        outputs = self.head(torch.relu(features))
        return {"logits": outputs, "features": features} if self.kind is dict else (outputs, features)


def answering(kind, key):
    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        loss = loss_fn(model(batch[0])[key], batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        return {"accuracy": torch.cat([(model(x)[key].argmax(1) == y).float() for x, y in batches]).mean().item()}

    forward = lambda model, x: model(x)[key]  # noqa: E731
    return healthy(textures(), lambda: Answers(kind), forward=forward, train_step=train_step, evaluate=evaluate)


@unusual
def a_model_that_returns_a_dict():
    return answering(dict, "logits")


@unusual
def a_model_that_returns_a_tuple():
    return answering(tuple, 0)


@unusual
def much_dropout():
    return healthy(digits(), lambda: mlp(64, 10, width=128, dropout=0.5))


@unusual
def a_low_rank_layer():
    """Two linear layers in a row with a bottleneck between them, as a factorised matrix."""

    def build():
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 5))

    return healthy(colours(), build)


@unusual
def other_activations():
    return healthy(digits(), lambda: mlp(64, 10, activation=nn.SiLU, depth=3))


@unusual
def orthogonal_initial_weights():
    def build():
        model = mlp(64, 10, depth=3)
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, 2**0.5)
        return model

    return healthy(digits(), build)


@unusual
def a_model_made_once():
    """model_fn hands out one and the same object."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mlp(64, 10)
    return healthy(digits(), lambda: model)


@unusual
def a_cosine_classifier_with_a_high_temperature():
    """Its fresh scores are large: the cosines of few dimensions, times thirty."""

    def build():
        head = nn.utils.parametrizations.weight_norm(nn.Linear(64, 10, bias=False))
        return nn.Sequential(mlp(64, 64), Then(lambda h: 30 * F.normalize(h, dim=1)), head)

    return healthy(digits(), build)


@unusual
def an_embedding_before_the_classifier():
    """Two linear layers in a row, the first of which gives features that others use."""
    return healthy(digits(), lambda: nn.Sequential(mlp(64, 32), nn.Linear(32, 10)))


@unusual
def one_maximum_per_filter():
    """Most pixels have no gradient: the maximum is elsewhere."""

    def build():
        return nn.Sequential(
            *(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, 4))
        )

    return healthy(textures(), build)


@unusual
def pictures_made_smaller_by_the_model():
    """Every other row and column is skipped, evenly."""
    return healthy(textures(), lambda: nn.Sequential(Then(lambda x: x[..., ::2, ::2]), cnn(3, 4)))


@unusual
def branches_of_the_residual_scaled_to_almost_nothing():
    """LayerScale (Touvron et al. 2021)."""

    class Scaled(Residual):
        def __init__(self):
            super().__init__(1, 10)
            self.scales = nn.Parameter(torch.full((2,), 1e-4))

        def forward(self, x):
            x = self.stem(x)
            for scale, block in zip(self.scales, self.blocks, strict=True):
                x = torch.relu(x + scale * block(x))
            return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))

    return healthy(digits(), Scaled)


class Predicting(nn.Module):
    """Two views' projections, each to be predicted from the other, which stands still meanwhile (Chen and He 2021)."""

    def __init__(self):
        super().__init__()
        self.project = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 48),
            nn.BatchNorm1d(48),
            nn.ReLU(),
            nn.Linear(48, 32),
            nn.BatchNorm1d(32, affine=False),
        )
        self.predict = nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 32))

    def forward(self, views):
        projected = [self.project(view) for view in views.split(1, 1)]
        return torch.stack([*map(self.predict, projected), *(each.detach() for each in projected)], 1)


@unusual
def two_views_and_a_predictor():
    def loss(outputs, y):
        one, other = (F.cosine_similarity(outputs[:, at], outputs[:, 3 - at]).mean() for at in (0, 1))
        return -(one + other) / 2

    def twice(x, seed):
        chance = torch.Generator().manual_seed(seed)
        return torch.cat([x + 0.3 * torch.randn(x.shape, generator=chance) for _ in range(2)], 1)

    images = digits()
    train, val = twice(images.normalise(images.x), 0), twice(images.normalise(images.val_x), 1)
    loaders = loader(train, torch.zeros(len(train)), 64, shuffle=True), loader(val, torch.zeros(len(val)), 64)
    return Pipeline(Predicting, *loaders, num_classes=0, loss_fn=loss, optimizer_fn=sgd)
