"""Both ends of the ranking along one axis or several, whether anything there sticks out or not."""

from collections.abc import Sequence

import duckdb
import pandas as pd

from recipe_core.data.findings.spreads import Spread

ENDS = {"high": "DESC", "low": "ASC"}


def tail(tables: duckdb.DuckDBPyConnection, spreads: Sequence[Spread], end: str, limit: int) -> pd.DataFrame:
    """The samples furthest out towards one end of these axes: key, axis, value, z (robust), furthest first.

    Args:
        end: "high" or "low"; of several axes the one counts along which a sample is furthest.
    """
    parts = [
        f"SELECT key, '{place}' AS axis, {spread.value} AS value, {spread.z} AS z FROM samples "
        f"WHERE readable AND {spread.value} IS NOT NULL"
        for place, spread in enumerate(spreads)
    ]
    # Each axis by itself first, so that only its few first rows are kept.
    firsts = [f"(SELECT * FROM ({part}) ORDER BY z {ENDS[end]}, key LIMIT {limit})" for part in parts]
    found = tables.execute(
        f"""SELECT * FROM (SELECT DISTINCT ON (key) * FROM ({" UNION ALL ".join(firsts)}) ORDER BY key, z {ENDS[end]})
        ORDER BY z {ENDS[end]}, key LIMIT {limit}"""
    ).fetch_df()
    return found.assign(axis=[spreads[int(place)].name for place in found["axis"]])
