"""The terminal's command for what was found in the data; cli.py registers it."""

import argparse
import sys
from collections.abc import Callable, Iterable

from recipe_core import jobs
from recipe_core.data.findings import SEVERITIES, Finding, known_kind
from recipe_core.errors import NotFound
from recipe_core.jobs import Job
from recipe_core.progress import Line
from recipe_core.terminal import escaped, print_table, tell, write_json_list
from recipe_core.workspace import Dataset, Workspace

ENDINGS = {"stopped": "was stopped", "lost": "was killed"}


def register(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command by `command(name, function, json_help)`, which gives it its parser."""
    made = command("findings", findings, "the findings as a JSON list of objects")
    made.add_argument("name", metavar="NAME")
    made.add_argument("--kind", metavar="K", help="only these, e.g. corrupt, near_duplicate, split_leak")
    made.add_argument("--wait", action="store_true", help="scan and examine first what is not yet")
    made.add_argument(
        "--fail-on",
        metavar="SEVERITY",
        choices=SEVERITIES,
        help="exit with 1 if a finding as bad as this is undecided: error, warning or info",
    )


def findings(workspace: Workspace, options: argparse.Namespace) -> int:
    """What is suspicious in a dataset; without a kind, how much there is of each."""
    dataset = workspace.dataset(options.name)
    if options.kind is not None:
        known_kind(options.kind)
    if options.wait and not _wait(dataset):
        return 1
    if not dataset.catalog.files:
        raise NotFound(f'"{options.name}" has no samples yet; scan it first, or add --wait.')
    for sentence in dataset.found.pending():
        tell(f"{dataset.name}: {sentence}")
    if options.json:
        write_json_list(finding.to_dict() for finding in dataset.found.all(options.kind))
    elif options.kind is not None:
        _print_findings(dataset.found.all(options.kind))
    else:
        _print_lines(dataset)
    return 1 if options.fail_on and _is_undecided(dataset, options.kind, options.fail_on) else 0


def _is_undecided(dataset: Dataset, kind: str | None, severity: str) -> bool:
    """Whether something that bad, or worse, waits for a decision."""
    bad = SEVERITIES[: SEVERITIES.index(severity) + 1]
    lines = (line for line in dataset.found.summary() if kind in (None, line.kind))
    return any(line.undecided for line in lines if line.severity in bad)


def _print_findings(found: Iterable[Finding]) -> None:
    rows = (
        {
            "score": round(finding.score, 3),
            "subkind": finding.subkind,
            "decided": "yes" if finding.decided else "",
            "samples": ", ".join(finding.samples[:3]) + (", ..." if len(finding.samples) > 3 else ""),
            "message": finding.message,
        }
        for finding in found
    )
    shown = print_table(rows, ["score", "subkind", "decided", "samples", "message"])
    print(f"{shown:,} {'finding' if shown == 1 else 'findings'}")


def _print_lines(dataset: Dataset) -> None:
    lines = dataset.verdict().lines
    for line in lines:
        print(escaped(f"{line.severity:8} {line.undecided:,} undecided: {line.sentence}"))
    if not lines:
        print(f"{dataset.name}: nothing was found.")


# Waiting


def _wait(dataset: Dataset) -> bool:
    """Scan and examine to the end; whether that came off. Ctrl-C leaves the job to itself."""
    try:
        job = dataset.job
        if job is None or job.state != "finished":
            job = _follow(dataset, job if job and job.active else dataset.launch_scan())
        while job.state == "finished" and (examination := dataset.launch_examination()):
            job = _follow(dataset, examination)
    except KeyboardInterrupt:
        tell(f"{dataset.name}: scan and examination go on by themselves; the same command waits for them again.")
        return False
    if job.state != "finished":
        tell(f"{dataset.name}: the {job.kind} {ENDINGS.get(job.state, 'failed')}; {job.error or 'try again.'}")
    return job.state == "finished"


def _follow(dataset: Dataset, job: Job) -> Job:
    with Line(sys.stderr) as line:
        for change in jobs.follow(dataset.workspace.store, job.id):
            job = change
            line.show(job)
    return job
