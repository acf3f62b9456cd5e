"""How well one variable by itself tells the label of samples that it was not fitted on: cross-validated histograms.

The model of a variable of bins is a table, how often each class is in each bin: it needs no settings, knows no order
between the bins, and is fitted to all folds by counting once.
"""

from dataclasses import dataclass

import numpy as np

FOLDS = 5
SHUFFLES = 4999


@dataclass(frozen=True)
class Counts:
    """Samples per fold, bin and class, (folds, bins, classes), of one variable."""

    bins: np.ndarray
    labels: np.ndarray
    folds: np.ndarray
    table: np.ndarray

    @classmethod
    def of(cls, bins: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> "Counts":
        """Count; all three are (n,) whole numbers from 0."""
        shape = (FOLDS, int(bins.max()) + 1, int(labels.max()) + 1)
        flat = np.ravel_multi_index((folds, bins, labels), shape)
        return cls(
            bins, labels, folds, np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.int32)
        )

    def guesses(self) -> np.ndarray:
        """(n,) the class of each sample by a model of the other folds, all classes counting the same."""
        fitted = self.table.sum(axis=0) - self.table
        share = fitted / np.maximum(fitted.sum(axis=1, keepdims=True), 1)
        return share.argmax(axis=2)[self.folds, self.bins]

    def regions(self) -> np.ndarray:
        """(folds, bins, classes) in which bins a class is looked for, by a model of the other folds."""
        return np.stack([best_region(fitted) for fitted in self.table.sum(axis=0) - self.table])


def best_region(table: np.ndarray) -> np.ndarray:
    """For each class those bins that together tell it from all others with the best F1.

    Args:
        table: (bins, classes) samples.

    Returns:
        (bins, classes) of truth values.
    """
    of_bin = table.sum(axis=1)
    order = np.argsort(-table / np.maximum(of_bin, 1)[:, None], axis=0, kind="stable")
    hits = np.take_along_axis(table, order, axis=0).cumsum(axis=0)
    f1 = 2 * hits / np.maximum(of_bin[order].cumsum(axis=0) + table.sum(axis=0), 1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(order))[:, None], axis=0)
    return (rank <= f1.argmax(axis=0)) & (table > 0)


def balanced_accuracy(guesses: np.ndarray, labels: np.ndarray) -> float:
    """The mean over the classes of the share of their samples that is guessed."""
    right = np.bincount(labels[guesses == labels], minlength=int(labels.max()) + 1)
    return float((right / np.bincount(labels)).mean())


def chance_of(guesses: np.ndarray, labels: np.ndarray, chance: np.random.Generator) -> float:
    """How often labels in any other order would be guessed as well: a permutation test."""
    score = balanced_accuracy(guesses, labels)
    as_good = 1
    for _ in range(SHUFFLES):
        as_good += balanced_accuracy(guesses, chance.permutation(labels)) >= score
        if as_good > 50:  # by far no finding
            break
    return as_good / (SHUFFLES + 1)


@dataclass(frozen=True)
class Found:
    """How well each class is told from all others by its held-out regions, (classes,) each."""

    precision: np.ndarray
    recall: np.ndarray
    hits: np.ndarray
    chance: np.ndarray  # how often labels in any order would be hit as often

    @classmethod
    def of(cls, counts: Counts) -> "Found":
        from scipy.stats import hypergeom  # half a second, which no command should wait for

        regions = counts.regions()
        hits = (counts.table * regions).sum(axis=(0, 1))
        marked = (counts.table.sum(axis=2, keepdims=True) * regions).sum(axis=(0, 1))
        size = counts.table.sum(axis=(0, 1))
        # Labels in any order, the marked samples given: hits follow a hypergeometric distribution.
        chance = hypergeom.sf(hits - 1, len(counts.labels), size, marked)
        return cls(hits / np.maximum(marked, 1), hits / np.maximum(size, 1), hits, chance)
