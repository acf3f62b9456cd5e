"""Candidates by layout: pictures whose coarse grey grids look alike in one of the eight flips and quarter turns.

Hashes lose a picture that is cropped, turned by a few degrees or written on; here it is looked for by the nearest
neighbours of its grid of 8x8 grey cells, and of parts of that grid, so that a caption or a filled corner spoils some
parts only. The neighbours are searched for in the nearest cells of a coarse quantizer (an inverted file: Jégou, Douze
and Schmid, "Product quantization for nearest neighbor search", 2011), so the time does not grow with the square.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

SIDE = 32  # px of a square
PARTS = {  # of the 8x8 grid, rows and columns; a pair found by several counts as found by the first
    "centre": (slice(1, 7), slice(1, 7)),
    "upper": (slice(0, 6), slice(0, 8)),
    "lower": (slice(2, 8), slice(0, 8)),
    "whole": (slice(0, 8), slice(0, 8)),
}
NEIGHBOURS = range(4)  # ranks of likeness, of each part, that are looked at
STRANGERS = (8, 12, 18, 27, 40, 60)  # ranks where another picture is shown, even if there are copies of each
LEAST_LIKENESS = 0.6  # correlation of the grids
EXACT = 4096  # pictures up to which all are compared with all
LISTED = 256  # pictures in a list of the inverted file, on average
PROBED = 8  # lists that are searched
INVERSE = np.array([0, 1, 2, 3, 4, 6, 5, 7])  # turn -> the turn that undoes it
BLOCK = 8192  # pictures whose neighbours are searched at once


def turned(squares: torch.Tensor, turn: int) -> torch.Tensor:
    """Squares (..., side, side) in one of the eight orientations of `fingerprints.TURNS`."""
    if turn >= 4:
        squares = squares.transpose(-1, -2)
    flipped: tuple[int, ...] = ((), (-1,), (-2,), (-2, -1), (), (-2,), (-1,), (-2, -1))[turn]
    return squares.flip(flipped) if flipped else squares


def look_alikes(squares: np.ndarray, check: Callable[[], None] = lambda: None) -> np.ndarray:
    """Pairs of pictures that may show the same.

    Args:
        squares: uint8 (n, 32, 32), the grey pictures.
        check: called now and then; may raise to end the search.

    Returns:
        int32 (pairs, 4), no pair twice: a, b, the turn that makes a look like b, and by which part (number in PARTS).
    """
    grids = _grids(squares)
    found = [
        np.stack([*columns, np.full(len(columns[0]), number)], axis=1)
        for number, part in enumerate(PARTS.values())
        for columns in _neighbours(grids, part, range(8), NEIGHBOURS, LEAST_LIKENESS, check)
    ]
    return once(np.concatenate(found).astype(np.int32)) if found else np.empty((0, 4), np.int32)


def strangers(squares: np.ndarray, check: Callable[[], None] = lambda: None) -> np.ndarray:
    """Pairs of pictures that look alike less and less: how alike two are that are no copies.

    Args: see `look_alikes`.

    Returns:
        As look_alikes does; no picture is turned.
    """
    whole = list(PARTS).index("whole")
    found = [
        np.stack([*columns, np.full(len(columns[0]), whole)], axis=1)
        for columns in _neighbours(_grids(squares), PARTS["whole"], range(1), STRANGERS, -1.0, check)
    ]
    return once(np.concatenate(found).astype(np.int32)) if found else np.empty((0, 4), np.int32)


def _grids(squares: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(squares).float().unflatten(2, (8, -1)).unflatten(1, (8, -1)).mean((2, 4))


def once(pairs: np.ndarray) -> np.ndarray:
    """The rows (a, b, turn, ...) without those that say the same of b and a, or again; the first of each stays."""
    first, second, turn = pairs[:, :3].astype(np.int64).T
    swapped = first > second
    key = np.where(swapped, second, first) * (int(pairs[:, :2].max(initial=0)) + 1) + np.where(swapped, first, second)
    key = key * 8 + np.where(swapped, INVERSE[turn], turn)
    return pairs[np.sort(np.unique(key, return_index=True)[1])]


def _neighbours(
    grids: torch.Tensor,
    part: tuple[slice, slice],
    turns: Sequence[int],
    ranks: Sequence[int],
    least: float,
    check: Callable[[], None],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Arrays of query, neighbour and the turn that makes the query look like it."""
    known = _described(grids, part)
    centres = _centres(known)
    lists = torch.cat([_nearest(block, centres, 1)[:, 0] for block in known.split(BLOCK)])
    order = torch.argsort(lists)
    ends = torch.cumsum(torch.bincount(lists, minlength=len(centres)), 0).tolist()
    members = [order[start:end] for start, end in pairwise([0, *ends])]
    for start in range(0, len(grids), BLOCK):
        check()
        queries = torch.stack([_described(turned(grids[start : start + BLOCK], turn), part) for turn in turns], 1)
        yield _best(queries, start, known, centres, members, ranks, least)


