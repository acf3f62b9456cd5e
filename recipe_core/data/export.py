"""Samples as CSV, piece by piece, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from recipe_core.data.catalog import Catalog
from recipe_core.data.manifest import Manifest
from recipe_core.data.selection import Selection
from recipe_core.data.sources import start_of_paths

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
MANIFEST_COLUMNS = ("sample", "path", "label", "split", "content_hash")
PIECE = 10_000  # rows


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


def manifest_chunks(manifest: Manifest, source: str) -> Iterator[str]:
    """A manifest as CSV text in pieces; `path` is where the sample's file stands, of a zip "archive!member".

    Args:
        source: the location of the dataset's source.
    """
    yield _lines([list(MANIFEST_COLUMNS)])
    start_of_path = start_of_paths(source)
    for start in range(0, len(manifest.frame), PIECE):
        piece = manifest.frame[start : start + PIECE]
        # Only a table names files elsewhere, by absolute paths.
        paths = [key if key.startswith("/") else start_of_path + key for key in piece["sample"]]
        columns = [piece["sample"], paths, *(piece[name] for name in MANIFEST_COLUMNS[2:])]
        yield _lines([[_safe(value) for value in row] for row in zip(*columns, strict=True)])


def unsafe(text: str) -> str:
    """A cell as it was before it was made safe for spreadsheets."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(FORMULA_STARTS) else text


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
