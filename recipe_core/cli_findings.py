"""The terminal's commands for what was found in the data, findings and embed; cli.py registers them."""

import argparse
from collections.abc import Callable, Iterable

from recipe_core.data.findings import SEVERITIES, Finding, known_kind
from recipe_core.errors import NotFound, RecipeError
from recipe_core.progress import followed
from recipe_core.terminal import escaped, print_table, tell, write_json_list
from recipe_core.workspace import Dataset, Workspace

ENDINGS = {"stopped": "was stopped", "lost": "was killed"}


def register(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command by `command(name, function, json_help)`, which gives it its parser."""
    made = command("findings", findings, "the findings as a JSON list of objects")
    made.add_argument("name", metavar="NAME")
    made.add_argument("--kind", metavar="K", help="only these, e.g. corrupt, near_duplicate, split_leak")
    made.add_argument("--wait", action="store_true", help="scan, examine and embed first what is not yet")
    made.add_argument(
        "--fail-on",
        metavar="SEVERITY",
        choices=SEVERITIES,
        help="exit with 1 if a finding as bad as this is undecided: error, warning or info",
    )
    made = command("embed", embed)
    made.add_argument("name", metavar="NAME")
    made.add_argument(
        "--backbone",
        metavar="FILE",
        help='a Python file with a function backbone() that makes the vectors from now on; "shipped" for the usual one',
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
    for sentence in (*dataset.found.pending(), *dataset.found.unembedded()):
        tell(f"{dataset.name}: {sentence}")
    if options.json:
        write_json_list(finding.to_dict() for finding in dataset.found.all(options.kind))
    elif options.kind is not None:
        _print_findings(dataset.found.all(options.kind))
    else:
        _print_lines(dataset)
    return 1 if options.fail_on and _is_undecided(dataset, options.kind, options.fail_on) else 0


def embed(workspace: Workspace, options: argparse.Namespace) -> int:
    """Turn the pictures of a dataset into vectors, or go on with it, and analyse them. Ctrl-C leaves it to itself."""
    dataset = workspace.dataset(options.name)
    if not dataset.catalog.is_finished:
        raise NotFound(f'"{options.name}" has no finished scan yet; scan it first.')
    job = dataset.launch_embedding(options.backbone)
    if job is None:
        print(f"{dataset.name}: all pictures are embedded already.")
        return 0
    try:
        job = followed(dataset.workspace.store, job)
    except KeyboardInterrupt:
        tell(f"{dataset.name}: the embedding goes on by itself; the same command waits for it again.")
        return 1
    if job.state == "failed":
        raise RecipeError(job.error or "The embedding failed.")
    done = len(dataset.embeddings())
    print(f"{dataset.name}: {done:,} pictures are embedded.")
    return 0 if job.state == "finished" else 1


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
    """Scan, examine and embed to the end; whether that came off. Ctrl-C leaves the job to itself."""
    try:
        job = dataset.job
        if job is None or job.state != "finished":
            job = followed(dataset.workspace.store, job if job and job.active else dataset.launch_scan())
        while job.state == "finished" and (examination := dataset.launch_examination()):
            job = followed(dataset.workspace.store, examination)
        while job.state == "finished" and (embedding := dataset.launch_embedding()):
            job = followed(dataset.workspace.store, embedding)
    except KeyboardInterrupt:
        tell(f"{dataset.name}: the jobs go on by themselves; the same command waits for them again.")
        return False
    if job.state != "finished":
        tell(f"{dataset.name}: the {job.kind} {ENDINGS.get(job.state, 'failed')}; {job.error or 'try again.'}")
    return job.state == "finished"
