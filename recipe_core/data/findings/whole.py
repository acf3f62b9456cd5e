"""Findings on the dataset as a whole: imbalance, counted here, and what the examination found of biases and drift."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb
import pandas as pd

from recipe_core.data.findings.finding import WHOLE, Finding, Summary
from recipe_core.data.findings.rulings import Rulings

RARE = 0.2  # of an even share of the samples
DOMINANT = 0.5  # of the gap between an even share and all
SHOWN = 24  # samples that stand for a class


@dataclass(frozen=True)
class Whole:
    """The findings on the whole, worst first within their kind, and how many samples each concerns."""

    findings: tuple[Finding, ...]
    concerned: tuple[int, ...]

    @classmethod
    def find(cls, tables: duckdb.DuckDBPyConnection) -> "Whole":
        found = [*_examined(tables), *_imbalance(tables)]
        found.sort(key=lambda one: (WHOLE.index(one[0].kind), -one[0].score, one[0].id))
        return cls(tuple(finding for finding, _ in found), tuple(count for _, count in found))

    def summaries(self, rulings: Rulings) -> list[Summary]:
        """A line per kind and subkind."""
        rows = [
            (finding.kind, finding.subkind, 1, concerned, int(not _is_decided(finding, rulings)))
            for finding, concerned in zip(self.findings, self.concerned, strict=True)
        ]
        table = pd.DataFrame(rows, columns=["kind", "subkind", "findings", "samples", "undecided"])
        summed = table.groupby(["kind", "subkind"], sort=False).sum()
        return [Summary(kind, subkind, *map(int, row)) for (kind, subkind), *row in summed.itertuples()]

    def page(
        self, rulings: Rulings, kind: str, subkind: str | None, undecided_only: bool, limit: int | None, offset: int
    ) -> list[Finding]:
        """Some of a kind, worst first."""
        of_kind = [one for one in self.findings if one.kind == kind and subkind in (None, one.subkind)]
        told = [replace(one, decided=_is_decided(one, rulings)) for one in of_kind]
        wanted = [one for one in told if not (undecided_only and one.decided)]
        return wanted[offset : None if limit is None else offset + limit]


def _is_decided(finding: Finding, rulings: Rulings) -> bool:
    return rulings.is_settled(finding.kind, finding.topic, finding.samples)


def _examined(tables: duckdb.DuckDBPyConnection) -> list[tuple[Finding, int]]:
    rows = tables.execute("SELECT kind, subkind, samples, concerned, score, message, evidence FROM biases").fetchall()
    return [
        (Finding(kind, subkind, tuple(samples), score, message, evidence=json.loads(evidence)), concerned)
        for kind, subkind, samples, concerned, score, message, evidence in rows
    ]


# Imbalance


def _imbalance(tables: duckdb.DuckDBPyConnection) -> list[tuple[Finding, int]]:
    """Classes with far less than an even share of what is trained on, and one that is most of it."""
    counts = tables.execute(
        f"""SELECT label, count(*) FROM samples WHERE {TRAINED} GROUP BY label ORDER BY count(*) DESC, label"""
    ).fetchall()
    if len(counts) < 2:
        return []
    total = sum(count for _, count in counts)
    even = total / len(counts)
    (first, most), *_ = counts
    gap = (most - even) / (total - even)
    found = [_dominant(first, most, total, len(counts), gap)] if gap >= DOMINANT else []
    found += [_rare(label, count, total, even) for label, count in counts if count < RARE * even]
    shown = _samples_of(tables, [finding.evidence["label"] for finding in found])
    return [(replace(one, samples=shown.get(one.evidence["label"], ())), one.evidence["samples"]) for one in found]


def _dominant(label: str, most: int, total: int, classes: int, gap: float) -> Finding:
    message = (
        f"Who always says “{label}”, one of {classes:,} classes, is right for {most / total:.0%} of what is trained on."
    )
    told = {"label": label, "samples": most, "of": total, "constant_guess": most / total, "classes": classes}
    return Finding("imbalance", "dominant_class", (), gap, message, evidence=told)


def _rare(label: str, count: int, total: int, even: float) -> Finding:
    samples = "1 sample" if count == 1 else f"{count:,} samples"
    message = (
        f"The class “{label}” has only {samples} of the {total:,} that are trained on; an even share is {even:,.0f}."
    )
    told = {"label": label, "samples": count, "of": total, "even_share": even}
    return Finding("imbalance", "rare_class", (), 1 - 0.5 * count / (RARE * even), message, evidence=told)


def _samples_of(tables: duckdb.DuckDBPyConnection, labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Some samples of each of these classes, those that are trained on."""
    rows = tables.execute(
        f"""SELECT label, list(key ORDER BY key) FROM (
            SELECT label, key FROM samples WHERE {TRAINED} AND list_contains(?, label)
            QUALIFY row_number() OVER (PARTITION BY label ORDER BY hash(key), key) <= {SHOWN}) GROUP BY label""",
        [list(labels)],
    )
    return {label: tuple(keys) for label, keys in rows.fetchall()}


TRAINED = """readable AND label IS NOT NULL AND (split = 'train'
    OR NOT (SELECT coalesce(bool_or(split = 'train' AND label IS NOT NULL), false) FROM samples))"""
