"""What was decided, as the findings ask for it."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from recipe_core.data.findings.finding import KINDS

if TYPE_CHECKING:
    from recipe_core.data.decisions import Decisions


class Rulings:
    """The decisions that stand at one moment."""

    def __init__(self, decisions: "Decisions"):
        self._decisions = decisions
        current = decisions.current()
        self.excluded: Collection[str] = current.loc[current["membership"] == "exclude", "key"]
        self.kept: Collection[str] = current.loc[current["membership"] == "keep", "key"]
        relabelled = current[current["label"].notna()]
        self.labels: dict[str, str] = dict(zip(relabelled["key"], relabelled["label"], strict=True))
        self.is_empty = current.empty

    @cached_property
    def table(self) -> pa.Table:
        """key, kind: of which kinds of findings each sample is decided; "" stands for all."""
        named = {"": [*self.excluded, *self.kept]}
        if not self.is_empty:
            named |= {kind: list(self._decisions.dismissed(kind)) for kind in KINDS}
        kinds = [kind for kind, keys in named.items() for _ in keys]
        keys = [key for keys in named.values() for key in keys]
        return pa.table({"key": pa.array(keys, pa.string()), "kind": pa.array(kinds, pa.string())})

    def settled(self, kind: str) -> set[str]:
        """The samples on which findings of a kind, that speak of one sample each, are decided."""
        return {*self.excluded, *self.kept, *(() if self.is_empty else self._decisions.dismissed(kind))}

    def is_settled(self, kind: str, topic: str, samples: Collection[str]) -> bool:
        """Whether a finding on the whole dataset is: half of its samples are no problem, or all are excluded."""
        if self.is_empty:
            return False
        ruled = (self._decisions.dismissed(kind) | self._decisions.dismissed(topic)).intersection(samples)
        return 2 * len(ruled) >= len(samples) > 0 or (bool(samples) and set(self.excluded).issuperset(samples))

    def dismissed_pairs(self, kinds: Iterable[str], left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Whether both keys of each pair were named in one act as not a problem of one of these kinds."""
        acts = defaultdict(set)  # key -> acts
        for number, keys in enumerate(keys for kind in kinds for keys in self._decisions.dismissed_together(kind)):
            for key in keys:
                acts[key].add(number)
        if not acts:
            return np.zeros(len(left), bool)
        named = list(acts)
        both = pd.Series(left).isin(named).to_numpy() & pd.Series(right).isin(named).to_numpy()
        for at in np.flatnonzero(both):
            both[at] = bool(acts[left[at]] & acts[right[at]])
        return both
