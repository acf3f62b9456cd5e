"""What the collection consists of: cases, each a pipeline with one silent bug, its healthy twin, or an unusual one.

@bug("optimisation", "gradients-not-zeroed")
def missing_zero_grad(broken): ...        # two cases: the bug, and the twin that differs by the bug only

@unusual
def label_smoothing(): ...                # one case, correct
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from recipe_core.training.pipeline import Pipeline

CASES: list["Case"] = []


@dataclass(frozen=True)
class Case:
    """One pipeline to audit, and what is to be found in it.

    Attributes:
        causes: the ids any of which is the right reason; empty for a correct pipeline.
    """

    name: str
    family: str
    causes: frozenset[str]
    build: Callable[[], Pipeline]

    @property
    def half(self) -> str:
        """ "dev" or "held-out": thresholds are set on the first only. A bug and its twin are in the same half."""
        digest = hashlib.sha256(self.name.removesuffix(" (healthy)").encode()).digest()
        return "held-out" if digest[0] % 2 else "dev"


def bug(family: str, *causes: str) -> Callable:
    """Register a builder `function(broken: bool) -> Pipeline` as a case with the bug and one without."""

    def register(function: Callable[[bool], Pipeline]) -> Callable[[bool], Pipeline]:
        CASES.append(Case(function.__name__, family, frozenset(causes), partial(function, True)))
        CASES.append(Case(f"{function.__name__} (healthy)", family, frozenset(), partial(function, False)))
        return function

    return register


def unusual(function: Callable[[], Pipeline]) -> Callable[[], Pipeline]:
    """Register a builder of a correct pipeline."""
    CASES.append(Case(function.__name__, "unusual", frozenset(), function))
    return function
