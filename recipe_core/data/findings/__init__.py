"""Findings: what is suspicious in a dataset, found in its catalog and by its examination.

    pets.found.summary()                                # how many of each kind, how many undecided
    pets.found.page("blank", limit=48)                  # worst first
    pets.found.clusters(threshold=0.9).joined(limit=20)

It is always what is known now, while the scan still runs too; `pending()` says what is not known yet.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from recipe_core.data.biases.crossed import crossed
from recipe_core.data.biases.report import class_counts
from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.data.findings import embedded, integrity, label_errors, tables
from recipe_core.data.findings.clusters import Clusters, Members
from recipe_core.data.findings.embedded import EmbeddedOutliers
from recipe_core.data.findings.finding import (
    ALONE,
    CLUSTERED,
    KINDS,
    SEVERITIES,
    SUBKINDS,
    WHOLE,
    Finding,
    Summary,
    known_kind,
    sentence,
)
from recipe_core.data.findings.outliers import Outliers
from recipe_core.data.findings.rulings import Rulings
from recipe_core.data.findings.spreads import Spread
from recipe_core.data.findings.tails import tail
from recipe_core.data.findings.whole import Whole

__all__ = ["ALONE", "CLUSTERED", "KINDS", "SEVERITIES", "SUBKINDS", "WHOLE"]
__all__ += ["Finding", "Findings", "Summary", "known_kind", "sentence"]

CHUNK = 50_000  # findings in memory at once while all are gone through
PATIENCE = 10.0  # while a scan runs, what is asked every second takes a tenth of the time at most
COLUMNS = ["id", "severity", *(field.name for field in fields(Finding))]


class Findings:
    """The findings of one dataset."""

    def __init__(self, folder: Path, catalog: Catalog, decisions: Decisions):
        self.folder, self.catalog, self.decisions = folder, catalog, decisions

    # How many

    def summary(self) -> list[Summary]:
        """What there is, a line per kind and subkind: the kinds in the order of KINDS, each one's largest first."""

        def make() -> list[Summary]:
            rulings, limits = self._rulings(), self._limits()
            nothing: list[Summary] = []
            alone = tables.ask(self.catalog, lambda rows: integrity.summaries(rows, limits, rulings), nothing)
            order = list(KINDS)
            found = [*alone, *self.clusters().summaries()]
            found += self.embedded_outliers().summaries(rulings)
            found += tables.ask(self.catalog, lambda rows: label_errors.summaries(rows, rulings), nothing)
            found += [*self.outliers().summaries(rulings), *self.whole().summaries(rulings)]
            return sorted(found, key=lambda line: (order.index(line.kind), -line.findings, line.subkind))

        act, is_changing = self.decisions.newest_act, not self.catalog.is_finished
        return _memory.recall(self.folder, "summary", (self._version, act), make, exact=act, is_changing=is_changing)

    def pending(self) -> list[str]:
        """What is not known yet, a sentence each; nothing is pending where all is."""
        if not self.catalog.files:
            return ["Nothing is scanned yet; the findings come with the first samples."]
        if not self.catalog.is_finished:
            return ["The scan has not finished; more will be found, and the pictures are examined after it."]
        stamp, done = tables.catalog_stamp(self.folder), tables.examined(self.folder)
        waiting = [what for name, what in WAITING.items() if done.get(name) != stamp]
        return [f"Not examined yet: {', '.join(waiting)}."] if waiting else []

    def unembedded(self) -> list[str]:
        """What is not known before the pictures are embedded; the gate does not wait for it."""
        return embedded.pending(self.folder) if self.catalog.is_finished else []

    # Which

    def page(
        self,
        kind: str,
        subkind: str | None = None,
        undecided_only: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> tuple[list[Finding], int]:
        """Some findings of a kind, worst first, and how many there are in all.

        Raises:
            BadQuery: there is no such kind.
        """
        of_kind = [line for line in self.summary() if line.kind == known_kind(kind) and subkind in (None, line.subkind)]
        total = sum(line.undecided if undecided_only else line.findings for line in of_kind)
        return self._some(kind, subkind, undecided_only, limit, offset), total

    def all(self, kind: str | None = None, subkind: str | None = None) -> Iterator[Finding]:
        """The findings of a kind, or of all, one after the other; memory holds a part of them at a time.

        Raises:
            BadQuery: there is no such kind.
        """
        for name in KINDS if kind is None else (known_kind(kind),):
            offset = 0
            while found := self._some(name, subkind, False, CHUNK, offset):
                yield from found
                offset += len(found)

    def frame(self, kind: str | None = None) -> pd.DataFrame:
        """The findings, one row each. Raises BadQuery."""
        return pd.DataFrame([finding.to_dict() for finding in self.all(kind)], columns=COLUMNS)

    def clusters(self, threshold: float | None = None) -> Clusters:
        """The clusters of samples with (nearly) the same picture; near pairs less similar than `threshold` are none."""

        def find() -> Members:
            return tables.ask(self.catalog, Members.find, Members.none())

        members = _memory.recall(self.folder, "members", self._version, find)
        key = (self._version, self.decisions.version)
        return _memory.recall(
            self.folder, f"clusters {threshold}", key, lambda: Clusters(members, self._rulings(), threshold)
        )

    def embedded_outliers(self) -> EmbeddedOutliers:
        """The pictures that are unlike others, by their embeddings."""

        def find() -> EmbeddedOutliers:
            return tables.ask(self.catalog, EmbeddedOutliers.find, EmbeddedOutliers.none())

        return _memory.recall(self.folder, "embedded outliers", self._version, find)

    def outliers(self) -> Outliers:
        """The samples that stick out along some axis."""

        def find() -> Outliers:
            return tables.ask(self.catalog, lambda rows: Outliers.find(rows, self._limits()), Outliers.none())

        return _memory.recall(self.folder, "outliers", self._version, find)

    def whole(self) -> Whole:
        """What is found of the dataset as a whole."""
        return _memory.recall(
            self.folder, "whole", self._version, lambda: tables.ask(self.catalog, Whole.find, Whole((), ()))
        )

    # What they were found in

    def tail(self, axes: Sequence[str], end: str, limit: int = 24) -> pd.DataFrame:
        """The samples furthest out towards one end ("high", "low") of these axes: key, axis, value, z."""
        chosen = [spread for spread in self._spreads() if spread.name in axes]
        nothing = pd.DataFrame({"key": [], "axis": [], "value": [], "z": []})
        return tables.ask(self.catalog, lambda rows: tail(rows, chosen, end, limit), nothing) if chosen else nothing

    def spreads(self) -> dict[str, Spread]:
        """Axis -> how the samples spread along it, of the axes along which one can stick out."""
        return {spread.name: spread for spread in self._spreads()}

    def _spreads(self) -> list[Spread]:
        return list(self.outliers().spreads.values())

    def class_counts(self) -> pd.DataFrame:
        """Readable samples: a row per class, most frequent first, a column per split ("" where there is none)."""

        def find() -> pd.DataFrame:
            return tables.ask(self.catalog, class_counts, pd.DataFrame())

        return _memory.recall(self.folder, "classes", self.catalog.version, find)

    def crossed(self, fact: str, by: str, groups: Sequence[str]) -> pd.DataFrame:
        """How the samples of each group spread over a fact, see `biases.crossed`."""
        return tables.ask(self.catalog, lambda rows: crossed(rows, fact, by, groups), pd.DataFrame())

    # How they are found

    def _some(
        self, kind: str, subkind: str | None, undecided_only: bool, limit: int | None, offset: int
    ) -> list[Finding]:
        if kind in CLUSTERED:
            return self.clusters().page(kind, subkind, undecided_only, limit, offset)
        rulings, limits = self._rulings(), self._limits()
        if kind == "outlier":
            return self._outliers(rulings, subkind, undecided_only, limit, offset)
        if kind in WHOLE:
            return self.whole().page(rulings, kind, subkind, undecided_only, limit, offset)

        def answer(rows: duckdb.DuckDBPyConnection) -> list[Finding]:
            if kind == label_errors.KIND:
                return label_errors.page(rows, rulings, undecided_only, limit, offset)
            return integrity.page(rows, limits, rulings, kind, subkind, undecided_only, limit, offset)

        return tables.ask(self.catalog, answer, [])

    def _outliers(
        self, rulings: Rulings, subkind: str | None, undecided_only: bool, limit: int | None, offset: int
    ) -> list[Finding]:
        """Those along axes and those by embedding, in one order."""
        end, nothing = None if limit is None else offset + limit, list[Finding]()
        by_embedding, along_axes = self.embedded_outliers(), self.outliers()
        found = tables.ask(
            self.catalog, lambda rows: by_embedding.page(rows, rulings, subkind, undecided_only, end, 0), nothing
        )
        found = [*along_axes.page(rulings, subkind, undecided_only, end, 0), *found]
        return sorted(found, key=lambda finding: -finding.score)[offset:end]

    def _limits(self) -> integrity.Limits:
        def find() -> integrity.Limits:
            return tables.ask(self.catalog, integrity.find_limits, integrity.Limits())

        return _memory.recall(self.folder, "limits", self.catalog.version, find)

    def _rulings(self) -> Rulings:
        return _memory.recall(self.folder, "rulings", self.decisions.version, lambda: Rulings(self.decisions))

    @property
    def _version(self) -> tuple:
        return tables.version(self.catalog)


WAITING = {
    "damage": "which pictures are damaged",
    "pairs": "which pictures are nearly the same",
    "biases": "what gives labels away",
}


@dataclass(frozen=True)
class _Answer:
    """Made of this version; while that goes on changing it may serve until a moment, for the same `exact`."""

    version: Any
    exact: Any
    value: Any
    until: float


@dataclass
class _Memory:
    """The last answers to costly questions: of each dataset and question one, for as long as its version holds."""

    size: int

    def __post_init__(self) -> None:
        self._answers: OrderedDict[tuple, _Answer] = OrderedDict()
        self._lock = threading.Lock()

    def recall(
        self,
        folder: Path,
        question: str,
        version: Any,
        make: Callable[[], Any],
        exact: Any = None,
        is_changing: bool = False,
    ) -> Any:
        """The remembered answer of that version, or the one that `make` gives.

        Args:
            is_changing: versions follow each other so fast that an older answer serves for PATIENCE times as long as it
                took, if this part of the version is the same: `exact`.
        """
        key = (folder, question)
        with self._lock:
            if known := self._answers.get(key):
                self._answers.move_to_end(key)
        began = time.monotonic()
        serves = known is not None and is_changing and known.exact == exact and began < known.until
        if known is None or not (known.version == version or serves):
            value = make()
            now = time.monotonic()
            known = _Answer(version, exact, value, now + PATIENCE * (now - began))
            with self._lock:
                self._answers[key] = known
                self._answers.move_to_end(key)
                while len(self._answers) > self.size:
                    self._answers.popitem(last=False)
        return known.value


_memory = _Memory(size=24)
