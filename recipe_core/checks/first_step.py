"""Does training run at all? What raises is not silent, but hides all that is."""

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, named, passed
from recipe_core.checks.subject import Subject

CRASHES = Cause(
    "training-crashes",
    "The first training step raises an error; until it is taken, an audit looks at the data only.",
    "Mend what the error names, then audit again.",
    1.0,
)


@check(family="optimisation", stage=2, cost=0, causes=[CRASHES])
def a_first_step_is_taken(subject: Subject) -> Result:
    """Model, optimizer, schedule and one training step can be made from the first batch."""
    try:
        for _ in subject.steps(1):
            pass
    except Exception as error:  # noqa: BLE001  # a pipeline's own functions may raise anything
        return CRASHES.failed(f"The first training step fails: {named(error)}.")
    return passed("They can.")
