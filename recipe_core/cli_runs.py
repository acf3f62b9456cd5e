"""The terminal's commands for runs: train, runs, run, stop, resume, delete and export; cli.py registers them."""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from recipe_core import jobs, run_export, settings
from recipe_core.progress import Line, describe
from recipe_core.runs import Run
from recipe_core.terminal import escaped, print_table, tell, whole_number, write_json, write_json_list
from recipe_core.training.expectation import Verdict
from recipe_core.training.spec import RunSpec
from recipe_core.workspace import Workspace

LISTED = ["id", "dataset", "preset", "seed", "state", "val_loss", "val_accuracy", "verdicts", "expect"]
ENDINGS = {"stopped": "was stopped", "lost": "was lost, as its process was killed"}


def register(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands by `command(name, function, json_help)`, which gives each its parser."""
    made = command("train", train, 'at once {"id", "state"}, with --follow the outcome, as one JSON object')
    made.add_argument("name", metavar="NAME")
    made.add_argument("--preset", metavar="P", required=True, help="e.g. majority, linear, tiny_cnn or one_batch")
    made.add_argument(
        "--set", metavar="KEY=VALUE", type=_setting, action="append", default=[], help="e.g. epochs=3; may be repeated"
    )
    made.add_argument("--seed", metavar="N", default=0, help="of all that is left to chance (default: 0)")
    made.add_argument("--expect", metavar="TEXT", default="", help="your prediction, kept with the run as it is now")
    made.add_argument("--follow", action="store_true", help="wait for the end and tell the verdicts")
    made = command("runs", runs, "as a JSON list of objects")
    made.add_argument("name", metavar="NAME", nargs="?", help="of a dataset (default: of all)")
    made = command("run", run, "as one JSON object")
    made.add_argument("id", metavar="ID", type=whole_number)
    made.add_argument("--metrics", action="store_true", help="all that was measured, too, step by step")
    for function in (stop, resume, delete):
        command(function.__name__, function).add_argument("id", metavar="ID", type=whole_number)
    made = command("export", export)
    made.add_argument("id", metavar="ID", type=whole_number)
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--tensorboard", metavar="DIR", help="a folder for TensorBoard's --logdir")
    where.add_argument("--mlflow", metavar="URI", help="of MLflow's tracking server, file or database")


# The commands


def train(workspace: Workspace, options: argparse.Namespace) -> int:
    """Train a preset on a dataset, in a process of its own, and judge what was expected of it."""
    dataset = workspace.dataset(options.name)
    spec = RunSpec.parse(options.preset, dict(options.set), options.seed, options.expect)
    run = workspace.launch_spec(dataset, spec)
    if options.follow:
        return _follow(workspace, run, options.json)
    job = run.job
    if options.json:
        write_json({"id": run.id, "state": job.state})
    else:
        print(f"Run {run.id}, {spec.preset} on {dataset.name}, is {job.state}; see: {_hint(workspace, 'run', run)}")
    return 0


def runs(workspace: Workspace, options: argparse.Namespace) -> int:
    """All runs, or those on one dataset, newest first."""
    if options.name is not None:
        workspace.dataset(options.name)  # a name mistyped is no dataset without runs
    rows = [_listed(run) for run in workspace.runs(options.name)]
    if options.json:
        write_json_list(rows)
    else:
        print_table([row | {"verdicts": _counted(row["verdicts"])} for row in rows], LISTED)
    return 0


def run(workspace: Workspace, options: argparse.Namespace) -> int:
    """One run: its settings, what was expected of it, how far it is and what became of it."""
    run = workspace.run(options.id)
    history = run.metrics()
    if options.json:
        points = {"metrics": _points(history)} if options.metrics else {}
        write_json(_told(run, history) | points)
        return 0
    _print_run(run, history)
    if options.metrics:
        print_table(_points(history), ["step", *history.columns])
    return 0


def stop(workspace: Workspace, options: argparse.Namespace) -> int:
    """Ask a run to stop; it saves a checkpoint from which it can be resumed."""
    run = workspace.run(options.id)
    run.stop()
    job = run.job
    print(f"Run {run.id} is {'asked to stop; it saves a checkpoint first' if job.active else job.state}.")
    return 0


def resume(workspace: Workspace, options: argparse.Namespace) -> int:
    """Go on with a run that was stopped, lost or failed, from its last checkpoint."""
    run = workspace.run(options.id)
    run.resume()
    print(f"Run {run.id} is {run.state} again; see: {_hint(workspace, 'run', run)}")
    return 0


def delete(workspace: Workspace, options: argparse.Namespace) -> int:
    """Forget a run with all its files and metrics."""
    workspace.run(options.id).delete()
    print(f"Run {options.id} was deleted.")
    return 0


def export(workspace: Workspace, options: argparse.Namespace) -> int:
    """Copy a run's settings and metrics to TensorBoard or MLflow."""
    run = workspace.run(options.id)
    if options.tensorboard is not None:
        place = run_export.to_tensorboard(run, Path(options.tensorboard))
    else:
        place = run_export.to_mlflow(run, options.mlflow)
    print(f"Run {run.id} was written to {escaped(place)}.")
    return 0


# What is understood


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{escaped(text)} is no KEY=VALUE, e.g. epochs=3")
    return name.strip(), value


# What is told


def _follow(workspace: Workspace, run: Run, as_json: bool) -> int:
    """Wait for the end and tell the outcome; Ctrl-C ends the waiting, not the run."""
    try:
        with Line(sys.stderr) as line:
            for change in jobs.follow(run.store, run.id):
                job = change
                line.show(job)
    except KeyboardInterrupt:
        tell(f"Run {run.id} goes on; stop it with: {_hint(workspace, 'stop', run)}")
        raise
    verdicts = run.verdicts()
    if as_json:
        write_json({"id": run.id, "state": job.state, "error": job.error, "verdicts": _verdicts(verdicts)})
    else:
        _print_run(run, run.metrics())
    if job.state == "finished":
        return 0
    resumed = f"go on with: {_hint(workspace, 'resume', run)}"
    tell(f"Run {run.id} {job.state}: {job.error}" if job.error else f"Run {run.id} {ENDINGS[job.state]}; {resumed}")
    return 1


def _listed(run: Run) -> dict:
    job, last = run.job, _last(run.metrics(["val_loss", "val_accuracy"]))
    # Of a run that is not at its end nothing is counted: it would take all its metrics.
    verdicts = Counter(verdict.verdict for verdict in run.verdicts()) if job.state == "finished" else {}
    return {
        "id": run.id,
        "dataset": run.dataset,
        "preset": run.spec.preset,
        "seed": run.spec.seed,
        "state": job.state,
        "val_loss": last.get("val_loss"),
        "val_accuracy": last.get("val_accuracy"),
        "verdicts": dict(verdicts),
        "expect": run.spec.expect,
        "error": job.error,
        "created": job.created,
    }


def _told(run: Run, history: pd.DataFrame) -> dict:
    job, evaluation = run.job, run.evaluation()
    return {
        "id": run.id,
        "state": job.state,
        "error": job.error,
        "progress": job.progress,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "device": run.device,
        **run.record,  # dataset, spec, expectation, manifest, samples, classes, versions
        "last": _last(history),
        "verdicts": _verdicts(run.verdicts()),
        "evaluation": evaluation.summary if evaluation else None,
    }


def _print_run(run: Run, history: pd.DataFrame) -> None:
    job, spec, expectation = run.job, run.spec, run.expectation
    given = {name: value for name, value in asdict(spec).items() if value not in (None, False, "")}
    lines = {
        f"Run {run.id}": f"{spec.preset} on {run.dataset}, seed {spec.seed}: {describe(job)}",
        "Error": job.error or "",
        "Settings": " ".join(f"{name}={value}" for name, value in given.items() if name in _settings_names()),
        "Data": ", ".join([*(f"{split} {n:,}" for split, n in run.record["samples"].items()), *_classes(run)]),
        "Cleaned": run.cleaned,
        "Device": run.device,
        "You expect": spec.expect,
        "Expected": f"loss {expectation.initial_loss:.4g} at step 0; without looking at the images a loss of "
        f"{expectation.constant_guess_loss:.4g} and an accuracy of {expectation.constant_guess_accuracy:.2%} at best",
        "Last": ", ".join(f"{name} {value:.4g}" for name, value in _last(history).items()),
    }
    for name, text in lines.items():
        if text:
            print(f"{name + ':':12}{escaped(text)}")
    for verdict in run.verdicts():
        print(f"{verdict.verdict + ':':12}{escaped(verdict.claim.sentence)} {escaped(verdict.sentence)}")


def _settings_names() -> set[str]:
    return set(RunSpec.__dataclass_fields__) - {"preset", "seed", "expect"}


def _classes(run: Run) -> list[str]:
    return [f"{len(run.classes):,} classes", f"manifest {run.record['manifest']}"]


def _last(history: pd.DataFrame) -> dict[str, Any]:
    """The newest step and the newest value of each metric."""
    if history.empty:
        return {}
    return {
        "step": int(history.index[-1]),
        **{name: float(column.dropna().iloc[-1]) for name, column in history.items()},
    }


def _points(history: pd.DataFrame) -> list[dict]:
    """A step each, with what was measured at it."""
    rows = history.reset_index().to_dict("records")
    return [{name: value for name, value in row.items() if not pd.isna(value)} for row in rows]


def _verdicts(verdicts: list[Verdict]) -> list[dict]:
    return [{**asdict(verdict), "claim": verdict.claim.id, "expected": verdict.claim.sentence} for verdict in verdicts]


def _counted(verdicts: dict[str, int]) -> str:
    """ "2 pass, 1 fail"."""
    return ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())


def _hint(workspace: Workspace, command: str, run: Run) -> str:
    """The command line that does something with a run of this workspace."""
    default = workspace.folder == settings.WORKSPACE.resolve()
    where = "" if default else f" --workspace {shlex.quote(str(workspace.folder))}"
    return f"python -m recipe_core {command} {run.id}{where}"
