"""The catalog: one row per sample, in Parquet, asked by DuckDB for just the rows that are shown.

catalog = Catalog(dataset_folder)
catalog.rows(Selection(where="label = 'cat'"), order_by="brightness desc", limit=48)
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from duckdb import DuckDBPyRelation

from recipe_core.data.locked_rows import LockedRows, quoted, types_of
from recipe_core.data.selection import EVERYTHING, Selection, is_axis, is_time, known_column
from recipe_core.errors import BadQuery, NotFound

GIVEN = ("key", "label", "split")
EXPORT_SECONDS = 3600.0
ORDER_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^,"\s][^,]*?))(?:\s+(asc|desc))?\s*(?:,|$)', re.IGNORECASE)


class Catalog:
    """The samples of one dataset: the finished scan's, or, while the first scan runs, those measured so far.

    With `decided` (see LockedRows) each sample has two more columns, derived from the decisions at the time of asking.
    Instances may be shared between threads.
    """

    def __init__(self, folder: Path, decided: Callable[[], pa.Table | None] | None = None):
        self.folder = Path(folder)
        self._rows = LockedRows(self.folder, decided)
        self._types: tuple[tuple, dict[str, str]] | None = None

    # What there is

    @property
    def files(self) -> list[str]:
        """The Parquet files that make up the catalog now."""
        return self._rows.files

    @property
    def is_finished(self) -> bool:
        """Whether a scan has come to its end, so that the catalog has all samples."""
        return self._rows.finished.exists()

    @property
    def version(self) -> tuple:
        """Another one as soon as the catalog holds other rows."""
        try:
            info = self._rows.finished.stat()
        except FileNotFoundError:
            return tuple(self.files)  # a part is written once
        return info.st_ino, info.st_mtime_ns, info.st_size

    def types(self) -> dict[str, str]:
        """Column -> DuckDB type, of the columns that are shown (internal ones start with an underscore)."""
        version = self.version  # before the question: what is answered later is of no older catalog
        if self._types is None or self._types[0] != version:  # a page asks for them at every turn
            nothing: dict[str, str] = {}
            answer = self._rows.ask(types_of, nothing)
            self._types = version, {name: kind for name, kind in answer.items() if not name.startswith("_")}
        return dict(self._types[1])

    def axes(self) -> list[str]:
        """The columns with numbers or times: each can be filtered by a range and drawn as a histogram."""
        return [name for name, kind in self.types().items() if is_axis(kind)]

    def categories(self) -> list[str]:
        """The columns with words or truth values, except those that tell every sample apart."""
        identities = {"key", "error", "byte_hash", "pixel_hash", "phash", "dhash"}
        return [
            name for name, kind in self.types().items() if kind in ("VARCHAR", "BOOLEAN") and name not in identities
        ]

    # Questions

    def count(self, selection: Selection = EVERYTHING) -> int:
        return self._rows.ask(lambda rows: rows.aggregate("count(*)").fetchall()[0][0], 0, selection)

    def totals(self) -> dict[str, int]:
        """Samples and bytes; of the samples how many are unreadable, exact copies, misnamed, flat, unlabelled."""

        def answer(rows: DuckDBPyRelation) -> dict[str, int]:
            copied = "copies > 1" if "copies" in rows.columns else "false"  # known when the scan has finished
            conditions = {"unreadable": "NOT readable", "copied": copied, "misnamed": "misnamed"}
            conditions |= {"flat": "readable AND contrast < 1", "unlabelled": "label IS NULL"}
            counts = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions.values())
            values = rows.aggregate(f"count(*), coalesce(sum(file_bytes), 0), {counts}").fetchall()[0]
            return dict(zip(("samples", "file_bytes", *conditions), map(int, values), strict=True))

        names = ("samples", "file_bytes", "unreadable", "copied", "misnamed", "flat", "unlabelled")
        return self._rows.ask(answer, dict.fromkeys(names, 0))

    def rows(
        self,
        selection: Selection = EVERYTHING,
        order_by: str = "",
        limit: int | None = None,
        offset: int = 0,
        internal: bool = False,
        columns: Sequence[str] = (),
    ) -> pd.DataFrame:
        """The selected samples, one row each.

        Args:
            order_by: columns with an optional asc or desc, e.g. "brightness desc, key"; ties and no order go by key.
            limit, offset: how many rows, and how many to pass over first.
            internal: also the columns that say where the thumbnail stands.
            columns: only these, of any kind, as far as the catalog has them, which a deep page of a large catalog takes
                a fifth of the time for; none named: all.

        Raises:
            BadQuery: a column does not exist, or the condition cannot be used.
        """

        def answer(rows: DuckDBPyRelation) -> pd.DataFrame:
            ordered = rows.order(parse_order(order_by, types_of(rows)))
            shown = ordered.limit(limit if limit is not None else 2**62, offset=offset)
            return _shown(shown, internal, columns).df()

        return self._rows.ask(answer, pd.DataFrame(columns=list(GIVEN)), selection)

    def sample(self, key: str) -> dict:
        """One sample's row, with its internal columns.

        Raises:
            NotFound: no sample has this key.
        """
        found = self.rows(Selection(choices={"key": (key,)}), limit=1, internal=True)
        if found.empty:
            raise NotFound(f'There is no sample "{key}" in this dataset.')
        return {str(name): _plain(value) for name, value in found.iloc[0].items()}

    def position(self, key: str, selection: Selection = EVERYTHING, order_by: str = "") -> int | None:
        """How many selected samples stand before this one in the order; None where it is not selected."""

        def answer(rows: DuckDBPyRelation) -> int | None:
            order = parse_order(order_by, types_of(rows))
            numbered = rows.project(f"key, row_number() OVER (ORDER BY {order}) - 1 AS position")
            found = numbered.filter(duckdb.ColumnExpression("key") == duckdb.ConstantExpression(key)).fetchall()
            return found[0][1] if found else None

        return self._rows.ask(answer, None, selection)

    def choices(self, column: str, selection: Selection = EVERYTHING, limit: int = 1000) -> pd.DataFrame:
        """A column's values and how many samples have each, most frequent first: columns `value` (text), `samples`."""

        def answer(rows: DuckDBPyRelation) -> pd.DataFrame:
            name = quoted(known_column(column, types_of(rows)))
            counted = rows.aggregate(
                f"CAST({name} AS VARCHAR) AS value, count(*) AS samples", f"CAST({name} AS VARCHAR)"
            )
            return counted.order("samples DESC, value").limit(limit).df()

        return self._rows.ask(answer, pd.DataFrame({"value": [], "samples": []}), selection)

    def extent(self, column: str, selection: Selection = EVERYTHING) -> tuple | None:
        """Lowest and highest value of an axis, or None where it has no value."""

        def answer(rows: DuckDBPyRelation) -> tuple | None:
            name = quoted(known_column(column, types_of(rows)))
            if not is_axis(kind := types_of(rows)[column]):
                raise BadQuery(f'The column "{column}" holds no numbers or times, so it has no histogram.')
            usual = f"{name} IS NOT NULL" + (f" AND isfinite({name})" if kind in ("FLOAT", "DOUBLE") else "")
            low, high = rows.filter(usual).aggregate(f"min({name}), max({name})").fetchall()[0]
            return None if low is None else (low, high)

        return self._rows.ask(answer, None, selection)

    def histogram(self, column: str, selection: Selection = EVERYTHING, bins: int = 40) -> pd.DataFrame:
        """Samples per equal interval of an axis: columns `low`, `high`, `samples`; whole for whole numbers."""
        extent = self.extent(column, selection)
        if extent is None:
            return pd.DataFrame({"low": [], "high": [], "samples": []})

        def answer(rows: DuckDBPyRelation) -> pd.DataFrame:
            kind, name = types_of(rows)[column], quoted(column)
            value = f"epoch({name})" if is_time(kind) else f"CAST({name} AS DOUBLE)"
            start, width, count, end = _intervals(extent, kind, bins)
            position = f"CAST(least(floor(({value} - {start!r}) / {width!r}), {count - 1}) AS INTEGER)"
            finite = rows.filter(f"{name} IS NOT NULL AND isfinite({value})")
            counted = dict(finite.aggregate(f"{position} AS bin, count(*) AS samples", position).fetchall())
            edges = [*(start + width * i for i in range(count)), end]
            samples = [counted.get(i, 0) for i in range(count)]
            table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "samples": samples})
            if is_time(kind):
                table["low"], table["high"] = (pd.to_datetime(table[edge], unit="s") for edge in ("low", "high"))
            return table

        return self._rows.ask(answer, pd.DataFrame(), selection)

    def grouped(
        self,
        column: str,
        selection: Selection,
        order_by: str,
        per_group: int,
        limit: int,
        offset: int,
        columns: Sequence[str] = (),
    ) -> pd.DataFrame:
        """The first samples of each value of a column, largest groups first; `_group_samples` is their group's size.

        `columns`: as of `rows`.
        """

        def answer(rows: DuckDBPyRelation) -> pd.DataFrame:
            name, order = quoted(known_column(column, types_of(rows))), parse_order(order_by, types_of(rows))
            found = rows.query(
                "selected",
                # The window sees a few columns only; the rows that are shown are fetched whole afterwards.
                f"""WITH sizes AS (
                        SELECT {name} AS _value, count(*) AS _group_samples FROM selected GROUP BY 1
                        ORDER BY _group_samples DESC, _value LIMIT {int(limit)} OFFSET {int(offset)}),
                    first AS (
                        SELECT key, _group_samples FROM selected JOIN sizes ON {name} IS NOT DISTINCT FROM sizes._value
                        QUALIFY row_number() OVER (PARTITION BY _value ORDER BY {order}) <= {int(per_group)})
                    SELECT selected.*, _group_samples FROM selected JOIN first USING (key)
                    ORDER BY _group_samples DESC, {name}, {order}""",
            )
            assert found is not None  # as it is of a SELECT
            return _shown(found, True, [*columns, column, "_group_samples"] if columns else ()).df()

        return self._rows.ask(answer, pd.DataFrame(), selection)

    def batches(
        self, selection: Selection = EVERYTHING, order_by: str = "", limit: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The selected rows, in order, a batch at a time, so that memory stays bounded."""
        if files := self.files:
            with self._rows.selected(files, selection, EXPORT_SECONDS) as rows:
                ordered = rows.order(parse_order(order_by, types_of(rows)))
                shown = ordered.limit(limit) if limit is not None else ordered
                yield from _shown(shown, internal=False).to_arrow_reader(10_000)

    def compare(self, given: pa.Table, sql: str) -> pa.Table | None:
        """What SQL says of a table `given` beside `samples` (key, content, of every sample); None without a catalog."""
        return self._rows.compare(given, sql)


def parse_order(order_by: str, types: dict[str, str]) -> str:
    """ "brightness desc, width" as an ORDER BY list that ends with the key; names may stand in double quotes.

    Raises:
        BadQuery: a column does not exist, or a part is not "column", "column asc" or "column desc".
    """
    parts = []
    for in_quotes, plain, direction in ORDER_PART.findall(order_by):
        name = known_column(in_quotes.replace('""', '"') or plain, types)
        parts.append(f"{quoted(name)} {direction.upper() or 'ASC'} NULLS LAST")
    return ", ".join([*parts, '"key"'])


def _shown(rows: DuckDBPyRelation, internal: bool, columns: Sequence[str] = ()) -> DuckDBPyRelation:
    if columns:
        return rows.project(", ".join(quoted(name) for name in rows.columns if name in columns))
    if internal:
        return rows
    return rows.project(", ".join(quoted(name) for name in rows.columns if not name.startswith("_")))


def _plain(value: object) -> object:
    """A cell as Python has it: None where it is missing, no NumPy scalars."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _intervals(extent: tuple, kind: str, bins: int) -> tuple[float, float, int, float]:
    """Start, width and number of the intervals of a histogram, and its end, not below the highest value."""
    if is_time(kind):
        low, high = (pd.Timestamp(edge).timestamp() for edge in extent)
    else:
        low, high = (float(edge) for edge in extent)
    if kind not in ("FLOAT", "DOUBLE") and not is_time(kind):
        width = max(1.0, float(-((low - high - 1) // bins)))
        count = int(-((low - high - 1) // width))
        return low, width, count, low + width * count
    width = high / bins - low / bins  # the difference itself may be infinite
    if not low + width > low:
        width = max(abs(low) * 1e-6, 1e-6)
        return low, width, 1, max(low + width, high)
    return low, width, bins, high
