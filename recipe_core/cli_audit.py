"""The terminal's command audit; cli.py registers it."""

import argparse
import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace

from recipe_core.terminal import escaped, tell, write_json
from recipe_core.workspace import Workspace


def register(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command by `command(name, function, json_help)`, which gives it its parser."""
    made = command("audit", audit, "the report as one JSON object")
    made.add_argument(
        "file", metavar="FILE.py[:FUNCTION]", help="a function that returns a Pipeline (default: pipeline)"
    )
    made.add_argument("--budget", metavar="SECONDS", type=_seconds, default=60.0, help="for all checks (default: 60)")
    made.add_argument(
        "--waive",
        metavar="CAUSE",
        action="append",
        default=[],
        help="a cause that is there on purpose; may be repeated",
    )


def audit(workspace: Workspace, options: argparse.Namespace) -> int:
    """Find what silently ruins the training of a pipeline of your own."""
    from recipe_core.checks.audit import verdicts  # torch takes a second to import
    from recipe_core.checks.result import AuditReport
    from recipe_core.training.own_pipeline import own_pipeline

    # What a pipeline's own code prints is no part of the report.
    with contextlib.redirect_stdout(sys.stderr):
        pipeline = own_pipeline(options.file, options.budget)
        results = []
        for result in verdicts(pipeline, options.budget, options.waive):
            results.append(result)
            if sys.stderr.isatty():
                tell(f"{result.verdict:8}{result.check.replace('_', ' ')}")
    report = AuditReport(replace(each, message=escaped(each.message)) for each in results)
    if options.json:
        write_json(report.to_dict())
    else:
        print(report)
    return 0 if report.passed else 1


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds between 0 and 86400")
    return seconds
