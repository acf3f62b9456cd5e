"""The terminal's commands for what is decided on the data: decide, manifest and waive; cli.py registers them."""

import argparse
import csv
import getpass
import io
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from recipe_core.data.export import manifest_chunks, unsafe
from recipe_core.data.selection import Selection
from recipe_core.errors import BadDecision, Conflict
from recipe_core.terminal import escaped, tell
from recipe_core.workspace import Dataset, Workspace

KEY_COLUMNS = ("sample", "key")  # as `manifest` and as the dashboard's tables call it


def register(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands by `command(name, function, json_help)`, which gives each its parser."""
    made = command("decide", decide)
    made.add_argument("name", metavar="NAME")
    made.add_argument("ruling", metavar="RULING", help="keep, exclude, relabel or not-a-problem")
    made.add_argument("samples", metavar="SAMPLE", nargs="*", help="the key of a sample, as query tells it")
    made.add_argument(
        "--from", dest="file", metavar="FILE", help='keys, one a line, or a CSV with a column "sample" or "key"'
    )
    made.add_argument("--label", metavar="L", help="of relabel: the new label")
    made.add_argument("--kind", metavar="K", default="", help="of not-a-problem: only as findings of this kind")
    made.add_argument("--by", metavar="WHO", help="who decides (default: your login name)")
    made.add_argument("--note", metavar="TEXT", default="", help="why")
    made.add_argument("--undo", action="store_true", help="take the latest such ruling on these samples back")
    made = command("manifest", manifest)
    made.add_argument("name", metavar="NAME")
    made.add_argument("-o", "--output", metavar="FILE", help="a CSV (default: standard output)")
    made = command("waive", waive)
    made.add_argument("name", metavar="NAME")
    made.add_argument("check", metavar="CHECK", help="findings or looked")
    made.add_argument("--reason", metavar="TEXT", required=True, help="kept with the waiver")
    made.add_argument("--by", metavar="WHO", help="who waives (default: your login name)")


# The commands


def decide(workspace: Workspace, options: argparse.Namespace) -> int:
    """Rule keep, exclude, relabel or not-a-problem on samples, or take such a ruling back."""
    dataset = workspace.dataset(options.name)
    decisions = dataset.decisions
    if options.samples and options.file is not None:
        raise BadDecision("Name the samples or give a file of them, not both.")
    keys = options.samples if options.file is None else _keys_in(options.file)
    by = _who(options.by)
    if options.undo:
        told = decisions.act(decisions.undo_samples(options.ruling, keys, by))
        print(f'{dataset.name}: "{options.ruling}" was taken back from {_samples(told["samples"])}.')
        return 0
    is_new = options.ruling == "relabel" and _is_new_class(dataset, options.label)
    act = decisions.decide(options.ruling, keys, label=options.label, kind=options.kind, by=by, note=options.note)
    label = f' as "{options.label}"' if options.label else ""
    print(escaped(f"{dataset.name}: {options.ruling}{label}, {_samples(decisions.act(act)['samples'])} (act {act})."))
    if is_new:
        tell(f'No sample of "{dataset.name}" had the label "{options.label}" so far; it is a new class.')
    return 0


def manifest(workspace: Workspace, options: argparse.Namespace) -> int:
    """The samples that training reads, cleaned by what was decided, as CSV."""
    dataset = workspace.dataset(options.name)
    made = dataset.manifest()
    chunks = manifest_chunks(made, dataset.source)
    if options.output is None:
        sys.stdout.writelines(chunks)
    else:
        _write(Path(options.output), chunks)
    changes = ", ".join(f"{count:,} {what}" for what, count in made.cleaned.items())
    tell(f"{dataset.name}: {_samples(len(made.frame))} ({changes}), manifest {made.hash}.")
    return 0


def waive(workspace: Workspace, options: argparse.Namespace) -> int:
    """Let a check of a stage's gate pass as it is, for a reason that is kept."""
    dataset = workspace.dataset(options.name)
    dataset.waivers.waive(options.check, options.reason, _who(options.by))
    print(f'{dataset.name}: "{options.check}" is waived.')
    return 0


# What they are made of


def _who(given: str | None) -> str:
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""


def _samples(count: int) -> str:
    return f"{count:,} {'sample' if count == 1 else 'samples'}"


def _is_new_class(dataset: Dataset, label: str | None) -> bool:
    return bool(label) and not any(
        dataset.catalog.count(Selection(choices={column: (label,)})) for column in ("label", "new_label")
    )


def _keys_in(file: str) -> list[str]:
    """The keys in a file: of a CSV the column named in KEY_COLUMNS, else each line. Raises BadDecision."""
    try:
        text = Path(file).read_bytes().decode("utf-8-sig")
        rows = csv.reader(io.StringIO(text, newline=""))
        header = next(rows, [])
        named = next((header.index(column) for column in KEY_COLUMNS if column in header), None)
        if named is None:
            return [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line]
        return [unsafe(row[named]) for row in rows if len(row) > named]
    except OSError as problem:
        raise BadDecision(f"{file} cannot be read ({problem.strerror}); name a file with a key in each line.") from None
    except (UnicodeDecodeError, csv.Error):
        raise BadDecision(f"{file} is neither text in UTF-8 nor a CSV; save it as one of them.") from None


def _write(path: Path, chunks: Iterable[str]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.writelines(chunks)
        partial.replace(path)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise Conflict(f"{path} cannot be written ({problem.strerror}); choose another file.") from None
