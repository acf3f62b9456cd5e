"""Outliers by embedding and the map, on vectors with and without strangers among them."""

import numpy as np
import pyarrow as pa

from recipe_core.data.embeddings import Embeddings
from recipe_core.data.embeddings.outliers import outliers
from recipe_core.data.embeddings.places import _inside
from recipe_core.data.embeddings.projection import project
from recipe_core.data.embeddings.segments import Vectors
from recipe_core.data.findings.embedded import beyond


def embeddings_of(folder, matrix, labels, layers=()):
    np.save(folder / "v.npy", matrix.astype(np.float16))
    names = [f"{number:04}" for number in range(len(matrix))]
    rows = pa.table({"content": names, "key": names, "label": pa.array(labels, pa.string()), "split": names})
    vectors = Vectors([folder / "v.npy"], np.zeros(len(matrix), int), np.arange(len(matrix)))
    return Embeddings(rows, vectors, layers)


def classes(count, seed=0):
    """Two heaps of vectors, and their labels."""
    chance = np.random.default_rng(seed)
    heaps = chance.normal(0, 1, (2, 64))
    labels = np.arange(count) % 2
    return heaps[labels] + chance.normal(0, 0.3, (count, 64)), ["ab"[label] for label in labels]


def values(table, axis):
    return table[axis].to_numpy(zero_copy_only=False).astype(float)


def test_strangers_are_beyond_the_cut_though_they_are_several_of_one_kind(tmp_path):
    matrix, labels = classes(600)
    matrix[:6] = np.random.default_rng(9).normal(0, 1, 64) + np.random.default_rng(8).normal(0, 0.05, (6, 64))
    for axis in ("unlike_anything", "unlike_class"):
        found = values(outliers(embeddings_of(tmp_path, matrix, labels)), axis)
        assert set(np.flatnonzero(found > beyond(found))) == set(range(6)), axis


def test_what_is_strange_in_either_of_two_layers_is_found_whatever_a_third_one_says(tmp_path):
    matrix, labels = classes(600)
    matrix[3, :40] = np.random.default_rng(9).normal(0, 1, 40)
    matrix[5, 40:] = np.random.default_rng(8).normal(0, 0.1, 24)  # small numbers, as of a layer by itself
    matrix[:, 40:] *= 0.1
    third = 50 * np.random.default_rng(7).normal(0, 1, (600, 32))
    there = embeddings_of(tmp_path, np.hstack([matrix, third]), labels, (40, 24, 32))
    assert set(np.argsort(-values(outliers(there), "unlike_anything"))[:2]) == {3, 5}
    unknown = embeddings_of(tmp_path, np.hstack([matrix, third]), labels)
    assert set(np.argsort(-values(outliers(unknown), "unlike_anything"))[:2]) != {3, 5}


def test_of_data_without_strangers_nearly_nobody_is_accused(tmp_path):
    accused = 0
    for seed in range(5):
        found = outliers(embeddings_of(tmp_path, *classes(400, seed)))
        accused += sum(
            (values(found, axis) > beyond(values(found, axis))).sum() for axis in ("unlike_anything", "unlike_class")
        )
    assert accused <= 4  # of 2 x 2,000


def test_a_picture_with_the_other_class_s_label_is_unlike_its_class_only(tmp_path):
    matrix, labels = classes(600)
    labels[10] = "b"  # even ones are a
    table = outliers(embeddings_of(tmp_path, matrix, labels))
    of_class, anything = values(table, "unlike_class"), values(table, "unlike_anything")
    assert of_class.argmax() == 10 and of_class[10] > beyond(of_class)
    assert anything[10] < beyond(anything)
    assert "0010" not in table["nearest"][10].as_py() and len(table["nearest_in_class"][10].as_py()) == 4


def test_constant_pictures_and_missing_labels_have_no_outliers_but_places(tmp_path):
    there = embeddings_of(tmp_path, np.ones((60, 16)), [None] * 60)
    table = outliers(there)
    assert table["unlike_class"].null_count == 60 and beyond(values(table, "unlike_anything")) == np.inf
    assert np.isfinite(np.stack([values(project(there), axis) for axis in "xy"])).all()


def test_the_map_is_the_same_each_time_and_keeps_neighbours_together(tmp_path):
    matrix, labels = classes(120)
    there = embeddings_of(tmp_path, matrix, labels)
    places = np.stack([values(project(there), axis) for axis in "xy"], axis=1)
    assert np.array_equal(places, np.stack([values(project(there), axis) for axis in "xy"], axis=1))
    assert np.abs(places).max() <= 1.001
    nearest = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(120) * 9
    assert (nearest.argmin(1) % 2 == np.arange(120) % 2).mean() > 0.95


def test_what_lies_in_a_drawn_area_is_told_also_of_a_hollow_one():
    corners = np.array([(0, 0), (4, 0), (4, 4), (3, 4), (3, 1), (1, 1), (1, 4), (0, 4)], float)
    x, y = np.array([0.5, 2.0, 3.5, 5.0, 2.0]), np.array([3.0, 3.0, 3.0, 1.0, 0.5])
    assert _inside(x, y, corners).tolist() == [True, False, True, False, True]
