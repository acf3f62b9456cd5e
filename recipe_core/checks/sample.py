"""The first batches of a loader, joined."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from recipe_core.checks.whole import Whole


@dataclass(frozen=True)
class Sample:
    """The first batches of a loader, as it gave them.

    Attributes:
        batches: (x, y) each.
        complete: whether that is all the loader gives in one pass.
        seconds: what drawing took.
    """

    batches: list
    complete: bool
    seconds: float

    @functools.cached_property
    def x(self) -> torch.Tensor:
        """The inputs of all batches, on the CPU; of batches whose images have another size than the first: none.

        Texts are filled up to the longest, with the zeros that fill them up within their batches.
        """
        if self._are_texts:
            longest = max(x.shape[1] for x, _ in self.batches)
            return torch.cat([F.pad(x.detach().cpu(), (0, longest - x.shape[1])) for x, _ in self.batches])
        return torch.cat([x.detach().cpu() for x, _ in self._alike])

    @functools.cached_property
    def y(self) -> torch.Tensor:
        """The targets that belong to `x`, on the CPU."""
        return torch.cat([y.detach().cpu() for _, y in self._alike])

    def first(self, count: int) -> tuple[Any, torch.Tensor]:
        """(x, y) of so many samples, on the CPU; of the first batch, where x has no row for each."""
        x, y = self.batches[0]
        return (x.cpu(), y.detach().cpu()) if self.is_whole else (self.x[:count], self.y[:count])

    @property
    def sizes(self) -> list[int]:
        """Samples per batch."""
        return [rows_of(x, y) for x, y in self.batches]

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def is_whole(self) -> bool:
        """Whether inputs or targets have no row for each sample."""
        return any(isinstance(part, Whole) for part in self.batches[0])

    def cut(self, rows: int, count: int) -> "Sample":
        """Of so many batches at most, so many samples of each, where they can be told apart; the last of all stays the
        last, and stays smaller."""
        if rows >= max(self.sizes) and count >= len(self.batches):
            return self
        kept = [*self.batches[: count - 1], self.batches[-1]] if count < len(self.batches) else self.batches
        if self.is_whole:
            return Sample(kept, False, self.seconds)
        share = min(1.0, rows / self.sizes[0])
        sizes = [max(min(2, len(y)), math.ceil(len(y) * share)) for _, y in kept]  # batch norm needs two
        return Sample([(x[:size], y[:size]) for (x, y), size in zip(kept, sizes, strict=True)], False, self.seconds)

    @property
    def _are_texts(self) -> bool:
        return all(x.ndim == 2 and not x.is_floating_point() and y.ndim == 1 for x, y in self.batches)

    @property
    def _alike(self) -> list:
        if self.is_whole or self._are_texts:
            return self.batches
        first = self.batches[0][0].shape[1:]
        return [batch for batch in self.batches if batch[0].shape[1:] == first]


def rows_of(x: Any, y: Any) -> int:
    """How many samples a batch holds."""
    part = next((each for each in (y, x) if isinstance(each, torch.Tensor)), y)
    return part.rows if isinstance(part, Whole) else len(part)
