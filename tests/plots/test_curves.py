"""Curves of runs, as pure functions: histories in, a figure out."""

import numpy as np
import pandas as pd
import pytest

from recipe_core.plots.curves import CHOSEN, QUIET, Level, colour_of, curves, merged, smoothed

LOSS = {"train_loss": "training", "val_loss": "validation"}
HISTORY = pd.DataFrame(
    {"train_loss": [2.0, 1.0, 0.5, 0.4], "val_loss": [2.1, np.nan, 0.9, np.nan]}, index=pd.Index(range(4), name="step")
)


def named(figure, name: str):
    return next(trace for trace in figure.data if trace.name == name)


def test_a_run_has_a_pale_training_curve_and_a_strong_one_of_validation():
    figure = curves({"linear #1": HISTORY}, LOSS)
    assert [trace.line.color for trace in figure.data] == [QUIET, CHOSEN]
    assert named(figure, "training").line.width < named(figure, "validation").line.width


def test_steps_at_which_a_metric_was_not_measured_leave_no_hole():
    line = named(curves({"linear #1": HISTORY}, LOSS), "validation")
    assert (list(line.x), list(line.y)) == ([0, 2], [2.1, 0.9])


def test_of_several_runs_each_has_a_colour_and_one_entry_in_the_legend():
    figure = curves({"linear #1": HISTORY, "mlp #2": HISTORY}, LOSS)
    shown = [trace for trace in figure.data if trace.showlegend]
    assert [trace.name for trace in shown] == ["linear #1", "mlp #2"]
    assert [trace.line.color for trace in shown] == [colour_of(0), colour_of(1)]
    assert {trace.legendgroup for trace in figure.data} == {"linear #1", "mlp #2"}


def test_smoothing_is_unbiased_at_its_start_and_keeps_a_constant():
    assert smoothed(pd.Series([3.0, 3.0, 3.0]), 0.9).tolist() == pytest.approx([3, 3, 3])
    assert smoothed(pd.Series([2.0, 4.0]), 0.75).tolist() == pytest.approx([2, (4 + 0.75 * 2) / 1.75])


def test_behind_a_smoothed_curve_stands_the_one_that_was_measured():
    figure = curves({"linear #1": HISTORY}, {"train_loss": "training"}, smoothing=0.9)
    raw, line = figure.data
    assert list(raw.y) == list(HISTORY["train_loss"])
    assert list(line.y) != list(raw.y)
    assert list(line.customdata) == list(raw.y)  # what is told when it is pointed at
    assert [raw.showlegend, line.showlegend] == [False, True]


def test_zoomed_in_only_those_steps_are_drawn_but_smoothed_with_what_came_before():
    whole = curves({"linear #1": HISTORY}, {"train_loss": "training"}, smoothing=0.5)
    part = curves({"linear #1": HISTORY}, {"train_loss": "training"}, smoothing=0.5, steps=(1, 2))
    assert list(part.data[1].x) == [1, 2]
    assert list(part.data[1].y) == list(whole.data[1].y[1:3])
    assert list(part.layout.xaxis.range) == [1, 2]


def test_what_was_expected_is_a_dotted_line_named_with_its_value():
    figure = curves({"linear #1": HISTORY}, LOSS, [Level(2.303, "expected at step 0")])
    line = named(figure, "expected at step 0 2.303")
    assert (line.line.dash, list(line.x), list(line.y)) == ("dot", [0, 3], [2.303, 2.303])


def test_shares_are_told_in_percent():
    figure = curves({"linear #1": HISTORY}, LOSS, [Level(0.115, "constant guess")], percent=True)
    assert figure.data[-1].name == "constant guess 11.5%"
    assert figure.layout.yaxis.tickformat == ".3~p"


def test_expectations_that_nearly_agree_share_a_line():
    levels = [Level(2.31, "expected at step 0"), Level(2.30, "constant guess"), Level(1.0, "other")]
    assert [level.name for level in merged(levels)] == ["other", "constant guess = expected at step 0"]


def test_the_same_expectation_of_several_runs_is_named_once():
    assert merged([Level(2.3, "constant guess")] * 3) == [Level(2.3, "constant guess")]


def test_what_a_log_axis_cannot_show_is_left_out():
    figure = curves({"linear #1": HISTORY}, LOSS, [Level(0.0, "constant guess")], log=True)
    assert figure.layout.yaxis.type == "log"
    assert len(figure.data) == 2


def test_a_run_without_points_still_shows_what_is_expected():
    figure = curves({"linear #1": pd.DataFrame()}, LOSS, [Level(2.3, "constant guess")])
    assert [trace.name for trace in figure.data] == ["constant guess 2.300"]


def test_few_points_are_drawn_as_points_and_many_as_a_line():
    many = pd.DataFrame({"train_loss": np.linspace(2, 1, 500)})
    modes = [curves({"a": each}, {"train_loss": "training"}).data[0].mode for each in (HISTORY, many)]
    assert modes == ["lines+markers", "lines"]


def test_a_name_like_markup_is_shown_as_it_is():
    assert curves({"<b>x</b>": HISTORY, "y": HISTORY}, LOSS).data[1].name == "&lt;b&gt;x&lt;/b&gt;"


def test_a_curve_that_hardly_moves_does_not_fill_the_chart():
    flat = pd.DataFrame({"train_loss": [1.0986, 1.0987]})
    low, high = curves({"a": flat}, {"train_loss": "training"}).layout.yaxis.range
    assert low < 1.06 < 1.14 < high
    assert curves({"linear #1": HISTORY}, LOSS).layout.yaxis.range is None
