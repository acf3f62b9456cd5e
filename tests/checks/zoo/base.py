"""A correct pipeline over one of the sets, which a case changes in one place."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.nets import TinyViT, cnn, linear, mlp
from tests.checks.zoo.sets import Images, loader


def healthy(images: Images, model_fn: Callable[[], nn.Module] | str, batch_size: int = 32, **changes) -> Pipeline:
    """A pipeline over loaders of normalised images.

    Args:
        model_fn: or the name of a network: linear, mlp, cnn, vit.
        changes: fields of Pipeline that differ.
    """
    given = {
        "model_fn": network(model_fn, images) if isinstance(model_fn, str) else model_fn,
        "num_classes": images.classes,
        "optimizer_fn": adam,
    }
    if "train_loader" not in changes:
        given["train_loader"] = loader(images.normalise(images.x), images.y, batch_size, shuffle=True)
    if "val_loader" not in changes:
        given["val_loader"] = loader(images.normalise(images.val_x), images.val_y, 64)
    if not images.classes:
        given |= {"loss_fn": F.mse_loss, "evaluate": evaluate_regression}
    return Pipeline(**given | changes)


def network(name: str, images: Images) -> Callable[[], nn.Module]:
    _, channels, side, _ = images.x.shape
    outputs = images.classes or 1
    return {
        "linear": partial(linear, channels * side**2, outputs),
        "mlp": partial(mlp, channels * side**2, outputs),
        "cnn": partial(cnn, channels, outputs),
        "vit": partial(TinyViT, channels, side, outputs),
    }[name]


def adam(model: nn.Module, rate: float = 3e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=rate)


def sgd(model: nn.Module, rate: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


@torch.no_grad()
def gathered(model: nn.Module, batches: Iterable) -> tuple[torch.Tensor, torch.Tensor]:
    """What a model says of all samples, in the mode that it is in, and their targets."""
    outputs, targets = zip(*((model(x), y) for x, y in batches), strict=True)
    return torch.cat(outputs), torch.cat(targets)


def evaluate_regression(model: nn.Module, batches: Iterable) -> dict[str, float]:
    model.eval()
    return {"loss": F.mse_loss(*gathered(model, batches)).item()}


def evaluate_by(metrics):
    """An `evaluate` that computes metrics of all outputs and targets together."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = gathered(model, batches)
        return {name: float(metric(outputs, targets)) for name, metric in metrics.items()}

    return evaluate


def accuracy(outputs, y):
    return (outputs.argmax(1) == y).float().mean()


@torch.no_grad()
def accuracy_of(model, batches, right):
    model.eval()
    return {"accuracy": right(*gathered(model, batches))}


def step_on(loss_of: Callable) -> Callable:
    """A train step that differentiates loss_of(model, x, y, loss_fn)."""

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_of(model, *batch, loss_fn)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def plain_step(change):
    """A train step on what `change` makes of the batch."""

    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        x, y = change(*batch)
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train_step


def stepping(before=lambda model: None, after=lambda model: None, scale: float = 1.0):
    """A train step with something done before the optimizer steps, or after."""

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        (loss * scale).backward()
        before(model)
        optimizer.step()
        after(model)
        return loss.item()

    return step
