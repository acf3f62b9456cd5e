"""The catalog's answers against pandas and NumPy on the same table."""

import threading
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from catalog_helpers import SAMPLES, columns, write_catalog

from recipe_core.data.catalog import Catalog
from recipe_core.data.selection import Selection
from recipe_core.errors import BadQuery, NotFound

QUOTED = '"say ""hi"", you desc"'


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return write_catalog(tmp_path_factory.mktemp("pets"), columns())


@pytest.fixture(scope="module")
def frame():
    return pa.table(columns()).to_pandas()


def keys(rows):
    return rows["key"].tolist()


def test_the_columns_are_those_of_the_newest_scan(tmp_path):
    catalog = write_catalog(tmp_path, {"key": ["a"], "age": [1]})
    assert catalog.types() == {"key": "VARCHAR", "age": "BIGINT"}
    write_catalog(tmp_path, {"key": ["a"], "age": ["old"], "camera": ["x"]})
    assert catalog.types() == {"key": "VARCHAR", "age": "VARCHAR", "camera": "VARCHAR"}


# Filters


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [
        ("age", 10, 40),
        ("age", None, 3),
        ("brightness", 50.5, None),
        ("a.b", 2, 2),
        ("naïve ü", 0.2, 0.4),
        ("samples", 1, 2),
        ('say "hi", you desc', 0, 1),
        ("age", 50, 40),
    ],
)
def test_a_range_includes_its_ends_and_leaves_gaps_out(catalog, frame, column, low, high):
    found = catalog.rows(Selection(ranges={column: (low, high)}))
    inside = frame[column].between(low if low is not None else -np.inf, high if high is not None else np.inf)
    assert set(keys(found)) == set(frame["key"][inside])


def test_a_range_of_times_takes_iso_text(catalog, frame):
    found = catalog.rows(Selection(ranges={"captured_at": ("2020-01-03", "2020-01-05 12:00")}))
    inside = frame["captured_at"].between(datetime(2020, 1, 3), datetime(2020, 1, 5, 12))
    assert set(keys(found)) == set(frame["key"][inside])


def test_an_open_range_asks_for_any_value(catalog, frame):
    assert catalog.count(Selection(ranges={"age": (None, None)})) == frame["age"].notna().sum()


