"""The map, asked for what a page shows of it: its points, and the samples in a part of it.

there = Places(dataset.catalog)
there.points("label", most=20_000)            # key, x, y, value; of more a sample, always the same
there.inside([(0, 0), (1, 0), (1, 1)])        # the keys in that polygon
there.around("cat/7.jpg")                     # the keys by how near they lie, that one first
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recipe_core.data.catalog import Catalog
from recipe_core.data.embeddings.analyses import ANALYSES, MAP
from recipe_core.data.findings import tables
from recipe_core.data.locked_rows import quoted
from recipe_core.data.selection import known_column

Area = Sequence[tuple[float, float]]
PLACED = "samples JOIN map ON byte_hash = map.content"
DISTANCES = ("unlike_anything", "unlike_class")  # columns that the analyses add


@dataclass(frozen=True)
class Places:
    """Where the samples of a dataset lie; a sample is there once for each of its copies."""

    catalog: Catalog

    @property
    def about(self) -> dict:
        """`pictures` that the map shows of `total`; {} where there is no map."""
        return next(each for each in ANALYSES if each.schema is MAP).about(self.catalog.folder)

    def count(self) -> int:
        """How many samples lie on the map."""
        return tables.ask(self.catalog, lambda rows: rows.sql(f"SELECT count(*) FROM {PLACED}").fetchall()[0][0], 0)

    def points(self, column: str = "", most: int = 20_000) -> pd.DataFrame:
        """key, x, y, value: the column's, None where none is asked for.

        Raises:
            BadQuery: there is no such column.
        """
        if column and column not in DISTANCES:
            known_column(column, self.catalog.types())
        value = f"{'outliers' if column in DISTANCES else 'samples'}.{quoted(column)}" if column else "NULL"
        sql = f"""SELECT key, x, y, {value} AS value FROM {PLACED} LEFT JOIN outliers USING (content)
            ORDER BY content, key LIMIT {int(most)}"""
        return tables.ask(
            self.catalog, lambda rows: rows.sql(sql).df(), pd.DataFrame(columns=["key", "x", "y", "value"])
        )

    def inside(self, area: Area) -> list[str]:
        """The keys of the samples in a polygon, in their order."""
        corners = np.asarray(area, float)
        (left, low), (right, high) = corners.min(0), corners.max(0)
        sql = f"SELECT key, x, y FROM {PLACED} WHERE x BETWEEN ? AND ? AND y BETWEEN ? AND ? ORDER BY key"
        box = [left, right, low, high]
        found = tables.ask(self.catalog, lambda rows: rows.execute(sql, box).df(), pd.DataFrame({"key": []}))
        if found.empty:
            return []
        return found["key"][_inside(found["x"].to_numpy(), found["y"].to_numpy(), corners)].tolist()

    def around(self, key: str, limit: int = 60) -> list[str]:
        """The keys of the samples that lie nearest to one, itself first; none where that one is not on the map."""
        sql = f"""WITH placed AS (SELECT key, x, y FROM {PLACED}), here AS (SELECT x, y FROM placed WHERE key = ?)
            SELECT placed.key FROM placed, here
            ORDER BY (placed.x - here.x) ** 2 + (placed.y - here.y) ** 2, placed.key != ?, placed.key LIMIT ?"""
        nothing: list[tuple] = []
        found = tables.ask(self.catalog, lambda rows: rows.execute(sql, [key, key, limit]).fetchall(), nothing)
        return [row[0] for row in found]


def _inside(x: np.ndarray, y: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Which points lie in a polygon: a ray from them to the right crosses its sides an odd number of times."""
    inside = np.zeros(len(x), bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if ay != by:
            crosses = (ay > y) != (by > y)
            inside ^= crosses & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return inside
