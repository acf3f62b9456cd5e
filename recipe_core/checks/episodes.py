"""Episodes: each sample of a batch is asked about beside a set that all of them share, as queries beside their support.

are_episodes(pipeline, {"support": images, "labels": labels, "query": images})  # (n, ...) each, by chance as many rows
"""

import contextlib
import copy
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from recipe_core.checks.keep import as_found
from recipe_core.training.pipeline import Pipeline

FEW = 8  # rows that are enough, unless the model wants as many as the loader gives
SHARED = 1 / 3  # of what a row changes in its own output, that it changes in the others: in a set all count alike
ROUNDING = 1e-4  # of the same


def are_episodes(pipeline: Pipeline, x: Any) -> bool:
    """Whether of the parts of an input, (n, ...) each, one is read by row and another of its kind as a set: a row of it
    changes all outputs alike."""
    leaves, spec = pytree.tree_flatten(x)
    kinds = [(leaf.shape[1:], leaf.dtype) for leaf in leaves]
    if len(set(kinds)) == len(kinds):
        return False
    for rows in (FEW, len(leaves[0])):
        some = [leaf[:rows].cpu() for leaf in leaves]
        with as_found(), torch.no_grad(), contextlib.suppress(Exception):  # as of fewer rows than a model was made for
            model = copy.deepcopy(pipeline.model_fn()).cpu().eval()
            found = set(zip(kinds, _readings(pipeline, model, some, spec), strict=False))
            return any((kind, "by row") in found for kind, reading in found if reading == "as a set")
    return False


def _readings(pipeline: Pipeline, model: nn.Module, parts: list[torch.Tensor], spec: Any) -> list[str]:
    """How each part is read: "by row", "as a set" or ""."""

    def outputs(parts: list[torch.Tensor]) -> torch.Tensor:
        return pipeline.forward(model, pytree.tree_unflatten(parts, spec))

    plain, found = outputs(parts), []
    with contextlib.suppress(Exception):  # as of fewer rows, once more
        if outputs([part[:-1] for part in parts]).shape[1:] != plain.shape[1:]:
            return []  # similarities to all others
    for at, part in enumerate(parts):
        other = part.clone()
        other[0] = part[len(part) // 2]
        effect = (outputs([*parts[:at], other, *parts[at + 1 :]]) - plain).abs().reshape(len(part), -1).amax(1)
        own, others = float(effect[0]), effect[1:]
        is_set = float(others.mean()) > SHARED * own
        found.append("as a set" if is_set else "by row" if float(others.max()) <= ROUNDING * own else "")
    return found
