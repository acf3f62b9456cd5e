"""Models for the presets: small ones of our own, torchvision's where it has them, a user's own from a Python file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from recipe_core.errors import BadModel
from recipe_core.own_code import run_file, told

SMALL_SIDE = 64  # px: up to here a ResNet's usual stem would throw most of the picture away


class Constant(nn.Module):
    """One number per class, whatever the image: a linear layer that is fed zeros."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.head = nn.Linear(1, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.new_zeros(len(x), 1))


def constant(num_classes: int, size: int) -> nn.Module:
    """The same guess for every image."""
    return Constant(num_classes)


def linear(num_classes: int, size: int) -> nn.Module:
    """Softmax regression on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, num_classes))


def mlp(num_classes: int, size: int) -> nn.Module:
    """Two hidden layers of 256."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * size * size, 256),
        nn.ReLU(),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Linear(256, num_classes),
    )


def tiny_cnn(num_classes: int, size: int) -> nn.Module:
    """Three convolutions, 150,000 weights or so. Normalised by groups: the same in train and in eval mode."""
    return nn.Sequential(
        *_convolution(3, 32, stride=1),
        *_convolution(32, 64, stride=2),
        *_convolution(64, 128, stride=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 128, num_classes),
    )


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(8, outputs), nn.ReLU()]


def resnet18(num_classes: int, size: int) -> nn.Module:
    """torchvision's ResNet-18 without weights (He et al. 2015)."""
    return _resnet("resnet18", num_classes, size)


def resnet50(num_classes: int, size: int) -> nn.Module:
    """torchvision's ResNet-50 without weights (He et al. 2015)."""
    return _resnet("resnet50", num_classes, size)


def _resnet(name: str, num_classes: int, size: int) -> nn.Module:
    from recipe_core.training.vision import torchvision  # takes a second: only for those who need it

    model = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    if size <= SMALL_SIDE:  # the stem that He et al. use on CIFAR
        model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    return model


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    build.__name__: build for build in (constant, linear, mlp, tiny_cnn, resnet18, resnet50)
}


def last_linear(model: nn.Module, num_classes: int) -> nn.Linear | None:
    """The last linear layer with one output per class."""
    found = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.out_features == num_classes]
    return found[-1] if found else None


def start_at_zero(head: nn.Linear) -> None:
    """Let all classes get the same score at first, so that the loss at step 0 is known exactly."""
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


def start_at_prior(head: nn.Linear, prior: np.ndarray) -> None:
    """Let the bias say how frequent each class is, so that training need not begin by learning that."""
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(np.log(prior)))


def load_model_file(path: Path) -> Callable[[int], nn.Module]:
    """The function `model(num_classes)` of a Python file on this machine.

    Raises:
        BadModel: the file cannot be read or run, or has no such function.
    """
    if not path.is_file():
        raise BadModel(f"There is no file {path}; name a Python file with a function model(num_classes).")
    module = run_file(path, "recipe_own_model", BadModel)
    if not callable(getattr(module, "model", None)):
        raise BadModel(f"{path} has no function model(num_classes); define one that returns a torch.nn.Module.")
    return module.model


def own_model(path: Path, num_classes: int, size: int) -> nn.Module:
    """The model that a user's file makes, tried on two images.

    Raises:
        BadModel: it cannot be made or run, or gives anything but (n, num_classes).
    """
    build = load_model_file(path)
    call = f"model({num_classes})"
    try:
        model = build(num_classes)
    except Exception as error:  # a user's code may raise anything
        raise BadModel(told(path, error, f" in {call}")) from error
    if not isinstance(model, nn.Module):
        raise BadModel(f"{path}: {call} returned {type(model).__name__}; it should return a torch.nn.Module.")
    batch = f"a batch of 2 images of 3 x {size} x {size}"
    try:
        with torch.no_grad():
            outputs = model.eval()(torch.zeros(2, 3, size, size))
    except Exception as error:  # a user's code may raise anything
        raise BadModel(told(path, error, f" on {batch}")) from error
    shape = tuple(getattr(outputs, "shape", ()))
    if shape != (2, num_classes):
        given = f"outputs of shape {shape}" if shape else f"a {type(outputs).__name__}"
        raise BadModel(f"{path}: on {batch} the model gives {given}; it should give (2, {num_classes}).")
    return model
