"""All that the examination finds out about biases of one catalog, as rows of the table `biases`."""

import json
from collections.abc import Callable, Iterator, Sequence

import duckdb
import pandas as pd

from recipe_core.data.biases.drift import (
    SHOWN,
    Difference,
    Missing,
    fact_drift,
    label_drift,
    missing_classes,
    read_split_sample,
    splits_of,
)
from recipe_core.data.biases.shortcuts import Claim, describe, merged, read_training_sample, shortcuts

NAMED = {
    "camera_make": "the maker of the camera",
    "camera_model": "the camera's model",
    "captured_at": "the time of capture",
    "hour": "the hour of capture",
    "file_number": "the number in the file's name",
    "file_bytes": "the size of the file",
    "folder": "the folder",
    "size": "width x height",
    "mode": "the colour mode",
    "misnamed": "a wrong extension",
    "extension": "the extension",
    "format": "the file format",
    "border_colour": "the colour of the border",
    "border_spread": "the evenness of the border",
    "colour": "the mean colour",
}
NAMES = 10  # of classes that a sentence lists


def find_biases(tables: duckdb.DuckDBPyConnection, check: Callable[[], None] = lambda: None) -> list[dict]:
    """Shortcuts and drift: a dictionary each with the columns of the table `biases`."""
    types = {row[0]: row[1] for row in tables.execute("DESCRIBE samples").fetchall()}
    rows = read_training_sample(tables, types)
    check()
    found = [_shortcut(claim, same, rows) for claim, same in merged(shortcuts(rows, types, check))]
    splits = splits_of(tables)
    if len(splits) < 2:
        return found
    sample = read_split_sample(tables, types)
    check()
    counts = class_counts(tables).reindex(columns=splits, fill_value=0)
    differences = fact_drift(sample, splits, types, check)
    found += [_difference(first, same) for first, same in _by_family(differences)]
    found += [_labels(one, _keys(tables, one.split, [one.told])) for one in label_drift(counts, splits)]
    for missing in missing_classes(counts, splits):
        shown = [name for name, _ in missing.classes[:SHOWN]]
        found.append(_missing(missing, _keys(tables, missing.split, shown)))
    return found


def class_counts(tables: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Readable samples: a row per class, most frequent first, a column per split ("" where there is none)."""
    counted = tables.execute(
        """SELECT label, coalesce(split, '') AS split, count(*) AS samples FROM samples
        WHERE readable AND label IS NOT NULL GROUP BY ALL"""
    ).fetch_df()
    wide = counted.pivot_table(index="label", columns="split", values="samples", fill_value=0, aggfunc="sum")
    return wide.loc[wide.sum(axis=1).sort_values(ascending=False, kind="stable").index].astype(int)


def name_of(fact: str, origin: str = "") -> str:
    """A fact in a sentence."""
    return NAMED.get(fact, f"the metadata “{fact}”" if origin == "metadata" else fact.replace("_", " "))


def _shortcut(claim: Claim, same: Sequence[Claim], rows: pd.DataFrame) -> dict:
    variable = claim.variable
    name = name_of(variable.name, variable.origin)
    also = {other.variable.name: round(other.score, 4) for other in same}
    told = {"fact": variable.name, "origin": variable.origin, "columns": list(variable.columns), "p": claim.p}
    told |= {"classes": int(rows["label"].nunique()), "samples": len(rows), "also": also}
    if claim.label is None:
        message = f"{_capital(name)} alone predicts the label with {claim.score:.0%} (chance {claim.chance:.0%})."
        told |= {"balanced_accuracy": claim.score, "chance": claim.chance}
        score = (claim.score - claim.chance) / (1 - claim.chance)
    else:
        region, chosen = describe(claim)
        message = (
            f"{_capital(name)} gives the class “{claim.label}” away: {claim.precision:.0%} of the samples with {region}"
            f" are of it, and {claim.recall:.0%} of its samples are among them."
        )
        told |= {"label": claim.label, "precision": claim.precision, "recall": claim.recall, "filter": chosen}
        score = claim.precision
    if also:
        message += (
            f" So {'do' if len(also) > 1 else 'does'} {_listed([name_of(fact, variable.origin) for fact in also])}."
        )
    return _row("spurious_correlation", variable.name, claim.keys, score, claim.concerned, message, told)


def _difference(first: Difference, same: Sequence[Difference]) -> dict:
    name = name_of(first.name, "metadata" if first.family.startswith("metadata") else "")
    message = (
        f"“{first.split}” differs from “{first.reference}” in {name}: {first.here:.0%} of it have {first.told}, "
        f"of “{first.reference}” {first.there:.0%}."
    )
    if same:
        message += f" So it does in {_listed([name_of(other.name) for other in same])}."
    also = {other.name: round(other.gap, 4) for other in same}
    return _row(
        "split_drift", first.name, first.keys, first.gap, len(first.keys), message, _told(first) | {"also": also}
    )


def _labels(one: Difference, keys: Sequence[str]) -> dict:
    message = (
        f"Classes have other shares in “{one.split}” than in “{one.reference}”, most of all “{one.told}”: "
        f"{one.here:.1%} beside {one.there:.1%}."
    )
    return _row("split_drift", "label", keys, one.gap, len(keys), message, _told(one))


def _missing(one: Missing, keys: Sequence[str]) -> dict:
    names, samples = [name for name, _ in one.classes], sum(count for _, count in one.classes)
    many = "class" if len(names) == 1 else "classes"
    message = f"{len(names):,} {many} of “{one.split}” ({samples:,} samples) not in “{one.lacking}”: {_listed(names)}."
    told = {"split": one.split, "lacking": one.lacking, "classes": dict(one.classes[:100]), "count": len(names)}
    return _row("split_drift", "missing_class", keys, 0.9, samples, message, told)


def _told(one: Difference) -> dict:
    shares = {"here": float(one.here), "there": float(one.there)}
    about = {"split": one.split, "reference": one.reference, "fact": one.name, "gap": one.gap, "p": one.p}
    return about | {"more": one.told} | shares


def _by_family(differences: list[Difference]) -> Iterator[tuple[Difference, list[Difference]]]:
    """Of each split and family of facts the widest gap, with the others."""
    families: dict[tuple[str, str], list[Difference]] = {}
    for one in differences:
        families.setdefault((one.split, one.family), []).append(one)
    for first, *others in families.values():
        yield first, others


def _keys(tables: duckdb.DuckDBPyConnection, split: str, labels: list[str]) -> list[str]:
    """Some samples of these classes in a split."""
    rows = tables.execute(
        """SELECT key FROM samples WHERE readable AND split = ? AND list_contains(?, label)
        ORDER BY hash(key), key LIMIT ?""",
        [split, labels, SHOWN],
    )
    return sorted(key for (key,) in rows.fetchall())


def _row(
    kind: str, subkind: str, keys: Sequence[str], score: float, concerned: int, message: str, evidence: dict
) -> dict:
    told = json.dumps(evidence, ensure_ascii=False, default=float)
    about = {"kind": kind, "subkind": subkind, "samples": sorted(keys), "concerned": concerned}
    return about | {"score": min(max(float(score), 0.0), 1.0), "message": message, "evidence": told}


def _listed(names: Sequence[str]) -> str:
    """ "a, b and c"; of many the first."""
    shown = [*names[:NAMES], f"{len(names) - NAMES:,} more"] if len(names) > NAMES else list(names)
    *others, last = shown
    return f"{', '.join(others)} and {last}" if others else last


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
