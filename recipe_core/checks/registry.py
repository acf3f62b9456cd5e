"""Which checks there are, and the causes that they can find.

    SHIFTED = Cause("labels-shifted", "what it is", fix="what to do", harm=0.9)

    @check(family="data", stage=1, cost=2, causes=[SHIFTED])
    def labels_belong_to_their_images(subject):
        \"\"\"A learner that sees images and labels does better than one that sees the labels shuffled.\"\"\"
        ...
        yield SHIFTED.failed("The accuracy is 0.11, with shuffled labels 0.10.", accuracy=0.11)

The docstring is the hypothesis and is shown to the user. A check returns a Result or yields several.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipe_core.checks.result import Result

if TYPE_CHECKING:
    from recipe_core.checks.subject import Subject

FAMILIES = ("data", "model", "optimisation", "evaluation")
Experiment = Callable[["Subject"], "Result | Iterable[Result]"]


@dataclass(frozen=True)
class Cause:
    """A silent failure that a check can find.

    Attributes:
        id: stable; scripts rely on it.
        about: what it is, and what it does to training.
        fix: what to do.
        harm: 0..1, how much worse the trained model is likely to be.
        follows: causes that bring this one about, by id: beside one of them it is no failure of its own.
    """

    id: str
    about: str
    fix: str
    harm: float
    follows: tuple[str, ...] = ()

    def failed(self, message: str, harm: float | None = None, **evidence: Any) -> Result:
        """It was found."""
        return self._result("fail", message, harm, evidence)

    def unsure(self, message: str, harm: float | None = None, **evidence: Any) -> Result:
        """It may be so; the message says what would settle it."""
        return self._result("unsure", message, harm, evidence)

    def _result(self, verdict: str, message: str, harm: float | None, evidence: dict[str, Any]) -> Result:
        harm = self.harm if harm is None else harm
        told = {"fix": self.fix, "about": self.about, "follows": self.follows}
        return Result("", self.id, verdict, harm, message, evidence=evidence, **told)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Check:
    """One experiment; `cost` is about how many seconds it takes on a small pipeline."""

    name: str
    family: str
    stage: int
    cost: float
    causes: tuple[Cause, ...]
    experiment: Experiment

    @property
    def hypothesis(self) -> str:
        return " ".join(inspect.cleandoc(self.experiment.__doc__ or "").split())

    def run(self, subject: "Subject") -> Iterator[Result]:
        """Its results, not signed yet."""
        found = self.experiment(subject)
        yield from [found] if isinstance(found, Result) else found


_CHECKS: dict[str, Check] = {}


def check(family: str, stage: int, cost: float, causes: Iterable[Cause] = ()) -> Callable[[Experiment], Experiment]:
    """Register a check under its function's name."""
    assert family in FAMILIES and 1 <= stage <= 6

    def register(experiment: Experiment) -> Experiment:
        _CHECKS[experiment.__name__] = Check(experiment.__name__, family, stage, cost, tuple(causes), experiment)
        return experiment

    return register


def checks() -> list[Check]:
    """All checks, the cheapest first."""
    import recipe_core.checks as folder

    for module in pkgutil.iter_modules(folder.__path__):
        importlib.import_module(f"{folder.__name__}.{module.name}")
    return sorted(_CHECKS.values(), key=lambda each: each.cost)
