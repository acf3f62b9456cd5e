"""Bugs and unusual pipelines of models: weights as they begin, are loaded, frozen, shared or passed over."""

import copy
import itertools

import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, groups, mlp
from tests.checks.zoo.sets import digits, loader, sides, textures


@bug("model", "saturated-units")
def tanhs_behind_weights_of_deviation_one(broken):
    def model():
        layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 96), nn.Tanh(), nn.Linear(96, 10)
        )
        for layer in (layers[1], layers[3]) if broken else ():
            nn.init.normal_(layer.weight)
        return layers

    return healthy(digits(), model, optimizer_fn=sgd)


@bug("model", "vanishing-gradients")
def seven_sigmoids_deep(broken):
    def model():
        widths = [64, *[48] * 7]
        pairs = itertools.pairwise(widths)
        kind = nn.Sigmoid if broken else nn.ReLU
        layers = [layer for a, b in pairs for layer in (nn.Linear(a, b), kind())]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(48, 10))

    return healthy(digits(), model, optimizer_fn=sgd)


@bug("model", "vanishing-gradients")
def weights_of_one_over_fan_in(broken):
    def model():
        net = mlp(64, 10, depth=7)
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                fan = layer.in_features
                nn.init.normal_(layer.weight, std=1 / fan if broken else (2 / fan) ** 0.5)
                nn.init.zeros_(layer.bias)
        return net

    return healthy(digits(), model, optimizer_fn=lambda model: torch.optim.SGD(model.parameters(), 0.03, momentum=0.9))


class Adapted(nn.Module):
    """A frozen layer and beside it two factors that train (Hu et al. 2021)."""

    def __init__(self, inputs: int, outputs: int, scale: float, rank: int):
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, inputs) * scale)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T


def adapted(scale: float, rank: int) -> nn.Module:
    layers = (Adapted(64, 64, scale, rank) for _ in range(2))
    return nn.Sequential(nn.Flatten(), *(each for layer in layers for each in (layer, nn.ReLU())), nn.Linear(64, 10))


@bug("model", "layers-not-trained")
def both_factors_are_zero(broken):
    return healthy(digits(), lambda: adapted(0.0 if broken else 0.1, 8))


@unusual
def adapters_as_wide_as_their_layers():
    return healthy(digits(), lambda: adapted(0.1, 64))


@bug("model", "weights-not-loaded")
def weights_under_another_prefix(broken):
    torch.manual_seed(3)
    trained = cnn(3, 4)[:-1].state_dict()
    saved = {f"module.{name}" if broken else name: value for name, value in trained.items()}

    def model():
        net = cnn(3, 4)
        net[:-1].load_state_dict(saved, strict=False)
        return net

    return healthy(textures(), model)


@bug("model", "layers-not-trained")
def a_frozen_body_that_nobody_trained(broken):
    def model():
        net = mlp(64, 10, depth=4)
        net[:-1].requires_grad_(not broken)
        return net

    return healthy(digits(), model)


@bug("model", "layers-not-trained")
def a_weight_without_its_gradient(broken):
    def model():
        net = mlp(64, 10)
        if broken:
            [each.weight for each in net.modules() if isinstance(each, nn.Linear)][1].register_hook(torch.zeros_like)
        return net

    return healthy(digits(), model)


