"""The map: the dataset in two dimensions, neighbours beside neighbours.

t-SNE (van der Maaten and Hinton 2008, scikit-learn's Barnes-Hut) of a sample, on 50 principal components; every other
picture stands at the mean of its nearest in the sample, weighed by how near they are. The same embeddings give the same
map. The axes mean nothing; what is near means something, what is far does not.
"""

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from recipe_core.data.embeddings import Embeddings
from recipe_core.data.embeddings.space import nearest, principal, sample_of

DIMS = 50
LAID_OUT = 6_000  # pictures that t-SNE places
PERPLEXITY = 30
NEIGHBOURS = 5
FEWEST = 8  # below that there is nothing to lay out


def project(embedded: Embeddings) -> pa.Table:
    """content, x, y: within -1 and 1 each."""
    places = _places(embedded)
    return pa.table({"content": embedded.rows["content"], "x": places[:, 0], "y": places[:, 1]})


def _places(embedded: Embeddings) -> np.ndarray:
    """float32 (n, 2)."""
    count = len(embedded)
    if count < FEWEST:
        angles = 2 * np.pi * np.arange(count) / max(1, count)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32) * (count > 1)
    points = principal(embedded.vectors, DIMS)
    sample = sample_of(count, LAID_OUT)
    places = np.zeros((count, 2), np.float32)
    places[sample] = _laid_out(points[sample])
    others = np.setdiff1d(np.arange(count), sample)
    if len(others):
        distances, near = nearest(points, NEIGHBOURS, sample, others)
        weights = 1 / np.maximum(distances, 1e-6)
        places[others] = (places[near] * weights[..., None]).sum(1) / weights.sum(1, keepdims=True)
    places -= (places.max(0) + places.min(0)) / 2
    return places / max(np.abs(places).max(), 1e-9)


def _laid_out(points: np.ndarray) -> np.ndarray:
    """Where t-SNE puts these points, float32 (n, 2)."""
    from sklearn.manifold import TSNE

    # Equal points, as of constant pictures, would have no first principal component to start along.
    start = points[:, :2] + np.random.default_rng(0).normal(0, 1e-3, (len(points), 2))
    start = (1e-4 * start / max(start.std(), 1e-9)).astype(np.float32)
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    # One thread: with several, the threads of a busy machine wait for each other (minutes instead of seconds), and the
    # outcome hangs on which comes first.
    with threadpool_limits(1):
        return TSNE(init=start, perplexity=perplexity, random_state=0, n_jobs=1).fit_transform(points)
