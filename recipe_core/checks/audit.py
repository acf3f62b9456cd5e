"""The audit: every check on one pipeline, within a budget of time.

print(audit(pipeline))
for result in verdicts(pipeline): ...       # one by one, as they come
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from torch.nn.modules.module import register_module_forward_pre_hook

from recipe_core.checks.first_step import CRASHES
from recipe_core.checks.registry import Check, checks
from recipe_core.checks.result import AuditReport, Result, Untold, named, skipped
from recipe_core.checks.subject import OutOfTime, Subject
from recipe_core.errors import BadPipeline
from recipe_core.time_limit import time_limit
from recipe_core.training.checkpoint import seed_everything
from recipe_core.training.pipeline import Pipeline


def audit(pipeline: Pipeline, budget_seconds: float = 60, waived: Iterable[str] = ()) -> AuditReport:
    """Find what silently ruins the training of a pipeline.

    The pipeline's model, loaders and the sources of chance stay as they were.

    Args:
        budget_seconds: checks that do not fit into it are skipped and say so.
        waived: causes that are there on purpose; they are told as skipped.
    """
    return AuditReport(verdicts(pipeline, budget_seconds, waived))


def verdicts(pipeline: Pipeline, budget_seconds: float = 60, waived: Iterable[str] = ()) -> Iterator[Result]:
    """The results of an audit as they come, the cheapest checks first.

    Raises:
        BadPipeline: a loader gives no batches of images and targets, so that nothing can be tried.
    """
    subject = Subject(pipeline, budget_seconds)
    _first_batches(subject)
    given = frozenset(waived)
    crashes = False
    for check in _in_order(subject):
        if crashes and check.family != "data":
            continue
        for each in run_check(check, subject):
            crashes = crashes or each.cause == CRASHES.id
            yield _waived(each) if each.cause in given else each


def run_check(check: Check, subject: Subject) -> list[Result]:
    """What one check finds; that it crashed or found no time is a result, too."""
    started = time.monotonic()
    results: list[Result] = []
    if subject.left() < check.cost:
        results = [skipped(f"It takes about {check.cost:g} s, more than is left of the {subject.budget:g} s given.")]
    else:
        try:
            with subject.untouched(), _deadline(subject):
                seed_everything(0)
                for each in check.run(subject):
                    results.append(each)
        except OutOfTime:
            results.append(skipped(f"It did not come to its end within the {subject.budget:g} s given."))
        except Untold as reason:
            results.append(skipped(str(reason)))
        except Exception as error:  # noqa: BLE001  # a pipeline's code may raise anything; the other checks go on
            results.append(Result(verdict="error", message=f"The experiment could not be done: {named(error)}"))
    seconds = (time.monotonic() - started) / max(1, len(results))
    signed = {"check": check.name, "stage": check.stage, "seconds": seconds, "hypothesis": check.hypothesis}
    return [replace(each, **signed) for each in results]  # type: ignore[arg-type]


def _in_order(subject: Subject) -> list[Check]:
    """The cheapest first; where the model is large, before all others those that look at the data."""
    with subject.untouched(), contextlib.suppress(OutOfTime), _deadline(subject):
        if subject.is_large:
            return sorted(checks(), key=lambda each: each.family != "data")
    return checks()


def _first_batches(subject: Subject) -> None:
    """Draw what all checks need."""
    for name, draw in (("training", lambda: subject.drawn_train), ("validation", lambda: subject.drawn_val)):
        try:
            with subject.untouched(), _deadline(subject):
                empty = not draw().batches
        except OutOfTime:
            raise BadPipeline(f"The {name} loader gave no batch within the {subject.budget:g} s given.") from None
        except Exception as error:  # a loader may raise anything
            raise BadPipeline(f"The {name} loader gave no batch (x, y): {named(error)}.") from error
        if empty:
            raise BadPipeline(f"The {name} loader is empty; it should give batches (x, y).")


def _deadline(subject: Subject) -> time_limit:
    """Within it nothing goes on after the budget is spent: no layer of any model is called, whoever calls it, and where
    a signal can tell so, no loop or wait."""
    hook = register_module_forward_pre_hook(lambda module, inputs: subject.check_time())
    return time_limit(subject.left(), OutOfTime(), at_end=hook.remove)


def _waived(result: Result) -> Result:
    return replace(result, verdict="skipped", message=f"On purpose here: {result.message}")
