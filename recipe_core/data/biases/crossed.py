"""A fact beside the labels: how the samples of each class, or split, spread over its values."""

from collections.abc import Sequence

import duckdb
import pandas as pd

from recipe_core.data.biases.variables import written
from recipe_core.data.findings.spreads import value_sql
from recipe_core.data.locked_rows import quoted
from recipe_core.data.selection import is_axis, is_time
from recipe_core.data.sources.layout import SPLITS

BINS, VALUES = 24, 24
STEP = 51  # of a channel, in which colours are told apart: 5 shades of each
SHADE = f"(least(floor({{}} / {STEP}), 4) * {STEP} + {STEP // 2})::INT"
HEX = "('0x' || border_colour[{}:{}])::INT"


def _colour(*channels: str) -> str:
    """The middle of the part of all colours that one lies in, as #rrggbb, in SQL."""
    return f"printf('#%02x%02x%02x', {', '.join(SHADE.format(channel) for channel in channels)})"


def _folder() -> str:
    """The folders around a file that say neither its label nor its split, in SQL."""
    splits = ", ".join(f"'{name}'" for name in SPLITS)
    is_other = f"part IS DISTINCT FROM label AND lower(trim(part)) NOT IN ({splits})"
    return f"array_to_string(list_filter(string_split(key, '/')[:-2], lambda part: {is_other}), '/')"


MADE = {  # facts that no column holds: what stands for them, as SQL, and whether it is a number
    "file_number": (r"try_cast(regexp_extract(parse_filename(key, true), '(\d{1,15})\D*$', 1) AS DOUBLE)", True),
    "folder": (_folder(), False),
    "hour": ("hour(captured_at)::DOUBLE", True),
    "size": ("width || ' x ' || height", False),
    "colour": (_colour("red", "green", "blue"), False),
    "border_colour": (_colour(*(HEX.format(at, at + 1) for at in (2, 4, 6))), False),
}


def crossed(tables: duckdb.DuckDBPyConnection, fact: str, by: str, groups: Sequence[str]) -> pd.DataFrame:
    """How samples spread over a fact, for each group of samples.

    Args:
        by: the column whose values are the groups, label or split.

    Returns:
        group, place (of the bin), name, value or low and high (of the bin), samples, share (of the group); empty where
        the fact has no values.
    """
    types = {row[0]: row[1] for row in tables.execute("DESCRIBE samples").fetchall()}
    if fact not in MADE and fact not in types:
        return pd.DataFrame()
    number = MADE[fact][1] if fact in MADE else is_axis(types[fact])
    value = MADE[fact][0] if fact in MADE else value_sql(fact, types[fact]) if number else f"{quoted(fact)}::VARCHAR"
    chosen = (
        f"FROM (SELECT {quoted(by)} AS grp, {value} AS value FROM samples WHERE readable) WHERE list_contains(?, grp)"
    )
    if number:
        table = _numbers(tables, chosen, list(groups), is_time(types.get(fact, "")))
    else:
        table = _values(tables, chosen, list(groups))
    return table.assign(share=table["samples"] / table.groupby("group")["samples"].transform("sum"))


def _numbers(tables: duckdb.DuckDBPyConnection, chosen: str, groups: list[str], times: bool) -> pd.DataFrame:
    """In bins of equal width over the middle 99 %; what lies beyond is in the outermost."""
    ends = "quantile_cont(value, 0.005), quantile_cont(value, 0.995)"
    low, high = tables.execute(f"SELECT {ends} {chosen}", [groups]).fetchall()[0]
    if low is None:
        return pd.DataFrame({"group": [], "samples": []})
    width = (high - low) / BINS or 1.0
    inside = f"least(greatest(floor((value - {low!r}) / {width!r}), 0), {BINS - 1})"
    place = f"CASE WHEN value IS NOT NULL THEN {inside}::INT END"
    table = tables.execute(
        f'SELECT grp AS "group", coalesce({place}, {BINS}) AS place, count(*) AS samples {chosen} GROUP BY ALL',
        [groups],
    ).fetch_df()
    table["low"] = low + width * table["place"]
    table["high"] = table["low"] + width
    table["name"] = [
        "none" if place == BINS else f"{written(start, times)} to {written(end, times)}"
        for place, start, end in table[["place", "low", "high"]].itertuples(index=False)
    ]
    return table


def _values(tables: duckdb.DuckDBPyConnection, chosen: str, groups: list[str]) -> pd.DataFrame:
    """The most frequent values and all others together."""
    table = tables.execute(
        f'SELECT grp AS "group", value, count(*) AS samples {chosen} GROUP BY ALL', [groups]
    ).fetch_df()
    order = table.groupby("value", dropna=False)["samples"].sum().sort_values(ascending=False, kind="stable").index
    place = {None if pd.isna(value) else value: number for number, value in enumerate(order)}
    table["place"] = [min(place[None if pd.isna(value) else value], VALUES) for value in table["value"]]
    others = table["place"] == VALUES
    table["name"] = [("none" if pd.isna(value) else str(value)) for value in table["value"]]
    table.loc[others, ["name", "value"]] = ["any other", None]
    return table.groupby(["group", "place", "name", "value"], dropna=False, as_index=False)["samples"].sum()
