"""An audit's report as one HTML page that needs nothing else."""

import math
from html import escape
from itertools import cycle
from typing import Any

from recipe_core.checks.result import AuditReport, Result

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
article { border-left: 4px solid #999; padding: 0.1rem 1rem; margin: 1.5rem 0; background: #f7f7f7; }
article.fail { border-color: #c62828; }
article.unsure { border-color: #ef6c00; }
h2 { font-size: 1.1rem; margin: 0.6rem 0; }
.aside { color: #666; font-size: 0.9rem; }
table { border-collapse: collapse; font-size: 0.9rem; margin: 0.5rem 0; }
td, th { padding: 0.15rem 0.8rem 0.15rem 0; text-align: left; border-bottom: 1px solid #ddd; }
img { image-rendering: pixelated; height: 96px; margin: 0.2rem; }
svg { width: 100%; max-width: 30rem; height: 120px; border-left: 1px solid #999; border-bottom: 1px solid #999; }
"""
MOST_ROWS = 30
STROKES = ("#2a6fdb", "#d9822b", "#2a9d75", "#b0489f")  # of a figure's lines


def report_page(report: AuditReport) -> str:
    """Failures and doubts with their evidence, then the rest as a table."""
    told = [_article(each) for each in report.results if each.verdict in ("fail", "unsure")]
    rest = [
        {"verdict": each.verdict, "tried": each.tried, "result": each.message}
        for each in report.results
        if each.verdict not in ("fail", "unsure")
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit</title><style>{STYLE}</style></head>'
        f"<body><h1>Audit</h1><p>{escape(report.summary)}.</p>{''.join(told)}{_table(rest, len(rest))}</body></html>"
    )


def _article(result: Result) -> str:
    return (
        f'<article class="{result.verdict}"><h2>{escape(result.message)}</h2>'
        f'<p class="aside">{escape(result.cause)}, {result.verdict}, harm {result.harm:.1f}, stage {result.stage}</p>'
        f"<p><b>Expected:</b> {escape(result.hypothesis)}</p>{evidence_block(result.evidence)}"
        f"<p><b>What it does:</b> {escape(result.about)}</p><p><b>Fix:</b> {escape(result.fix)}</p></article>"
    )


def evidence_block(evidence: dict[str, Any]) -> str:
    """What was measured, as HTML: pictures, figures, tables and curves; all that is a user's is escaped."""
    pictures = "".join(
        f'<img src="{escape(each["src"])}" alt="{escape(str(each["caption"]))}" title="{escape(str(each["caption"]))}">'
        for each in evidence.get("pictures", [])
        if str(each["src"]).startswith("data:image/")
    )
    figures = {
        name.replace("_", " "): value for name, value in evidence.items() if name not in ("pictures", "table", "curve")
    }
    tables = _table([figures] if figures else []) + _table(evidence.get("table", []))
    return pictures + tables + _curve(evidence.get("curve", {}))


def _curve(curve: dict[str, list[float]]) -> str:
    """Lines over the first list, and in words what they span."""
    (axis, across), *lines = curve.items() if len(curve) > 1 else [("", [])]
    heights = [height for _, values in lines for height in values if math.isfinite(height)]
    if not across or not heights:
        return ""
    drawn = "".join(
        f'<polyline points="{_points(across, values, heights)}" fill="none" stroke="{stroke}" stroke-width="2" '
        'vector-effect="non-scaling-stroke"/>'
        for (_, values), stroke in zip(lines, cycle(STROKES))
    )
    told = "; ".join(f"{name} from {_cell(values[0])} to {_cell(values[-1])}" for name, values in lines)
    told = escape(f"{told}, over {axis} {_cell(across[0])} to {_cell(across[-1])}")
    svg = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{told}">{drawn}</svg>'
    return f'{svg}<p class="aside">{told}</p>'


def _points(across: list[float], values: list[float], heights: list[float]) -> str:
    """Where a line goes on a canvas of 100 x 100 that `heights` fill from bottom to top."""
    left, width = min(across), (max(across) - min(across)) or 1
    low, span = min(heights), (max(heights) - min(heights)) or 1
    return " ".join(
        f"{100 * (x - left) / width:.2f},{98 - 96 * (y - low) / span:.2f}"
        for x, y in zip(across, values, strict=True)
        if math.isfinite(y)
    )


def _table(rows: list[dict[str, Any]], most: int = MOST_ROWS) -> str:
    if not rows:
        return ""
    names = list(rows[0])
    head = "".join(f"<th>{escape(str(name))}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(_cell(row.get(name)))}</td>' for name in names)}</tr>" for row in rows[:most]
    )
    more = f'<p class="aside">and {len(rows) - most} more</p>' if len(rows) > most else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value[:12])) + (", ..." if len(value) > 12 else "")
    return "" if value is None else str(value)
