"""Outliers by embedding: pictures that are unlike anything else, and those that are unlike their class.

    found = tables.ask(catalog, EmbeddedOutliers.find, EmbeddedOutliers.none())
    found.page(rulings, "unlike_anything", limit=48)      # those too far out, worst first
    found.ranked("unlike_class", limit=48)                # all pictures, the farthest first

How far out is too far, the dataset's own distances tell: `beyond`.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from recipe_core.data.embeddings import state
from recipe_core.data.embeddings.analyses import ANALYSES
from recipe_core.data.findings.finding import Finding, Summary
from recipe_core.data.findings.rulings import Rulings
from recipe_core.data.findings.tables import catalog_stamp

KIND = "outlier"
ANYTHING, CLASS = "unlike_anything", "unlike_class"
AXES = {ANYTHING: "nearest", CLASS: "nearest_in_class"}  # and where the nearest pictures stand
FEWEST = 50  # pictures from which on a distribution has a tail
TAIL = (0.8, 0.95)  # the quantiles that tell how fast the tail falls
EXPECTED = 0.5  # pictures beyond the cut of a dataset without outliers, whose tail goes on as it falls there
MESSAGES = {
    ANYTHING: "The picture is unlike all others: even the nearest are {times:.1f} times as far away as is usual.",
    CLASS: "The picture is unlike the others of its class: the nearest are {times:.1f} times as far away as is usual.",
}
# Every sample whose picture was analysed; its evidence is fetched for those that are shown.
DISTANCES = """SELECT key, unlike_anything, unlike_class FROM samples JOIN outliers ON byte_hash = content
    WHERE readable ORDER BY key"""
NEAREST = """SELECT shown.key, list(first.key ORDER BY place) AS keys
    FROM (SELECT shown.key, unnest({column}) AS near, generate_subscripts({column}, 1) AS place
        FROM shown JOIN samples USING (key) JOIN outliers ON byte_hash = content) AS shown
    JOIN (SELECT byte_hash, min(key) AS key FROM samples GROUP BY byte_hash) AS first ON near = byte_hash
    GROUP BY shown.key"""


def pending(dataset: Path) -> list[str]:
    """What is not known before the pictures are embedded, in one sentence; nothing where all is."""
    waiting = state.waiting(dataset, catalog_stamp(dataset))
    words = [analysis.words for analysis in ANALYSES if analysis.name in waiting]
    if not words:
        return []
    partly = [about for analysis in ANALYSES if (about := analysis.about(dataset))]
    known = f" What is known speaks of {partly[0]['pictures']:,} pictures." if partly else ""
    return [f"Not embedded yet: {' and '.join(words)}.{known}"]


def beyond(distances: np.ndarray) -> float:
    """The distance from which on a picture is an outlier; infinite where there are too few to tell.

    The tail of the distances is taken to fall as an exponential one does from its 80th to its 95th percentile, which is
    slower than a normal one: of n distances without outliers then EXPECTED lie beyond the cut, whatever n is. A few
    per cent of outliers hardly move those percentiles.
    """
    known = distances[np.isfinite(distances)]
    if len(known) < FEWEST:
        return np.inf
    start, end = np.quantile(known, TAIL)
    fall = (end - start) / np.log((1 - TAIL[0]) / (1 - TAIL[1]))
    return float(start + fall * np.log(len(known) * (1 - TAIL[0]) / EXPECTED)) if fall > 0 else np.inf


@dataclass(frozen=True)
class EmbeddedOutliers:
    """The distances of all pictures, as multiples of the usual one, and which of them are too far out.

    Attributes:
        distances: key, unlike_anything, unlike_class (NaN where there is no class to be unlike).
        cuts: axis -> the distance from which on a picture is an outlier.
    """

    distances: pd.DataFrame
    cuts: dict[str, float]

    @classmethod
    def none(cls) -> "EmbeddedOutliers":
        return cls(pd.DataFrame({name: [] for name in ("key", *AXES)}), dict.fromkeys(AXES, np.inf))

    @classmethod
    def find(cls, tables: duckdb.DuckDBPyConnection) -> "EmbeddedOutliers":
        """Read them in one pass."""
        distances = tables.execute(DISTANCES).df()
        return cls(distances, {axis: beyond(distances[axis].to_numpy(float)) for axis in AXES})

    def ranked(self, axis: str, limit: int, offset: int = 0) -> pd.DataFrame:
        """Some of all pictures, the farthest first: key, value; `value` is a multiple of the usual distance."""
        known = self.distances[["key", axis]].dropna().rename(columns={axis: "value"})
        return known.sort_values(["value", "key"], ascending=[False, True], ignore_index=True)[offset : offset + limit]

    def found(self) -> pd.DataFrame:
        """key, subkind, value, score (0.5 at the cut, 1 infinitely far), worst first."""
        parts = []
        for axis, cut in self.cuts.items():
            out = self.distances.loc[self.distances[axis] > cut, ["key", axis]].rename(columns={axis: "value"})
            parts.append(out.assign(subkind=axis, score=1 - 0.5 * cut / out["value"]))
        return pd.concat(parts).sort_values(["score", "key", "subkind"], ascending=[False, True, True])

    def summaries(self, rulings: Rulings) -> list[Summary]:
        """How many there are along each axis."""
        found = self.found()
        open_ = found.loc[~_decided(rulings, found["key"]), "subkind"].value_counts()
        return [
            Summary(KIND, str(axis), int(count), int(count), int(open_.get(axis, 0)))
            for axis, count in found["subkind"].value_counts().items()
        ]

    def page(
        self,
        tables: duckdb.DuckDBPyConnection,
        rulings: Rulings,
        subkind: str | None = None,
        undecided_only: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Finding]:
        """Some of those that are too far out, worst first."""
        found = self.found()
        found = found.assign(decided=_decided(rulings, found["key"]))
        if subkind is not None:
            found = found[found["subkind"] == subkind]
        if undecided_only:
            found = found[~found["decided"]]
        shown = found[offset : None if limit is None else offset + limit]
        near = {axis: _nearest(tables, axis, shown.loc[shown["subkind"] == axis, "key"]) for axis in AXES}
        return [self._finding(row, near[row.subkind].get(row.key, [])) for row in shown.itertuples()]

    def _finding(self, row, near: list[str]) -> Finding:
        evidence = {"distance": row.value, "cut": self.cuts[row.subkind], "nearest": near}
        message = MESSAGES[row.subkind].format(times=row.value)
        return Finding(KIND, row.subkind, (row.key,), row.score, message, evidence=evidence, decided=bool(row.decided))


def _decided(rulings: Rulings, keys: pd.Series) -> pd.Series:
    table = rulings.table.to_pandas()
    return keys.isin(table.loc[table["kind"].isin(["", KIND]), "key"])


def _nearest(tables: duckdb.DuckDBPyConnection, axis: str, keys: pd.Series) -> dict[str, list[str]]:
    """The samples with the nearest pictures, the first of each picture, nearest first."""
    if keys.empty:
        return {}
    tables.register("shown", keys.to_frame())
    return dict(tables.execute(NEAREST.format(column=AXES[axis])).fetchall())