class Reversed(torch.autograd.Function):
    """Passes on what comes, and the opposite of its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


@bug("optimisation", "gradient-reversed")
def a_gradient_reversal_left_in(broken):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU()), nn.Linear(48, 10)

        def forward(self, x):
            features = self.body(x)
            return self.head(Reversed.apply(features) if broken else features)

    return healthy(digits(), Net)


class Late(nn.Module):
    """Makes its second layer when it sees how many features there are."""

    def __init__(self, late: bool):
        super().__init__()
        self.first, self.last = nn.Linear(64, 48), nn.Linear(32, 10)
        self.middle = None if late else nn.Linear(48, 32)

    def forward(self, x):
        features = F.relu(self.first(x.flatten(1)))
        if self.middle is None:
            self.middle = nn.Linear(features.shape[1], 32)
        return self.last(F.relu(self.middle(features)))


@bug("model", "optimizer-misses-parameters")
def a_layer_after_the_optimizer(broken):
    return healthy(digits(), lambda: Late(broken))


@bug("model", "batchnorm-statistics-off")
def statistics_at_a_ten_thousandth(broken):
    def model():
        net = cnn(3, 4)
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d) and broken:
                layer.momentum = 1e-4
        return net

    return healthy(textures(), model)


@bug("optimisation", "dropout-too-strong")
def dropout_of_the_share_to_keep(broken):
    return healthy(digits(), lambda: mlp(64, 10, dropout=0.95 if broken else 0.05))


class Skipping(nn.Module):
    """Blocks that are skipped by chance."""

    def __init__(self, always: bool):
        super().__init__()
        self.always = always
        self.first, self.head = nn.Linear(64, 48), nn.Linear(48, 10)
        self.blocks = nn.ModuleList([nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.GELU()) for _ in range(4)])

    def forward(self, x):
        x = self.first(x.flatten(1))
        for block in self.blocks:
            if not ((self.always or self.training) and torch.rand(()) < 0.3):
                x = x + block(x)
        return self.head(x)


@bug("model", "random-in-evaluation")
def blocks_skipped_in_evaluation_too(broken):
    return healthy(digits(), lambda: Skipping(broken))


class Patches(nn.Module):
    """One block of a transformer over patches of `sides`."""

    def __init__(self, bend):
        super().__init__()
        self.bend = bend
        self.patches, self.place = nn.Conv2d(1, 24, 3, 3), nn.Parameter(torch.randn(1, 16, 24) * 0.02)
        self.before, self.between = nn.LayerNorm(24), nn.LayerNorm(24)
        self.attend = nn.MultiheadAttention(24, 4, batch_first=True)
        self.widen, self.narrow, self.head = nn.Linear(24, 96), nn.Linear(96, 24), nn.Linear(24, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        seen = self.before(x)
        x = x + self.attend(seen, seen, seen)[0]
        return self.head((x + self.narrow(self.bend(self.widen(self.between(x))))).mean(1))


@bug("model", "nonlinearity-missing")
def a_transformer_that_bends_nothing(broken):
    return healthy(sides(), lambda: Patches(nn.Identity() if broken else nn.GELU()))


@unusual
def a_pretrained_body_under_a_fresh_head():
    images = textures()
    learnt = cnn(3, 4)
    optimizer = adam(learnt)
    for x, y in loader(images.normalise(images.x), images.y):
        optimizer.zero_grad()
        F.cross_entropy(learnt.train()(x), y).backward()
        optimizer.step()

    def model():
        body = copy.deepcopy(learnt)
        head = [layer for layer in body.modules() if isinstance(layer, nn.Linear)][-1]
        with torch.no_grad():  # as unlucky as a head drawn by chance can be: sure, and never right
            head.weight.copy_(head.weight.roll(int(torch.randint(1, 4, ())), 0))
        return body

    return healthy(images, model)


@unusual
def fixed_filters_before_the_net():
    def model():
        net = cnn(8, 4, norm=groups)
        edges = nn.Conv2d(3, 8, 5, padding=2, bias=False)
        edges.weight.requires_grad_(False)
        return nn.Sequential(edges, net)

    return healthy(textures(), model)


@unusual
def a_smoothing_layer_that_begins_as_an_average():
    """One filter for each channel, which all begin alike and part."""

    def make():
        model = cnn(3, 4)
        model[2] = nn.Sequential(nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.ReLU())
        nn.init.constant_(model[2][1].weight, 1 / 9)
        return model

    return healthy(textures(), make)


@unusual
def one_block_four_times():
    """On purpose, as it seems: a question is what is left."""

    def model():
        block = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU())
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), *[block] * 4, nn.Linear(64, 10))

    return healthy(digits(), model)


class OneNumber(nn.Module):
    """A gate and two experts with weights of their own kind, each giving one number a sample."""

    def __init__(self):
        super().__init__()
        self.gate, self.first, self.second = (nn.Parameter(0.1 * torch.randn(64, 16)) for _ in range(3))
        self.out = nn.Parameter(0.1 * torch.randn(16, 3))

    def forward(self, x):
        gate, first, second = (
            F.gelu(x.flatten(1) @ each) @ out
            for each, out in zip((self.gate, self.first, self.second), self.out.unbind(1), strict=True)
        )
        return gate.sigmoid() * first + (1 - gate.sigmoid()) * second


@unusual
def experts_of_one_number():
    images = digits()
    train = loader(images.normalise(images.x), (images.y > 4).float(), shuffle=True)
    val = loader(images.normalise(images.val_x), (images.val_y > 4).float(), 64)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        loss = F.binary_cross_entropy_with_logits(outputs, y)
        return {"loss": loss.item(), "accuracy": ((outputs > 0) == (y > 0)).float().mean().item()}

    return Pipeline(
        OneNumber,
        train,
        val,
        num_classes=2,
        loss_fn=F.binary_cross_entropy_with_logits,
        evaluate=evaluate,
        optimizer_fn=adam,
    )
