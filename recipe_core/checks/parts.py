"""Inputs of several tensors, as one: to the checks each input is a tensor, to the pipeline what its loader gave.

parts = Parts()
x = parts.packed({"image": image, "age": age})  # (n, 4, height, width): a plane for the number, beside three of colour
parts.taken_apart(x)                            # the dict again
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from recipe_core.checks.bags import Bag
from recipe_core.checks.texts import Text
from recipe_core.checks.whole import Whole

MOST_CODES = 64  # values of a code that are told apart
SPARSE = (torch.sparse_coo, torch.sparse_csr)
MOST_COLOURS = 4  # channels, with one that is transparency


@dataclass
class Part:
    """One of the tensors of an input.

    Attributes:
        name: how it is reached, "x['age']".
        shape, dtype: of a sample.
        bounds: least and greatest that was seen, of whole numbers: codes, which a model looks up; of each column.
        origin, unit: what is 0 and 1 where it is laid out, so that codes are no larger than other inputs.
    """

    name: str
    shape: torch.Size
    dtype: torch.dtype
    bounds: tuple[torch.Tensor, torch.Tensor] | None
    origin: torch.Tensor
    unit: torch.Tensor

    @classmethod
    def of(cls, name: str, leaf: torch.Tensor) -> "Part":
        if leaf.is_floating_point() or not leaf.numel():
            return cls(name, leaf.shape[1:], leaf.dtype, None, torch.zeros(()), torch.ones(()))
        low, high = leaf.long().cpu().aminmax(dim=0 if leaf.ndim == 2 else None)
        return cls(name, leaf.shape[1:], leaf.dtype, (low, high), (low + high) / 2, ((high - low) / 2).clamp_min(1.0))

    @property
    def bounds_of_columns(self) -> tuple[list[int], list[int]]:
        """Of each number of a sample."""
        assert self.bounds is not None
        low, high = (each.expand(self.shape.numel()) if not each.ndim else each for each in self.bounds)
        return low.long().tolist(), high.long().tolist()

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    def width(self, grid: tuple[int, ...]) -> int:
        """Planes of this (height, width), or columns where that is ()."""
        return self.shape[0] if grid and self.is_image else self.shape.numel()

    def laid_out(self, leaf: torch.Tensor, grid: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """(n, planes, height, width), or (n, columns)."""
        if self.bounds is not None:
            leaf = (leaf.double() - self.origin.to(leaf.device)) / self.unit.to(leaf.device)
        leaf = leaf.to(dtype)
        if not grid:
            return leaf.reshape(len(leaf), -1)
        if not self.is_image:
            return leaf.reshape(len(leaf), -1, 1, 1).expand(-1, -1, *grid)
        below, beside = grid[0] - leaf.shape[2], grid[1] - leaf.shape[3]
        return F.pad(leaf, (0, beside, 0, below))

    def taken_from(self, slices: torch.Tensor, grid: tuple[int, ...]) -> torch.Tensor:
        """The tensor that was laid out so."""
        if grid and self.is_image:
            slices = slices[..., : self.shape[1], : self.shape[2]]
        elif grid:
            slices = slices[..., 0, 0]  # one place, as a mean over all would leave nothing of a change by chance
        if self.bounds is not None:
            low, high, origin, unit = (each.to(slices.device) for each in (*self.bounds, self.origin, self.unit))
            slices = torch.clamp((slices * unit + origin).round(), low, high)
        return slices.reshape(len(slices), *self.shape).to(self.dtype).contiguous()


@dataclass
class Form:
    """How the tensors of an input become one.

    Attributes:
        spec: what they stand in.
        grid: (height, width) of the images that all have planes in; () where all are columns of a table.
        laid_out: whether they are made anew for it; one tensor stays as it is.
    """

    spec: Any
    parts: list[Part]
    grid: tuple[int, ...]
    laid_out: bool

    @property
    def widths(self) -> list[int]:
        return [part.width(self.grid) for part in self.parts]

    @property
    def dtype(self) -> torch.dtype:
        kinds = [part.dtype for part in self.parts]
        return functools.reduce(torch.promote_types, kinds, torch.float32) if self.laid_out else kinds[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a packed sample."""
        several = (sum(self.widths) * self.copies, *self.grid)
        return several if self.laid_out else tuple(self.parts[0].shape)

    @property
    def copies(self) -> int:
        """How often all planes stand there: so that they are not taken for the colours of one picture."""
        return 1 + MOST_COLOURS // sum(self.widths) if self.grid and self.laid_out else 1

    def joined(self, leaves: list[torch.Tensor]) -> torch.Tensor:
        if not self.laid_out:
            return leaves[0]
        pairs = zip(self.parts, leaves, strict=True)
        return torch.cat([part.laid_out(leaf, self.grid, self.dtype) for part, leaf in pairs] * self.copies, 1)

    def split(self, x: torch.Tensor) -> list[torch.Tensor]:
        if not self.laid_out:
            return [x]
        copies = x.unflatten(1, (self.copies, -1))
        first = copies[:, :1]
        mean = (first + (copies - first).mean(1, keepdim=True))[:, 0]  # of equal ones to the last bit what they are
        pairs = zip(self.parts, mean.split(self.widths, 1), strict=True)
        return [part.taken_from(slices, self.grid) for part, slices in pairs]

    def widen(self, new: "Form") -> None:
        """Take in bounds that were seen later."""
        for part, other in zip(self.parts, new.parts, strict=True):
            if part.bounds is not None and other.bounds is not None:
                (low, high), (new_low, new_high) = part.bounds, other.bounds
                part.bounds = torch.minimum(low, new_low), torch.maximum(high, new_high)

    def fits(self, leaves: list[torch.Tensor]) -> bool:
        return [(leaf.shape[1:], leaf.dtype) for leaf in leaves] == [(part.shape, part.dtype) for part in self.parts]


