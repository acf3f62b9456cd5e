"""Which labels are likely wrong: planted ones are found with their right label, healthy ones are not accused."""

import numpy as np
import pyarrow as pa
import pytest

from recipe_core.data.embeddings import Embeddings
from recipe_core.data.embeddings.analyses import LABEL_ERRORS
from recipe_core.data.embeddings.label_errors import SMALLEST_CLASS, label_errors
from recipe_core.data.embeddings.segments import Vectors
from recipe_core.data.findings.label_errors import CUT

CLASSES, EACH = 5, 120


def vectors(classes: int = CLASSES, each: int = EACH, spread: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    """Clouds around a centre per class, not negative as those of a backbone, and the class of each."""
    chance = np.random.default_rng(0)
    truth = np.repeat(np.arange(classes), each)
    found = chance.random((classes, 32))[truth] + spread * chance.normal(size=(classes * each, 32))
    return np.maximum(found, 0).astype(np.float16), truth


def embedded(tmp_path, points: np.ndarray, labels: list[str | None]) -> Embeddings:
    np.save(tmp_path / "all.npy", points)
    named = [f"{number:05}" for number in range(len(points))]
    columns = {"content": named, "key": named, "label": labels, "split": [None] * len(points)}
    rows = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    where = np.arange(len(points))
    return Embeddings(rows, Vectors([tmp_path / "all.npy"], np.zeros(len(points), int), where))


def planted(truth: np.ndarray, rate: float, classes: int = CLASSES) -> np.ndarray:
    """The classes with a share of them mistaken for the next one."""
    labels = truth.copy()
    some = np.random.default_rng(1).permutation(len(truth))[: round(rate * len(truth))]
    labels[some] = (truth[some] + 1) % classes
    return labels


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_planted_label_errors_are_found_with_the_right_label_suggested(rate, tmp_path):
    points, truth = vectors()
    labels = planted(truth, rate)
    found = label_errors(embedded(tmp_path, points, [f"class {label}" for label in labels])).to_pandas()
    accused, wrong = (found["wrong"] > CUT).to_numpy(), labels != truth
    assert (accused & wrong).sum() >= 0.8 * wrong.sum()
    assert (accused & wrong).sum() >= 0.8 * accused.sum()
    suggested = found["suggested"][accused & wrong].to_numpy()
    assert (suggested == [f"class {label}" for label in truth[accused & wrong]]).mean() > 0.9


def test_many_labels_that_are_wrong_at_random_are_not_taken_for_pictures_that_tell_little(tmp_path):
    points, truth = vectors(10, 150, spread=0.6)
    chance = np.random.default_rng(1)
    wrong = chance.random(len(truth)) < 0.4
    labels = np.where(wrong, (truth + chance.integers(1, 10, len(truth))) % 10, truth)
    found = label_errors(embedded(tmp_path, points, [str(label) for label in labels])).to_pandas()
    accused = (found["wrong"] > CUT).to_numpy()
    assert (accused & wrong).sum() >= 0.7 * wrong.sum()
    assert (accused & wrong).sum() >= 0.8 * accused.sum()


def test_label_errors_are_found_among_many_small_classes(tmp_path):
    points, truth = vectors(400, 8, spread=0.15)
    labels = planted(truth, 0.1, 400)
    found = label_errors(embedded(tmp_path, points, [str(label) for label in labels])).to_pandas()
    accused, wrong = (found["wrong"] > CUT).to_numpy(), (labels != truth) & found["wrong"].notna().to_numpy()
    assert (accused & wrong).sum() >= 0.7 * wrong.sum()
    assert (accused & wrong).sum() >= 0.8 * accused.sum()


def test_next_to_nothing_is_claimed_of_right_labels(tmp_path):
    points, truth = vectors()
    found = label_errors(embedded(tmp_path, points, [str(label) for label in truth])).to_pandas()
    assert (found["wrong"] > CUT).mean() < 0.02


def test_the_pictures_that_speak_for_a_label_have_it(tmp_path):
    points, truth = vectors()
    labels = [f"class {label}" for label in planted(truth, 0.1)]
    found = label_errors(embedded(tmp_path, points, labels)).to_pandas()
    of = dict(zip(found["content"], labels, strict=True))
    for row in found.nlargest(20, "wrong").itertuples():
        assert {of[content] for content in row.for_given} == {row.given}
        assert {of[content] for content in row.for_suggested} == {row.suggested}
        assert row.content not in row.for_given


@pytest.mark.parametrize("labels", [[None] * 40, ["one"] * 40, [f"its own {n}" for n in range(40)], []])
def test_nothing_is_said_where_nothing_can_be(labels, tmp_path):
    points = np.random.default_rng(0).random((len(labels), 32)).astype(np.float16)
    found = label_errors(embedded(tmp_path, points, labels))
    assert found["wrong"].null_count == len(labels)
    assert set(found.column_names) == set(LABEL_ERRORS.names)


def test_labels_may_be_anything_and_small_classes_are_left_alone(tmp_path):
    points, truth = vectors(4, 60)
    names = ["", "<b>bold</b>", "猫", "7"]
    labels = [names[label] for label in truth] + ["rare"] * (SMALLEST_CLASS - 1)
    points = np.concatenate([points, points[: SMALLEST_CLASS - 1]])
    found = label_errors(embedded(tmp_path, points, labels)).to_pandas()
    assert found["wrong"].isna().sum() == SMALLEST_CLASS - 1
    assert set(found["suggested"].dropna()) <= set(names)
