"""Selected samples as CSV, batch by batch, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from recipe_core.data.catalog import Catalog
from recipe_core.data.selection import Selection

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_chunks(catalog: Catalog, selection: Selection, order_by: str = "") -> Iterator[str]:
    """CSV text in pieces; the first holds the header.

    A text cell that a spreadsheet would run as a formula gets a leading apostrophe.

    Raises:
        BadQuery: the selection or the order cannot be used.
    """
    batches = catalog.batches(selection, order_by)
    first = next(batches, None)  # what is wrong with the selection shows before anything is sent
    yield _lines([[_safe(name) for name in catalog.types()]])
    for batch in chain([first] if first else [], batches):
        columns = [_cells(column) for column in batch.columns]
        yield _lines([[_safe(value) for value in row] for row in zip(*columns, strict=True)])


def _cells(column: pa.Array) -> list:
    # Times go to text by Arrow: Python's know neither year 0 nor year 10000.
    return (column.cast(pa.string()) if pa.types.is_temporal(column.type) else column).to_pylist()


def _lines(rows: list[list]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _safe(value: object) -> object:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return "'" + value
    return value
