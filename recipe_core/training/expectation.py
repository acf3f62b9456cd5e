"""What is expected of a run, said before it starts, and the verdicts at its end. No torch here.

expectation = expect(spec, train_counts, val_counts)     # frozen with the run
judge(expectation, run.metrics())                        # a list of Verdicts
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from recipe_core.training.spec import RunSpec

KNOWN_BY_HEART = 0.01  # a training loss that counts as zero
INITIAL_TOLERANCE = 0.1  # share of the expected loss at step 0
FLOOR_TOLERANCE = 0.05  # share of the floor's loss by which a constant guess may miss it while it learns
ROUNDING = 1e-3  # float32 sums over a whole split
READINGS = {"first": "at step 0", "last": "at the end", "least": "at its lowest", "most": "at its highest"}


@dataclass(frozen=True)
class Claim:
    """One metric, read in one way, lies within [low, high]; so it can be drawn into a chart.

    Attributes:
        reading: "first", "last" (the mean of the last `window` values), "least" or "most" of the metric's values.
        margin: a value that is right by less than this is not sure to be.
    """

    id: str
    sentence: str
    metric: str
    reading: str
    low: float | None = None
    high: float | None = None
    window: int = 1
    margin: float = 0.0


@dataclass(frozen=True)
class Expectation:
    """Frozen before the run.

    Attributes:
        initial_loss: at step 0 on the validation set; ln of the number of classes, or with bias_to_prior the
            cross-entropy of the training set's class frequencies.
        constant_guess_loss: the lowest that a guess without the images can reach on the validation set (its entropy).
        constant_guess_accuracy: the highest such accuracy there (the share of its most frequent class).
        expect: the user's own prediction, in words.
    """

    initial_loss: float
    constant_guess_loss: float
    constant_guess_accuracy: float
    claims: tuple[Claim, ...]
    expect: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Expectation":
        """What to_dict() gave, as read from JSON."""
        return cls(**{**values, "claims": tuple(Claim(**claim) for claim in values["claims"])})


@dataclass(frozen=True)
class Verdict:
    """What became of a claim: pass, fail or unsure, and why in one sentence."""

    claim: Claim
    verdict: str
    sentence: str
    value: float | None


def class_prior(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Class frequencies from counts; a class without samples counts as half of one, so that its log is finite."""
    seen = np.maximum(np.asarray(counts, dtype=float), 0.5)
    return seen / seen.sum()


def expect(spec: RunSpec, train_counts: Sequence[int], val_counts: Sequence[int]) -> Expectation:
    """What to expect of a run.

    Args:
        train_counts: samples per class in the training split, in the order of the classes.
        val_counts: the same of the validation split.
    """
    val = np.asarray(val_counts, dtype=float) / np.sum(val_counts)
    guess = -float(val @ np.log(class_prior(train_counts)))  # of the guess that training suggests
    floor = -float(val[val > 0] @ np.log(val[val > 0]))
    most = float(val.max())
    initial = guess if spec.bias_to_prior else math.log(len(val))
    claims = [_initial_loss(initial)]
    if spec.preset == "majority" or spec.preset == "zero_input":
        claims += _no_better_than_a_guess(floor, guess, most)
    elif spec.preset in ("one_batch", "overfit"):
        claims += _known_by_heart(spec, int(np.sum(train_counts)))
    else:
        claims += _better_than_a_guess(floor, most, int(np.sum(val_counts)))
    return Expectation(initial, floor, most, tuple(claims), spec.expect)


def judge(expectation: Expectation, history: pd.DataFrame, ended: bool = True) -> list[Verdict]:
    """The verdict on each claim.

    Args:
        history: one column per metric, one row per step in ascending order, NaN where it was not measured.
        ended: whether the run came to its end; of one that did not, only what happened already can be judged.
    """
    return [_judge(claim, history, ended) for claim in expectation.claims]


