"""Calibration as a figure."""

import numpy as np
import pytest

from recipe_core.plots.calibration import calibration
from recipe_core.training.evaluate import reliability_table

PROBABILITIES = np.array([[0.95, 0.05], [0.9, 0.1], [0.4, 0.6]])
TABLE = reliability_table(PROBABILITIES, np.array([0, 1, 1]), bins=10)


def test_a_bar_per_bin_that_has_samples_over_the_middle_of_its_confidence():
    bars = calibration(TABLE).data[0]
    assert list(bars.x) == pytest.approx([0.55, 0.85, 0.95])
    assert list(bars.y) == [1, 0, 1]


def test_the_diagonal_is_where_confidence_and_accuracy_agree():
    diagonal = calibration(TABLE).data[1]
    assert (list(diagonal.x), list(diagonal.y)) == ([0, 1], [0, 1])


def test_below_stands_how_many_samples_are_in_each_bin():
    assert list(calibration(TABLE).data[2].y) == [1, 1, 1]
