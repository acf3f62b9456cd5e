"""Why does a model not hear its input? Its layers are asked one by one what they do with the rows of a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

TOLERANCE = 1e-4  # of the largest output: rounding


@dataclass
class _Call:
    """What a layer was first called with."""

    args: tuple
    named: dict[str, Any]

    @property
    def rows(self) -> int | None:
        """The first size of its first tensor, if that has places and columns, too."""
        first = next((each for each in self.args if isinstance(each, torch.Tensor)), None)
        return len(first) if first is not None and first.ndim > 2 and first.is_floating_point() else None


@torch.no_grad()
def mixing_layer(model: nn.Module, run: Callable[[torch.Tensor], Any], x: torch.Tensor) -> str | None:
    """The name of a layer that is given the batch along its first axis and mixes what lies along it; None if there is
    none. The innermost of several.

    Args:
        model: in eval mode.
        run: calls the model.
        x: inputs, some four or more.
    """
    whole, half = _calls(model, run, x), _calls(model, run, x[: len(x) // 2])
    found = [
        name
        for name, call in half.items()
        if call.rows == len(x) // 2 and name in whole and whole[name].rows == len(x) and _mixes(model, name, call)
    ]
    return max(found, key=len, default=None)


def _calls(model: nn.Module, run: Callable[[torch.Tensor], Any], x: torch.Tensor) -> dict[str, _Call]:
    calls: dict[str, _Call] = {}

    def note(name: str) -> Callable:
        return lambda layer, args, named: calls.setdefault(name, _Call(args, named)) and None

    hooks = [
        layer.register_forward_pre_hook(note(name), with_kwargs=True) for name, layer in model.named_modules() if name
    ]
    try:
        run(x.clone())
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _mixes(model: nn.Module, name: str, call: _Call) -> bool:
    """Whether other numbers in the first row change what comes out of the other rows."""
    noise: dict[int, torch.Tensor] = {}

    def drawn(each: Any) -> Any:
        if not isinstance(each, torch.Tensor) or each.ndim < 3 or not each.is_floating_point():
            return each
        return noise.setdefault(id(each), torch.randn_like(each))  # one tensor may come as question, key and value

    args, named = pytree.tree_map(drawn, (call.args, call.named))
    plain = _first(model.get_submodule(name)(*args, **named))
    for each in noise.values():
        each[0].add_(torch.randn_like(each[0]))
    changed = _first(model.get_submodule(name)(*args, **named))
    if plain.shape != changed.shape or plain.ndim < 3 or len(plain) != call.rows:
        return False
    return float((changed - plain)[1:].abs().max()) > TOLERANCE * float(plain.abs().max())


def _first(outputs: Any) -> torch.Tensor:
    return next(each for each in pytree.tree_leaves(outputs) if isinstance(each, torch.Tensor))
