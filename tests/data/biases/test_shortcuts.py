"""Shortcuts: one planted in every kind of fact is found, and nothing is claimed where there is none."""

from datetime import datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd
import pytest

from recipe_core.data.biases.shortcuts import merged, shortcuts

CLASSES, PER_CLASS = 5, 80
COUNT = CLASSES * PER_CLASS
NUMBERS = ("brightness", "contrast", "saturation", "sharpness", "border_spread", "red", "bits_per_pixel", "age")
TEXTS = ("format", "mode", "extension", "camera_make", "camera_model", "clinic")
TYPES = dict.fromkeys(("brightness", "contrast", "saturation", "sharpness", "border_spread"), "FLOAT")
TYPES |= dict.fromkeys(("red", "green", "blue", "bits_per_pixel", "aspect", "age"), "FLOAT")
TYPES |= {"width": "INTEGER", "height": "INTEGER", "file_bytes": "BIGINT"}
TYPES |= {"orientation": "TINYINT", "jpeg_quality": "TINYINT"}
TYPES |= dict.fromkeys(("key", "label", "format", "mode", "extension", "camera_make", "camera_model"), "VARCHAR")
TYPES |= {"border_colour": "VARCHAR", "clinic": "VARCHAR", "captured_at": "TIMESTAMP_S", "misnamed": "BOOLEAN"}


def honest(seed: int = 0, classes: int = CLASSES) -> pd.DataFrame:
    """Samples whose looks tell a little of their class, as honest pictures do, and nothing else does."""
    chance = np.random.default_rng(seed)
    label = np.repeat(np.arange(classes), PER_CLASS)
    count = len(label)
    rows = {name: chance.normal(100 + 6 * label, 30) for name, type in TYPES.items() if type == "FLOAT"}
    rows["age"] = np.where(chance.random(count) < 0.2, np.nan, chance.normal(40, 9, count))
    rows |= {"width": chance.integers(200, 900, count), "height": chance.integers(200, 900, count)}
    rows |= {"file_bytes": chance.integers(1000, 90_000, count), "orientation": chance.choice([1, 6], count)}
    rows["jpeg_quality"] = np.where(chance.random(count) < 0.3, np.nan, chance.integers(70, 96, count))
    for name in ("format", "mode", "extension", "camera_make", "camera_model", "clinic"):
        rows[name] = chance.choice(["a", "b", None], count)
    rows["border_colour"] = [f"#{value:06x}" for value in chance.integers(0, 2**24, count)]
    days = chance.integers(0, 500, count)
    rows["captured_at"] = pd.to_datetime([datetime(2024, 1, 1) + timedelta(hours=7 * int(day)) for day in days])
    rows["misnamed"] = chance.random(count) < 0.1
    rows["key"] = [f"<b>{of}/{number:05}.jpg" for of, number in zip(label, chance.permutation(count), strict=True)]
    return pd.DataFrame(rows | {"label": [f"<b>{of}" for of in label]})


def as_number(name: str, rows: pd.DataFrame, of: np.ndarray) -> pd.DataFrame:
    return rows.assign(**{name: 40.0 * of + rows[name] % 30})


def as_text(name: str, rows: pd.DataFrame, of: np.ndarray) -> pd.DataFrame:
    return rows.assign(**{name: [f"v{one}" for one in of]})


def planted() -> dict[str, object]:
    """Fact -> what makes it tell the label, given samples and the number of each one's class."""
    start = pd.Timestamp("2024-01-01")
    numbers = {name: partial(as_number, name) for name in NUMBERS}
    texts = {name: partial(as_text, name) for name in TEXTS}
    return numbers | texts | {
        "width": lambda rows, of: rows.assign(width=200 + 100 * of),
        "aspect": lambda rows, of: rows.assign(aspect=0.5 + 0.3 * of),
        "file_bytes": lambda rows, of: rows.assign(file_bytes=1000 * (of + 1) + rows["file_bytes"] % 900),
        "jpeg_quality": lambda rows, of: rows.assign(jpeg_quality=60 + 8 * of),
        "orientation": lambda rows, of: rows.assign(orientation=of + 1),
        "border_colour": lambda rows, of: rows.assign(border_colour=[f"#{40 * one:02x}{40 * one:02x}80" for one in of]),
        "captured_at": lambda rows, of: rows.assign(captured_at=[start + pd.Timedelta(days=int(one)) for one in of]),
        "file_number": lambda rows, of: rows.assign(key=[f"x/{at:05}.jpg" for at in range(len(of))]),
        "folder": lambda rows, of: rows.assign(key=[f"<b>{one}/set {one}/{at % 7}.jpg" for at, one in enumerate(of)]),
    }  # fmt: skip


def of_class(rows: pd.DataFrame) -> np.ndarray:
    return pd.factorize(rows["label"])[0]


@pytest.mark.parametrize("fact", planted())
def test_a_shortcut_in_every_kind_of_fact_is_found_and_comes_first(fact):
    rows = honest()
    claims = shortcuts(planted()[fact](rows, of_class(rows)), TYPES)
    first, same = next(merged(claims))
    assert first.label is None and first.score > 0.75 and first.p < 0.05
    assert fact in {first.variable.name, *(other.variable.name for other in same)}
    assert {claim.variable.family for claim in claims} == {first.variable.family}


@pytest.mark.parametrize("classes", [2, 5, 20])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_claimed_where_nothing_is_planted(seed, classes):
    assert shortcuts(honest(seed, classes), TYPES) == []


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_claimed_of_a_handful_of_samples(seed):
    rows = honest(seed, 2).groupby("label").head(12).reset_index(drop=True)
    assert shortcuts(rows, TYPES) == []


def test_a_camera_that_only_ever_took_one_class_is_found_with_precision_and_recall():
    rows = honest()
    third = (rows["label"] == "<b>3") & (np.arange(COUNT) % 2 == 0)
    claims = shortcuts(rows.assign(camera_model=rows["camera_model"].mask(third, "X100")), TYPES)
    (claim,) = claims
    assert (claim.variable.name, claim.label) == ("camera_model", "<b>3")
    assert claim.precision > 0.95 and 0.4 < claim.recall < 0.6
    assert [claim.variable.names[place] for place in claim.region] == ["X100"]


def test_what_is_missing_can_give_a_label_away():
    rows = honest(classes=2)
    claims = shortcuts(rows.assign(age=rows["age"].fillna(40).mask(rows["label"] == "<b>1")), TYPES)
    assert [claim.variable.name for claim in claims] == ["age"]


def test_two_independent_shortcuts_are_two_findings_and_two_signs_of_one_are_one():
    rows = honest()
    of = of_class(rows)
    rows = rows.assign(camera_make=[f"m{one}" for one in of], camera_model=[f"n{one}" for one in of])
    rows = planted()["brightness"](rows, of)
    assert [len(same) for _, same in merged(shortcuts(rows, TYPES))] == [1, 0]


def test_one_class_or_unlabelled_samples_are_no_riddle():
    rows = honest()
    assert shortcuts(rows[rows["label"] == "<b>1"].reset_index(drop=True), TYPES) == []
    assert shortcuts(pd.DataFrame(), TYPES) == []
