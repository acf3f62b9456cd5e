"""Texts that come with masks, lengths or positions: the words are looked at, what stands beside them is made of them.

text = Text.of([words, mask], spec)  # None where the mask does not tell which places are filled
text.beside(other_words)             # [other_words, their mask]
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

FILLER = 0  # what shorter texts are filled up with
FEWEST_PLACES = 4  # fewer columns of whole numbers may be anything
FEWEST_ROWS = 2


@dataclass
class PerPlace:
    """One number for words, another for what fills up: a mask, either way round or to be added, or the same for all."""

    numbers: dict[bool, float] = field(default_factory=dict)

    def follows(self, beside: torch.Tensor, words: torch.Tensor) -> bool:
        """Whether it is so here, and was before; what is not known yet is learnt."""
        if beside.shape != words.shape:
            return False
        there = words != FILLER
        for is_word, places in ((True, there), (False, ~there)):
            if places.any():
                found = beside[places].float()
                if not bool((found == self.numbers.setdefault(is_word, float(found[0]))).all()):
                    return False
        return True

    def of(self, words: torch.Tensor) -> torch.Tensor:
        known = self.numbers.get(True, self.numbers.get(False, 0.0))
        other = self.numbers.get(False, 1.0 - known if known in (0.0, 1.0) else known)
        return torch.where(words != FILLER, known, other)


class Positions:
    """0, 1, 2, ..."""

    def follows(self, beside: torch.Tensor, words: torch.Tensor) -> bool:
        return beside.shape == words.shape and bool((beside == self.of(words)).all())

    def of(self, words: torch.Tensor) -> torch.Tensor:
        return torch.arange(words.shape[1], device=words.device).expand(words.shape)


@dataclass
class Length:
    """How many words there are, one at least."""

    shape: tuple[int, ...]

    def follows(self, beside: torch.Tensor, words: torch.Tensor) -> bool:
        return beside.numel() == len(words) and bool((beside.flatten() == self.of(words).flatten()).all())

    def of(self, words: torch.Tensor) -> torch.Tensor:
        return (words != FILLER).sum(1).clamp_min(1).reshape(-1, *self.shape)


@dataclass
class Text:
    """Which of several tensors holds the words, and what each of the others says of them.

    Attributes:
        spec: what they stand in.
    """

    spec: Any
    at: int
    rules: list[PerPlace | Positions | Length | None]
    dtypes: list[torch.dtype]

    @classmethod
    def of(cls, tensors: list[torch.Tensor], spec: Any) -> "Text | None":
        """None where none of them holds words from which all others follow."""
        whole = [at for at, each in enumerate(tensors) if _may_be_words(each)]
        if not whole:
            return None
        at = max(whole, key=lambda each: int(tensors[each].max()))
        words = tensors[at]
        rules: list = [None if each is words else _rule(each, words) for each in tensors]
        complete = sum(rule is None for rule in rules) == 1
        return cls(spec, at, rules, [each.dtype for each in tensors]) if complete and len(tensors) > 1 else None

    def follows(self, tensors: list[torch.Tensor]) -> bool:
        """Whether all follow from the words here, too."""
        pairs = zip(self.rules, tensors, strict=True)
        return all(rule is None or rule.follows(each, tensors[self.at]) for rule, each in pairs)

    def fits(self, tensors: list[torch.Tensor]) -> bool:
        return [each.dtype for each in tensors] == self.dtypes and self.are_words(tensors[self.at])

    def are_words(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor) and x.ndim == 2 and x.dtype == self.dtypes[self.at]

    @property
    def tells_filler(self) -> bool:
        """Whether something beside the words says which places are filled up, and some were seen."""
        masks = [rule for rule in self.rules if isinstance(rule, PerPlace)]
        return any(isinstance(rule, Length) for rule in self.rules) or any(
            len(set(each.numbers.values())) == 2 for each in masks
        )

    def beside(self, words: torch.Tensor) -> list[torch.Tensor]:
        """All tensors that belong to these words."""
        pairs = zip(self.rules, self.dtypes, strict=True)
        return [words if rule is None else rule.of(words).to(dtype) for rule, dtype in pairs]


def longest_first(forward: Callable[[torch.Tensor], Any], words: torch.Tensor) -> Any:
    """What `forward` gives for texts in any order, though it takes them with the longest first only, as
    pack_padded_sequence does by default: then in that order, and put back."""
    try:
        return forward(words)
    except RuntimeError as error:
        if "enforce_sorted" not in str(error) or words.ndim != 2:
            raise
    order = (words != FILLER).sum(1).argsort(descending=True, stable=True)
    back = order.argsort()
    return tree_map_only(torch.Tensor, lambda each: each[back], forward(words[order]))


def _may_be_words(tensor: torch.Tensor) -> bool:
    whole = not tensor.is_floating_point() and tensor.dtype != torch.bool
    return whole and tensor.ndim == 2 and len(tensor) >= FEWEST_ROWS and tensor.shape[1] >= FEWEST_PLACES


def _rule(beside: torch.Tensor, words: torch.Tensor) -> PerPlace | Positions | Length | None:
    rules = (PerPlace(), Positions(), Length(tuple(beside.shape[1:])))
    return next((rule for rule in rules if rule.follows(beside, words)), None)
