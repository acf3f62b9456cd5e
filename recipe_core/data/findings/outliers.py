"""Samples that stick out along some axis of the catalog, measured or given; one finding each, with all such axes.

Pictures that are blank or of poor quality are findings by that already: their looks are not told again here, what came
along with them (metadata, capture time) is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pandas as pd

from recipe_core.data.facts import ABOUT
from recipe_core.data.findings.finding import Finding, Summary
from recipe_core.data.findings.integrity import BLANK, DAMAGED, RULES, Limits
from recipe_core.data.findings.rulings import Rulings
from recipe_core.data.findings.spreads import Spread, find_spreads
from recipe_core.data.selection import is_time

KIND = "outlier"
HABIT = 0.01  # of the samples: what more of them do in one tail is no exception
GIVEN_WITH = {"captured_at"}  # facts that say nothing of how the picture looks
FOUND = pd.DataFrame({"key": [], "subkind": [], "score": [], "axes": []})


@dataclass(frozen=True)
class Outliers:
    """The samples that stick out, worst first.

    Attributes:
        found: key, subkind (the axis along which it sticks out most), score, axes: (axis, value) pairs, worst first.
        spreads: axis -> how the samples spread along it.
    """

    found: pd.DataFrame
    spreads: dict[str, Spread]

    @classmethod
    def none(cls) -> "Outliers":
        return cls(FOUND, {})

    @classmethod
    def find(cls, tables: duckdb.DuckDBPyConnection, limits: Limits) -> "Outliers":
        """Find them in one pass over the catalog, after one that finds the spreads."""
        spreads = find_spreads(tables)
        if not spreads:
            return cls.none()
        spreads = _without_habits(tables, spreads)
        poor = " OR ".join(
            [BLANK, *(f"({limits.fill(rule, _condition(rule))})" for rule in RULES if rule.kind == "quality")]
        )
        outs = ", ".join(
            f"CASE WHEN {spread.excess} >= 1 AND {_eligible(spread)} THEN "
            f"struct_pack(axis := {place}, value := {spread.value}, excess := {spread.excess}) END"
            for place, spread in enumerate(spreads)
        )
        rows = tables.execute(
            f"""SELECT key, list_sort(list_filter([{outs}], lambda one: one IS NOT NULL)) AS outs
            FROM (SELECT *, coalesce({poor}, false) AS _poor FROM samples) WHERE len(outs) > 0"""
        ).fetchall()
        return cls(_table(rows, spreads, _damaged(tables)), {spread.name: spread for spread in spreads})

    def summaries(self, rulings: Rulings) -> list[Summary]:
        """How many there are of each axis."""
        decided = self.found["key"].isin(rulings.settled(KIND))
        undecided = self.found.loc[~decided, "subkind"].value_counts()
        return [
            Summary(KIND, str(subkind), int(count), int(count), int(undecided.get(subkind, 0)))
            for subkind, count in self.found["subkind"].value_counts().items()
        ]

    def page(
        self, rulings: Rulings, subkind: str | None, undecided_only: bool, limit: int | None, offset: int
    ) -> list[Finding]:
        """Some of them, worst first."""
        found = self.found if subkind is None else self.found[self.found["subkind"] == subkind]
        decided = found["key"].isin(rulings.settled(KIND))
        if undecided_only:
            found, decided = found[~decided], decided[~decided]
        chosen = slice(offset, None if limit is None else offset + limit)
        return [
            self._finding(row, bool(is_decided))
            for row, is_decided in zip(found[chosen].itertuples(), decided[chosen], strict=True)
        ]

    def _finding(self, row, decided: bool) -> Finding:
        told = [self._told(axis, value) for axis, value in row.axes]
        others = len(told) - 1
        more = f" {others} more of its measures do too." if others > 1 else " One more of its measures does too."
        message = sentence(self.spreads[row.axes[0][0]], row.axes[0][1]) + (more if others else "")
        evidence = {"axes": told}
        return Finding(KIND, row.subkind, (row.key,), float(row.score), message, evidence=evidence, decided=decided)

    def _told(self, axis: str, value: float) -> dict:
        spread = self.spreads[axis]
        return {
            "axis": axis,
            "value": value,
            "robust_z": round(spread.z_of(value), 2),
            "usual": [spread.low, spread.high],
        }


def sentence(spread: Spread, value: float) -> str:
    """Why a value sticks out."""
    number, low, high = (written(spread, one) for one in (value, spread.low, spread.high))
    name, where = spread.name.replace("_", " "), "above" if value > spread.median else "below"
    if spread.low == spread.high:
        return f"Its {name} is {number}; nearly all samples have {low}."
    return f"Its {name}, {number}, lies far {where} the rest: 95 % of the samples have {low} to {high}."


def written(spread: Spread, value: float) -> str:
    """A value of an axis for people."""
    if is_time(spread.type):
        return f"{pd.Timestamp(value, unit='s'):%Y-%m-%d}"
    digits = f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.3g}"
    unit = ABOUT[spread.name].unit if spread.name in ABOUT else ""
    return f"{digits} {unit}" if unit.isalpha() else digits


def _condition(rule) -> str:
    return rule.condition.replace("NOT _blank", "true")


def _eligible(spread: Spread) -> str:
    """Of which samples an axis is looked at, as SQL."""
    measured = spread.name in ABOUT and spread.name not in GIVEN_WITH
    return "readable AND NOT _poor" if measured else "true"


def _without_habits(tables: duckdb.DuckDBPyConnection, spreads: Sequence[Spread]) -> list[Spread]:
    """Spreads whose tails hold exceptions only; a tail that holds more than that gets no cut."""
    beyond = ", ".join(
        f"count(*) FILTER ({spread.value} < {spread.least!r}), count(*) FILTER ({spread.value} > {spread.most!r})"
        for spread in spreads
    )
    total, *counts = tables.execute(f"SELECT count(*), {beyond} FROM samples WHERE readable").fetchall()[0]
    most = max(1, HABIT * total)
    return [
        replace(
            spread,
            least=spread.least if counts[2 * place] <= most else -np.inf,
            most=spread.most if counts[2 * place + 1] <= most else np.inf,
        )
        for place, spread in enumerate(spreads)
    ]


def _damaged(tables: duckdb.DuckDBPyConnection) -> set[str]:
    return {key for (key,) in tables.execute(f"SELECT key FROM {DAMAGED}").fetchall()}


def _table(rows: Sequence[tuple], spreads: Sequence[Spread], damaged: set[str]) -> pd.DataFrame:
    found = []
    for key, outs in rows:
        worst_first = sorted(outs, key=lambda out: -out["excess"])
        axes = tuple((spreads[out["axis"]].name, out["value"]) for out in worst_first)
        if key not in damaged or any(name not in ABOUT for name, _ in axes):
            found.append((key, axes[0][0], 1 - 0.5 / worst_first[0]["excess"], axes))
    table = pd.DataFrame(found, columns=list(FOUND))
    return table.sort_values(["score", "key"], ascending=[False, True], ignore_index=True)
