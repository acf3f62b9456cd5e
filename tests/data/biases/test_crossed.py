"""A fact beside labels or splits: every sample stands in one bin, and shares are of its group."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from recipe_core.data.biases.crossed import BINS, VALUES, crossed

COUNT = 300
SCRIPT = "<b>x</b>"


def samples() -> pd.DataFrame:
    chance = np.random.default_rng(0)
    number = np.arange(COUNT)
    return pd.DataFrame(
        {
            "key": [f"a/{at:04}.png" for at in number],
            "label": np.where(number % 3 == 0, "cat", SCRIPT),
            "split": np.where(number % 2, "train", "val"),
            "readable": number != 7,
            "brightness": np.where(number == 9, np.nan, 10.0 * (number % 3 == 0) + chance.random(COUNT)),
            "red": np.where(number % 3 == 0, 200.0, 10.0),
            "green": 10.0,
            "blue": 255.0,
            "border_colour": np.where(number % 3 == 0, "#ffffff", "#000102"),
            "width": 3 + number % 2,
            "height": 3,
            "captured_at": pd.Timestamp("2024-01-01") + pd.to_timedelta(number, "D"),
            "clinic": [None if at % 5 == 0 else f"clinic {at % 40}" for at in number],
            "constant": 4.0,
            "nothing": np.full(COUNT, np.nan),
        }
    )


def ask(fact: str, by: str = "label", groups: tuple[str, ...] = ("cat", SCRIPT)) -> pd.DataFrame:
    with duckdb.connect() as tables:
        tables.register("given", samples())
        tables.execute("CREATE TABLE samples AS SELECT * REPLACE (captured_at::TIMESTAMP_S AS captured_at) FROM given")
        return crossed(tables, fact, by, groups)


@pytest.mark.parametrize(
    "fact",
    [
        "brightness",
        "colour",
        "border_colour",
        "size",
        "hour",
        "file_number",
        "folder",
        "captured_at",
        "clinic",
        "constant",
    ],
)
@pytest.mark.parametrize("by", ["label", "split"])
def test_every_sample_that_can_be_read_stands_in_one_bin(fact, by):
    groups = ("cat", SCRIPT) if by == "label" else ("train", "val")
    table = ask(fact, by, groups)
    assert table["samples"].sum() == COUNT - 1
    assert table.groupby("group")["share"].sum().to_numpy() == pytest.approx(1)
    assert set(table["group"]) == set(groups)


def test_folders_are_told_but_for_labels_and_splits():
    with duckdb.connect() as tables:
        rows = [("x/Train/cat/a.png", "cat"), ("train/y/z/dog/b.png", "dog"), ("c.png", "dog"), ("x/d.png", None)]
        tables.register("given", pd.DataFrame(rows, columns=["key", "label"]).assign(readable=True, split="all"))
        tables.execute("CREATE TABLE samples AS SELECT * FROM given")
        table = crossed(tables, "folder", "split", ["all"])
    assert dict(zip(table["value"], table["samples"], strict=True)) == {"x": 2, "y/z": 1, "": 1}


def test_a_number_that_tells_the_label_apart_fills_other_bins_and_missing_ones_their_own():
    table = ask("brightness")
    of = {group: set(table.loc[table["group"] == group, "place"]) for group in ("cat", SCRIPT)}
    assert not of["cat"] & of[SCRIPT]
    assert table.loc[table["place"] == BINS, ["name", "samples"]].to_numpy().tolist() == [["none", 1]]


def test_the_most_frequent_values_stand_for_themselves_and_the_rest_together():
    names = set(ask("clinic")["name"])
    assert len(names) == VALUES + 1 and {"any other", "none"} <= names


def test_colours_are_told_as_colours_and_times_as_dates():
    assert set(ask("colour")["name"]) == {"#b219e5", "#1919e5"}
    assert set(ask("border_colour")["name"]) == {"#e5e5e5", "#191919"}
    names = ask("captured_at").sort_values("place")["name"].tolist()
    assert names[0].startswith("2024-01-0") and " to 2024-01-" in names[0]


def test_only_the_wanted_groups_count_and_an_unknown_fact_has_no_chart():
    assert set(ask("size", groups=("cat",))["group"]) == {"cat"}
    assert ask("no such fact").empty and ask("nothing").empty
