"""Evaluation against scikit-learn and numbers from the literature; predictions and tensors as they are."""

import json

import numpy as np
import pytest
from sklearn import metrics
from toy import tensors, train

from recipe_core.errors import Stopped
from recipe_core.training.batches import Batches
from recipe_core.training.evaluate import Evaluation, expected_calibration_error, reliability_table, wilson
from recipe_core.training.predictions import FixedBatch, just_before_the_net, load_fixed_batch, predict

CLASSES = ("a", "b", "c", "never")


@pytest.fixture(scope="module")
def evaluation():
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 3, 500)
    scores = chance.normal(0, 1, (500, 4)) + 1.5 * np.eye(4)[labels]
    scores[:, 3] = -20
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return Evaluation.of(probabilities.astype(np.float32), labels, CLASSES)


def test_it_agrees_with_scikit_learn(evaluation):
    labels, predicted = evaluation.labels, evaluation.probabilities.argmax(1)
    assert np.array_equal(evaluation.confusion, metrics.confusion_matrix(labels, predicted, labels=range(4)))
    theirs = metrics.precision_recall_fscore_support(labels, predicted, labels=range(4), zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
        np.testing.assert_allclose(evaluation.per_class[name], values)
    assert evaluation.summary["accuracy"] == metrics.accuracy_score(labels, predicted)
    theirs = metrics.log_loss(labels, evaluation.probabilities, labels=range(4))
    assert evaluation.summary["loss"] == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_that_of_newcombes_table(successes, trials, low, high):
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", method 3.
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_calibration_is_the_gap_between_confidence_and_accuracy():
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 9 + [1] + [1] * 2 + [0] * 8)  # right 9 of 10 at 0.9, right 2 of 10 at 0.6
    table = reliability_table(probabilities, labels, bins=10)
    told = table[table["count"] > 0]
    assert told["confidence"].tolist() == pytest.approx([0.6, 0.9])
    assert told["accuracy"].tolist() == pytest.approx([0.2, 0.9])
    assert expected_calibration_error(table) == pytest.approx(0.2)


def test_mistakes_are_those_told_wrong_the_worst_first(evaluation):
    mistakes = evaluation.mistakes
    assert (mistakes["true"] != mistakes["predicted"]).all()
    assert mistakes["loss"].is_monotonic_decreasing
    assert (evaluation.labels[mistakes["row"]] == mistakes["true"]).all()
    wrong = evaluation.summary["samples"] - evaluation.summary["correct"]
    assert len(mistakes) == min(wrong, 200)


def test_certain_and_wrong_is_a_finite_loss():
    evaluation = Evaluation.of(np.array([[1, 0], [0, 1]], dtype=np.float32), np.array([1, 1]), ("a", "b"))
    assert 40 < evaluation.summary["loss"] < 50


def test_it_is_read_as_it_was_saved(evaluation, tmp_path):
    evaluation.save(tmp_path / "artifacts")
    again = Evaluation.load(tmp_path / "artifacts")
    assert again.summary == evaluation.summary
    assert again.classes == CLASSES
    assert again.mistakes.equals(evaluation.mistakes)
    assert sorted(path.name for path in (tmp_path / "artifacts").iterdir()) == ["evaluation.json", "evaluation.npz"]
    assert json.loads((tmp_path / "artifacts" / "evaluation.json").read_text())["summary"]["samples"] == 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tensors(tmp_path_factory.mktemp("toy") / "tensors")


def test_the_whole_split_agrees_with_the_last_evaluation_of_the_run(folder, tmp_path):
    pipelines = []
    recorder = train(folder, tmp_path, "linear", {"epochs": 2}, change=pipelines.append)
    found = predict(recorder.model, pipelines[0].val_loader, pipelines[0].forward)
    evaluation = Evaluation.of(*found, pipelines[0].class_names)
    last = recorder.points[4]
    assert evaluation.summary["accuracy"] == pytest.approx(last["val_accuracy"])
    assert evaluation.summary["loss"] == pytest.approx(last["val_loss"], rel=1e-5)


def test_predicting_can_be_stopped(folder, tmp_path):
    def stop():
        raise Stopped("asked to stop")

    recorder = train(folder, tmp_path, "linear", {"steps": 1})
    with pytest.raises(Stopped):
        predict(recorder.model, Batches(folder, "val"), lambda model, x: model(x), stop)


def test_a_fixed_batch_is_followed_over_the_steps_and_a_resume(folder, tmp_path):
    def fitted(steps):
        pipelines = []
        settings = {"steps": steps, "eval_every": 2}
        follow = lambda step, model: FixedBatch(pipelines[0], 0, tmp_path / "artifacts")(step, model)  # noqa: E731
        train(folder, tmp_path, "linear", settings, change=pipelines.append, on_evaluation=follow)
        return load_fixed_batch(tmp_path / "artifacts" / "fixed_batch.npz")

    assert list(fitted(4)) == [0, 2, 4]
    seen = fitted(6)
    assert list(seen) == [0, 2, 4, 6]
    assert seen[6].shape == (16, 3)
    np.testing.assert_allclose(seen[6].sum(1), 1, rtol=1e-5)
    with np.load(tmp_path / "artifacts" / "fixed_batch.npz") as kept:
        assert np.array_equal(np.load(folder / "val_labels.npy")[kept["rows"]], kept["labels"])


def test_just_before_the_net_shows_the_pictures_as_they_were(folder):
    batches = Batches(folder, "train", 16)
    shown = just_before_the_net(batches, limit=5)
    assert np.array_equal(shown["pictures"], np.load(folder / "train_images.npy")[shown["rows"]])
    assert np.array_equal(shown["labels"], np.load(folder / "train_labels.npy")[shown["rows"]])
    np.testing.assert_allclose(shown["mean"], 0, atol=1e-4)
    np.testing.assert_allclose(shown["std"], 1, atol=1e-3)
