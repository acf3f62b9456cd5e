"""Do samples of two splits share a part: windows of one series, or tiles of one picture, that overlap?"""

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

LEAST_PLACES, STRETCH, DISTINCT = 16, 4, 0.9  # of a series; a part of it; share of its numbers that are all different
MOST_LENGTH, MOST_STRETCHES = 16, 300_000  # places: so many numbers are not the same by chance; of all training series
MOST_NEW = 500  # validation samples
FEWEST, COPIES = 5, 0.03  # that overlap, and their share
MANY_VALUES = 500  # of a series without channels: marks from one to five come in any order
MOSTLY = 0.5  # share of the windows of one series
LEAST_SIDE, PATCH, LEAST_VALUES = 16, 8, 24  # px; px of a part of a picture; different numbers that it has
MOST_PLACES = 2_000_000  # of parts in all training pictures
KINDRED = 0.05  # share of training pictures that are one picture moved, as drawings of one thing may be


@dataclass(frozen=True)
class Overlap:
    """How many validation samples, of how many, have a part that training has, too."""

    copies: int
    of: int
    told: str


def windows(seen: torch.Tensor, new: torch.Tensor) -> Overlap | None:
    """Series that share a stretch with one of training: the same numbers at another place."""
    if not _may_be_series(seen) or not _may_be_series(new):
        return None
    is_flat = new.ndim == 2  # what stands in one place may be a column of a table, whose numbers come twice by chance
    seen, new = (each[:, None] if is_flat else each for each in (seen, new))
    places = max(new.shape[1:])
    length = min(places // STRETCH, MOST_LENGTH)
    rows = max(FEWEST, MOST_STRETCHES // places)  # of very long series a few
    # The middle of each, as it is at any place of another; of stretches that say something.
    middle, asked = (places - length) // 2, _by_places(new[:MOST_NEW])
    telling = _telling(asked[:, :, middle : middle + length])
    asked = _numbers(asked[telling], length)[:, middle]
    known = torch.cat([_numbers(row, length) for row in _by_places(seen[:rows]).split(1)])
    known = torch.cat([known[:, :middle], known[:, middle + 1 :]], 1) if is_flat else known
    found = int(torch.isin(asked, known).sum())
    return _unless_few(
        found,
        len(asked),
        f"The middle stretch of {found} of {len(asked)} validation series, {length} places long, stands in a training "
        "series at some place, number for number: they are windows that overlap.",
    )


def are_windows(x: torch.Tensor) -> bool:
    """Whether samples, (n, places) or (n, channels, places) and the like, are windows of one series, which overlap."""
    if not _may_be_series(x):
        return False
    series = _by_places(x[:MOST_NEW] if x.ndim == 3 else x[:MOST_NEW, None])
    length = min(series.shape[2] // STRETCH, MOST_LENGTH)
    middle = (series.shape[2] - length) // 2
    series = series[_telling(series[:, :, middle : middle + length])]
    numbers = _numbers(series, length)
    elsewhere = torch.cat([numbers[:, :middle], numbers[:, middle + 1 :]], 1)
    return len(series) >= FEWEST and float(torch.isin(numbers[:, middle], elsewhere).float().mean()) > MOSTLY


def _may_be_series(x: torch.Tensor) -> bool:
    """Whether inputs are fractions in as many places as a series has, and without channels of many values."""
    long = x.ndim in (2, 3) and x.is_floating_point() and max(x.shape[1:]) >= LEAST_PLACES
    return long and (x.ndim == 3 or len(x[:MOST_NEW].unique()) >= MANY_VALUES)


def _telling(stretches: torch.Tensor) -> torch.Tensor:
    """Which stretches, (n, columns, places), have hardly a number twice, bool."""
    rows = stretches.flatten(1)
    return torch.tensor([len(row.unique()) > DISTINCT * rows.shape[1] for row in rows], dtype=torch.bool)


def _by_places(x: torch.Tensor) -> torch.Tensor:
    """(n, columns, places) of series, of which there are fewer columns than places."""
    return x.transpose(1, 2) if x.shape[1] >= x.shape[2] else x


def _numbers(x: torch.Tensor, length: int) -> torch.Tensor:
    """float64 (n, places - length + 1): a number for each stretch of series (n, columns, places), the same for the same
    stretch."""
    columns, places = _weights(x.shape[1], length)
    mixed, width = _weighted(x.double().unbind(1), columns), x.shape[2] - length + 1
    # Sums of slices, as a stretch's number is the same to the last bit wherever it stands.
    return _weighted([mixed[:, place : place + width] for place in range(length)], places)


def _weighted(parts: Sequence[torch.Tensor], weights: list[float]) -> torch.Tensor:
    return functools.reduce(torch.add, [part * weight for part, weight in zip(parts, weights, strict=True)])


def _weights(*sizes: int) -> list[list[float]]:
    chance = torch.Generator().manual_seed(0)
    return [torch.rand(size, generator=chance).tolist() for size in sizes]


def tiles(seen: torch.Tensor, new: torch.Tensor) -> Overlap | None:
    """Pictures (n, c, h, w) of which some of training show a part, moved, number for number."""
    if new.ndim != 4 or min(new.shape[2:]) < LEAST_SIDE:
        return None
    seen, new = seen[: max(FEWEST, MOST_PLACES // (new.shape[2] * new.shape[3]))], new[:MOST_NEW]
    found = defaultdict(set)
    for one, other, down, across in _same_parts(seen, new):
        if (down, across) != (0, 0) and torch.equal(*_common(new[one], seen[other], down, across)):
            found[one].add(other)
    copies = sum(len(others) <= max(1.0, KINDRED * len(seen)) for others in found.values())
    return _unless_few(
        copies,
        len(new),
        f"{copies} of {len(new)} validation images show a part of a training image, moved, number for number: they "
        "are tiles of one picture that overlap.",
    )


def _same_parts(seen: torch.Tensor, new: torch.Tensor) -> Iterator[tuple[int, int, int, int]]:
    """Where a corner of a picture stands in another: number of either, and by how much it is moved down and right."""
    corners: dict[float, list[tuple[int, int, int]]] = defaultdict(list)
    marked = _marked(new)
    for top, left in itertools.product((0, new.shape[2] - PATCH), (0, new.shape[3] - PATCH)):
        values = new[:, :, top : top + PATCH, left : left + PATCH].flatten(1).sort(1).values.diff(dim=1) != 0
        for row in (values.sum(1) + 1 >= LEAST_VALUES).nonzero().flatten().tolist():
            corners[float(marked[row, top, left])].append((row, top, left))
    known = torch.tensor(sorted(corners), dtype=torch.double)
    for start in range(0, len(seen) if corners else 0, 256):
        here = _marked(seen[start : start + 256])
        nearest = known[torch.searchsorted(known, here).clamp_max(len(known) - 1)]
        for image, down, across in (nearest == here).nonzero().tolist():
            for one, top, left in corners[float(here[image, down, across])]:
                yield one, start + image, down - top, across - left


def _marked(x: torch.Tensor) -> torch.Tensor:
    """float64 (n, h - 7, w - 7): a number for each part of pictures that begins there, the same for the same part."""
    channels, rows, columns = _weights(x.shape[1], PATCH, PATCH)
    height, width = x.shape[2] - PATCH + 1, x.shape[3] - PATCH + 1
    # Sums of slices, as a part's number is the same to the last bit wherever the part stands.
    mixed = _weighted(x.double().unbind(1), channels)
    mixed = _weighted([mixed[:, place : place + height] for place in range(PATCH)], rows)
    return _weighted([mixed[:, :, place : place + width] for place in range(PATCH)], columns)


def _common(one: torch.Tensor, other: torch.Tensor, down: int, across: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What two pictures have in common if the other shows what one does so much further down and right."""
    height, width = one.shape[1:]
    mine = one[:, max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)]
    return mine, other[:, max(0, down) : height - max(0, -down), max(0, across) : width - max(0, -across)]


def _unless_few(copies: int, of: int, told: str) -> Overlap | None:
    return Overlap(copies, of, told) if copies >= max(FEWEST, COPIES * of) else None
