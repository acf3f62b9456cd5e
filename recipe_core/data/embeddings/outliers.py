"""Outliers: pictures that are unlike anything else in the dataset, and those that are unlike their class.

Both are the distance to the k-th nearest picture (Ramaswamy et al. 2000), of all or of those with the same label, as a
multiple of what is usual (the median). With a large k several strangers of one kind, which lie near each other, do not
hide one another. Of the backbone that ships the last layer and the first of the inner ones count, each as much: by the
last what is shown is strange, by the inner one how it is shown, as drawings are among photographs. The other inner
layer tells classes apart, and hides strangers. benchmarks/embeddings.py measures it.
"""

from functools import partial

import numpy as np
import pyarrow as pa

from recipe_core.data.embeddings import Embeddings
from recipe_core.data.embeddings.space import REFERENCE, directions, nearest, principal, sample_of

DIMS = 128
COMPARED = 2  # layers
NEIGHBOURS = 30
SHOWN = 4  # nearest pictures that are kept as evidence
SMALLEST_CLASS = 12  # pictures from which on a class has a look of its own


def outliers(embedded: Embeddings) -> pa.Table:
    """content, unlike_anything, unlike_class (null without a class), nearest, nearest_in_class (contents)."""
    count = len(embedded)
    points = principal(embedded.vectors, DIMS, partial(_strangeness, embedded.layers[:COMPARED]))
    unlike_anything, unlike_class = np.full(count, np.nan), np.full(count, np.nan)
    near: list[list[str]] = [[] for _ in range(count)]
    near_in_class: list[list[str]] = [[] for _ in range(count)]
    _measure(embedded, points, np.arange(count), REFERENCE, unlike_anything, near)
    names, classes = embedded.classes
    by_class = np.argsort(classes, kind="stable")
    for members in np.split(by_class, np.searchsorted(classes[by_class], np.arange(len(names) + 1)))[1:]:
        if len(members) >= SMALLEST_CLASS:
            _measure(embedded, points, members, max(1000, REFERENCE // len(names)), unlike_class, near_in_class)
    return pa.table(
        {
            "content": embedded.rows["content"],
            "unlike_anything": pa.array(unlike_anything, from_pandas=True),
            "unlike_class": pa.array(unlike_class, from_pandas=True),
            "nearest": pa.array(near, pa.list_(pa.string())),
            "nearest_in_class": pa.array(near_in_class, pa.list_(pa.string())),
        }
    )


def _strangeness(layers: tuple[int, ...], block: np.ndarray) -> np.ndarray:
    """The directions of each layer's numbers, or of all; of their roots, so that a few large ones do not outweigh."""
    roots = np.sign(block) * np.sqrt(np.abs(block))
    ends = np.cumsum(layers)
    return np.hstack([directions(part) for part in np.split(roots, ends, axis=1)[: len(ends) or 1]])


def _measure(
    embedded: Embeddings, points: np.ndarray, members: np.ndarray, most: int, unlike: np.ndarray, near: list[list[str]]
) -> None:
    """Fill in how far out the members are among themselves, and which of them are nearest to each."""
    among = members[sample_of(len(members), most)]
    # Of few pictures a third: else their strangers would be measured by the other side of the class.
    distances, found = nearest(points, max(1, min(NEIGHBOURS, len(members) // 3)), among, members)
    if not distances.size:
        return
    usual = np.median(distances[:, -1])
    if usual > 0:  # else most are copies of one another, and there is no scale
        unlike[members] = distances[:, -1] / usual
    for row, contents in zip(members, embedded.contents[found[:, :SHOWN]].tolist(), strict=True):
        near[row] = contents