def _best(
    queries: torch.Tensor,
    start: int,
    known: torch.Tensor,
    centres: torch.Tensor,
    members: list[torch.Tensor],
    ranks: Sequence[int],
    least: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those of some ranks of likeness to each picture over its turns.

    Args:
        queries: (pictures, turns, values); `start` is the number of the first picture.
    """
    turns, flat = queries.shape[1], queries.flatten(0, 1)
    probed = _nearest(flat, centres, min(PROBED, len(centres)))
    asking, ends = torch.argsort(probed.flatten()), torch.bincount(probed.flatten(), minlength=len(centres)).cumsum(0)
    found = []
    for begin, end, listed in zip([0, *ends.tolist()], ends.tolist(), members, strict=False):
        for rows in (asking[begin:end] // probed.shape[1]).split(BLOCK):
            if len(listed) and len(rows):
                likeness = flat[rows] @ known[listed].T
                likeness[listed == (start + rows // turns)[:, None]] = -1
                best, place = likeness.topk(min(max(ranks) + 1, len(listed)))
                alike = best > least
                found.append(
                    (rows[:, None].expand_as(best)[alike].numpy(), listed[place[alike]].numpy(), best[alike].numpy())
                )
    if not found:
        return (np.empty(0, np.int64),) * 3
    rows_, answers, likenesses = (np.concatenate(column) for column in zip(*found, strict=True))
    pictures = rows_ // turns
    ranked = np.lexsort((-likenesses, pictures))
    firsts = np.searchsorted(pictures[ranked], pictures[ranked])
    chosen = ranked[np.isin(np.arange(len(ranked)) - firsts, list(ranks))]
    return start + pictures[chosen], answers[chosen], rows_[chosen] % turns


def _described(grids: torch.Tensor, part: tuple[slice, slice]) -> torch.Tensor:
    """A part of each grid as a vector of mean 0 and length 1."""
    values = grids[:, part[0], part[1]].flatten(1)
    values = values - values.mean(1, keepdim=True)
    return values / values.norm(dim=1, keepdim=True).clamp_min(1e-3)


def _centres(known: torch.Tensor) -> torch.Tensor:
    """Centres of the lists, by a few rounds of k-means on a sample."""
    if len(known) <= EXACT:
        return known[:1]
    count = len(known) // LISTED
    chance = torch.Generator().manual_seed(0)
    sample = known[torch.randperm(len(known), generator=chance)[: 32 * count]]
    centres = sample[:count]
    for _ in range(4):
        nearest = torch.cat([_nearest(block, centres, 1)[:, 0] for block in sample.split(BLOCK)])
        sums = torch.zeros_like(centres).index_add_(0, nearest, sample)
        centres = torch.where(sums.norm(dim=1, keepdim=True) > 0, sums, centres)
        centres = centres / centres.norm(dim=1, keepdim=True)
    return centres


def _nearest(vectors: torch.Tensor, centres: torch.Tensor, count: int) -> torch.Tensor:
    return (vectors @ centres.T).topk(count).indices
