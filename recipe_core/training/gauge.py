"""What one step did to a model, and where a value that is no finite number came from."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from recipe_core.errors import Diverged
from recipe_core.training.pipeline import on_device_of

DENSE = 50  # steps at the start of a run, and at its end, that are all measured
EVERY = 25  # of the others
ADVICE = "lower the learning rate or look at what enters there; the last good checkpoint is kept"


class Gauge:
    """Measures a model's steps: accuracy from the outputs that a step computed anyway, norms of what it changed.

    Measuring shall not be felt beside a model of one layer, so not all steps are measured; which ones are depends on
    their number alone, so that it is the same in each run.
    """

    def __init__(self, model: nn.Module, total_steps: int):
        self.model = model
        self.total_steps = total_steps
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._weights = [each.detach() for each in self._parameters]
        self._before = [each.clone() for each in self._weights]  # the step that comes
        self._outputs: torch.Tensor | None = None
        self._hook = model.register_forward_hook(self._keep)

    def measure(self, step: int, targets: torch.Tensor) -> dict[str, float]:
        """train_accuracy, grad_norm and update_ratio (|update| / |weights|) of the step just taken, if it is measured.

        To be called after every step that went well; `undo` goes back to where it was called last.
        """
        measured = self._measured(targets) if self._is_measured(step) else {}
        if all_finite(measured):
            torch._foreach_copy_(self._before, self._weights)
        return measured

    def _is_measured(self, step: int) -> bool:
        return step < DENSE or step >= self.total_steps - DENSE or step % EVERY == 0

    def _measured(self, targets: torch.Tensor) -> dict[str, float]:
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        norms = [
            _norm(gradients) if gradients else self._weights[0].new_zeros(()),
            _norm(torch._foreach_sub(self._weights, self._before)),
            _norm(self._weights),
        ]
        # One transfer from the device for all.
        grad_norm, update, size, accuracy = torch.stack([*norms, self._accuracy(targets)]).tolist()
        measured = {"grad_norm": grad_norm, "update_ratio": update / size if size else 0.0}
        return measured if math.isnan(accuracy) else {"train_accuracy": accuracy, **measured}

    def undo(self) -> None:
        """Set the weights to what they were before the last step."""
        torch._foreach_copy_(self._weights, self._before)

    def close(self) -> None:
        """Leave the model as it was found."""
        self._hook.remove()

    def _keep(self, module: nn.Module, inputs, outputs) -> None:
        self._outputs = outputs.detach() if isinstance(outputs, torch.Tensor) else None

    def _accuracy(self, targets: torch.Tensor) -> torch.Tensor:
        """NaN where the outputs are not one score per class of each sample."""
        outputs = self._outputs
        if outputs is None or outputs.ndim != 2 or targets.ndim != 1 or targets.is_floating_point():
            return self._weights[0].new_full((), math.nan)
        return (outputs.argmax(1) == targets.to(outputs.device)).float().mean()


def _norm(tensors: list[torch.Tensor] | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The norm of all of them together, float32."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)).float())


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
    elif weight := bad_weight(model):
        where = f"in the weight {weight}, since the update before this step"
    elif layer := _first_layer(model, x, forward):
        where = f"first in layer {layer}"
    elif gradient := _last_gradient(model):
        where = f"in the gradient of {gradient}, after outputs that were finite"
    else:
        where = "in the loss or the update, after outputs that were finite"
    return Diverged(f"The {what} is not a finite number at step {step}, {where}: {ADVICE}.", step, layer)


def require_finite(model: nn.Module, step: int) -> None:
    """Raise Diverged if a weight is no finite number after so many updates."""
    if weight := bad_weight(model):
        raise Diverged(f"The weight {weight} is not a finite number after {step} updates: {ADVICE}.", step, None)


def bad_weight(model: nn.Module) -> str | None:
    """The first weight that is not finite."""
    return next((name for name, each in model.named_parameters() if not torch.isfinite(each).all()), None)


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
