"""The verdict on a dataset: what matters most, ranked by likely harm to training, and the gate of stage 1."""

import math
from collections import defaultdict
from dataclasses import dataclass

import pandas as pd

from recipe_core import settings
from recipe_core.data.findings import KINDS, SEVERITIES, Findings, Summary, sentence


@dataclass(frozen=True)
class Line:
    """One thing that matters: all findings of a kind; of poor pictures, of a subkind.

    Attributes:
        harm: 0 to 1; what does its harm silently comes before what is loud, more samples before fewer.
        undecided: how many findings nobody has ruled on yet.
        samples: how many samples the findings speak of.
    """

    kind: str
    subkind: str | None
    severity: str
    sentence: str
    advice: str
    harm: float
    findings: int
    undecided: int
    samples: int


@dataclass(frozen=True)
class Gate:
    """Whether stage 1 is passed, and if not, why; what was waived counts as passed.

    Attributes:
        reasons: what is missing, a sentence each.
        waived: check -> the reason that somebody gave, with the name.
        looked_share, wanted_share: of the samples, 0 to 1.
    """

    reasons: tuple[str, ...]
    waived: dict[str, str]
    looked_share: float
    wanted_share: float

    @property
    def open(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Verdict:
    """Lines, most harmful first; the gate; and what is not known yet."""

    lines: tuple[Line, ...]
    gate: Gate
    pending: tuple[str, ...]


def verdict(findings: Findings, looked: int, waivers: pd.DataFrame) -> Verdict:
    """Weigh the findings.

    Args:
        looked: how many samples somebody has looked at.
        waivers: check, reason, by; newest first.
    """
    samples = findings.catalog.count()
    groups: dict[tuple[str, str | None], list[Summary]] = defaultdict(list)
    for line in findings.summary():
        groups[line.kind, line.subkind if line.kind == "quality" else None].append(line)
    lines = [_line(kind, subkind, lines, samples) for (kind, subkind), lines in groups.items()]
    lines.sort(key=lambda line: -line.harm)
    pending = tuple(findings.pending())
    return Verdict(tuple(lines), _gate(lines, pending, looked, samples, waivers), pending)


def _line(kind: str, subkind: str | None, summaries: list[Summary], samples: int) -> Line:
    concerned = sum(summary.samples for summary in summaries)
    about = KINDS[kind]
    return Line(
        kind,
        subkind,
        about.severity,
        sentence(summaries),
        about.advice,
        # A kind that fills the dataset passes one that is a step more harmful, not two.
        harm=min(1.0, about.weight + 0.15 * math.sqrt(min(1.0, concerned / max(1, samples)))),
        findings=sum(summary.findings for summary in summaries),
        undecided=sum(summary.undecided for summary in summaries),
        samples=concerned,
    )


def wanted_looks(samples: int) -> int:
    """How many samples somebody should have looked at before anything is trained."""
    return min(samples, max(settings.LOOKED_SAMPLES, math.ceil(settings.LOOKED_SHARE * samples)))


def _gate(lines: list[Line], pending: tuple[str, ...], looked: int, samples: int, waivers: pd.DataFrame) -> Gate:
    undecided = sum(line.undecided for line in lines if line.severity == SEVERITIES[0])
    looked, wanted = min(looked, samples), wanted_looks(samples)
    missing: dict[str, list[str]] = {"findings": list(pending), "looked": []}
    if undecided:
        told = "1 error finding is" if undecided == 1 else f"{undecided:,} error findings are"
        missing["findings"].append(f"{told} undecided.")
    if looked < wanted:
        missing["looked"].append(f"{looked:,} samples were looked at; {wanted:,} should be.")
    newest = waivers.drop_duplicates("check")
    waived = {row.check: f"{row.reason}" + (f" ({row.by})" if row.by else "") for row in newest.itertuples()}
    return Gate(
        reasons=tuple(reason for check, reasons in missing.items() if check not in waived for reason in reasons),
        waived=waived,
        looked_share=looked / samples if samples else 0.0,
        wanted_share=wanted / samples if samples else 0.0,
    )
