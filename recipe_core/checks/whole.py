"""What is no tensor with a row for each sample, as graphs joined to one table of nodes, or boxes: it is asked of as a
whole only.

x = Whole({"nodes": nodes, "edges": edges})
x.clone(), x.to(device)  # the same for all tensors in it
x.x                      # as the loader gave it
len(x), x[:4], x.mean()  # all else raises Untold, which a check that wants it is skipped by
"""

import copy
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch.utils import _pytree as pytree

from recipe_core.checks.result import Untold

NO_ROWS = "It looks at single samples, and x or y is no tensor with a row for each of them."


@dataclass(frozen=True, eq=False)
class Whole:
    """The inputs of a batch, or its targets, whatever they consist of."""

    x: Any

    def clone(self) -> "Whole":
        return Whole(copy.deepcopy(pytree.tree_map_only(torch.Tensor, torch.detach, self.x)))

    def detach(self) -> "Whole":
        return Whole(pytree.tree_map_only(torch.Tensor, torch.detach, self.x))

    def cpu(self) -> "Whole":
        return self.to("cpu")

    def to(self, device: torch.device | str) -> "Whole":
        return Whole(pytree.tree_map_only(torch.Tensor, lambda each: each.to(device), self.x))

    @property
    def rows(self) -> int:
        """How many samples these seem to be."""
        parts = list(self.x.values()) if isinstance(self.x, dict) else self.x
        first = next(iter(parts), None) if isinstance(parts, list | tuple) else None
        if isinstance(first, torch.Tensor) and first.ndim:
            return len(first)
        return len(parts) if isinstance(parts, list | tuple) else 1

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in pytree.tree_leaves(self.x) if isinstance(each, torch.Tensor))

    def __len__(self) -> NoReturn:
        raise Untold(NO_ROWS)

    def __getitem__(self, rows: Any) -> NoReturn:
        raise Untold(NO_ROWS)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what Python itself asks an object for
            raise AttributeError(name)
        raise Untold(NO_ROWS)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        raise Untold(NO_ROWS)


# So that what moves all tensors of a batch to a device finds those in it, too.
pytree.register_pytree_node(Whole, lambda whole: ([whole.x], None), lambda parts, _: Whole(*parts))
