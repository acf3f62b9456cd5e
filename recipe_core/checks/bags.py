"""Texts joined to one row of words, beside which stands where each begins, as nn.EmbeddingBag takes them.

bag = Bag.of([words, offsets], spec)  # None where the second does not say how the first is divided
bag.texts([words, offsets])           # (n, longest): a text each, filled up
bag.flat(texts)                       # [words, offsets] again
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from recipe_core.checks.texts import FILLER

FEWEST = 2  # texts; words of each, on average


@dataclass(frozen=True)
class Bag:
    """How a row of words is divided.

    Attributes:
        spec: what both tensors stand in.
        at: which of them holds the words.
        ends: whether the other one tells where the last text ends, too (include_last_offset).
    """

    spec: Any
    at: int
    dtypes: tuple[torch.dtype, ...]
    ends: bool

    @classmethod
    def of(cls, tensors: list, spec: Any) -> "Bag | None":
        """None where they are anything else."""
        if len(tensors) != 2 or not all(_is_row(each) for each in tensors):
            return None
        at = 0 if len(tensors[0]) > len(tensors[1]) else 1
        words, offsets = tensors[at], tensors[1 - at]
        if not FEWEST <= len(offsets) <= len(words) / FEWEST or int(words.min()) < 0:
            return None
        if int(offsets[0]) != 0 or bool((offsets.diff() < 0).any()) or int(offsets[-1]) > len(words):
            return None
        return cls(spec, at, tuple(each.dtype for each in tensors), int(offsets[-1]) == len(words))

    def fits(self, tensors: list) -> bool:
        """Whether they may be words and offsets, too."""
        alike = len(tensors) == 2 and all(_is_row(each) for each in tensors)
        return alike and tuple(each.dtype for each in tensors) == self.dtypes

    def are_texts(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor) and x.ndim == 2 and x.dtype == self.dtypes[self.at]

    def texts(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        """(n, longest) words, each one more than it was, as FILLER may be a word here."""
        words, offsets = tensors[self.at], tensors[1 - self.at].long()
        ends = offsets[1:] if self.ends else torch.cat([offsets[1:], offsets.new_tensor([len(words)])])
        lengths = ends - offsets[: len(ends)]
        return pad_sequence(list((words + 1).split(lengths.tolist())), batch_first=True, padding_value=FILLER)

    def flat(self, texts: torch.Tensor) -> list[torch.Tensor]:
        """The words of all texts in a row, and where each begins."""
        there = texts != FILLER
        ends = there.sum(1).cumsum(0)
        offsets = torch.cat([ends.new_zeros(1), ends if self.ends else ends[:-1]])
        words = texts[there] - 1
        pair = [words, offsets] if self.at == 0 else [offsets, words]
        return [each.to(dtype) for each, dtype in zip(pair, self.dtypes, strict=True)]


def _is_row(tensor: Any) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.dtype in (torch.int32, torch.int64) and tensor.ndim == 1