class Parts:
    """The forms of all inputs that were packed.

    Args:
        are_codes: whether whole numbers, (n, columns), are codes of their own in each column, and no words.
        are_episodes: whether of several tensors, (n, ...) each, one is a set that all samples share.
    """

    def __init__(
        self,
        are_codes: Callable[[torch.Tensor], bool] = lambda x: False,
        are_episodes: Callable[[Any], bool] = lambda x: False,
    ) -> None:
        self._are_codes, self._are_episodes = are_codes, are_episodes
        self._coded: dict[tuple, bool] = {}  # shape of a sample and dtype -> what was found of the first
        self._forms: dict[tuple, Form] = {}  # shape of a packed sample, and dtype -> how it was made
        self._texts: dict[tuple, Text | None] = {}  # names of the parts -> how they follow from words, if they do
        self._odd: dict[tuple, bool] = {}  # names of the parts -> whether they stay whole, though of as many rows
        self._bags: list[Bag] = []
        self._sparse: dict[tuple, torch.layout] = {}  # shape of a sample and dtype -> how it was stored

    def packed(self, x: Any, rows: int | None = None) -> Any:
        """One tensor, (n, ...), of an input; what is one stays as it is, unless its columns are codes.

        Of a text with masks, lengths or positions it is the words; texts in one row become one each. Images are joined
        along their channels, smaller ones with zeros around them, and numbers beside them become planes; all else
        becomes columns of a table. What is sparse becomes dense. What has not so many rows is a Whole, and so are
        episodes and a text beside which stands what follows from its words in some batches only.
        """
        if isinstance(x, Whole):
            return x
        if isinstance(x, torch.Tensor) and rows and len(x) != rows:
            return Whole(x)
        if isinstance(x, torch.Tensor) and x.layout in SPARSE:
            self._sparse[_kind(x)] = x.layout
            return x.to_dense()
        coded = isinstance(x, torch.Tensor) and self._is_coded(x)
        if isinstance(x, torch.Tensor) and not coded:
            return x
        found, spec = pytree.tree_flatten_with_path(x)
        leaves = [leaf for _, leaf in found]
        if bag := self._bag(leaves, spec):
            return bag.texts(leaves)
        if not _have_rows(leaves, rows):
            return Whole(x)
        names = [f"x{pytree.keystr(path)}" for path, _ in found]
        text = self._text(names, leaves, spec)
        if text and not text.follows(leaves):
            self._odd[tuple(names)] = True
        if tuple(names) not in self._odd:
            self._odd[tuple(names)] = not (text or coded) and self._are_episodes(x)
        if self._odd[tuple(names)]:
            return Whole(x)
        if text:
            return leaves[text.at]
        parts = [Part.of(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
        form = Form(spec, parts, _grid([part.shape for part in parts]), coded or len(parts) > 1)
        known = self._forms.setdefault((form.shape, form.dtype), form)
        if known.spec != spec and not known.fits(leaves):
            known = self._forms[form.shape, form.dtype] = form
        known.widen(form)
        return known.joined(leaves)

    def taken_apart(self, x: Any) -> Any:
        """What was packed, or has the form of it."""
        if isinstance(x, Whole):
            return x.x
        if layout := self._layout(x):
            return x.to_sparse(layout=layout)
        for text in filter(None, self._texts.values()):
            if text.are_words(x):
                return pytree.tree_unflatten(text.beside(x), text.spec)
        for bag in self._bags:
            if bag.are_texts(x):
                return pytree.tree_unflatten(bag.flat(x), bag.spec)
        form = self._form(x)
        return x if form is None else pytree.tree_unflatten(form.split(x), form.spec)

    def tell_filler(self, x: torch.Tensor) -> bool:
        """Whether these are words beside which a mask or a length says which places are filled up."""
        return any(text.are_words(x) and text.tells_filler for text in filter(None, self._texts.values()))

    def seen(self, *arguments: Any) -> list[torch.Tensor]:
        """The packed input that a model was called with, or else all tensors among its arguments."""
        leaves = [leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, torch.Tensor)]
        for text in filter(None, self._texts.values()):
            if text.fits(leaves):
                return [leaves[text.at]]
        for bag in self._bags:
            if bag.fits(leaves):
                return [bag.texts(leaves)]
        for form in self._forms.values():
            if form.fits(leaves):
                return [form.joined(leaves)]
        return [leaf.to_dense() if leaf.layout in SPARSE else leaf for leaf in leaves]

    def standardised(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs, or each part of theirs, of mean 0 and deviation 1; what is constant or a code stays as it is."""
        form = self._form(x)
        if form is None:
            return _standard(x)
        pairs = zip(form.parts, form.split(x), strict=True)
        return form.joined([_standard(leaf) if part.bounds is None else leaf for part, leaf in pairs])

    def planes(self, x: torch.Tensor) -> dict[str, list[int]]:
        """The channels or columns of each part of a packed input, in all its copies."""
        form = self._form(x)
        if form is None:
            return {}
        total, ends = sum(form.widths), itertools.accumulate(form.widths)
        firsts = [
            (part.name, range(end - part.width(form.grid), end)) for part, end in zip(form.parts, ends, strict=True)
        ]
        return {name: [at + number * total for number in range(form.copies) for at in own] for name, own in firsts}

    def lost(self, x: torch.Tensor, lost: Iterable[int]) -> list[str]:
        """Which parts of a packed input have all their channels or columns among these."""
        lost = set(lost)
        return [name for name, own in self.planes(x).items() if own and lost.issuperset(own)]

    def spelled_out(self, x: torch.Tensor) -> torch.Tensor | None:
        """(n, columns) of a packed table, a column for each value that a code may have; None where it has no code."""
        form = self._form(x)
        if form is None or form.grid:
            return None
        leaves = [(part, leaf.reshape(len(leaf), -1)) for part, leaf in zip(form.parts, form.split(x), strict=True)]
        numbers = [leaf.float() for part, leaf in leaves if part.bounds is None]
        codes = [
            F.one_hot(column.long() - least, most - least + 1).float()
            for part, leaf in leaves
            if part.bounds is not None
            for column, least, most in zip(leaf.unbind(1), *part.bounds_of_columns, strict=True)
            if 1 < most - least < MOST_CODES
        ]
        return torch.cat([*numbers, *codes], 1) if codes else None

    def named(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The parts of a packed input, as the loader gave them."""
        form = self._form(x)
        return {part.name: leaf for part, leaf in zip(form.parts, form.split(x), strict=True)} if form else {}

    def flat(self, x: torch.Tensor) -> dict[str, float]:
        """Which parts of several numbers have one value everywhere, in all samples, and which."""
        found = {name: leaf for name, leaf in self.named(x).items() if leaf[0].numel() > 1}
        return {
            name: float(leaf.flatten()[0]) for name, leaf in found.items() if bool((leaf == leaf.flatten()[0]).all())
        }

    def _is_coded(self, x: torch.Tensor) -> bool:
        if x.ndim != 2 or x.shape[1] < 2 or x.is_floating_point():
            return False
        if not all(self._coded.values()):  # texts of many lengths need one look
            return False
        key = _kind(x)
        if key not in self._coded:
            self._coded[key] = self._are_codes(x)
        return self._coded[key]

    def _text(self, names: list[str], leaves: list[torch.Tensor], spec: Any) -> Text | None:
        key = tuple(names)
        if key not in self._texts:
            self._texts[key] = Text.of(leaves, spec)
        return self._texts[key]

    def _bag(self, leaves: list, spec: Any) -> Bag | None:
        if not self._bags and not _have_rows(leaves) and (bag := Bag.of(leaves, spec)):
            self._bags.append(bag)
        return next((bag for bag in self._bags if bag.fits(leaves)), None)

    def _form(self, x: Any) -> Form | None:
        return self._forms.get(_kind(x)) if isinstance(x, torch.Tensor) else None

    def _layout(self, x: Any) -> torch.layout | None:
        return self._sparse.get(_kind(x)) if isinstance(x, torch.Tensor) and x.layout == torch.strided else None


def _standard(x: torch.Tensor) -> torch.Tensor:
    numbers = x.float()
    return ((numbers - numbers.mean()) / numbers.std()).to(x) if float(numbers.std()) > 0 else x


def _kind(x: torch.Tensor) -> tuple:
    """Shape of a sample, and type."""
    return tuple(x.shape[1:]), x.dtype


def _have_rows(leaves: list, rows: int | None = None) -> bool:
    """Whether all are tensors of as many rows, or of so many."""
    tensors = all(isinstance(leaf, torch.Tensor) and leaf.ndim for leaf in leaves)
    found = {len(leaf) for leaf in leaves} if tensors else set()
    return len(found) == 1 and found <= {rows or max(found)}


def _grid(shapes: list[torch.Size]) -> tuple[int, ...]:
    """The size that all images fit into, where there are such and numbers or vectors only beside them."""
    sizes = [shape[1:] for shape in shapes if len(shape) == 3]
    if not sizes or any(len(shape) not in (0, 1, 3) for shape in shapes):
        return ()
    return tuple(max(sides) for sides in zip(*sizes, strict=True))
