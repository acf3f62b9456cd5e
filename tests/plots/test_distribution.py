"""The figures of distributions, as pure functions: a table in, a figure out."""

import pandas as pd
import pytest

from recipe_core.plots.distribution import CHOSEN, QUIET, bars, histogram

COUNTS = pd.DataFrame({"low": [0.0, 10.0, 20.0], "high": [10.0, 20.0, 30.0], "samples": [3, 0, 5]})
CLASSES = pd.DataFrame({"value": ["cat", "dog", None], "samples": [7, 2, 1]})


def colours(figure) -> list[str]:
    return list(figure.data[0].marker.color)


def test_a_histogram_has_a_bar_over_the_middle_of_each_interval():
    bar = histogram(COUNTS).data[0]
    assert list(bar.x) == [5, 15, 25]
    assert list(bar.y) == [3, 0, 5]
    assert all(0 < width <= 10 for width in bar.width)


def test_all_bars_are_marked_while_nothing_is_chosen():
    assert set(colours(histogram(COUNTS))) == {CHOSEN}
    assert set(colours(bars(CLASSES))) == {CHOSEN}


@pytest.mark.parametrize(
    ("chosen", "marked"),
    [
        ((12, 18), [QUIET, CHOSEN, QUIET]),
        ((5, 25), [CHOSEN, CHOSEN, CHOSEN]),
        ((None, 5), [CHOSEN, QUIET, QUIET]),
        ((20, None), [QUIET, QUIET, CHOSEN]),
        ((100, 200), [QUIET, QUIET, QUIET]),
    ],
)
def test_the_bars_that_hold_the_chosen_range_are_marked(chosen: tuple, marked: list[str]):
    assert colours(histogram(COUNTS, chosen)) == marked


def test_a_histogram_can_be_brushed_along_its_axis_only():
    layout = histogram(COUNTS).layout
    assert (layout.dragmode, layout.selectdirection) == ("select", "h")


def test_a_histogram_names_the_unit_of_its_axis():
    assert "px" in histogram(COUNTS, unit="px").data[0].hovertemplate


def test_a_histogram_of_times_stands_on_a_time_axis():
    days = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"])
    table = pd.DataFrame({"low": days[:2], "high": days[1:], "samples": [1, 2]})
    figure = histogram(table, (pd.Timestamp("2024-01-02T06:00"), None))
    assert pd.Timestamp(figure.data[0].x[0]) == pd.Timestamp("2024-01-01T12:00")
    assert figure.data[0].width[0] == pytest.approx(0.94 * 24 * 3600 * 1000)  # ms, as plotly counts on such an axis
    assert colours(figure) == [QUIET, CHOSEN]


def test_a_bar_per_value_in_the_order_given_and_one_for_samples_without():
    figure = bars(CLASSES)
    assert list(figure.data[0].y) == [7, 2, 1]
    assert figure.layout.xaxis.type == "category"


def test_the_chosen_values_are_marked_the_missing_one_too():
    assert colours(bars(CLASSES, ("dog", None))) == [QUIET, CHOSEN, CHOSEN]


def test_classes_called_by_numbers_stay_classes():
    figure = bars(pd.DataFrame({"value": ["10", "2"], "samples": [1, 1]}))
    assert list(figure.data[0].x) == ["10", "2"]
    assert figure.layout.xaxis.type == "category"


def test_a_class_called_like_markup_is_shown_as_it_is():
    figure = bars(pd.DataFrame({"value": ["<b>x</b>", "a &lt; b"], "samples": [1, 1]}))
    as_plotly_takes_it = ["&lt;b&gt;x&lt;/b&gt;", "a &amp;lt; b"]
    assert list(figure.data[0].hovertext) == as_plotly_takes_it
    assert list(figure.layout.xaxis.labelalias.values()) == as_plotly_takes_it


def test_a_long_name_is_cut_below_its_bar_and_whole_when_pointed_at():
    first, second = "a very long name of a class: 1", "a very long name of a class: 2"
    figure = bars(pd.DataFrame({"value": [first, second], "samples": [1, 1]}))
    assert list(figure.data[0].hovertext) == [first, second]
    assert list(figure.layout.xaxis.labelalias.values()) == ["a very long name of…"] * 2
    assert len(set(figure.data[0].x)) == 2
