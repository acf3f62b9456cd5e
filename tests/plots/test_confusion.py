"""The confusion matrix as a figure whose cells can be clicked."""

import numpy as np

from recipe_core.plots.confusion import confusion

MATRIX = np.array([[8, 2], [0, 10]])


def test_a_click_on_a_cell_says_true_and_predicted_class():
    cells = confusion(MATRIX, ["cat", "dog"]).data[-1]
    told = {tuple(each): (x, y) for each, x, y in zip(cells.customdata, cells.x, cells.y, strict=True)}
    assert told == {(0, 0): (0, 0), (0, 1): (1, 0), (1, 0): (0, 1), (1, 1): (1, 1)}  # x: predicted, y: true


def test_cells_are_coloured_by_the_share_of_their_true_class_right_and_wrong_apart():
    right, wrong = confusion(MATRIX, ["cat", "dog"]).data[:2]
    np.testing.assert_array_equal(right.z, [[0.8, np.nan], [np.nan, 1.0]])
    np.testing.assert_array_equal(wrong.z, [[np.nan, 0.2], [0.0, np.nan]])


def test_a_class_without_samples_has_a_row_of_zeros():
    right, wrong = confusion(np.array([[3, 0], [0, 0]]), ["cat", "dog"]).data[:2]
    assert (right.z[1][1], wrong.z[1][0]) == (0, 0)


def test_counts_stand_in_the_cells_but_no_zeros():
    assert list(confusion(MATRIX, ["cat", "dog"]).data[-1].text) == ["8", "2", "", "10"]


def test_the_chosen_cell_is_framed():
    frame = confusion(MATRIX, ["cat", "dog"], (0, 1)).layout.shapes[0]
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (0.5, 1.5, -0.5, 0.5)


def test_a_chosen_cell_that_is_not_there_is_passed_over():
    assert not confusion(MATRIX, ["cat", "dog"], (7, 1)).layout.shapes


def test_many_classes_stay_within_a_page_and_have_no_text():
    figure = confusion(np.eye(100, dtype=int), [str(each) for each in range(100)])
    assert figure.layout.height <= 620
    assert "text" not in figure.data[-1].mode


def test_a_class_called_like_markup_is_shown_as_it_is():
    figure = confusion(MATRIX, ["<b>x</b>", "dog"])
    assert figure.layout.xaxis.ticktext[0] == "&lt;b&gt;x&lt;/b&gt;"
    assert "<b>" not in figure.data[-1].hovertext[0]
