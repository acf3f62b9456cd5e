"""The selection as CSV: what a spreadsheet or pandas reads back, and nothing that a spreadsheet would run."""

import csv
import io
from datetime import datetime

import pyarrow as pa
import pytest
from catalog_helpers import SAMPLES, columns, write_catalog

from recipe_core.data.export import csv_chunks
from recipe_core.data.selection import Selection
from recipe_core.errors import BadQuery


def exported(catalog, *selection):
    return list(csv.DictReader(io.StringIO("".join(csv_chunks(catalog, *selection)), newline="")))


def test_the_rows_are_those_of_the_catalog_in_its_order(tmp_path):
    catalog = write_catalog(tmp_path, columns())
    selection = Selection(where="age > 20")
    rows = exported(catalog, selection, "age desc")
    expected = catalog.rows(selection, "age desc")
    assert [row["key"] for row in rows] == expected["key"].tolist()
    assert [int(row["age"]) for row in rows] == expected["age"].tolist()
    assert list(rows[0]) == list(expected.columns)
    assert len(exported(catalog, Selection())) == SAMPLES


HOSTILE = ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=cmd|" /C calc"!A0', '=HYPERLINK("http://x")']
HARMLESS = ["a,b", 'say "hi"', "two\nlines", "cr\rhere", "ü漢💥", "", " ", "a=b", "'x", "<script>"]


def test_no_cell_and_no_heading_starts_a_formula(tmp_path):
    catalog = write_catalog(
        tmp_path,
        {
            "key": [f"{n:02}" for n in range(len(HOSTILE))],
            "label": HOSTILE,
            "=danger()": HOSTILE,
            "list": [[h] for h in HOSTILE],
        },
    )
    text = "".join(csv_chunks(catalog, Selection()))
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")), cell
    assert [row["label"] for row in exported(catalog, Selection())] == ["'" + text for text in HOSTILE]


def test_everything_else_is_read_back_as_it_was(tmp_path):
    table = {"key": [f"{n:02}" for n in range(len(HARMLESS))], "label": HARMLESS, 'a "b", c': HARMLESS}
    rows = exported(write_catalog(tmp_path, table), Selection())
    assert [row["label"] for row in rows] == HARMLESS
    assert [row['a "b", c'] for row in rows] == HARMLESS


def test_numbers_stay_numbers_and_gaps_stay_empty(tmp_path):
    catalog = write_catalog(
        tmp_path,
        {
            "key": ["a", "b"],
            "age": pa.array([-5, None], pa.int64()),
            "score": [-0.25, float("nan")],
            "when": pa.array([datetime(2020, 1, 2, 3), None], pa.timestamp("s")),
            "ok": pa.array([True, None]),
            "list": [["x", "y"], None],
        },
    )
    first, second = exported(catalog, Selection())
    assert (first["age"], first["score"], first["when"], first["list"]) == (
        "-5",
        "-0.25",
        "2020-01-02 03:00:00.000000",
        "x y",
    )
    assert {second[name] for name in ("age", "when", "ok", "list")} == {""}


def test_a_selection_that_cannot_be_used_is_refused_before_the_first_byte(tmp_path):
    catalog = write_catalog(tmp_path, {"key": ["a"]})
    for selection, order in [(Selection(where="nonsense = 1"), ""), (Selection(), "nonsense")]:
        with pytest.raises(BadQuery):
            next(iter(csv_chunks(catalog, selection, order)))


def test_an_empty_selection_is_a_heading(tmp_path):
    catalog = write_catalog(tmp_path, {"key": ["a"], "label": ["x"]})
    assert "".join(csv_chunks(catalog, Selection(where="label = 'y'"))) == "key,label\r\n"
