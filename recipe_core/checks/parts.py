"""Inputs of several tensors, as one: to the checks each input is a tensor, to the pipeline what its loader gave.

parts = Parts()
x = parts.packed({"image": image, "age": age})  # (n, 4, height, width): a plane for the number, beside three of colour
parts.taken_apart(x)                            # the dict again
parts.pipeline(pipeline)                        # the same pipeline over packed inputs
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from recipe_core.training.pipeline import Pipeline

SEVERAL = (
    "of inputs that are a dict, tuple or list each part has to be a tensor with a row for each sample, at least one of "
    "them of fractions"
)


@dataclass
class Form:
    """How the tensors of an input become one.

    Attributes:
        spec: what they stand in.
        names: how they are reached, "x['age']".
        shapes, dtypes: of a sample of each.
        grid: (height, width) of the images that all have planes in; () where all are columns of a table.
        bounds: least and greatest that was seen, of those of whole numbers: codes, which a model looks up.
    """

    spec: Any
    names: list[str]
    shapes: list[torch.Size]
    dtypes: list[torch.dtype]
    grid: tuple[int, ...]
    bounds: list[tuple[int, int] | None]

    @property
    def widths(self) -> list[int]:
        """Planes or columns of each."""
        return [
            (shape[0] if len(shape) == 3 else shape.numel()) if self.grid else shape.numel() for shape in self.shapes
        ]

    def joined(self, leaves: list[torch.Tensor]) -> torch.Tensor:
        if len(leaves) == 1:
            return leaves[0]
        dtype = functools.reduce(torch.promote_types, self.dtypes)
        return torch.cat([self._slices(leaf).to(dtype) for leaf in leaves], 1)

    def _slices(self, leaf: torch.Tensor) -> torch.Tensor:
        if not self.grid:
            return leaf.reshape(len(leaf), -1)
        return leaf if leaf.ndim == 4 else leaf.reshape(len(leaf), -1, 1, 1).expand(-1, -1, *self.grid)

    def split(self, x: torch.Tensor) -> list[torch.Tensor]:
        if len(self.shapes) == 1:
            return [x]
        parts = zip(x.split(self.widths, 1), self.shapes, self.dtypes, self.bounds, strict=True)
        return [self._leaf(*each) for each in parts]

    def _leaf(
        self, part: torch.Tensor, shape: torch.Size, dtype: torch.dtype, bounds: tuple[int, int] | None
    ) -> torch.Tensor:
        if self.grid and len(shape) != 3:
            part = part[..., 0, 0]  # one place, as a mean over all would leave nothing of a change by chance
        if bounds is not None:
            part = part.round().clamp(*bounds)
        return part.reshape(len(part), *shape).to(dtype)


class Parts:
    """The forms of all inputs that were packed."""

    def __init__(self) -> None:
        self._forms: dict[tuple, Form] = {}  # shape of a packed sample, and dtype -> how it was made

    def packed(self, x: Any) -> torch.Tensor:
        """One tensor, (n, ...), of an input; what is one stays as it is.

        Images of one size are joined along their channels, numbers beside them become planes; all else becomes
        columns of a table.

        Raises:
            TypeError: it has parts that are no tensors of as many rows, or whole numbers only.
        """
        if isinstance(x, torch.Tensor):
            return x
        found, spec = pytree.tree_flatten_with_path(x)
        leaves = [leaf for _, leaf in found]
        if not leaves or not all(isinstance(leaf, torch.Tensor) and leaf.ndim for leaf in leaves):
            raise TypeError(SEVERAL)
        dtypes = [leaf.dtype for leaf in leaves]
        if len({len(leaf) for leaf in leaves}) > 1 or (
            len(leaves) > 1 and not any(d.is_floating_point for d in dtypes)
        ):
            raise TypeError(SEVERAL)
        shapes = [leaf.shape[1:] for leaf in leaves]
        names = [f"x{pytree.keystr(path)}" for path, _ in found]
        form = Form(spec, names, shapes, dtypes, _grid(shapes), [_bounds(leaf) for leaf in leaves])
        joined = form.joined(leaves)
        key = joined.shape[1:], joined.dtype
        known = self._forms.get(key)
        if known and known.spec == spec:
            form.bounds = [_wider(*each) for each in zip(form.bounds, known.bounds, strict=True)]
        self._forms[key] = form
        return joined

    def taken_apart(self, x: Any) -> Any:
        """What was packed, or has the form of it."""
        form = self._form(x)
        return x if form is None else pytree.tree_unflatten(form.split(x), form.spec)

    def seen(self, *arguments: Any) -> list[torch.Tensor]:
        """The packed input that a model was called with, or else all tensors among its arguments."""
        leaves = [leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, torch.Tensor)]
        for form in self._forms.values():
            if [(leaf.shape[1:], leaf.dtype) for leaf in leaves] == list(zip(form.shapes, form.dtypes, strict=True)):
                return [form.joined(leaves)]
        return leaves

    def lost(self, x: torch.Tensor, lost: Iterable[int]) -> list[str]:
        """Which parts of a packed input have all their channels or columns among these."""
        form, lost = self._form(x), set(lost)
        if form is None:
            return []
        ends = torch.tensor(form.widths).cumsum(0).tolist()
        ranges = zip(form.names, form.widths, ends, strict=True)
        return [name for name, width, end in ranges if lost.issuperset(range(end - width, end))]

    def pipeline(self, pipeline: Pipeline) -> Pipeline:
        """The same pipeline, whose functions take and give packed inputs; its loaders are left as they are."""
        augment, step, evaluate, forward = (
            pipeline.augment, pipeline.train_step, pipeline.evaluate, pipeline.forward,
        )  # fmt: skip

        def augmented(x: Any, y: Any) -> tuple[torch.Tensor, Any]:
            images, targets = augment(self.taken_apart(x), y)  # type: ignore[misc]
            return self.packed(images), targets

        def stepped(model, batch, *rest, **named):
            return step(model, (self.taken_apart(batch[0]), batch[1]), *rest, **named)

        return replace(
            pipeline,
            forward=lambda model, x: forward(model, self.taken_apart(x)),
            train_step=stepped,
            evaluate=lambda model, loader: evaluate(model, _Apart(loader, self)),
            augment=augmented if augment else None,
            preprocess_train=self._prepared(pipeline.preprocess_train),
            preprocess_eval=self._prepared(pipeline.preprocess_eval),
        )

    def _prepared(self, prepare: Callable | None) -> Callable | None:
        return prepare and (lambda images: self.packed(prepare(self.taken_apart(images))))

    def _form(self, x: Any) -> Form | None:
        return self._forms.get((x.shape[1:], x.dtype)) if isinstance(x, torch.Tensor) else None


class _Apart:
    """A loader whose inputs are taken apart; in all else it is that loader."""

    def __init__(self, loader: Any, parts: Parts):
        self._loader, self._parts = loader, parts

    def __iter__(self) -> Iterator:
        return ((self._parts.taken_apart(x), y) for x, y in self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _grid(shapes: list[torch.Size]) -> tuple[int, ...]:
    """The size of the images, where there are such and numbers or vectors only beside them."""
    sizes = {tuple(shape[1:]) for shape in shapes if len(shape) == 3}
    alike = len(sizes) == 1 and all(len(shape) in (0, 1, 3) for shape in shapes)
    return sizes.pop() if alike else ()


def _bounds(leaf: torch.Tensor) -> tuple[int, int] | None:
    return None if leaf.is_floating_point() or not leaf.numel() else (int(leaf.min()), int(leaf.max()))


def _wider(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int] | None:
    return (min(one[0], other[0]), max(one[1], other[1])) if one and other else one or other
