"""The terminal's door: python -m recipe_core COMMAND ...; --help lists the commands.

Exit status: 0 done; 1 done, and the answer is bad; 2 unusable input or wrong usage, told in one line on standard error.
Progress goes to standard error and only to a terminal. With --json, standard output is one JSON document.
"""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import chain, count
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from recipe_core import cli_audit, cli_data, cli_findings, cli_runs, settings
from recipe_core.data.catalog import EVERYTHING, GIVEN, Catalog
from recipe_core.data.selection import Selection
from recipe_core.errors import Conflict, NotFound, RecipeError
from recipe_core.jobs import Job
from recipe_core.progress import followed
from recipe_core.terminal import escaped, print_table, tell, whole_number, write_json, write_json_list
from recipe_core.workspace import Dataset, Workspace

UNREADABLE = Selection(where="not readable")
BASICS = ("width", "height", "format", "error_kind")  # shown in a table of samples beside what was asked for
SHOWN_PROBLEMS = 10
Command = Callable[[Workspace, argparse.Namespace], int]
ENDINGS = {
    "failed": "the scan failed",
    "stopped": "stopped; the same command goes on from there",
    "lost": "the process that scanned was killed; the same command goes on from there",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a name need not fit the terminal
    try:
        status = options.command(Workspace(options.workspace), options)
        sys.stdout.flush()
        return status
    except RecipeError as problem:
        tell(str(problem))
        return 2
    except KeyboardInterrupt:
        return 1
    except BrokenPipeError:
        # Nobody reads on, as in `query | head`. What is left in the buffer must have somewhere to go at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


# The commands


def demo(workspace: Workspace, options: argparse.Namespace) -> int:
    """Make the demo dataset, register it and scan it."""
    dataset = workspace.add_demo()
    status = _scan(dataset)
    print(f"Its images stand in {dataset.source}; the defects planted in them are listed in {_truth(dataset)}.")
    return status


def scan(workspace: Workspace, options: argparse.Namespace) -> int:
    """Register a source under a name and measure what is new or changed in it."""
    return _scan(workspace.add_dataset(options.name, options.source, _columns(options)), options.json)


def open_(workspace: Workspace, options: argparse.Namespace) -> int:
    """Register a source under a name made from its own, start its scan and leave it to itself."""
    dataset = _registered(workspace, options.source)
    job, _ = _start(dataset)
    print(f"{dataset.name}: {escaped(dataset.source)} is being scanned (job {job.id}).")
    return 0


def query(workspace: Workspace, options: argparse.Namespace) -> int:
    """The samples that satisfy a SQL condition."""
    dataset = workspace.dataset(options.name)
    catalog, job = dataset.catalog, dataset.job
    if not catalog.files:
        raise NotFound(f'"{options.name}" has no samples yet; scan it first, or wait for its scan.')
    if job and job.state != "finished":
        tell(f"{dataset.name}: its scan is {job.state}; this is what is in the catalog so far.")
    with closing(_samples(catalog, options.where, options.order_by, options.limit)) as rows:
        if options.json:
            write_json_list(rows)
        else:
            shown = print_table(rows, _mentioned(catalog, f"{options.where} {options.order_by}"))
            print(f"{shown:,} {'sample' if shown == 1 else 'samples'}")
    return 0


def datasets(workspace: Workspace, options: argparse.Namespace) -> int:
    """All datasets: name, source, samples and the state of the newest scan."""
    rows = [
        {
            "name": dataset.name,
            "samples": dataset.catalog.count(),
            "state": job.state if (job := dataset.job) else "not scanned",
            "source": dataset.source,
        }
        for dataset in workspace.datasets()
    ]
    if options.json:
        write_json_list(rows)
    else:
        print_table(rows, ["name", "samples", "state", "source"])
    return 0


def remove(workspace: Workspace, options: argparse.Namespace) -> int:
    """Forget a dataset with all that was measured of it; its images stay, unless they were uploaded."""
    source = workspace.dataset(options.name).source
    workspace.remove_dataset(options.name)
    stay = f"; its images stay in {escaped(source)}" if Path(source).exists() else ""
    print(f"{options.name} was removed{stay}.")
    return 0


# What is understood of the command line


class _Parser(argparse.ArgumentParser):
    """Tells a wrong usage in one line, and takes a command's options before, between and behind its words."""

    _intermixed = False

    def parse_known_args(self, args=None, namespace=None):
        if self._subparsers is not None or self._intermixed:
            return super().parse_known_args(args, namespace)
        self._intermixed = True  # what follows comes back here
        return self.parse_known_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        tell(f"{message}; see {self.prog} --help")
        sys.exit(2)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m recipe_core", description="Finds silent failures in image-training data.", allow_abbrev=False
    )
    where: dict[str, Any] = {
        "metavar": "DIR",
        "help": "the folder of datasets and jobs (default: RECIPE_WORKSPACE or ./workspace)",
    }
    parser.add_argument("--workspace", default=settings.WORKSPACE, **where)
    everywhere = _Parser(add_help=False)
    everywhere.add_argument("--workspace", default=argparse.SUPPRESS, **where)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, function: Command, json_help: str = "") -> argparse.ArgumentParser:
        about = function.__doc__ or ""
        made = commands.add_parser(
            name, help=about[0].lower() + about[1:-1], description=about, parents=[everywhere], allow_abbrev=False
        )
        made.set_defaults(command=function)
        if json_help:
            made.add_argument("--json", action="store_true", help=json_help)
        return made

    command("demo", demo)
    made = command("scan", scan, "the outcome as one JSON object")
    made.add_argument("name", metavar="NAME")
    made.add_argument("source", metavar="SOURCE", help="a folder, a table (.csv, .tsv, .parquet) or a .zip")
    made.add_argument("--path-column", metavar="C", help="of a table: the column with the images' paths")
    made.add_argument("--label-column", metavar="C", help="the column with the labels; '' for none")
    made.add_argument("--split-column", metavar="C", help="the column with the splits; '' for none")
    command("open", open_).add_argument("source", metavar="SOURCE", help="as for scan")
    made = command("query", query, "the samples as a JSON list of objects")
    made.add_argument("name", metavar="NAME")
    made.add_argument("--where", metavar="SQL", default="", help="e.g. \"label = 'cat' and sharpness < 10\"")
    made.add_argument("--order-by", metavar="COL", default="", help='e.g. "brightness desc, width"')
    made.add_argument("--limit", metavar="N", type=whole_number, help="at most so many (default: all)")
    command("datasets", datasets, "as a JSON list of objects")
    command("remove", remove).add_argument("name", metavar="NAME")
    cli_data.register(command)
    cli_findings.register(command)
    cli_runs.register(command)
    cli_audit.register(command)
    if not _is_utf8("".join(arguments)):
        parser.error("an argument is not valid UTF-8; rename what it names")
    return parser.parse_args(arguments)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _columns(options: argparse.Namespace) -> dict[str, str | None]:
    given = {role: getattr(options, f"{role}_column") for role in ("path", "label", "split")}
    return {role: column or None for role, column in given.items() if column is not None}


