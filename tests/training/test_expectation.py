"""What is expected before a run, and the verdicts after: a preset's claims hold where they should, and only there."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from toy import tensors, train

from recipe_core.training.expectation import Expectation, expect, judge
from recipe_core.training.spec import RunSpec

COUNTS = (64, 40, 24), (24, 15, 9)
QUICK = {
    "majority": {"epochs": 1},
    "zero_input": {"epochs": 1},
    "linear": {"epochs": 3},
    "mlp": {"epochs": 5, "learning_rate": 1e-3},
    "tiny_cnn": {"epochs": 3},
    "one_batch": {"steps": 120},
    "overfit": {"steps": 120, "subset": 32},
    "resnet18": {"steps": 24, "batch_size": 8, "eval_every": 24},  # resnet50 is the same, but takes half a minute
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tensors(tmp_path_factory.mktemp("toy") / "tensors", *COUNTS)


def verdicts(folder, run_folder, preset, settings, ended=True):
    recorder = train(folder, run_folder, preset, settings)
    expectation = expect(RunSpec.parse(preset, settings), *COUNTS)
    return {each.claim.id: each for each in judge(expectation, recorder.history(), ended)}


@pytest.mark.parametrize("preset", QUICK)
def test_on_data_that_can_be_learnt_every_claim_of_a_preset_holds(folder, tmp_path, preset):
    found = verdicts(folder, tmp_path, preset, QUICK[preset])
    assert {name: each.sentence for name, each in found.items() if each.verdict != "pass"} == {}
    assert len(found) >= 3


def test_pixels_that_tell_nothing_do_not_beat_the_floor(tmp_path):
    found = verdicts(tensors(tmp_path / "t", *COUNTS, learnable=False), tmp_path, "linear", {"epochs": 3})
    assert found["beats_floor_loss"].verdict != "pass" or found["beats_floor_accuracy"].verdict != "pass"
    assert found["initial_loss"].verdict == "pass"


def test_labels_that_leak_past_a_blank_input_fail_the_floor():
    expectation = expect(RunSpec.parse("zero_input"), *COUNTS)
    history = pd.DataFrame({"val_loss": [1.03, 0.2], "val_accuracy": [0.5, 0.95]}, index=[0, 10])
    found = {each.claim.id: each for each in judge(expectation, history)}
    assert found["floor_loss"].verdict == found["floor_accuracy"].verdict == "fail"


def test_one_batch_that_is_not_learnt_fails(folder, tmp_path):
    found = verdicts(folder, tmp_path, "one_batch", {"steps": 10, "learning_rate": 1e-6})
    assert found["zero_loss"].verdict == "fail"
    assert found["zero_loss"].sentence.startswith("train_loss at the end is 0.9")


def test_the_numbers_are_those_of_a_constant_guess():
    expectation = expect(RunSpec.parse("linear"), (75, 25), (60, 40))
    assert expectation.initial_loss == pytest.approx(-0.6 * math.log(0.75) - 0.4 * math.log(0.25))
    assert expectation.constant_guess_loss == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.4))
    assert expectation.constant_guess_accuracy == 0.6
    unbiased = expect(RunSpec.parse("linear", {"bias_to_prior": "no"}), (75, 25), (60, 40))
    assert unbiased.initial_loss == pytest.approx(math.log(2))


def test_a_class_that_one_split_lacks_leaves_everything_finite():
    expectation = expect(RunSpec.parse("linear"), (10, 0, 5), (5, 2, 0))
    assert np.isfinite([expectation.initial_loss, expectation.constant_guess_loss]).all()


def test_what_was_not_measured_or_did_not_end_is_unsure():
    expectation = expect(RunSpec.parse("one_batch"), *COUNTS)
    assert {each.verdict for each in judge(expectation, pd.DataFrame())} == {"unsure"}
    history = pd.DataFrame({"train_loss": [1.0, 0.5], "val_loss": [1.03, np.nan]})
    found = {each.claim.id: each.verdict for each in judge(expectation, history, ended=False)}
    assert found == {"initial_loss": "pass", "zero_loss": "unsure", "all_right": "unsure"}


def test_a_win_within_chance_is_unsure():
    expectation = expect(RunSpec.parse("linear"), *COUNTS)
    history = pd.DataFrame({"val_accuracy": [0.5, 0.52]})
    found = {each.claim.id: each for each in judge(expectation, history)}
    assert found["beats_floor_accuracy"].verdict == "unsure"
    assert "may be chance" in found["beats_floor_accuracy"].sentence
    (level,) = [each for each in judge(expectation, history * 0 + 0.5) if each.claim.id == "beats_floor_accuracy"]
    assert level.verdict == "fail"


def test_an_expectation_survives_json_with_the_users_words():
    expectation = expect(RunSpec.parse("overfit", expect="about zero"), *COUNTS)
    assert expectation.expect == "about zero"
    assert Expectation.from_dict(json.loads(json.dumps(expectation.to_dict()))) == expectation