def _judge(claim: Claim, history: pd.DataFrame, ended: bool) -> Verdict:
    measured = history[claim.metric].dropna() if claim.metric in history else pd.Series(dtype=float)
    if claim.reading == "first":
        measured = measured[measured.index == 0]
    if measured.empty:
        return Verdict(claim, "unsure", f"{_named(claim)} was not measured.", None)
    value = {
        "first": lambda: measured.iloc[0],
        "last": lambda: measured.iloc[-claim.window :].mean(),
        "least": measured.min,
        "most": measured.max,
    }[claim.reading]()
    slack = min(value - _or(claim.low, -math.inf), _or(claim.high, math.inf) - value)  # below 0: outside
    verdict, why = "fail", ""
    if slack >= claim.margin:
        verdict = "pass"
    elif slack > 0:
        verdict, why = "unsure", "; by so little that it may be chance"
    if not ended and claim.reading != "first" and not (verdict == "pass" and claim.reading in ("least", "most")):
        verdict, why = "unsure", "; the run did not come to its end"
    return Verdict(claim, verdict, f"{_named(claim)} is {value:.4g}, expected {_range(claim)}{why}.", float(value))


def _initial_loss(expected: float) -> Claim:
    slack = max(expected * INITIAL_TOLERANCE, ROUNDING)
    sentence = f"At step 0 the validation loss is about {expected:.4g}."
    return Claim("initial_loss", sentence, "val_loss", "first", expected - slack, expected + slack)


def _no_better_than_a_guess(floor: float, guess: float, most: float) -> list[Claim]:
    high = guess * (1 + FLOOR_TOLERANCE) + ROUNDING
    return [
        Claim(
            "floor_loss",
            f"Its validation loss ends at {guess:.4g} or so, and never below {floor:.4g}, as no guess without the "
            "images can.",
            "val_loss",
            "last",
            floor - ROUNDING,
            high,
        ),
        Claim(
            "floor_accuracy",
            f"Its validation accuracy is never above {most:.2%}, the share of the most frequent class.",
            "val_accuracy",
            "most",
            high=most + ROUNDING,
        ),
    ]


def _better_than_a_guess(floor: float, most: float, samples: int) -> list[Claim]:
    chance = 2 * math.sqrt(max(most * (1 - most), 0) / samples)
    return [
        Claim(
            "beats_floor_loss",
            f"Its validation loss falls below {floor:.4g}, the best that a guess without the images can reach.",
            "val_loss",
            "least",
            high=floor,
        ),
        Claim(
            "beats_floor_accuracy",
            f"Its validation accuracy rises above {most:.2%}, the share of the most frequent class.",
            "val_accuracy",
            "most",
            low=most,
            margin=chance,
        ),
    ]


def _known_by_heart(spec: RunSpec, samples: int) -> list[Claim]:
    one = spec.preset == "one_batch"
    what = "the one batch" if one else "the subset"
    seen = min(spec.batch_size if one else spec.subset or samples, samples)
    window = max(1, seen // spec.batch_size)  # the last epoch
    return [
        Claim(
            "zero_loss",
            f"The training loss of {what} ends below {KNOWN_BY_HEART}.",
            "train_loss",
            "last",
            high=KNOWN_BY_HEART,
            window=window,
        ),
        Claim(
            "all_right",
            f"In the end all samples of {what} are told right.",
            "train_accuracy",
            "last",
            low=1.0,
            window=window,
        ),
    ]


def _or(bound: float | None, otherwise: float) -> float:
    return otherwise if bound is None else bound


def _named(claim: Claim) -> str:
    return f"{claim.metric} {READINGS[claim.reading]}"


def _range(claim: Claim) -> str:
    if claim.low is None:
        return f"at most {claim.high:.4g}"
    if claim.high is None:
        return f"at least {claim.low:.4g}"
    return f"{claim.low:.4g} to {claim.high:.4g}"
