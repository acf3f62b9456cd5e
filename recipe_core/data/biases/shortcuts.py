"""Shortcuts: single facts from which the label can be guessed without looking, and how sure and how harmful that is.

A claim needs three things: it holds on samples that the guess was not fitted on (each picture once, five folds); labels
in any other order would hardly do as well (a permutation test, corrected for all that was tried); and it tells more
than honest data does. The last is what matters: the sky makes ships blue. What a picture's own looks tell of one of K
classes falls like 1/K, as the classes share one axis: in all pairs, and in 45 triples and fives, of CIFAR-10's classes
they closed at most 0.66, 0.42 and 0.25 of the gap between chance and certainty, in all ten 0.12. The limit 0.3 + 1/K
stays well above that, so only near separation is claimed. Camera, format, time and name are no content at all: there
a third of the gap is worth a look. Metadata may be a cause of the label and stands between.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from recipe_core.data.biases.held_out import FOLDS, Counts, Found, balanced_accuracy, best_region, chance_of
from recipe_core.data.biases.variables import Variable, variables
from recipe_core.data.locked_rows import quoted

SAMPLED = 20_000  # rows; more where there are very many classes
LEAST = 10  # samples of a class, below which nothing is said of it
SURE = 0.05  # corrected chance that a claim is none
SHOWN = 24  # samples that stand for a claim
SAME = 0.7  # agreement from which two variables of a family are signs of one thing
GAPS = {"origin": 0.35, "metadata": 0.5}
ONLY_ONE = 0.9  # of the gap between a class's share and certainty, for a value that means one class
PART = 0.25  # of that class, at least
MOSTLY = {"origin": 0.5, "metadata": 0.6}  # of the gap in F1, for a value that means mostly one class
SQL = """
    SELECT {columns} FROM samples SEMI JOIN (
        SELECT key FROM (
            SELECT min(key) AS key, arg_min(label, key) AS label FROM samples WHERE {of_training} GROUP BY pixel_hash)
        QUALIFY row_number() OVER (PARTITION BY label ORDER BY hash(key), key) <= {per_class}) USING (key)
    ORDER BY key"""
LABELLED = "readable AND label IS NOT NULL"


@dataclass(frozen=True)
class Claim:
    """What one variable tells: the label (label None), or which samples are of one class.

    Attributes:
        score: balanced accuracy of the held-out guesses; of one class the F1 of the held-out region.
        chance: what guessing by chance would reach.
        p: corrected chance that labels in another order do as well.
        mark: what tells two signs of one thing from two things: the guesses, or the region's samples.
        keys: samples that show it.
        region: of one class, the bins.
    """

    variable: Variable
    label: str | None
    score: float
    chance: float
    p: float
    precision: float
    recall: float
    concerned: int
    mark: np.ndarray
    keys: tuple[str, ...]
    region: tuple[int, ...]


def training_rows(tables: duckdb.DuckDBPyConnection) -> str:
    """Which samples teach the label, as SQL: those of the split train, or all."""
    has_train = tables.execute(f"SELECT count(*) > 0 FROM samples WHERE {LABELLED} AND split = 'train'").fetchall()[0][
        0
    ]
    return f"{LABELLED} AND split = 'train'" if has_train else LABELLED


def read_training_sample(tables: duckdb.DuckDBPyConnection, types: dict[str, str]) -> pd.DataFrame:
    """Rows of labelled samples, each picture once, as many of each class as possible and useful; sorted by key."""
    of_training = training_rows(tables)
    classes = tables.execute(f"SELECT count(DISTINCT label) FROM samples WHERE {of_training}").fetchall()[0][0]
    if classes < 2:
        return pd.DataFrame()
    per_class = max(2 * LEAST, SAMPLED // classes)
    rows = tables.execute(
        SQL.format(columns=columns_of(types), of_training=of_training, per_class=per_class)
    ).fetch_df()
    enough = rows["label"].map(rows["label"].value_counts()) >= LEAST
    return rows[enough].reset_index(drop=True)


def shortcuts(
    rows: pd.DataFrame, types: dict[str, str], check: Callable[[], None] = lambda: None, seed: int = 0
) -> list[Claim]:
    """The claims about these samples, the strongest first; signs of one thing are one claim each all the same.

    Args:
        rows: of the catalog, of labelled samples, no picture twice.
        types: column -> DuckDB type.
        check: called between the variables; may raise to stop.
    """
    if rows.empty or rows["label"].nunique() < 2:
        return []
    chance = np.random.default_rng(seed)
    codes, classes = pd.factorize(rows["label"], sort=True)
    folds = chance.permutation(len(rows)) % FOLDS
    tried = list(variables(rows, types))
    claims: list[Claim] = []
    for variable in tried:
        check()
        counts = Counts.of(variable.bins, codes, folds)
        whole = _of_label(variable, counts, len(classes), len(tried), rows["key"], chance)
        claims += [whole] if whole else _of_classes(variable, counts, classes, len(tried), rows["key"])
    return sorted(claims, key=lambda claim: (claim.label is not None, -claim.score))


def limit(origin: str, classes: int) -> float:
    """How much of the gap between chance and certainty a variable of this origin has to close."""
    return GAPS.get(origin, 0.3 + 1 / classes)


def merged(claims: list[Claim]) -> Iterator[tuple[Claim, list[Claim]]]:
    """Each claim with those of its family that are signs of the same thing."""
    left = list(claims)
    while left:
        first, *others = left
        same = [other for other in others if _is_same(first, other)]
        yield first, same
        left = [other for other in others if all(other is not one for one in same)]


def describe(claim: Claim) -> tuple[str, dict]:
    """The bins of a claim's region for people, and as a filter: {"is": values}, {"range": [low, high]} or {}."""
    variable, region = claim.variable, list(claim.region)
    one_column = len(variable.columns) == 1
    if variable.low is None or variable.high is None:
        names = [variable.names[place] for place in region]
        if names[0].startswith("#"):
            return "such colours", {}
        told = ", ".join(f"“{name}”" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        is_known = one_column and variable.name in variable.columns and "any other" not in names
        return told, {"is": [None if name == "missing" else name for name in names]} if is_known else {}
    low, high = variable.low[region], variable.high[region]
    if np.isnan(low).any():
        return "no value" if len(region) == 1 else "such values or none", {}
    least, most = float(low.min()), float(high.max())
    in_between = int(((variable.low >= least) & (variable.high <= most)).sum())
    if in_between > 1.5 * len(region):  # several hills
        return "such values", {}
    told = " to ".join(variable.written(end) for end in (least, most)[: 1 + (least < most)])
    return told, {"range": [least, most]} if one_column else {}


# Claims


def _of_label(
    variable: Variable, counts: Counts, classes: int, tried: int, keys: pd.Series, chance: np.random.Generator
) -> Claim | None:
    guesses, by_chance = counts.guesses(), 1 / classes
    score = balanced_accuracy(guesses, counts.labels)
    if (score - by_chance) / (1 - by_chance) < limit(variable.origin, classes):
        return None
    p = min(1.0, tried * chance_of(guesses, counts.labels, chance))
    if p >= SURE:
        return None
    right = guesses == counts.labels
    turn = pd.Series(counts.labels[right]).groupby(counts.labels[right]).cumcount()  # so that all classes are shown
    shown = keys[right].iloc[np.argsort(turn.to_numpy(), kind="stable")[:SHOWN]]
    return Claim(variable, None, score, by_chance, p, score, score, int(right.sum()), guesses, tuple(sorted(shown)), ())


def _of_classes(variable: Variable, counts: Counts, classes: pd.Index, tried: int, keys: pd.Series) -> Iterator[Claim]:
    found = Found.of(counts)
    share = counts.table.sum(axis=(0, 1)) / len(keys)
    purity = (found.precision - share) / (1 - share)
    f1 = 2 * found.precision * found.recall / np.maximum(found.precision + found.recall, 1e-9)
    by_chance = 2 * share / (1 + share)  # F1 of who calls all samples that class
    if variable.origin in GAPS:
        told = (purity >= ONLY_ONE) & (found.recall >= PART)
        told |= (f1 - by_chance) / (1 - by_chance) >= MOSTLY[variable.origin]
    else:  # in the same subsets of CIFAR-10 looks reached an F1 of 0.85, 0.73, 0.62 and 0.58 of 2 to 5 classes
        told = (f1 >= 0.7 + 0.45 / len(classes)) & (purity >= 0.6)
    p = np.minimum(1.0, found.chance * tried * len(classes))
    told &= (p < SURE) & (found.hits >= LEAST)
    if not told.any():
        return
    regions = best_region(counts.table.sum(axis=0))
    for place in np.flatnonzero(told):
        mark = regions[variable.bins, place]
        shown = keys[mark & (counts.labels == place)]
        yield Claim(
            variable,
            str(classes[place]),
            float(f1[place]),
            float(by_chance[place]),
            float(p[place]),
            float(found.precision[place]),
            float(found.recall[place]),
            int((mark & (counts.labels == place)).sum()),
            mark,
            tuple(shown.iloc[:SHOWN]),
            tuple(np.flatnonzero(regions[:, place]).tolist()),
        )


def _is_same(first: Claim, other: Claim) -> bool:
    if (first.variable.family, first.label) != (other.variable.family, other.label):
        return False
    if first.label is None:
        return float((first.mark == other.mark).mean()) >= SAME
    return float((first.mark & other.mark).sum()) >= SAME * float((first.mark | other.mark).sum())


def columns_of(types: dict[str, str]) -> str:
    """The columns that a sample of rows needs, as SQL; what is internal or long is left out."""
    return ", ".join(quoted(name) for name, type in types.items() if not name.startswith("_") and "[]" not in type)