def _registered(workspace: Workspace, source: str) -> Dataset:
    """The dataset of this source; where there is none, a new one under the first free name."""
    location = Path(source).expanduser().resolve()
    known = {dataset.source: dataset for dataset in workspace.datasets()}
    if str(location) in known:
        return known[str(location)]
    taken = {dataset.name for dataset in known.values()}
    stem = location.name if location.is_dir() else location.stem
    name = re.sub(r"[^\w.-]+", "-", stem)[:60].strip("-.") or "dataset"
    free = next(name for name in chain([name], (f"{name}-{n}" for n in count(2))) if name not in taken)
    return workspace.add_dataset(free, source)


# Scanning


def _scan(dataset: Dataset, as_json: bool = False) -> int:
    """Scan to the end and tell the outcome."""
    job, is_ours = _start(dataset)
    if not is_ours:
        tell(f"{dataset.name} is being scanned already (job {job.id}); following that scan.")
    job = _follow_or_stop(dataset, job)
    if as_json:
        write_json(_outcome(dataset, job))
    elif job.state == "finished":
        print(_summary(dataset))
        _print_problems(dataset)
    if job.state != "finished":
        tell(f"{dataset.name}: {job.error or ENDINGS[job.state]}")
    return 0 if job.state == "finished" else 1


