"""The space of the vectors: fewer dimensions, and who is near whom in it, in bounded memory.

points = principal(embedded.vectors, 128)             # float32 (n, 128)
distances, rows = nearest(points, 10)                 # each one's nearest others
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from threadpoolctl import threadpool_limits

from recipe_core.data.embeddings.segments import Vectors

REFERENCE = 50_000  # neighbours are looked for among all, or among so many of them: a million take minutes, not hours
BLOCK = 2048  # rows whose distances to all others are in memory at once


def directions(block: np.ndarray) -> np.ndarray:
    """Vectors (n, d) at a length of 1."""
    return block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-6)


def principal(vectors: Vectors, dims: int, seen_as: Callable[[np.ndarray], np.ndarray] = directions) -> np.ndarray:
    """The directions of the vectors, by their principal components: float32 (n, dims or less).

    Args:
        seen_as: what is made of the vectors first, (n, d) -> (n, any).
    """
    count = len(vectors)
    if not count:
        return np.empty((0, 0), np.float32)
    width = seen_as(vectors[:1]).shape[1]
    total, squares = np.zeros(width), torch.zeros(width, width, dtype=torch.float64)
    for _, block in vectors.blocks():
        block = seen_as(block)
        total += block.sum(0)
        part = torch.from_numpy(block)
        squares += (part.T @ part).double()
    mean = total / max(1, count)
    axes = main_axes(squares.numpy() / max(1, count) - np.outer(mean, mean), dims).astype(np.float32)
    axes *= np.where(np.abs(axes).max(0) == axes.max(0), 1, -1)  # a sign of our own: the solver's is by chance
    points = np.empty((count, axes.shape[1]), np.float32)
    for start, block in vectors.blocks():
        points[start : start + len(block)] = (seen_as(block) - mean.astype(np.float32)) @ axes
    return points


def main_axes(covariance: np.ndarray, dims: int) -> np.ndarray:
    """The directions (width, dims or less) in which most varies, that of most first.

    Args:
        covariance: float64 (width, width).
    """
    width = len(covariance)
    with threadpool_limits(1):  # beside another busy process the solver's threads spend their time on waiting
        _, axes = scipy.linalg.eigh(covariance, subset_by_index=(max(0, width - dims), width - 1))
    return axes[:, ::-1]


def sample_of(count: int, most: int = REFERENCE) -> np.ndarray:
    """Up to `most` numbers below `count`, ascending, always the same."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def nearest(
    points: np.ndarray, k: int, reference: np.ndarray | None = None, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of each point, not counting itself.

    Args:
        points: float32 (n, dims).
        reference: numbers of the points among which they are looked for; by default of at most REFERENCE of them.
        rows: numbers of the points whose neighbours are wanted; by default all.

    Returns:
        Euclidean distances, ascending, and the numbers of the points: float32 and int64 (rows, k or less).
    """
    reference = sample_of(len(points)) if reference is None else reference
    rows = np.arange(len(points)) if rows is None else rows
    k = min(k, len(reference) - 1)
    if k < 1:
        return np.empty((len(rows), 0), np.float32), np.empty((len(rows), 0), np.int64)
    among = torch.from_numpy(points[reference])
    half = (among**2).sum(1) / 2
    place = np.full(len(points), -1)
    place[reference] = np.arange(len(reference))
    distances, found = [], []
    for start in range(0, len(rows), BLOCK):
        wanted = rows[start : start + BLOCK]
        near = torch.addmm(half, torch.from_numpy(points[wanted]), among.T, alpha=-1)  # grows with the distance
        own = np.flatnonzero(place[wanted] >= 0)
        near[own, place[wanted][own]] = torch.inf
        found.append(reference[near.topk(k, largest=False).indices.numpy()])
        # Anew from the points: what the products leave of small distances is noise.
        distances.append(np.linalg.norm(points[found[-1]] - points[wanted][:, None], axis=2))
    return np.concatenate(distances), np.concatenate(found)
