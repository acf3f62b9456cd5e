"""What one step did to a model, and where a value that is no finite number came from."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from recipe_core.errors import Diverged
from recipe_core.training.pipeline import on_device_of

PIECE = 2**18  # weights


class Gauge:
    """Measures a model's steps: accuracy from the outputs that a step computed anyway, norms of what it changed."""

    def __init__(self, model: nn.Module):
        self.model = model
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._weights = self._all_weights()  # before the step that comes
        self._spare = torch.empty_like(self._weights)
        self._outputs: torch.Tensor | None = None
        self._hook = model.register_forward_hook(self._keep)

    def measure(self, targets: torch.Tensor) -> dict[str, float]:
        """train_accuracy, grad_norm and update_ratio (|update| / |weights|) of the step that was just taken."""
        weights = self._all_weights(out=self._spare)
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        norms = [
            nn.utils.get_total_norm(gradients),
            _distance(weights, self._weights),
            torch.linalg.vector_norm(weights),
        ]
        values = [*norms, self._accuracy(targets)]
        # One transfer from the device for all.
        grad_norm, update, size, accuracy = torch.stack([each.float() for each in values]).tolist()
        measured = {"grad_norm": grad_norm, "update_ratio": update / size if size else 0.0}
        if all_finite(measured):
            self._weights, self._spare = weights, self._weights
        return measured if math.isnan(accuracy) else {"train_accuracy": accuracy, **measured}

    def undo(self) -> None:
        """Set the weights to what they were before the last step, if that was not measured or not finite."""
        sizes = [each.numel() for each in self._parameters]
        with torch.no_grad():
            for each, values in zip(self._parameters, self._weights.split(sizes), strict=True):
                each.copy_(values.view(each.shape))

    def close(self) -> None:
        """Leave the model as it was found."""
        self._hook.remove()

    def _all_weights(self, out: torch.Tensor | None = None) -> torch.Tensor:
        return torch.cat([each.detach().reshape(-1) for each in self._parameters], out=out)

    def _keep(self, module: nn.Module, inputs, outputs) -> None:
        self._outputs = outputs.detach() if isinstance(outputs, torch.Tensor) else None

    def _accuracy(self, targets: torch.Tensor) -> torch.Tensor:
        """NaN where the outputs are not one score per class of each sample."""
        outputs = self._outputs
        if outputs is None or outputs.ndim != 2 or targets.ndim != 1 or targets.is_floating_point():
            return self._weights.new_full((), math.nan)
        return (outputs.argmax(1) == targets.to(outputs.device)).float().mean()


def _distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The norm of the difference, in pieces that fit into a cache: several times faster than at once."""
    pieces = zip(first.split(PIECE), second.split(PIECE), strict=True)
    return torch.linalg.vector_norm(torch.stack([torch.dist(*piece) for piece in pieces]))


def all_finite(values: dict[str, float]) -> bool:
    """Whether no value is NaN or infinite."""
    return all(map(math.isfinite, values.values()))


def diverged(model: nn.Module, batch, forward: Callable, step: int, what: str) -> Diverged:
    """The error that says at which step something became no finite number, and in which layer first.

    Args:
        batch: the batch on which it happened; the model's weights are those before its update.
        what: the metric that is not finite.
    """
    x, _ = on_device_of(model, batch)
    layer = None
    if not torch.isfinite(x).all():
        where = "in the batch itself, before the first layer"
    elif layer := _first_layer(model, x, forward):
        where = f"first in layer {layer}"
    elif gradient := _last_gradient(model):
        where = f"in the gradient of {gradient}, after outputs that were finite"
    else:
        where = "in the loss or the update, after outputs that were finite"
    advice = "lower the learning rate or look at that layer's input; the last good checkpoint is kept"
    return Diverged(f"The {what} is not a finite number at step {step}, {where}: {advice}.", step, layer)


def _first_layer(model: nn.Module, x: torch.Tensor, forward: Callable) -> str | None:
    """The first layer without layers of its own whose output is not finite."""
    found: list[str] = []

    def look(name: str) -> Callable:
        def hook(module, inputs, outputs) -> None:
            if isinstance(outputs, torch.Tensor) and not torch.isfinite(outputs).all():
                found.append(f"{name or 'model'} ({type(module).__name__})")

        return hook

    layers = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    with _hooks([(module, look(name)) for name, module in [*layers, ("", model)]]), torch.no_grad():
        forward(model, x)
    return found[0] if found else None


def _last_gradient(model: nn.Module) -> str | None:
    """The parameter nearest to the loss whose gradient is not finite."""
    bad = [
        name for name, each in model.named_parameters() if each.grad is not None and not torch.isfinite(each.grad).all()
    ]
    return bad[-1] if bad else None


@contextmanager
def _hooks(hooks: list[tuple[nn.Module, Callable]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
