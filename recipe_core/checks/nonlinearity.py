"""Are there non-linearities between the layers? Layers are followed through the graph of gradients, so that functional
ones are seen, too."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from recipe_core.checks.forward import batch_of, outputs_of, settled, spread, stirred
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import passed
from recipe_core.checks.subject import Subject

BENT = 1e-3  # of the outputs' spread: rounding
LINEAR = {"Addmm", "Mm", "Convolution"}
# What lies between two layers and bends nothing: changes of shape, constants, averages, batch norm in evaluation.
STRAIGHT = {
    *("View", "UnsafeView", "ReshapeAlias", "T", "Transpose", "Permute", "Squeeze", "Unsqueeze", "Expand", "Clone"),
    *("Add", "Sub", "Mul", "Div", "Mean", "AvgPool2D", "AdaptiveAvgPool2D", "NativeBatchNorm", "CudnnBatchNorm"),
}
# Their weights are parts of a larger whole, which bends; a projection before or after it is usual.
WHOLES = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention, nn.modules.linear.NonDynamicallyQuantizableLinear)

AFFINE = Cause(
    "nonlinearity-missing",
    "Layers follow each other without a non-linearity between them: together they can do no more than one.",
    "Put an activation between them.",
    0.6,
)


@dataclass(frozen=True)
class Layer:
    """A weight that the input is multiplied by.

    Attributes:
        ins, outs: numbers per sample, or channels.
        kernel: of a convolution.
    """

    name: str
    ins: int
    outs: int
    kernel: tuple[int, ...]
    is_patchwork: bool  # a convolution by groups or of patches that do not overlap


@check(family="model", stage=2, cost=0.5, causes=[AFFINE])
def layers_are_not_merely_linear(subject: Subject):
    """No two linear layers follow each other directly (but for a bottleneck), and a deep model is not affine."""
    graph = _Graph(subject, subject.once(settled))
    pairs = [pair for pair in graph.pairs() if _can_do_no_more(*pair) and not _goes_elsewhere(subject, *pair)]
    x = batch_of(subject)
    if (pairs or len(graph.layers) > 2) and x.is_floating_point() and _is_affine(subject, x):
        return AFFINE.failed(f"{len(graph.layers)} layers together are an affine function of the input.")
    told = [(pair, f"{_shown(pair[0])} is followed directly by {_shown(pair[1])}.") for pair in pairs]
    for pair, sentence in told:
        if pair[1] != graph.last and not any(map(graph.is_frozen, pair)):
            return AFFINE.failed(sentence)
    if told and any(map(graph.is_frozen, told[0][0])):
        return AFFINE.unsure(f"{told[0][1]} Is the frozen one a fixed filter?", harm=0.2)
    if told:
        return AFFINE.unsure(f"{told[0][1]} Is the first meant as an embedding?", harm=0.2)
    return passed("No two linear layers follow each other, and the model is not affine.")


def _can_do_no_more(first: Layer, second: Layer) -> bool:
    """A bottleneck saves weights, and so does a convolution that is split in two on purpose."""
    separated = first.is_patchwork or second.is_patchwork or 1 in (*first.kernel, *second.kernel)
    return first.outs >= min(first.ins, second.outs) and not separated


@torch.no_grad()
def _goes_elsewhere(subject: Subject, first: Layer, second: Layer) -> bool:
    """Whether outputs follow what the first layer gives on another way than by the second, as without a gradient."""
    model, x = subject.copy(subject.once(settled)).eval(), batch_of(subject)
    layers = dict(model.named_modules())
    if first.name not in layers or second.name not in layers:
        return False
    fed: list[tuple] = []
    recorded = layers[second.name].register_forward_pre_hook(lambda _, inputs: fed.append(inputs))
    plain = outputs_of(subject, model, x)
    recorded.remove()
    layers[first.name].register_forward_hook(lambda _, __, outputs: outputs + outputs.std() * torch.randn_like(outputs))
    layers[second.name].register_forward_pre_hook(lambda _, __: fed.pop(0))
    return not torch.allclose(outputs_of(subject, model, x), plain)


def _shown(layer: Layer) -> str:
    kind = "convolution" if layer.kernel else "linear layer"
    return f"the {kind} {layer.name or 'without a name'} ({layer.ins} to {layer.outs})"


def _is_affine(subject: Subject, x: torch.Tensor) -> bool:
    """Whether the outputs for the middle of two inputs are always the middle of their outputs."""
    model = stirred(subject)
    if not outputs_of(subject, model, x).std(0).any():
        return False
    first, second = torch.randn_like(x), torch.randn_like(x)
    middle = (outputs_of(subject, model, first) + outputs_of(subject, model, second)) / 2
    bend = (outputs_of(subject, model, (first + second) / 2) - middle).abs().max()
    return float(bend) < BENT * spread(middle)


class _Graph:
    """The graph of gradients from a model's outputs to its input.

    Attributes:
        layers: node -> the layer that it is, from the last to the first.
        last: the layer that is nearest to the outputs.
    """

    def __init__(self, subject: Subject, model: nn.Module):
        model = subject.copy(model).eval()
        self._frozen = {name for name, each in model.named_parameters() if not each.requires_grad}
        for each in model.parameters():
            each.requires_grad_()
        self._names = {id(each): name for name, each in model.named_parameters()}
        self._owners = {id(each): layer for layer in model.modules() for each in layer.parameters(recurse=False)}
        x = batch_of(subject).clone()
        self._input = x.requires_grad_() if x.is_floating_point() else None
        outputs = subject.outputs(model, x)
        self._order = _ordered(outputs.grad_fn)
        self._moved: dict[Any, bool] = {}  # node -> whether it depends on the input
        for node in reversed(self._order):
            self._moved[node] = self._is_source(node) or any(self._moved.get(each) for each in _before(node))
        self._uses = Counter(each for node in self._order if self._moved[node] for each in _before(node))
        self.layers = {node: layer for node in self._order if (layer := self._layer(node))}
        self.last = next(iter(self.layers.values()), None)

    def pairs(self) -> list[tuple[Layer, Layer]]:
        """Layers whose whole output is what the second gets, but for changes that bend nothing."""
        found = []
        for node, layer in self.layers.items():
            (before,) = self._on_the_way(node)
            while self._uses[before] == 1:
                if before in self.layers:
                    if not self._adapts(before):
                        found.append((self.layers[before], layer))
                    break
                on_the_way = self._on_the_way(before)
                if _kind(before) not in STRAIGHT or len(on_the_way) != 1:
                    break
                (before,) = on_the_way
        return found

    def is_frozen(self, layer: Layer) -> bool:
        return bool({layer.name, f"{layer.name}.weight"} & self._frozen)

    def _adapts(self, node: Any) -> bool:
        """Whether a frozen layer gets the same input, as beside an adapter of two low-rank factors (Hu et al. 2021)."""
        beside = (other for other in self.layers if other is not node and _before(other))
        same = (other for other in beside if self._on_the_way(other) == self._on_the_way(node))
        return any(self.is_frozen(self.layers[other]) for other in same)

    def _on_the_way(self, node: Any) -> list[Any]:
        return [each for each in _before(node) if self._moved[each]]

    def _is_source(self, node: Any) -> bool:
        variable = getattr(node, "variable", None)
        return _kind(node).startswith("Embedding") or (variable is not None and variable is self._input)

    def _layer(self, node: Any) -> Layer | None:
        if _kind(node) not in LINEAR or len(self._on_the_way(node)) != 1:
            return None
        weights = [
            (each, flipped) for other in _before(node) if not self._moved[other] for each, flipped in _leaves(other)
        ]
        weights = [(each, flipped) for each, flipped in weights if each.ndim > 1 and id(each) in self._names]
        if not weights or isinstance(self._owners[id(weights[0][0])], WHOLES):
            return None
        weight, flipped = weights[0]
        sizes = tuple(weight.shape) if flipped or _kind(node) == "Convolution" else tuple(weight.shape)[::-1]
        kernel, groups = (sizes[2:], node._saved_groups) if _kind(node) == "Convolution" else ((), 1)
        patches = bool(kernel) and tuple(node._saved_stride) >= kernel
        return Layer(
            self._names[id(weight)].removesuffix(".weight"), sizes[1] * groups, sizes[0], kernel, groups > 1 or patches
        )


def _kind(node: Any) -> str:
    return node.name().partition("Backward")[0].rpartition("::")[2]


def _before(node: Any) -> list[Any]:
    return [each for each, _ in node.next_functions if each is not None]


def _leaves(node: Any) -> list[tuple[torch.Tensor, bool]]:
    """A leaf, and whether it is turned round on its way, as the weight of nn.Linear is."""
    flipped = False
    while _kind(node) in ("T", "Transpose", "Permute") and len(_before(node)) == 1:
        flipped, (node,) = not flipped, _before(node)
    variable = getattr(node, "variable", None)
    if variable is not None:
        return [(variable, flipped)]
    # A weight that is made of others (weight norm, spectral norm) has the shape of the largest of them.
    made = [each for other in _ordered(node) if (each := getattr(other, "variable", None)) is not None]
    return [(max(made, key=torch.numel), flipped)] if made else []


def _ordered(root: Any) -> list[Any]:
    """All nodes, each before those that it was computed from."""
    count: Counter = Counter()
    seen, wait = {root}, [root]
    while wait:
        for each in _before(wait.pop()):
            count[each] += 1
            if each not in seen:
                seen.add(each)
                wait.append(each)
    found, ready = [], [root]
    while ready:
        node = ready.pop()
        found.append(node)
        for each in _before(node):
            count[each] -= 1
            if not count[each]:
                ready.append(each)
    return found
