"""A linear probe before and after the decisions: what they changed for a model that learns from the labels."""

import math
from dataclasses import dataclass

import numpy as np

from recipe_core.data.decisions import Decisions
from recipe_core.data.embeddings import Embeddings
from recipe_core.data.embeddings.label_errors import components
from recipe_core.errors import NotTrainable

FOLDS, RIDGE, MOST = 5, 1.0, 20_000


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers, with its 95 % interval (Wilson 1927), all 0 to 1."""

    value: float
    low: float
    high: float


def probe(embedded: Embeddings, decisions: Decisions) -> tuple[Accuracy, Accuracy]:
    """The held-out accuracy of ridge regression on the vectors, learning from the labels as given and as decided.

    Both are tested on the same samples, those that are not excluded, against the labels as decided: what differs is
    only what was learned from. Of a large dataset MOST samples are used.

    Raises:
        NotTrainable: fewer than two labels with enough samples, or nearly all are excluded.
    """
    current = decisions.current()
    changed = current.loc[current["label"].notna(), ["key", "label"]]
    excluded = np.isin(embedded.keys, current.loc[current["membership"] == "exclude", "key"].to_list())
    decided = dict(zip(changed["key"], changed["label"], strict=True))
    given = embedded.labels
    after = np.array([decided.get(key, label) for key, label in zip(embedded.keys, given, strict=True)], object)
    rows = np.flatnonzero([label is not None for label in given])
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    names, numbers = np.unique(np.concatenate([given[rows], after[rows]]).astype(str), return_inverse=True)
    if len(names) < 2 or len(rows) < 2 * FOLDS:
        raise NotTrainable("A linear model needs samples of two labels at least, with embeddings.")
    tested = ~excluded[rows]
    if tested.sum() < 2 * FOLDS:
        raise NotTrainable("Nearly all samples are excluded, so that a linear model has nothing to learn from.")
    points = components(embedded.vectors, rows)
    points = np.hstack([points, np.ones((len(points), 1), np.float32)])
    before, after = numbers[: len(rows)], numbers[len(rows) :]
    everything = np.ones(len(rows), bool)
    right = [
        _right(points, labels, learned, after, tested) for labels, learned in ((before, everything), (after, tested))
    ]
    return _accuracy(right[0], tested.sum()), _accuracy(right[1], tested.sum())


def _right(points: np.ndarray, labels: np.ndarray, learned: np.ndarray, truth: np.ndarray, tested: np.ndarray) -> int:
    """How many of the tested samples are answered right by a model that saw the learned ones of the other folds."""
    fold, right = np.random.default_rng(0).permutation(len(points)) % FOLDS, 0
    targets = np.eye(max(labels.max(), truth.max()) + 1, dtype=np.float32)[labels]
    for number in range(FOLDS):
        train, test = (fold != number) & learned, (fold == number) & tested
        square = points[train].T @ points[train] + RIDGE * train.sum() * np.eye(points.shape[1], dtype=np.float32)
        weights = np.linalg.solve(square, points[train].T @ targets[train])
        right += int(((points[test] @ weights).argmax(1) == truth[test]).sum())
    return right


def _accuracy(right: int, count: int) -> Accuracy:
    share, z = right / max(1, count), 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return Accuracy(share, middle - half, middle + half)
