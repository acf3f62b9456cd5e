"""All pairs of 64-bit hashes within a Hamming radius, without comparing all with all.

Pigeonhole: cut the 64 bits into radius + k blocks; two hashes that differ in at most `radius` bits agree in at least k
whole blocks. So for each choice of k blocks, sort by those bits, and only hashes that then stand together with equal
bits need to be compared (the multi-index hashing of Norouzi, Punjani and Fleet, 2012, by sorting instead of tables).
"""

from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from math import comb

import numpy as np

BITS = 64
SORT_COST = 20  # hashes in a bucket whose comparison with one costs as much as sorting that one, measured
MOST_NEIGHBOURS = 128  # hashes that one is compared with in one bucket: flat images can share most of their bits


def pairs_within(
    hashes: np.ndarray, radius: int, check: Callable[[], None] = lambda: None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs i < j of hashes at Hamming distance <= radius.

    Args:
        hashes: uint64 (n,).
        radius: bits, 0 to 16.
        check: called now and then; may raise to end the search.

    Returns:
        i, j (int64) and their distance (uint8), ordered by i, then j. Complete unless more than 128 hashes agree in
        one choice of blocks: of such a crowd each is compared with the 128 that follow it in order of value, which
        keeps the cost linear. Pass distinct hashes: a thousand equal ones are half a million pairs.
    """
    count = len(hashes)
    found = np.empty(0, np.int64)  # pairs as i * count + j
    for mask in _masks(count, radius):
        check()
        order = np.argsort(hashes & mask)
        found = np.unique(np.concatenate([found, *_neighbours(hashes[order], order, mask, radius)]))
    first, second = np.divmod(found, max(count, 1))
    return first, second, np.bitwise_count(hashes[first] ^ hashes[second])


def _neighbours(hashes: np.ndarray, order: np.ndarray, mask: np.uint64, radius: int) -> Iterator[np.ndarray]:
    """Pairs (i * count + j) within the radius among hashes that are sorted by their bits under the mask."""
    position = np.arange(len(hashes))
    for step in range(1, min(MOST_NEIGHBOURS, len(hashes) - 1) + 1):
        position = position[: np.searchsorted(position, len(hashes) - step)]
        differing = hashes[position] ^ hashes[position + step]
        together = (differing & mask) == 0
        position, differing = position[together], differing[together]
        if not len(position):
            return
        near = position[np.bitwise_count(differing) <= radius]
        first, second = order[near], order[near + step]
        yield np.minimum(first, second) * len(hashes) + np.maximum(first, second)


def _masks(count: int, radius: int) -> list[np.uint64]:
    """The choices of blocks, each as a mask of its bits; as many blocks agree as makes the whole search cheapest."""

    def cost(agreeing: int) -> float:
        bucket = count / 2 ** (BITS * agreeing / (radius + agreeing))
        return comb(radius + agreeing, agreeing) * (SORT_COST + bucket)

    agreeing = min(range(1, 6), key=cost)
    edges = np.linspace(0, BITS, radius + agreeing + 1).round().astype(int)
    blocks = [(1 << int(end)) - (1 << int(start)) for start, end in pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in combinations(blocks, agreeing)]
