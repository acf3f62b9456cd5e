"""The precision of a threshold, estimated from few answers."""

import numpy as np
import pandas as pd
import pytest

from recipe_core.data.findings.precision import Answers, estimate, most_telling
from recipe_core.store import Store

NONE = pd.DataFrame({"similarity": np.array([], float), "same": np.array([], bool)})
ANSWERS = 12


def answered(similarities: np.ndarray, same: np.ndarray, threshold: float, count: int = ANSWERS) -> pd.DataFrame:
    """Answers to the most telling questions, one after the other, by somebody who knows."""
    left, given = np.arange(len(similarities)), NONE
    for _ in range(count):
        wanted = most_telling(similarities[left], given, threshold)
        asked = left[np.argmin(np.abs(similarities[left] - wanted))]
        left = left[left != asked]
        given = pd.concat([given, pd.DataFrame({"similarity": similarities[[asked]], "same": same[[asked]]})])
    return given


def world(chance: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Pairs, and whether they are the same picture."""
    similarities = np.sort(1 - chance.beta(1, 2, 1000) * 0.25)
    chances = {
        "all": np.full(1000, 0.99),
        "slope": 1 / (1 + np.exp(-(similarities - 0.88) / 0.02)),
        "step": np.where(similarities > 0.85, 0.98, 0.01),
        "few": 1 / (1 + np.exp(-(similarities - 0.97) / 0.01)),
    }[kind]
    return similarities, chance.random(1000) < chances


@pytest.mark.parametrize("kind", ["all", "slope", "step", "few"])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(kind):
    chance, held = np.random.default_rng(1), 0
    for _ in range(10):
        similarities, same = world(chance, kind)
        told = estimate(similarities, answered(similarities, same, 0.8), 0.8)
        held += told.low - 0.01 <= same[similarities >= 0.8].mean() <= told.high + 0.01
    assert held >= 7  # 9 are expected


def test_without_answers_nothing_is_claimed_and_with_them_the_interval_narrows():
    similarities, same = world(np.random.default_rng(2), "all")
    blind = estimate(similarities, NONE, 0.8)
    told = estimate(similarities, answered(similarities, same, 0.8), 0.8)
    assert (blind.answers, blind.high - blind.low > 0.8) == (0, True)
    assert told.answers == ANSWERS
    assert told.high - told.low < 0.25
    assert told.value > 0.9


def test_a_higher_threshold_is_never_less_precise():
    similarities, same = world(np.random.default_rng(3), "slope")
    given = answered(similarities, same, 0.8)
    told = [estimate(similarities, given, threshold).value for threshold in (0.8, 0.85, 0.9, 0.95)]
    assert told == sorted(told)


def test_where_no_pair_is_above_the_threshold_there_is_nothing_to_estimate_or_ask():
    assert estimate(np.array([0.5]), NONE, 0.9) is None
    assert most_telling(np.array([0.5]), NONE, 0.9) is None
    assert most_telling(np.array([]), NONE, 0.9) is None


def test_one_pair_can_be_asked_about_and_estimated():
    assert most_telling(np.array([0.95]), NONE, 0.9) == 0.95
    assert estimate(np.array([0.95]), pd.DataFrame({"similarity": [0.95], "same": [True]}), 0.9).value > 0.6


def test_of_two_answers_on_a_pair_the_later_holds_whichever_way_round_it_is_named(tmp_path):
    answers = Answers(Store(tmp_path), "pets")
    answers.add("b.png", "a.png", 0.9, same=True, by="ann")
    answers.add("a.png", "b.png", 0.9, same=False, by="bob")
    Answers(answers.store, "others").add("a.png", "b.png", 0.9, same=True)
    assert answers.all().to_dict("records") == [{"a": "a.png", "b": "b.png", "similarity": 0.9, "same": False}]