def _start(dataset: Dataset) -> tuple[Job, bool]:
    """The scan under way and whether it was started here."""
    try:
        return dataset.launch_scan(), True
    except Conflict:
        job = dataset.job
        if job is None:  # removed meanwhile
            raise
        return job, False


def _follow_or_stop(dataset: Dataset, job: Job) -> Job:
    """The scan at its end; Ctrl-C stops it, a second one does not wait until it has."""
    try:
        return followed(dataset.workspace.store, job)
    except KeyboardInterrupt:
        dataset.stop_scan()
        return followed(dataset.workspace.store, job)


def _outcome(dataset: Dataset, job: Job) -> dict:
    return {
        "dataset": dataset.name,
        "job": job.id,
        "state": job.state,
        "samples": dataset.catalog.count(),
        "unreadable": dataset.catalog.count(UNREADABLE),
        "problems": dataset.problems(),
        "error": job.error,
    }


def _summary(dataset: Dataset) -> str:
    """ "pets: 6,000 samples, splits and classes: train 5,000, test 1,000, 10 classes, 2 unreadable (2 empty); ..." """
    catalog = dataset.catalog
    splits = [f"{split} {samples:,}" for split, samples in _counts(catalog, "split").items()]
    classes = len(_counts(catalog, "label"))
    contents = [*splits, *([f"{classes:,} {'class' if classes == 1 else 'classes'}"] if classes else [])]
    kind = dataset.opened.kind + (f": {', '.join(contents)}" if contents else "")
    kinds = ", ".join(f"{samples:,} {kind}" for kind, samples in _counts(catalog, "error_kind", UNREADABLE).items())
    unreadable = f"{catalog.count(UNREADABLE):,} unreadable ({kinds})" if kinds else "all readable"
    return escaped(
        f"{dataset.name}: {catalog.count():,} samples, {kind}, {unreadable}; browse it with: {_make_run(dataset)}"
    )


def _counts(catalog: Catalog, column: str, selection: Selection = EVERYTHING) -> dict[str, int]:
    """Value -> samples that have it, most frequent first."""
    if not catalog.files:
        return {}
    choices = catalog.choices(column, selection, limit=2**31).dropna()
    return dict(zip(choices["value"], map(int, choices["samples"]), strict=True))


def _make_run(dataset: Dataset) -> str:
    folder = dataset.workspace.folder
    return (
        "make run"
        if folder == settings.WORKSPACE.resolve()
        else f"RECIPE_WORKSPACE={shlex.quote(str(folder))} make run"
    )


def _print_problems(dataset: Dataset) -> None:
    problems = dataset.problems()
    for problem in problems[:SHOWN_PROBLEMS]:
        print(f"  {escaped(problem)}")
    if len(problems) > SHOWN_PROBLEMS:
        print(f"  and {len(problems) - SHOWN_PROBLEMS:,} more problems; --json lists them.")


def _truth(dataset: Dataset) -> Path:
    return Path(dataset.source).with_name("truth.csv")


# Samples


def _samples(catalog: Catalog, where: str, order_by: str, limit: int | None) -> Generator[dict]:
    """Sample after sample as plain values; memory holds a batch of them at a time."""
    for batch in catalog.batches(Selection(where=where), order_by, limit):
        columns = [_iso(column) if pa.types.is_timestamp(column.type) else column for column in batch.columns]
        yield from pa.RecordBatch.from_arrays(columns, batch.schema.names).to_pylist()


def _iso(times: pa.Array) -> pa.Array:
    """Times as text; not by way of Python's, which know no year before 1 or after 9999."""
    return pc.replace_substring_regex(pc.strftime(times, "%Y-%m-%dT%H:%M:%S"), r"\.0+$", "")


def _mentioned(catalog: Catalog, text: str) -> list[str]:
    """The columns to show: what was given, what the text speaks of, and some basics."""
    words = {word.casefold() for word in re.findall(r"\w+", text)}
    names = [name for name in catalog.types() if name.casefold() in words or f'"{name}"'.casefold() in text.casefold()]
    return list(dict.fromkeys([*GIVEN, *names, *BASICS]))
