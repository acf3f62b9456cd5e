"""Selected samples as CSV, batch by batch, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterator

from recipe_core.data.catalog import Catalog
from recipe_core.data.selection import Selection

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_chunks(catalog: Catalog, selection: Selection, order_by: str = "") -> Iterator[str]:
    """CSV text in pieces; the first holds the header.

    A text cell that a spreadsheet would run as a formula gets a leading apostrophe.

    Raises:
        BadQuery: the selection or the order cannot be used.
    """
    names = list(catalog.types())
    yield _lines([[_safe(name) for name in names]])
    for batch in catalog.batches(selection, order_by):
        yield _lines([[_safe(value) for value in row.values()] for row in batch.to_pylist()])


def _lines(rows: list[list]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _safe(value: object) -> object:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return "'" + value
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value
