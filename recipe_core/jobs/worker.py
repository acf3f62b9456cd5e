"""The process that runs one attempt of one job: python -m recipe_core.jobs.worker WORKSPACE JOB_ID ATTEMPT

Started by the queue only. What it prints goes to the log of the job.
"""

import contextlib
import importlib
import os
import shutil
import signal
import sys
import traceback
from multiprocessing.util import get_temp_dir

from recipe_core.errors import RecipeError, Stopped
from recipe_core.jobs.context import JobContext
from recipe_core.jobs.queue import enter, tend
from recipe_core.store import Store

ERROR_CHARACTERS = 300
DISK_IS_FULL = ("No space left on device", "disk is full")  # as the system and the libraries say it, and SQLite


def main(workspace: str, job_id: str, attempt: str) -> None:
    store = Store(workspace)
    job = enter(store, int(job_id), int(attempt))
    if job is None:
        return
    context = JobContext(store, job)
    signal.signal(signal.SIGTERM, lambda *_: context.ask_to_stop())
    with context.heartbeat():
        state, error = _outcome(context)
    context.end(state, error)
    tend(store)


def _outcome(context: JobContext) -> tuple[str, str | None]:
    """Do the work; the state in which it ended, and why if it failed."""
    try:
        context.check()
        module, _, function = context.job.work.partition(":")
        getattr(importlib.import_module(module), function)(context)
    except Stopped:
        return "stopped", None
    except BaseException as error:  # noqa: BLE001  the process boundary: whatever ends the work, SystemExit too, is told
        with contextlib.suppress(OSError):  # a full disk must not hide the failure
            traceback.print_exc()
        if context.asked_to_stop:  # a SIGTERM to the whole session breaks the work's pool before its next check
            return "stopped", None
        return "failed", _sentence(error)
    return "finished", None


def _sentence(error: BaseException) -> str:
    if isinstance(error, RecipeError):
        return str(error)
    if any(sign in str(error) for sign in DISK_IS_FULL):
        return "The disk is full; free some space and resume: what was saved until then is kept."
    first_line = str(error).strip().partition("\n")[0][:ERROR_CHARACTERS]
    return f"{type(error).__name__}{': ' if first_line else ''}{first_line}; the log says more"


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BaseException:  # noqa: BLE001  the process boundary: what the job's record could not take is in its log
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(get_temp_dir())  # of its pools, which nothing removes after this:
        os._exit(0)  # not held up by threads and pools that the work left behind; its children end with it
