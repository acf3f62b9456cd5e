"""What checks find: a Result each, together an AuditReport.

report = audit(pipeline)
print(report); report.passed; report.to_frame(); report.to_html()
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from textwrap import fill, shorten
from typing import Any

VERDICTS = ("fail", "error", "unsure", "pass", "skipped")  # in the order of a report
WIDTH = 100  # letters of a line in a terminal
MOST_SAID = 240  # letters of an error's message


@dataclass(frozen=True)
class Result:
    """One verdict of one check.

    Attributes:
        check: the check's name.
        cause: a stable id, listed in docs/audit.md; empty unless the verdict is fail or unsure.
        verdict: pass; fail; unsure (the message says what would settle it); error (the check itself crashed);
            skipped (it does not apply or did not fit into the budget).
        harm: 0..1, how much worse the trained model is likely to be.
        message: what is so, in one sentence, with the figures it rests on.
        fix: what to do; empty unless the verdict is fail or unsure.
        stage: of the recipe, 1..6.
        evidence: plain JSON values. "table" is a list of rows (dicts), "pictures" a list of {"caption", "src"} with
            data URIs, "curve" a dict of equally long lists whose first is the horizontal axis.
        seconds: what the check took.
        hypothesis: what a healthy pipeline does, as stated before the experiment.
        about: what the cause is and what it does to training; empty where there is none.
        follows: causes that bring this one about.
    """

    check: str = ""
    cause: str = ""
    verdict: str = "pass"
    harm: float = 0.0
    message: str = ""
    fix: str = ""
    stage: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    hypothesis: str = ""
    about: str = ""
    follows: tuple[str, ...] = ()

    @property
    def tried(self) -> str:
        """What was expected and held; of what was not tried, or came to no end, the name."""
        return self.hypothesis if self.verdict == "pass" else f"{self.check.replace('_', ' ').capitalize()}:"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def passed(message: str, **evidence: Any) -> Result:
    """The hypothesis held."""
    return Result(verdict="pass", message=message, evidence=evidence)


def skipped(message: str) -> Result:
    """The check does not apply to this pipeline, and why."""
    return Result(verdict="skipped", message=message)


class Untold(ValueError):
    """The pipeline cannot be asked what a check asks, which is skipped then; its text says why."""


def named(error: Exception) -> str:
    """What a pipeline raised, in a line: "RuntimeError: mat1 and mat2 shapes cannot be multiplied"."""
    lines = str(error).strip().splitlines() or [""]
    if any("Traceback" in line for line in lines):  # that of a loader's worker
        return lines[-1].rstrip(".")
    told = shorten(lines[0], MOST_SAID, placeholder=" ...")  # torch names all backends there are
    return f"{type(error).__name__}{': ' if told else ''}{told.rstrip('.')}"


class AuditReport:
    """All results of an audit, most harmful first; what may follow from another failure is told as unsure."""

    def __init__(self, results: Iterable[Result]):
        results = list(results)
        failing = {each.cause for each in results if each.verdict == "fail"}
        self.results = sorted(
            (_judged_beside(each, failing) for each in results),
            key=lambda each: (VERDICTS.index(each.verdict), -each.harm),
        )

    @property
    def failures(self) -> list[Result]:
        return self.of("fail")

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and something was checked: where there was no time for anything, nothing is known."""
        return not self.failures and bool(self.of("pass"))

    def of(self, verdict: str) -> list[Result]:
        """The results with this verdict, most harmful first."""
        return [each for each in self.results if each.verdict == verdict]

    @property
    def summary(self) -> str:
        """ "3 fail, 1 unsure, 20 pass"."""
        counts = {verdict: len(self.of(verdict)) for verdict in VERDICTS}
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "nothing was checked"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: passed, summary, results."""
        return {"passed": self.passed, "summary": self.summary, "results": [each.to_dict() for each in self.results]}

    def to_frame(self):
        """A pandas frame, one row per result, in the order of the report."""
        import pandas as pd

        return pd.DataFrame([each.to_dict() for each in self.results], columns=list(Result.__dataclass_fields__))

    def to_html(self) -> str:
        """One page that needs nothing else."""
        from recipe_core.checks.page import report_page

        return report_page(self)

    def __str__(self) -> str:
        lines = [f"Audit: {self.summary}."]
        for each in self.results:
            if each.verdict in ("fail", "unsure"):
                lines += ["", f"{each.verdict.upper()}  {each.cause}  (stage {each.stage}, harm {each.harm:.1f})"]
                lines += [_wrapped(f"  {each.message}"), _wrapped(f"  Fix: {each.fix}")]
        rest = [each for each in self.results if each.verdict not in ("fail", "unsure")]
        lines += [""] * bool(rest)
        lines += [_wrapped(f"{each.verdict:8}{each.tried} {each.message}", 8) for each in rest]
        return "\n".join(lines)


def _wrapped(line: str, indent: int = 2) -> str:
    return fill(line, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _judged_beside(result: Result, failing: set[str]) -> Result:
    """A failure as it is to be told beside the others."""
    roots = [cause for cause in result.follows if cause in failing]
    if result.verdict != "fail" or not roots:
        return result
    message = f"{result.message} It may well follow from {roots[0]}: mend that first."
    return replace(result, verdict="unsure", message=message)
