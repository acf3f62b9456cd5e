"""Drift: in what the other splits differ from the one that training reads, in their labels and in every fact.

For a number the difference is the largest gap between the two cumulative distributions (Kolmogorov and Smirnov), for a
category and the label the share of samples that would have to change (total variation); both read "0.15: at some point
15 % more of val than of train". Both must be beyond what chance gives (labels of splits in any other order, corrected
for all that was tried) and large enough to matter, which a big dataset's tiny differences are not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from recipe_core.data.biases.shortcuts import columns_of
from recipe_core.data.biases.variables import Variable, variables

PER_SPLIT = 20_000  # samples of each split that facts are compared of
MOST_SPLITS = 10
LEAST = 20  # samples of a split
SHUFFLES = 9999  # fewer of very many classes
MOST_DRAWN = 20_000_000
SURE = 0.05
FACT_GAP, LABEL_GAP = 0.15, 0.1
EXPECTED = 5.0  # samples of a class that should be in a split for its absence to tell something
MADE = {"colour", "border_colour", "size", "hour", "file_number", "folder"}  # repeat or name what others measure
SHOWN = 24


@dataclass(frozen=True)
class Difference:
    """One difference between a split and the one it is compared with.

    Attributes:
        gap: 0 to 1, less what chance gives.
        low, high: where the gap opens: the range or value of which the split has more.
        here, there: the shares of both splits in it.
        keys: samples of the split that show it.
    """

    split: str
    reference: str
    name: str
    family: str
    gap: float
    p: float
    told: str
    here: float
    there: float
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """Classes that one split has and another lacks: (label, samples where it is), most samples first."""

    split: str
    lacking: str
    classes: tuple[tuple[str, int], ...]


def splits_of(tables: duckdb.DuckDBPyConnection) -> list[str]:
    """The splits with samples enough, the one that training reads first, then the largest."""
    found = tables.execute(
        f"""SELECT split FROM samples WHERE readable AND split IS NOT NULL GROUP BY split HAVING count(*) >= {LEAST}
        ORDER BY split = 'train' DESC, count(*) DESC, split LIMIT {MOST_SPLITS}"""
    ).fetchall()
    return [split for (split,) in found]


def read_split_sample(tables: duckdb.DuckDBPyConnection, types: dict[str, str]) -> pd.DataFrame:
    """Rows of up to PER_SPLIT samples of each split, sorted by key."""
    return tables.execute(
        f"""SELECT {columns_of(types)} FROM samples SEMI JOIN (
            SELECT key FROM samples WHERE readable AND split IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY split ORDER BY hash(key), key) <= {PER_SPLIT}) USING (key)
        ORDER BY key"""
    ).fetch_df()


def fact_drift(
    rows: pd.DataFrame, splits: list[str], types: dict[str, str], check: Callable[[], None] = lambda: None
) -> list[Difference]:
    """The facts in which the splits differ from the first, largest gap first."""
    if len(splits) < 2:
        return []
    chance = np.random.default_rng(0)
    of_split = {split: (rows["split"] == split).to_numpy() for split in splits}
    compared = [variable for variable in variables(rows, types) if variable.name not in MADE]
    found: list[Difference] = []
    for variable in compared:
        check()
        for split in splits[1:]:
            tests = len(compared) * (len(splits) - 1)
            found += _compared(variable, rows["key"], of_split, split, splits[0], tests, chance)
    return sorted(found, key=lambda difference: -difference.gap)


def label_drift(counts: pd.DataFrame, splits: list[str]) -> Iterator[Difference]:
    """The splits whose labels are spread otherwise than the first one's.

    Args:
        counts: a row per class, a column per split, samples.
    """
    chance = np.random.default_rng(0)
    for split in splits[1:]:
        table = counts[[split, splits[0]]].to_numpy().T
        if table.sum(axis=1).min() < LEAST or len(counts) < 2:
            continue
        gap, p = _tested(table, False, chance)
        p *= len(splits) - 1
        if gap >= LABEL_GAP and p < SURE:
            shares = table / table.sum(axis=1, keepdims=True)
            place = int(np.abs(shares[0] - shares[1]).argmax())
            here, there = shares[:, place]
            yield Difference(split, splits[0], "label", "label", gap, p, str(counts.index[place]), here, there, ())


def missing_classes(counts: pd.DataFrame, splits: list[str]) -> Iterator[Missing]:
    """Classes that training never sees, and classes that nothing is measured on where chance does not explain it."""
    if not splits:
        return
    train = counts[splits[0]]
    for split in splits[1:]:
        here = counts[split]
        if not here.sum() or not train.sum():
            continue
        unseen = here[(train == 0) & (here > 0)]
        expected = train * (here.sum() / train.sum())
        unmeasured = train[(here == 0) & (expected >= EXPECTED)]
        for classes, has, lacks in ((unseen, split, splits[0]), (unmeasured, splits[0], split)):
            if len(classes):
                ordered = classes.sort_values(ascending=False, kind="stable")
                yield Missing(has, lacks, tuple((str(label), int(count)) for label, count in ordered.items()))


def _compared(
    variable: Variable,
    keys: pd.Series,
    of_split: dict[str, np.ndarray],
    split: str,
    reference: str,
    tests: int,
    chance: np.random.Generator,
) -> Iterator[Difference]:
    size = len(variable.names)
    table = np.stack([np.bincount(variable.bins[of_split[name]], minlength=size) for name in (split, reference)])
    if _gap(table, variable.low is not None) < FACT_GAP:
        return
    gap, p = _tested(table, variable.low is not None, chance)
    if gap < FACT_GAP or p * tests >= SURE:
        return
    shares = table / table.sum(axis=1, keepdims=True)
    more = _where_more(shares, variable.low is not None)
    shown = keys[of_split[split] & more[variable.bins]]
    told = _told(variable, more)
    here, there = shares[:, more].sum(axis=1)
    some = tuple(shown.iloc[:: max(1, len(shown) // SHOWN)][:SHOWN])
    family, p = variable.family, p * tests
    yield Difference(split, reference, variable.name, family, gap, p, told, float(here), float(there), some)


def _tested(table: np.ndarray, ordered: bool, chance: np.random.Generator) -> tuple[float, float]:
    """The gap less what chance gives, and how often chance gives as much.

    Args:
        table: (2, bins) samples of two splits.
        ordered: whether the bins have an order.
    """
    shuffles = min(SHUFFLES, MOST_DRAWN // table.shape[1])
    drawn = chance.multivariate_hypergeometric(table.sum(axis=0), int(table[0].sum()), shuffles, method="marginals")
    shuffled = np.stack([drawn, table.sum(axis=0) - drawn], axis=1)
    gap, by_chance = _gap(table, ordered), _gap(shuffled, ordered)
    return float(gap - by_chance.mean()), float((1 + (by_chance >= gap).sum()) / (1 + shuffles))


def _gap(tables: np.ndarray, ordered: bool) -> np.ndarray:
    """The gap between the two rows of each table, (..., 2, bins) -> (...)."""
    shares = tables / np.maximum(tables.sum(axis=-1, keepdims=True), 1)
    difference = shares[..., 0, :] - shares[..., 1, :]
    if ordered:
        return np.abs(difference.cumsum(axis=-1)).max(axis=-1)
    return np.abs(difference).sum(axis=-1) / 2


def _where_more(shares: np.ndarray, ordered: bool) -> np.ndarray:
    """The bins of which the first row has more; of ordered ones the side of the widest gap."""
    difference = shares[0] - shares[1]
    if not ordered:
        return difference > 0
    run = difference.cumsum()
    cut = int(np.abs(run).argmax())
    below = np.arange(len(run)) <= cut
    return below if run[cut] > 0 else ~below


def _told(variable: Variable, more: np.ndarray) -> str:
    if variable.low is None or variable.high is None:
        names = [variable.names[place] for place in np.flatnonzero(more) if variable.names[place]]
        return ", ".join(names[:3])
    if more[0]:
        return f"{variable.written(np.nanmax(variable.high[more]))} or less"
    return f"{variable.written(np.nanmin(variable.low[more]))} or more"