@pytest.mark.parametrize(
    ("column", "bounds"),
    [
        ("age", ("zz", None)),
        ("captured_at", ("zz", None)),
        ("captured_at", (2020.0, None)),
        ("label", (1, 2)),
        ("phash_turned", (1, 2)),
        ("readable", (0, 1)),
        ("nonsense", (0, 1)),
    ],
)
def test_a_range_that_makes_no_sense_is_one_sentence(catalog, column, bounds):
    with pytest.raises(BadQuery) as caught:
        catalog.count(Selection(ranges={column: bounds}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [("cat",), ("cat", "Ätna"), (None,), ("dog", None), ("nobody",), ()])
def test_choices_take_values_and_none_for_the_missing(catalog, frame, values):
    wanted = frame["label"].isin([value for value in values if value]) | (frame["label"].isna() & (None in values))
    assert set(keys(catalog.rows(Selection(choices={"label": values})))) == set(frame["key"][wanted])


def test_choices_of_numbers_and_truth_values_are_given_as_text(catalog, frame):
    assert catalog.count(Selection(choices={"width": ("8", "32")})) == frame["width"].isin([8, 32]).sum()
    assert catalog.count(Selection(choices={"readable": ("true",)})) == frame["readable"].eq(True).sum()


@pytest.mark.parametrize(
    "text", ["EYE", "left eye", "ätna", "folder/00", "TRAIN cat", "100%", "<B>", "_", "'", '"; --']
)
def test_free_text_looks_for_every_word_in_any_case_in_what_was_given(catalog, frame, text):
    given = frame[["key", "label", "split", "note", "value"]].fillna("").agg("\n".join, axis=1).str.lower()
    wanted = np.logical_and.reduce([given.str.contains(word, regex=False) for word in text.lower().split()])
    assert set(keys(catalog.rows(Selection(text=text)))) == set(frame["key"][wanted])


def test_free_text_does_not_look_into_what_was_measured(catalog):
    assert catalog.count(Selection(text="secretword")) == 0


def test_all_filters_hold_at_once(catalog, frame):
    selection = Selection({"age": (0, 60)}, {"split": ("train",)}, "eye", "width > 8 and label in ('cat', 'dog')")
    wanted = frame["age"].between(0, 60) & frame["split"].eq("train") & frame["note"].isin(["left Eye", "right eye"])
    wanted &= frame["width"].gt(8) & frame["label"].isin(["cat", "dog"])
    assert catalog.count(selection) == wanted.sum() > 0
    narrowed = selection.with_range("brightness", 0, 100).with_choices("value", ("p",)).without("brightness")
    assert catalog.count(narrowed) == (wanted & frame["value"].eq("p")).sum()


# Order and pages


@pytest.mark.parametrize("order", ["age desc", "age", "brightness asc, width desc", "captured_at desc", "label", "a.b"])
def test_the_order_is_pandas_with_gaps_last_and_ties_by_key(catalog, frame, order):
    parts = [part.split() for part in order.split(", ")]
    by, up = [part[0] for part in parts], [part[-1] != "desc" for part in parts]
    expected = frame.sort_values([*by, "key"], ascending=[*up, True], na_position="last")
    assert keys(catalog.rows(order_by=order)) == expected["key"].tolist()


def test_a_name_in_double_quotes_may_hold_anything(catalog, frame):
    name = 'say "hi", you desc'
    expected = frame.sort_values([name, "age", "key"], ascending=[False, True, True])["key"].tolist()
    assert keys(catalog.rows(order_by=f'{QUOTED} DESC ,  "age"')) == expected


@pytest.mark.parametrize(
    "order", ["nonsense", "age descending", "age; drop table x", "desc", "random()", "age nulls first"]
)
def test_an_order_that_cannot_be_used_is_one_sentence(catalog, order):
    with pytest.raises(BadQuery, match="no column"):
        catalog.rows(order_by=order)


def test_pages_hold_every_row_once_even_under_ties(catalog):
    selection = Selection(where="width >= 8")
    pages = [
        keys(catalog.rows(selection, "width desc", limit=47, offset=start)) for start in range(0, SAMPLES + 47, 47)
    ]
    paged = [key for page in pages for key in page]
    assert paged == keys(catalog.rows(selection, "width desc"))
    assert len(set(paged)) == SAMPLES


def test_internal_columns_are_shown_only_when_asked_for(catalog):
    assert not [name for name in catalog.rows(limit=1).columns if name.startswith("_")]
    assert "_shard" in catalog.rows(limit=1, internal=True).columns
    assert "_token" not in catalog.types()


def test_only_the_columns_that_are_named_are_read(catalog):
    named = ["_shard", "key", "no such column", "label"]
    whole, part = (catalog.rows(order_by="age desc", limit=9, internal=True, columns=c) for c in ((), named))
    pd.testing.assert_frame_equal(part, whole[part.columns])
    assert set(part.columns) == {"_shard", "key", "label"}
    groups = [catalog.grouped("split", Selection(), "age desc", 3, limit=9, offset=0, columns=c) for c in ((), named)]
    pd.testing.assert_frame_equal(groups[1], groups[0][groups[1].columns])
    assert set(groups[1].columns) == {"_shard", "key", "label", "split", "_group_samples"}


def test_one_sample_is_found_by_its_key(catalog, frame):
    row = frame[frame["age"].isna()].iloc[0]
    sample = catalog.sample(row["key"])
    assert (sample["width"], sample["age"], sample["_shard"]) == (row["width"], None, "1-0")
    with pytest.raises(NotFound, match="nowhere"):
        catalog.sample("nowhere.png")


# Axes


def counts_by_numpy(values, table):
    edges = [*table["low"], table["high"].iloc[-1]]
    return np.histogram(values, bins=np.array(edges, dtype=float))[0].tolist()


@pytest.mark.parametrize("column", ["age", "samples", "a.b", "width", "brightness", "naïve ü"])
@pytest.mark.parametrize("bins", [1, 7, 40])
def test_a_histogram_counts_as_numpy_does_and_loses_nobody(catalog, frame, column, bins):
    table = catalog.histogram(column, bins=bins)
    values = frame[column].dropna().astype(float)
    assert table["samples"].sum() == len(values)
    assert table["samples"].tolist() == counts_by_numpy(values, table)
    assert len(table) <= bins
    assert table["low"].iloc[0] == pytest.approx(values.min())
    assert table["high"].iloc[-1] >= values.max() * (1 - 1e-9)


def test_whole_numbers_get_whole_intervals(catalog):
    table = catalog.histogram("a.b", bins=40)
    assert table["low"].tolist() == list(range(9))
    assert (table["high"] - table["low"]).tolist() == [1] * 9


def test_a_histogram_of_times_has_times_as_edges(catalog, frame):
    table = catalog.histogram("captured_at", bins=10)
    times = frame["captured_at"].dropna()
    assert table["samples"].sum() == len(times)
    for row in table.iloc[1:-1].itertuples():
        assert row.samples == ((times >= row.low) & (times < row.high)).sum()


def test_a_constant_axis_is_one_interval_and_an_empty_one_none(catalog):
    constant = catalog.histogram("constant")
    assert constant["samples"].tolist() == [SAMPLES]
    assert constant["low"].iloc[0] <= np.float32(0.1) <= constant["high"].iloc[0]
    assert catalog.histogram("nothing").empty
    assert catalog.extent("nothing") is None


def test_the_largest_numbers_there_are_do_not_break_a_histogram(catalog):
    assert catalog.histogram("extreme")["samples"].sum() == SAMPLES


@pytest.mark.parametrize("column", ["label", "phash_turned", "readable", "nonsense"])
def test_what_is_no_axis_has_no_histogram(catalog, column):
    with pytest.raises(BadQuery):
        catalog.histogram(column)


def test_not_a_number_and_years_far_away_do_no_harm(tmp_path):
    odd = write_catalog(
        tmp_path,
        {
            "key": list("abcd"),
            "score": [float("nan"), float("inf"), 1.0, 2.0],
            "captured_at": pa.array([datetime(1, 1, 1), datetime(9999, 12, 31), None, None], pa.timestamp("s")),
        },
    )
    assert odd.extent("score") == (1, 2)
    assert odd.histogram("score")["samples"].sum() == 2
    assert odd.histogram("captured_at")["samples"].sum() == 2
    assert len(odd.rows()) == 4


def test_the_selection_narrows_the_histogram(catalog, frame):
    selection = Selection(choices={"label": ("cat",)})
    assert catalog.histogram("width", selection)["samples"].sum() == frame["label"].eq("cat").sum()


# Categories and groups


@pytest.mark.parametrize("column", ["label", "samples", "value", "readable", "width"])
def test_choices_are_counted_most_frequent_first(catalog, frame, column):
    table = catalog.choices(column)
    expected = frame[column].value_counts(dropna=False)
    assert table["samples"].tolist() == sorted(expected, reverse=True)
    found = {
        None if pd.isna(value) else value: count for value, count in zip(table["value"], table["samples"], strict=True)
    }
    as_text = {
        None if pd.isna(value) else str(value).replace("True", "true").replace("False", "false"): count
        for value, count in expected.items()
    }
    assert found == as_text


@pytest.mark.parametrize("column", ["label", "samples", "value", QUOTED[1:-1].replace('""', '"')])
def test_groups_come_largest_first_with_the_first_of_each(catalog, frame, column):
    table = catalog.grouped(column, Selection(where="width > 8"), "age desc, samples", per_group=4, limit=10, offset=0)
    rows = frame[frame["width"] > 8].sort_values(["age", "samples", "key"], ascending=[False, True, True])
    groups = dict(list(rows.groupby(column, dropna=False)))
    sizes = table.drop_duplicates(column)["_group_samples"].tolist()
    assert sizes == sorted((len(group) for group in groups.values()), reverse=True)
    for value, group in groups.items():
        inside = table[table[column].isna() if pd.isna(value) else table[column] == value]
        assert keys(inside) == group["key"].tolist()[:4]
        assert set(inside["_group_samples"]) == {len(group)}


def test_groups_come_in_pages(catalog):
    pages = [catalog.grouped("label", Selection(), "", 2, limit=1, offset=page) for page in range(5)]
    assert [len(page) for page in pages] == [2, 2, 2, 2, 0]
    assert len({key for page in pages[:4] for key in keys(page)}) == 8


def test_axes_and_categories_are_told_apart_by_type(catalog):
    assert {"age", "brightness", "captured_at", "a.b"} <= set(catalog.axes())
    assert {"label", "split", "note", "readable"} <= set(catalog.categories())
    assert not {"key", "error", "phash_turned", "_shard"} & {*catalog.axes(), *catalog.categories()}


# All of it, and at once


def test_batches_are_the_rows(catalog):
    selection = Selection(where="age > 10")
    batches = pa.Table.from_batches(list(catalog.batches(selection, "age desc"))).to_pandas()
    assert keys(batches) == keys(catalog.rows(selection, "age desc"))
    assert list(batches.columns) == list(catalog.rows(limit=1).columns)


def test_threads_share_a_catalog(catalog):
    answers = []

    def ask(number):
        answers.append(
            (
                number,
                catalog.count(Selection(where=f"width >= {number}")),
                len(catalog.grouped("label", Selection(), "", 1, 9, 0)),
            )
        )

    threads = [threading.Thread(target=ask, args=(number,)) for number in (8, 16, 32, 33) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert len(set(answers)) == 4


def test_a_catalog_that_is_replaced_is_read_anew(tmp_path):
    catalog = write_catalog(tmp_path, {"key": ["a", "b"], "label": ["x", "y"]})
    assert keys(catalog.rows()) == ["a", "b"]
    for round_ in range(5):
        write_catalog(tmp_path / "new", {"key": [f"c{round_}", "d"], "label": ["x", "y"]})
        (tmp_path / "new" / "catalog" / "catalog.parquet").rename(tmp_path / "catalog" / "catalog.parquet")
        assert keys(catalog.rows()) == [f"c{round_}", "d"]


def test_where_there_is_no_catalog_yet_every_answer_is_empty(tmp_path):
    catalog = Catalog(tmp_path)
    assert catalog.count() == 0
    assert catalog.rows().empty
    assert catalog.types() == {}
    assert catalog.axes() == []
    assert catalog.histogram("width").empty
    assert catalog.choices("label").empty
    assert catalog.grouped("label", Selection(), "", 1, 1, 0).empty
    assert list(catalog.batches()) == []
