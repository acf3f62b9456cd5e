"""The map's figure: how points are coloured."""

import numpy as np
import pandas as pd
import pytest

from recipe_core.plots.map import COLOURS, MOST_COLOURED, scatter


def points(values) -> pd.DataFrame:
    count = len(values)
    return pd.DataFrame({"key": [f"{n}.jpg" for n in range(count)], "x": range(count), "y": 0.0, "value": values})


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        (np.arange(101.0), None),
        (pd.date_range("2020-03-01", periods=101, freq="D", unit="us"), ("2020-03-02", "2020-06-08")),
    ],
)
def test_numbers_and_times_are_one_scale_of_colours(values, ends):
    (trace,) = scatter(points(values), "captured_at").data
    colours = np.asarray(trace.marker.color, float)
    assert (np.diff(colours) > 0).all() and trace.marker.cmin < trace.marker.cmax
    assert trace.marker.colorbar.title.text == "captured at"
    if ends:
        written = trace.marker.colorbar.ticktext
        assert (written[0], written[-1]) == ends
        assert "2020-03-01" in trace.hovertext[0]


def test_a_missing_time_is_a_point_too():
    (trace,) = scatter(points(pd.to_datetime(["2020-01-01", None, "2021-01-01"])), "captured_at").data
    assert len(trace.x) == 3 and trace.hovertext[1] == "1.jpg"


def test_of_many_values_the_frequent_ones_have_colours_and_the_rest_is_grey():
    values = [f"class {n}" for n in range(MOST_COLOURED + 3) for _ in range(40 - n)]
    others, *named = scatter(points(values), "label").data
    assert others.name == "others" and len(others.x) == sum(40 - n for n in range(MOST_COLOURED, MOST_COLOURED + 3))
    assert [trace.name for trace in named] == [f"class {n}" for n in range(MOST_COLOURED)]
    assert [trace.marker.color for trace in named] == list(COLOURS)
