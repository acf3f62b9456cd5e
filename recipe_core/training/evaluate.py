"""How good a model is, from its probabilities over a whole split. No torch here; `predictions` makes the numbers.

evaluation = Evaluation.of(probabilities, labels, classes)
evaluation.summary["accuracy"], evaluation.confusion, evaluation.per_class, evaluation.reliability
evaluation.save(folder); Evaluation.load(folder)
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NORMAL_95 = 1.959963984540054  # two-sided
BINS = 15  # of confidence, as in Guo et al.
MISTAKES = 200  # the worst are kept


@dataclass(frozen=True)
class Evaluation:
    """What a model does on a split.

    Attributes:
        classes: names, in the order of the labels.
        summary: samples, correct, accuracy, accuracy_low, accuracy_high (Wilson, 95 %), loss, ece.
        confusion: int64 (classes, classes), rows true, columns predicted.
        per_class: label, precision, recall, f1, support; NaN where nothing was predicted or there was nothing to find.
        reliability: low, high, count, confidence, accuracy of each bin of confidence; NaN in empty ones.
        mistakes: row (of the split), true, predicted (labels), probability (of the predicted), loss; worst loss first.
        probabilities: float32 (samples, classes), in the order of the split.
        labels: int64 (samples,).
    """

    classes: tuple[str, ...]
    summary: dict[str, Any]
    confusion: np.ndarray
    per_class: pd.DataFrame
    reliability: pd.DataFrame
    mistakes: pd.DataFrame
    probabilities: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> "Evaluation":
        """Evaluate probabilities (samples, classes) of samples with these labels."""
        predicted = probabilities.argmax(1)
        loss = sample_losses(probabilities, labels)
        correct = int((predicted == labels).sum())
        low, high = wilson(correct, len(labels))
        reliability = reliability_table(probabilities, labels)
        summary = {
            "samples": len(labels),
            "correct": correct,
            "accuracy": correct / len(labels),
            "accuracy_low": low,
            "accuracy_high": high,
            "loss": float(loss.mean()),
            "ece": expected_calibration_error(reliability),
        }
        confusion = confusion_matrix(labels, predicted, len(classes))
        return cls(
            tuple(classes),
            summary,
            confusion,
            class_metrics(confusion, classes),
            reliability,
            worst_mistakes(probabilities, labels),
            probabilities,
            labels,
        )

    def save(self, folder: Path) -> None:
        """Write evaluation.npz and evaluation.json into a folder, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = folder / "evaluation.npz.partial"
        with arrays.open("wb") as file:
            np.savez(file, probabilities=self.probabilities, labels=self.labels)
        arrays.replace(folder / "evaluation.npz")
        told = folder / "evaluation.json.partial"
        told.write_text(json.dumps({"classes": self.classes, "summary": self.summary}), "utf-8")
        told.replace(folder / "evaluation.json")

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        """What was saved there; the tables are computed anew."""
        told = json.loads((folder / "evaluation.json").read_text("utf-8"))
        with np.load(folder / "evaluation.npz") as arrays:
            return cls.of(arrays["probabilities"], arrays["labels"], told["classes"])


def sample_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each sample; a probability of 0 counts as the least that float32 holds."""
    given = probabilities[np.arange(len(labels)), labels].astype(float)
    return -np.log(np.maximum(given, np.finfo(np.float32).tiny))


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts, rows true, columns predicted."""
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_metrics(confusion: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """label, precision, recall, f1, support of each class; NaN for 0/0."""
    hits, support, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore"):
        table = {"precision": hits / predicted, "recall": hits / support, "f1": 2 * hits / (support + predicted)}
    return pd.DataFrame({"label": list(classes), **table, "support": support})


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); right for few trials and for shares near 0 or 1, too."""
    share, square = successes / trials, NORMAL_95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = NORMAL_95 / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def reliability_table(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Mean confidence and accuracy in bins (low, high] of the highest probability (Guo et al. 2017)."""
    confidence = probabilities.max(1).astype(float)
    right = probabilities.argmax(1) == labels
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(which, each, bins) / count for each in (confidence, right.astype(float))]
    return pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "count": count, "confidence": means[0], "accuracy": means[1]}
    )


def expected_calibration_error(reliability: pd.DataFrame) -> float:
    """Mean distance of confidence and accuracy, by the bins' counts (Guo et al. 2017)."""
    gap = (reliability["confidence"] - reliability["accuracy"]).abs().fillna(0)
    return float((gap * reliability["count"]).sum() / reliability["count"].sum())


def worst_mistakes(probabilities: np.ndarray, labels: np.ndarray, limit: int = MISTAKES) -> pd.DataFrame:
    """Samples told wrong, highest loss first: row, true, predicted, probability (of the predicted), loss."""
    predicted, loss = probabilities.argmax(1), sample_losses(probabilities, labels)
    rows = np.flatnonzero(predicted != labels)
    rows = rows[np.argsort(-loss[rows], kind="stable")][:limit]
    return pd.DataFrame(
        {
            "row": rows,
            "true": labels[rows],
            "predicted": predicted[rows],
            "probability": probabilities[rows].max(1).astype(float),
            "loss": loss[rows],
        }
    )
