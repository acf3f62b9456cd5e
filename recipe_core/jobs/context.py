"""What the work sees of its job: say how far it is, learn whether to go on; and the heartbeat beneath."""

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator

from sqlalchemy import update

from recipe_core import settings
from recipe_core.errors import Replaced, Stopped, Unavailable
from recipe_core.jobs.queue import Job, current
from recipe_core.store import Store
from recipe_core.store import jobs as table

REPORT_SECONDS = 0.2  # progress is written at most this often


class JobContext:
    """Handed to the work function; `store`, `job`, `spec` and `folder` are the job's."""

    def __init__(self, store: Store, job: Job):
        self.store = store
        self.job = job
        self.spec = job.spec
        self.folder = job.folder
        self.asked_to_stop = job.stop_requested
        self._replaced = False
        self._progress = job.progress
        self._confirmed = time.monotonic()  # when the job was last known to be ours
        self._news = threading.Event()
        self._over = threading.Event()

    def report(self, **progress) -> None:
        """Say anew how far the work is, as JSON values; takes microseconds, is written a fraction of a second later."""
        # A copy; and what is no JSON fails here, not in the heartbeat.
        self._progress = json.loads(json.dumps(progress))
        self._news.set()

    def check(self) -> None:
        """Raise Stopped if a stop was requested, by `stop` or SIGTERM; Replaced if the job was lost or given away.

        While it returns, nobody can have given the job away: others wait LOST_AFTER_SECONDS after a heartbeat, and
        where the last one is half as old (the process was paused, the database out of reach) it is made up for first.
        """
        while not self.asked_to_stop and time.monotonic() - self._confirmed > settings.LOST_AFTER_SECONDS / 2:
            if not self._beat():
                time.sleep(settings.HEARTBEAT_SECONDS)
            if self._replaced:
                break
        if self._replaced:
            raise Replaced(f"Job {self.job.id} was given up or replaced.")
        if self.asked_to_stop:
            raise Stopped(f"Job {self.job.id} was asked to stop.")

    def ask_to_stop(self) -> None:
        """As a signal handler may: it sets one flag."""
        self.asked_to_stop = True

    @contextlib.contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Beat the job's heart in a thread and write what was reported, until the block is left."""
        heart = threading.Thread(target=self._live, name="heartbeat", daemon=True)
        heart.start()
        try:
            yield
        finally:
            self._over.set()
            self._news.set()
            heart.join()

    def end(self, state: str, error: str | None = None) -> None:
        """Record the end with the last progress, unless replaced; a database out of reach is waited for a while."""
        end = update(table).where(current(self.job.id, self.job.attempt))
        end = end.values(state=state, error=error, ended=time.time(), progress=self._progress)
        deadline = time.monotonic() + settings.LOST_AFTER_SECONDS
        while True:
            try:
                with self.store.engine.begin() as connection:
                    connection.execute(end)
                return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(settings.HEARTBEAT_SECONDS)

    def _live(self) -> None:
        while not self._over.is_set():
            self._news.wait(settings.HEARTBEAT_SECONDS)
            self._news.clear()
            self._beat()
            if self._replaced:
                with contextlib.suppress(OSError):
                    print(f"job {self.job.id}, attempt {self.job.attempt} was given up or replaced; this worker ends")
                os._exit(1)  # the work may be far from its next check, and nothing that it does counts any more
            self._over.wait(REPORT_SECONDS)

    def _beat(self) -> bool:
        """Write heartbeat and progress, learn of a stop; False if the database is locked, full or away just now."""
        moment = time.monotonic()
        beat = update(table).where(current(self.job.id, self.job.attempt))
        beat = beat.values(heartbeat=time.time(), progress=self._progress).returning(table.c.stop_requested)
        try:
            with self.store.engine.begin() as connection:
                row = connection.execute(beat).one_or_none()
        except Unavailable:
            return False
        if row is None:
            self._replaced = True
        else:
            self._confirmed = moment
            self.asked_to_stop = self.asked_to_stop or bool(row.stop_requested)
        return True


def die_with_parent() -> None:
    """Bind a child process to its parent's life: `ProcessPoolExecutor(..., initializer=die_with_parent)`.

    In a process that is nobody's multiprocessing child it does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # A forked child has the worker's handler, and the pool's terminate() must end it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watching the parent", daemon=True).start()
