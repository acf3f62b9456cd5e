"""Small networks of the usual kinds, and how a case changes one of them."""

from collections.abc import Callable

import torch
from torch import nn


class Then(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def linear(inputs: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes))


def mlp(inputs: int, classes: int, width=64, activation=nn.ReLU, depth=2, dropout=0.0) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for number in range(depth):
        layers += [nn.Linear(width if number else inputs, width), activation(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def cnn(channels: int, classes: int, norm=nn.BatchNorm2d, width: int = 16, dropout: float = 0) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(channels, width, 3, 1, 1, bias=False), norm(width), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), norm(2 * width), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(dropout), nn.Linear(8 * width, classes)),
    )


def groups(width: int) -> nn.Module:
    return nn.GroupNorm(4, width)


def no_norm(width: int) -> nn.Module:
    return nn.Identity()


class Residual(nn.Module):
    """Two residual blocks; `zero_last` starts each as the identity."""

    def __init__(self, channels: int, classes: int, width: int = 16, zero_last: bool = False):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1)
        self.blocks = nn.ModuleList([self._block(width) for _ in range(2)])
        self.head = nn.Linear(4 * width, classes)
        if zero_last:
            for block in self.blocks:
                nn.init.zeros_(block[-1].weight)

    def _block(self, width: int) -> nn.Sequential:
        first = [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        return nn.Sequential(*first, nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


class TinyViT(nn.Module):
    """Patches of 4 x 4, two layers of attention.

    `batch_first=False` is the known slip: attention then runs over the batch.
    """

    def __init__(self, channels: int, side: int, classes: int, width: int = 32, batch_first: bool = True):
        super().__init__()
        self.patches = nn.Conv2d(channels, width, 4, 4)
        self.places = nn.Parameter(torch.randn(1, (side // 4) ** 2, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, batch_first=batch_first, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.head(self.layers(tokens).mean(1))


class Mixer(nn.Module):
    """One block of an MLP-Mixer (Tolstikhin et al. 2021)."""

    def __init__(self, channels: int, side: int, classes: int, width: int = 32):
        super().__init__()
        tokens = (side // 4) ** 2
        self.patches = nn.Conv2d(channels, width, 4, 4)
        self.over_tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.over_channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.over_tokens(self.first(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.over_channels(self.second(x))
        return self.head(x.mean(1))


class TwoParts(nn.Module):
    """A body and a head, joined by a function (batch of features) -> (batch of features)."""

    def __init__(self, body, head, join=lambda features: features):
        super().__init__()
        self.body, self.head, self.join = body, head, join

    def forward(self, x):
        return self.head(self.join(self.body(x)))


def two_parts(channels, classes, join, width=32):
    body = nn.Sequential(nn.Conv2d(channels, width, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return TwoParts(body, nn.Sequential(nn.Linear(4 * width, width), nn.ReLU(), nn.Linear(width, classes)), join)
