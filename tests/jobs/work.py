"""Work functions for the jobs of test_jobs.py; the workers import them as "work:..." by PYTHONPATH."""

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sqlalchemy import event

from recipe_core import settings
from recipe_core.errors import BadSource, Stopped
from recipe_core.jobs import JobContext, die_with_parent

# The test module sets the same in its own process; this module is imported by workers only.
settings.HEARTBEAT_SECONDS = 0.1
settings.LOST_AFTER_SECONDS = 2.0
settings.SLOTS = {"pair": 2}


def note(context: JobContext, text) -> None:
    with (context.folder / "notes.txt").open("a") as file:
        file.write(f"{context.job.attempt} {text}\n")


def wait_for_go(context: JobContext, checking: bool = True) -> None:
    """Until the test makes the file `go`."""
    note(context, "waits")
    while not (context.folder / "go").exists():
        if checking:
            context.check()
        time.sleep(0.02)


def count(context: JobContext) -> None:
    """Counts to spec["to"], going on where the notes end; each number is put down once."""
    notes = context.folder / "notes.txt"
    done = len(notes.read_text().splitlines()) if notes.exists() else 0
    for number in range(done, context.spec["to"]):
        time.sleep(context.spec.get("pause", 0))
        context.check()
        note(context, number)
        context.report(done=number + 1, total=context.spec["to"])


def wait(context: JobContext) -> None:
    wait_for_go(context)
    context.check()
    note(context, "went on")


def wait_impatiently(context: JobContext) -> None:
    """As `wait`, but a locked database is an error after 50 ms, not after 30 s."""
    event.listen(context.store.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=50"))
    context.store.engine.dispose()
    wait_for_go(context, checking=context.spec["checking"])


def wait_unchecked(context: JobContext) -> None:
    """Looks up only once: before it puts something down. In the attempt spec["silent"] the heart does not beat."""
    if context.job.attempt == context.spec.get("silent"):
        settings.HEARTBEAT_SECONDS = 600
    wait_for_go(context, checking=False)
    context.check()
    note(context, "went on")
    context.report(done=context.job.attempt)


def wait_in_children(context: JobContext) -> None:
    """Keeps two children busy for longer than any test."""
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("forkserver"), die_with_parent)
    try:
        asleep = [pool.submit(time.sleep, 600) for _ in range(2)]
        while not all(future.running() for future in asleep):
            time.sleep(0.02)
        wait_for_go(context)
    except Stopped:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def refuse(context: JobContext) -> None:
    raise BadSource("The table x.csv has no column of paths; name it with --path-column.")


def crash(context: JobContext) -> None:
    print("about to crash")
    raise ValueError("bad value\nin two lines")


def fill_the_disk(context: JobContext) -> None:
    Path("/dev/full").write_text("more than there is room for")


def leave(context: JobContext) -> None:
    sys.exit(3)
