"""The fixed batch over the steps as a figure."""

import numpy as np

from recipe_core.plots.followed import RIGHT, WRONG, followed

# Two looks at two samples, of three classes.
PROBABILITIES = np.array([[[0.4, 0.3, 0.3], [0.2, 0.5, 0.3]], [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1]]])
LABELS = np.array([0, 1])
CLASSES = ["cat", "dog", "cow"]


def figure(**changes):
    return followed([0, 100], PROBABILITIES, LABELS, **{"classes": CLASSES} | changes)


def test_a_row_per_sample_a_column_per_step_with_the_probability_of_the_true_class():
    np.testing.assert_array_equal(figure().data[0].z, [[0.4, 0.8], [0.5, 0.2]])
    assert list(figure().data[0].x) == ["0", "100"]


def test_at_the_end_stands_what_each_sample_is_told_as():
    said = {note.text: note.font.color for note in figure().layout.annotations if "%" in note.text}
    assert said == {"✓ cat · 80%": RIGHT, "✗ cat · 70%": WRONG}


def test_pointed_at_it_names_the_likeliest_classes_first():
    assert figure().data[0].hovertext[1][0] == "dog 50.0%<br>cow 30.0%<br>cat 20.0%"


def test_a_sample_without_a_picture_has_none():
    images = figure(pictures=["data:,a", ""]).layout.images
    assert [(image.source, image.y) for image in images] == [("data:,a", 0)]


def test_a_long_name_is_cut_before_markup_in_it_is_escaped():
    names = [note.text for note in figure(classes=["<a very long name>", "dog", "cow"]).layout.annotations]
    assert "&lt;a very l…" in names
