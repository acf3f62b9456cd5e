"""The Pipeline: everything that one training run consists of, as plain objects.

Pipeline(model_fn=lambda: Net(), train_loader=loader, val_loader=val_loader, num_classes=10)
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_iter, tree_map_only


def default_forward(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The model's outputs as one tensor, (n, classes)."""
    return model(x)


def default_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Adam at 3e-4, as the recipe begins with."""
    return torch.optim.Adam(model.parameters(), lr=3e-4)


def default_train_step(
    model: nn.Module,
    batch,
    loss_fn: Callable,
    optimizer: torch.optim.Optimizer,
    autocast: torch.dtype | None = None,
    forward: Callable = default_forward,
) -> float:
    """One update by one batch (x, y), in train mode; returns the loss before the update.

    Args:
        autocast: compute the forward pass in this type (torch.bfloat16) where torch thinks it safe.
        forward: (model, x) -> outputs; a Pipeline gives its own.
    """
    x, y = on_device_of(model, batch)
    model.train()
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(y.device.type, autocast) if autocast else nullcontext():
        loss = loss_fn(forward(model, x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def default_evaluate(
    model: nn.Module, loader: Iterable, loss_fn: Callable = F.cross_entropy, forward: Callable = default_forward
) -> dict[str, float]:
    """Mean loss over all samples of a loader, in eval mode: of one class each the cross-entropy, with the accuracy;
    of other targets (numbers, several labels, maps, several tensors) what `loss_fn` says of each batch, weighted by its
    samples.

    Args:
        loss_fn: (outputs, targets) -> scalar; a Pipeline gives its own.
        forward: (model, x) -> outputs; a Pipeline gives its own.
    """
    model.eval()
    losses, hits = [], []
    for batch in loader:
        x, y = on_device_of(model, batch)
        outputs = forward(model, x)
        if _are_one_class_each(outputs, y):
            losses.append(F.cross_entropy(outputs, y, reduction="none"))
            hits.append(outputs.argmax(1) == y)
        else:
            samples = next(len(each) for each in tree_iter(y) if isinstance(each, torch.Tensor) and each.ndim)
            losses.append(loss_fn(outputs, y).expand(samples))
    # Kept on the device until here: a GPU need not be waited for at each batch.
    found = {"loss": torch.cat(losses).double().mean().item()}
    return {**found, "accuracy": torch.cat(hits).double().mean().item()} if hits else found


def _are_one_class_each(outputs: Any, y: Any) -> bool:
    """Whether these are scores of classes, (n, classes), and the class of each sample."""
    if not (isinstance(outputs, torch.Tensor) and isinstance(y, torch.Tensor)):
        return False
    return outputs.ndim == 2 and outputs.shape[1] > 1 and y.ndim == 1 and y.dtype == torch.int64


def on_device_of(model: nn.Module, batch) -> tuple[Any, Any]:
    """The batch (x, y) on the device where the model's parameters are; either may hold several tensors."""
    tensors = itertools.chain(model.parameters(), tree_iter(batch[::-1]))
    device = next((each.device for each in tensors if isinstance(each, torch.Tensor)), None)
    x, y = (tree_map_only(torch.Tensor, lambda each: each.to(device), part) for part in batch)
    return x, y


@dataclass
class Pipeline:
    """Everything one training run consists of, as plain objects. Only the first four are required."""

    model_fn: Callable[[], nn.Module]
    train_loader: Iterable  # yields (x, y) exactly as the network sees them; x may be a dict or tuple of tensors
    val_loader: Iterable
    num_classes: int  # of each target, or of each place; 0 for regression
    loss_fn: Callable = F.cross_entropy  # (outputs, targets) -> scalar
    optimizer_fn: Callable = default_optimizer  # model -> Optimizer
    scheduler_fn: Callable | None = None  # optimizer -> scheduler
    scheduler_interval: str = "step"  # or "epoch"
    train_step: Callable = default_train_step  # (model, batch, loss_fn, optimizer) -> float; sets the mode itself
    evaluate: Callable = default_evaluate  # (model, loader) -> {"loss": float, any metric: float}
    forward: Callable = default_forward  # (model, x) -> outputs, for models that return tuples or dicts
    augment: Callable | None = None  # (x, y) -> (x, y) on raw batches
    preprocess_train: Callable | None = None  # raw images -> network input
    preprocess_eval: Callable | None = None
    raw_train_loader: Iterable | None = None  # raw batches; default: default_collate over train_loader.dataset
    raw_val_loader: Iterable | None = None
    total_steps: int | None = None
    class_names: Sequence[str] | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.train_step is default_train_step:
            self.train_step = functools.partial(default_train_step, forward=self.forward)
        if self.evaluate is default_evaluate:
            self.evaluate = functools.partial(default_evaluate, loss_fn=self.loss_fn, forward=self.forward)
