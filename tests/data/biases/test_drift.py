"""Drift: planted differences between splits are found, a big dataset's tiny ones and chance are not."""

import numpy as np
import pandas as pd
import pytest

from recipe_core.data.biases.drift import fact_drift, label_drift, missing_classes

TYPES = {"key": "VARCHAR", "label": "VARCHAR", "split": "VARCHAR", "brightness": "FLOAT", "camera_model": "VARCHAR"}
SPLITS = ["train", "val"]


def samples(count: int = 2000, seed: int = 0) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "key": [f"{at}.png" for at in range(count)],
            "label": chance.choice(["a", "b"], count),
            "split": np.where(np.arange(count) % 4 == 0, "val", "train"),
            "brightness": chance.normal(120, 30, count),
            "camera_model": chance.choice(["x", "y", None], count),
            "red": 1.0,
            "green": 1.0,
            "blue": 1.0,
            "border_colour": "#000000",
            "width": 3,
            "height": 3,
            "captured_at": pd.Timestamp("2024-01-01"),
        }
    )


def drift_of(rows):
    return [one.name for one in fact_drift(rows, SPLITS, TYPES)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [60, 2000, 20_000])
def test_splits_drawn_by_chance_do_not_differ(count, seed):
    assert drift_of(samples(count, seed)) == []


def test_a_darker_split_and_another_camera_are_found():
    rows = samples()
    val = rows["split"] == "val"
    darker = rows.assign(brightness=rows["brightness"].where(~val, rows["brightness"] - 25))
    (one,) = fact_drift(darker, SPLITS, TYPES)
    assert (one.name, one.split, one.reference) == ("brightness", "val", "train")
    assert one.told.endswith("or less") and one.here > one.there + 0.15 and one.keys
    assert drift_of(rows.assign(camera_model=rows["camera_model"].where(~val, "z"))) == ["camera_model"]


def test_a_tiny_difference_in_many_samples_is_none():
    rows = samples(40_000)
    val = rows["split"] == "val"
    assert drift_of(rows.assign(brightness=rows["brightness"] + 3 * val)) == []  # a tenth of a deviation


def test_labels_spread_otherwise_are_told_and_chance_is_not():
    even = pd.DataFrame({"train": [500, 500], "val": [95, 105]}, index=["a", "b"])
    assert list(label_drift(even, SPLITS)) == []
    many = np.random.default_rng(0).multinomial(3000, np.full(1000, 0.001), size=2).T
    assert list(label_drift(pd.DataFrame(many, columns=SPLITS), SPLITS)) == []
    (one,) = label_drift(pd.DataFrame({"train": [500, 500], "val": [30, 170]}, index=["a", "b"]), SPLITS)
    assert one.told in "ab" and one.gap == pytest.approx(0.35, abs=0.05)


def test_classes_that_a_split_lacks():
    counts = pd.DataFrame({"train": [90, 100, 0, 2], "val": [30, 0, 4, 0]}, index=["a", "b", "new", "rare"])
    told = [(one.split, one.lacking, one.classes) for one in missing_classes(counts, SPLITS)]
    assert told == [("val", "train", (("new", 4),)), ("train", "val", (("b", 100),))]
