"""Outliers: pictures that are unlike anything else in the dataset, and those that are unlike their class.

Both are distances to neighbours (Ramaswamy et al. 2000): to the nearest of all pictures, and to the nearest of those
with the same label.
"""

import numpy as np
import pyarrow as pa

from recipe_core.data.embeddings import Embeddings
from recipe_core.data.embeddings.space import REFERENCE, nearest, principal, sample_of

DIMS = 128
NEIGHBOURS = 10
SHOWN = 4  # nearest pictures that are kept as evidence
SMALLEST_CLASS = 10  # pictures from which on a class has a look of its own


def outliers(embedded: Embeddings) -> pa.Table:
    """content, unlike_anything, unlike_class (null without a class), nearest, nearest_in_class (contents)."""
    points = principal(embedded.vectors, DIMS)
    distances, near = nearest(points, NEIGHBOURS)
    unlike_class = np.full(len(points), np.nan)
    near_in_class: list[list[str]] = [[] for _ in range(len(points))]
    names, classes = embedded.classes
    for number in range(len(names)):
        members = np.flatnonzero(classes == number)
        if len(members) < SMALLEST_CLASS:
            continue
        among = members[sample_of(len(members), max(SMALLEST_CLASS, REFERENCE // len(names)))]
        own_distances, own_near = nearest(points, NEIGHBOURS, among, members)
        unlike_class[members] = own_distances.mean(1)
        for row, found in zip(members, own_near[:, :SHOWN], strict=True):
            near_in_class[row] = embedded.contents[found].tolist()
    return pa.table(
        {
            "content": embedded.rows["content"],
            "unlike_anything": distances.mean(1) if distances.shape[1] else np.full(len(points), np.nan),
            "unlike_class": pa.array(unlike_class, from_pandas=True),
            "nearest": pa.array(embedded.contents[near[:, :SHOWN]].tolist(), pa.list_(pa.string())),
            "nearest_in_class": pa.array(near_in_class, pa.list_(pa.string())),
        }
    )
