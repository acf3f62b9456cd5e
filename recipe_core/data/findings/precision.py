"""How many of the near duplicates above a threshold are the same picture, from a few yes/no answers.

    answers = Answers(store, "pets")
    answers.add("a.jpg", "b.jpg", similarity=0.91, same=True, by="ann")
    estimate(pairs["similarity"], answers.all(), threshold=0.9)     # Estimate(value=0.97, low=0.9, high=1.0, answers=1)

The more alike two pictures are, the likelier they are the same: so the probability is taken to be a logistic curve of
the similarity, up to a ceiling below which even very similar pictures may stay. The answers, a Bernoulli draw each,
weigh all curves of a grid by Bayes' rule. What the curves say of the pairs above the threshold, weighed so, is the
estimate and its interval. Answers near the threshold tell most: where those are yes, the more similar ones are too.
Asking where the curves still disagree most is uncertainty sampling (Lewis and Gale, 1994).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sqlalchemy import insert, select

from recipe_core.store import Store
from recipe_core.store import answers as table

MISTAKES = 0.02  # of the answers, by a slip of the hand
CERTAIN = 10  # answers "same" on very similar pairs, as if given before the first: the ceiling is usually high
COVERAGE = 0.9  # of the interval
MIDDLES, WIDTHS, CEILINGS, BINS = 61, 8, 11, 64


class Answers:
    """What people said of pairs of one dataset's samples."""

    def __init__(self, store: Store, dataset: str):
        self.store = store
        self.dataset = dataset

    def add(self, a: str, b: str, similarity: float, same: bool, by: str = "") -> None:
        """Remember whether two samples show the same picture."""
        a, b = sorted((a, b))
        row = {"dataset": self.dataset, "a": a, "b": b, "similarity": similarity, "same": same, "by": by}
        with self.store.engine.begin() as connection:
            connection.execute(insert(table).values(row | {"at": time.time()}))

    def all(self) -> pd.DataFrame:
        """a, b, similarity, same: the latest answer on each pair."""
        chosen = select(table.c.a, table.c.b, table.c.similarity, table.c.same).where(table.c.dataset == self.dataset)
        with self.store.engine.connect() as connection:
            rows = connection.execute(chosen.order_by(table.c.id)).all()
        found = pd.DataFrame(rows, columns=["a", "b", "similarity", "same"])
        return found.drop_duplicates(["a", "b"], keep="last").reset_index(drop=True)


@dataclass(frozen=True)
class Estimate:
    """The share of pairs that are the same picture, 0 to 1, its interval of 90 %, and the answers behind it."""

    value: float
    low: float
    high: float
    answers: int


def estimate(similarities: np.ndarray, answers: pd.DataFrame, threshold: float) -> Estimate | None:
    """The precision at a threshold; None where no pair is above it.

    Args:
        similarities: (n,) of all near pairs, 0 to 1.
        answers: similarity and same, of some of them.
    """
    above = similarities[similarities >= threshold]
    if not len(above):
        return None
    curves, weights = _curves(similarities, answers)
    counts, edges = np.histogram(above, BINS)
    precision = curves((edges[:-1] + edges[1:]) / 2) @ (counts / counts.sum())
    order = np.argsort(precision)
    share = np.cumsum(weights[order])
    low, value, high = (
        float(precision[order][min(np.searchsorted(share, quantile), len(order) - 1)])
        for quantile in ((1 - COVERAGE) / 2, 0.5, (1 + COVERAGE) / 2)
    )
    return Estimate(value, low, high, len(answers))


def most_telling(similarities: np.ndarray, answers: pd.DataFrame, threshold: float) -> float | None:
    """The similarity, at or above the threshold, of which an answer would tell most; None where there is no pair.

    Args:
        similarities: (n,) of the pairs that can be asked about.
    """
    above = np.unique(similarities[similarities >= threshold])
    if not len(above):
        return None
    tried = above[np.linspace(0, len(above) - 1, min(BINS, len(above))).astype(int)]
    curves, weights = _curves(similarities, answers)
    chances = curves(tried)
    mean = weights @ chances
    doubt = np.sqrt(weights @ (chances - mean) ** 2)
    return float(tried[int(np.argmax(doubt.round(3)))])  # of equals the one nearest to the threshold


def _curves(similarities: np.ndarray, answers: pd.DataFrame) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Curves, similarities (k,) -> chances (curves, k), and how likely each of them is after the answers."""
    low, high = float(similarities.min()), float(similarities.max())
    room = max(high - low, 0.02)
    # From "all pairs are the same" to "none is", from a step to a slope.
    middles = np.linspace(low - 1.5 * room, high + 0.5 * room, MIDDLES)
    widths = np.geomspace(room / 50, room / 3, WIDTHS)
    ceilings = np.linspace(0.5, 1, CEILINGS)
    middle, width, ceiling = (axis.ravel()[:, None] for axis in np.meshgrid(middles, widths, ceilings, indexing="ij"))

    def curves(at: np.ndarray) -> np.ndarray:
        return ceiling / (1 + np.exp(-((at - middle) / width).clip(-50, 50)))

    chances = MISTAKES + (1 - 2 * MISTAKES) * curves(answers["similarity"].to_numpy(float))
    same = answers["same"].to_numpy(bool)
    likelihood = np.log(np.where(same, chances, 1 - chances)).sum(axis=1) + CERTAIN * np.log(ceiling[:, 0])
    weights = np.exp(likelihood - likelihood.max())
    return curves, weights / weights.sum()
