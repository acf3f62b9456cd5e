"""What the findings of clusters say."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from recipe_core.data.sources.base import shown


def named(evidence: dict, a: str, b: str) -> dict:
    """The evidence of a near pair with the names of its two samples in its sentences: the file's, where they differ."""
    names = (PurePosixPath(a).name, PurePosixPath(b).name)
    first, second = names if names[0] != names[1] else (a, b)
    told = [text.format(a=shown(first), b=shown(second)) for text in evidence.get("differences", ())]
    return evidence | {"differences": told} if told else evidence


def counted(texts: np.ndarray) -> dict[str, int]:
    """Text -> samples that have it, most frequent first."""
    return {str(text): int(count) for text, count in pd.Series(texts).value_counts().items()}


def of_all_samples_first(pairs: list[dict]) -> list[dict]:
    """The pairs in their order, but first those by which a sample is told of that no pair before them has."""
    told: set[str] = set()
    first: list[dict] = []
    others: list[dict] = []
    for pair in pairs:
        (others if {pair["a"], pair["b"]} <= told else first).append(pair)
        told |= {pair["a"], pair["b"]}
    return first + others


def majority(labels: dict[str, int]) -> str | None:
    first, second = (*labels.values(), 0)[:2]
    return next(iter(labels)) if first > second else None


def message(
    kind: str, subkind: str, samples: int, labels: dict[str, int], splits: dict[str, int], near: Sequence[dict]
) -> str:
    ways = list(dict.fromkeys(difference["subkind"] for difference in near))
    if len(near) == 1:
        ways = near[0].get("differences") or ways
    same, told = ("The same picture", "") if subkind == "exact" else ("Nearly the same picture", f": {', '.join(ways)}")
    if kind == "split_leak":
        return f"{same} stands in {_listed(splits)}{told}."
    if kind == "label_conflict":
        return f"{same} is labelled {_listed(labels)}{told}."
    if kind == "exact_duplicate":
        return f"{samples:,} files " + (
            "are the same, byte for byte." if subkind == "bytes" else "show the same pixels."
        )
    return f"{samples:,} samples show nearly the same picture{told}."


def _listed(counts: dict[str, int]) -> str:
    """ "cat, dog and owl"."""
    *others, last = counts
    return f"{', '.join(others)} and {last}" if others else last
