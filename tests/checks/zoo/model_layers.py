"""Bugs of the model, second part: layers, weights and units that do not do their part."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.zoo.base import healthy, sgd
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import Residual, Then, TwoParts, cnn, groups, mlp, no_norm, two_parts
from tests.checks.zoo.sets import colours, digits, photos, textures


@bug("model", "nonlinearity-missing")
def no_nonlinearity_between_linear_layers(broken):
    return healthy(digits(), lambda: mlp(64, 10, activation=nn.Identity if broken else nn.ReLU))


@bug("model", "nonlinearity-missing")
def no_nonlinearity_between_convolutions(broken):
    def build():
        middle = nn.Identity() if broken else nn.ReLU()
        first = [nn.Conv2d(3, 16, 3, 1, 1), middle, nn.Conv2d(16, 32, 3, 2, 1), middle]
        return nn.Sequential(*first, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 4))

    return healthy(textures(), build)


@bug("model", "dead-units")
def relus_behind_a_bias_of_minus_ten(broken):
    def build():
        model = mlp(64, 10)
        nn.init.constant_(model[1].bias, -10.0 if broken else 0.01)
        return model

    return healthy(digits(), build)


@bug("model", "dead-units")
def nearly_all_units_dead_in_a_convolution(broken):
    def build():
        model = cnn(3, 4, norm=no_norm)
        model[3].bias = nn.Parameter(torch.full((32,), -5.0 if broken else 0.0))
        return model

    return healthy(textures(), build)


@bug("model", "saturated-units")
def tanh_saturated_by_large_weights(broken):
    def build():
        model = mlp(64, 10, activation=nn.Tanh)
        nn.init.normal_(model[1].weight, std=5.0 if broken else 0.1)
        nn.init.normal_(model[4].weight, std=5.0 if broken else 0.1)
        return model

    return healthy(digits(), build)


@bug("model", "saturated-units", "vanishing-gradients")
def sigmoid_saturated_by_bias(broken):
    def build():
        model = mlp(192, 5, activation=nn.Sigmoid)
        nn.init.constant_(model[1].bias, 12.0 if broken else 0.0)
        return model

    return healthy(colours(), build)


@bug("model", "vanishing-gradients", "saturated-units", "input-ignored", "step-does-nothing")
def twelve_layers_of_sigmoids(broken):
    activation, depth = (nn.Sigmoid, 12) if broken else (nn.ReLU, 3)
    return healthy(digits(), lambda: mlp(64, 10, activation=activation, depth=depth))


class Listed(nn.Module):
    """Convolutions in a plain list, which PyTorch does not see."""

    def __init__(self, broken):
        super().__init__()
        layers = [nn.Linear(64, 64), nn.Linear(64, 64)]
        self.layers = layers if broken else nn.ModuleList(layers)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)


@bug("model", "layers-unregistered")
def layers_in_a_python_list(broken):
    return healthy(digits(), lambda: Listed(broken))


class InAClosure(nn.Module):
    """The branch is called by a function that nobody registered."""

    def __init__(self, broken):
        super().__init__()
        branch = nn.Conv2d(3, 16, 3, 2, 1)
        self.branch = (lambda x: branch(x)) if broken else branch
        self.head = nn.Linear(64, 4)

    def forward(self, x):
        return self.head(F.adaptive_avg_pool2d(torch.relu(self.branch(x)), 2).flatten(1))


@bug("model", "layers-unregistered")
def a_layer_hidden_in_a_closure(broken):
    return healthy(textures(), lambda: InAClosure(broken))


class Forgetful(nn.Module):
    """Computes a second layer and goes on with the first."""

    def __init__(self, broken):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.head, self.broken = nn.Linear(64, 10), broken

    def forward(self, x):
        h = torch.relu(self.first(x.flatten(1)))
        g = torch.relu(self.second(h))
        return self.head(h if self.broken else g)


@bug("model", "layers-unused")
def a_layer_whose_output_is_not_used(broken):
    return healthy(digits(), lambda: Forgetful(broken))


class Skipping(Residual):
    """Registers two blocks and runs the first."""

    def forward(self, x):
        return self.head(F.adaptive_avg_pool2d(torch.relu(self.blocks[0](self.stem(x))), 2).flatten(1))


@bug("model", "layers-unused")
def a_block_never_called(broken):
    return healthy(photos(), lambda: (Skipping if broken else Residual)(3, 2))


@bug("model", "layers-not-trained")
def detached_in_the_middle(broken):
    join = (lambda h: h.detach()) if broken else lambda h: h
    return healthy(textures(), lambda: two_parts(3, 4, join))


class WithoutGradient(TwoParts):
    def forward(self, x):
        with torch.no_grad():
            features = self.body(x)
        return self.head(features)


@bug("model", "layers-not-trained")
def no_grad_around_the_body(broken):
    def build():
        parts = two_parts(1, 10, None)
        return (WithoutGradient if broken else TwoParts)(parts.body, parts.head)

    return healthy(digits(), build)


@bug("model", "layers-not-trained")
def middle_layer_frozen_by_mistake(broken):
    """requires_grad_(False) by an index that has moved since: the layers before it train, it does not."""

    def build():
        model = mlp(64, 10, depth=3)
        for layer in (model[4], model[7]):
            layer.requires_grad_(not broken)
        return model

    return healthy(digits(), build)


@bug("model", "layers-not-trained")
def a_new_head_frozen_with_the_rest(broken):
    """Everything was frozen after the head was replaced, and the last block thawed."""

    def build():
        model = cnn(3, 4)
        model[-1].requires_grad_(not broken)
        return model

    return healthy(textures(), build)


@bug("model", "layers-not-trained")
def features_through_numpy(broken):
    join = (lambda h: torch.from_numpy(h.detach().numpy().copy())) if broken else lambda h: h
    return healthy(photos(), lambda: two_parts(3, 2, join))


@bug("model", "initial-loss-off")
def large_initial_weights_of_the_head(broken):
    def build():
        model = mlp(64, 10)
        nn.init.normal_(model[-1].weight, std=10.0 if broken else 0.05)
        return model

    return healthy(digits(), build)


@bug("model", "initial-loss-off")
def a_bias_that_prefers_one_class(broken):
    def build():
        model = cnn(3, 4)
        with torch.no_grad():
            model[-1].bias[0] = 25.0 if broken else 0.1
        return model

    return healthy(textures(), build)


@bug("model", "identical-initial-weights")
def all_weights_zero(broken):
    def build():
        model = mlp(64, 10)
        for parameter in model.parameters():
            if broken:
                nn.init.zeros_(parameter)
        return model

    return healthy(digits(), build)


@bug("model", "identical-initial-weights")
def all_weights_the_same(broken):
    def build():
        model = mlp(192, 5)
        if broken:
            nn.init.constant_(model[1].weight, 0.01)
            nn.init.constant_(model[1].bias, 0.0)
        return model

    return healthy(colours(), build)


@bug("model", "identical-initial-weights")
def filters_the_same_in_a_convolution(broken):
    def build():
        model = cnn(3, 4, norm=groups)
        if broken:
            for layer in (model[0], model[3]):
                layer.weight.data.copy_(layer.weight.data[:1].expand_as(layer.weight).clone())
        return model

    return healthy(textures(), build, optimizer_fn=partial(sgd, rate=0.02))


@bug("model", "random-in-evaluation")
def dropout_without_the_flag(broken):
    images = digits()
    drop = (lambda h: F.dropout(h, 0.5)) if broken else lambda h: h
    return healthy(images, lambda: two_parts(1, 10, drop))


class Noisy(nn.Module):
    def __init__(self, broken):
        super().__init__()
        self.body, self.broken = cnn(3, 4), broken

    def forward(self, x):
        return self.body(x + 0.5 * torch.randn_like(x) if self.training or self.broken else x)


@bug("model", "random-in-evaluation")
def noise_in_evaluation(broken):
    return healthy(textures(), lambda: Noisy(broken))


@bug("model", "input-ignored")
def the_input_is_multiplied_away(broken):
    def build():
        return nn.Sequential(Then(lambda x: x * 0 if broken else x * 1), mlp(64, 10))

    return healthy(digits(), build)


@bug("model", "input-ignored")
def an_empty_tensor_is_given_on(broken):
    def build():
        return nn.Sequential(Then(lambda x: torch.zeros_like(x) + 1 if broken else x), cnn(3, 4))

    return healthy(textures(), build)


@bug("model", "input-partly-ignored")
def half_of_the_picture_is_cut_off(broken):
    def build():
        return nn.Sequential(Then(lambda x: x[..., :4] if broken else x), cnn(1, 10))

    return healthy(digits(), build)


@bug("model", "input-partly-ignored")
def two_of_three_channels_lost(broken):
    def build():
        return nn.Sequential(Then(lambda x: x[:, :1].expand(-1, 3, -1, -1) if broken else x), mlp(192, 5))

    return healthy(colours(), build)


@bug("model", "batchnorm-statistics-off")
def batchnorm_that_never_learns_its_statistics(broken):
    norm = partial(nn.BatchNorm2d, momentum=0.0 if broken else 0.1)
    images = textures()
    return healthy(images, lambda: nn.Sequential(Then(lambda x: x * 3 + 5), cnn(3, 4, norm=norm)))


@bug("model", "batchnorm-statistics-off")
def batchnorm_that_keeps_only_the_last_batch(broken):
    """Momentum as TensorFlow counts it: 0.99 of the old there is 0.01 of the new here."""
    norm = partial(nn.BatchNorm2d, momentum=0.99 if broken else 0.01 * 10)
    return healthy(photos(), lambda: cnn(3, 2, norm=norm), batch_size=8)
