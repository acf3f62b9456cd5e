"""Jobs as rows of the store: launching, following, stopping, resuming. A change of state is one conditional update."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from sqlalchemy import ColumnElement, Row, Select, case, func, insert, or_, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError

from recipe_core import settings
from recipe_core.errors import Conflict, NotFound
from recipe_core.store import Store
from recipe_core.store import jobs as table

ACTIVE = ("queued", "running")
RESUMABLE = ("failed", "stopped", "lost")

OWN_FOLDER = "{id}"  # as the last part of a folder's path: a folder of the job's own, named by its id

CLOCK_SLACK_SECONDS = 2.0  # Linux tells when a process was born to the second only
LOG_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Job:
    """A job as the store knew it at one moment; times are seconds since the epoch."""

    id: int
    kind: str
    subject: str
    work: str
    spec: dict
    folder: Path
    state: str
    attempt: int  # 1 for the first; each resume adds one
    progress: dict  # what the work reported last
    error: str | None  # one sentence, where it failed
    stop_requested: bool
    created: float
    started: float | None  # of this attempt, as are the following
    ended: float | None
    heartbeat: float | None
    host: str | None
    pid: int | None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def log(self) -> Path:
        """Where all that the worker prints stands, attempt after attempt."""
        return self.folder / "log.txt"

    def log_tail(self, lines: int = 20) -> str:
        """The last `lines` lines of the log; empty before the first start."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def launch(
    store: Store,
    *,
    kind: str,
    subject: str,
    work: str,
    spec: dict,
    folder: Path | str,
    files: Mapping[str, str] | None = None,
) -> Job:
    """Record a job and start it if a slot of its kind is free.

    `work` is the import path of its function, "package.module:function"; `spec` is what the function needs, as JSON;
    `folder` is made where it is missing; where its path ends in "{id}", that stands for the job's id; `files`,
    name -> text, stand in it before the job can start. Raises Conflict if a job is active in that folder.
    """
    folder = Path(folder).resolve()
    tend(store)
    new = insert(table).values(
        kind=kind,
        subject=subject,
        work=work,
        spec=spec,
        folder=str(folder),
        state="queued",
        attempt=1,
        progress={},
        created=time.time(),
    )
    try:
        with store.engine.begin() as connection:
            id = connection.execute(new.returning(table.c.id)).scalar_one()
            if folder.name == OWN_FOLDER:
                folder = folder.with_name(str(id))
                connection.execute(update(table).where(table.c.id == id).values(folder=str(folder)))
            folder.mkdir(parents=True, exist_ok=True)  # before anyone can see the job and start it
            for name, text in (files or {}).items():
                (folder / name).write_text(text, "utf-8")
    except IntegrityError:
        raise _folder_is_taken(store, folder) from None
    tend(store)
    return get(store, id)


def get(store: Store, id: int) -> Job:
    """The job with that id. Raises NotFound."""
    found = _select(store, select(table).where(table.c.id == id))
    if not found:
        raise NotFound(f"There is no job {id}; it was deleted, or the number belongs to another workspace.")
    return found[0]


def listing(store: Store, kind: str | None = None, subject: str | None = None) -> list[Job]:
    """The jobs of that kind and subject (of all, where not given), newest first."""
    return _select(store, _newest_first(kind, subject))


def latest(store: Store, kind: str, subject: str) -> Job | None:
    """The newest job of that kind and subject."""
    return next(iter(_select(store, _newest_first(kind, subject).limit(1))), None)


def under_way(store: Store, kind: str, subject: str) -> Job | None:
    """The job of that kind and subject that is running, else the newest."""
    tend(store)
    known = listing(store, kind, subject)
    return next((job for job in known if job.state == "running"), next(iter(known), None))


def stop(store: Store, id: int) -> Job:
    """A queued job is stopped at once, a running one asked to; one that has ended stays as it is. Raises NotFound."""
    tend(store)
    queued = table.c.state == "queued"
    ask = update(table).values(
        state=case((queued, "stopped"), else_=table.c.state),
        ended=case((queued, time.time()), else_=table.c.ended),
        stop_requested=1,
    )
    _change(store, ask.where(table.c.id == id, table.c.state.in_(ACTIVE)))
    return get(store, id)


def stop_all(store: Store, kind: str, subject: str) -> None:
    """Stop all jobs of that kind and subject and wait for their end."""
    for job in listing(store, kind, subject):
        if job.active:
            stop(store, job.id)
            for _ in follow(store, job.id):
                pass


def resume(store: Store, id: int) -> Job:
    """Queue a failed, stopped or lost job again, with the same spec and folder.

    Raises NotFound, and Conflict if the job is active or finished or another one is active in its folder.
    """
    tend(store)
    again = update(table).where(table.c.id == id, table.c.state.in_(RESUMABLE))
    again = again.values(
        state="queued",
        attempt=table.c.attempt + 1,
        error=None,
        stop_requested=0,
        started=None,
        ended=None,
        heartbeat=None,
        host=None,
        pid=None,
    )
    try:
        resumed = _change(store, again)
    except IntegrityError:
        raise _folder_is_taken(store, get(store, id).folder) from None
    if not resumed:
        raise Conflict(_why_not_resumed(get(store, id)))
    tend(store)
    return get(store, id)


def delete(store: Store, id: int) -> None:
    """Forget a job; its folder stays, for whoever gave it to remove. Raises NotFound, and Conflict if it is active."""
    tend(store)
    if not _change(store, delete_from(table).where(table.c.id == id, table.c.state.not_in(ACTIVE))):
        job = get(store, id)
        raise Conflict(f"Job {id} is {job.state}; stop it before deleting it.")


def follow(store: Store, id: int, seconds: float = 0.2) -> Iterator[Job]:
    """Yield the job now and at each change, looked for every `seconds`, until it is no longer active."""
    shown = None
    while True:
        tend(store)
        job = replace(get(store, id), heartbeat=None)  # a heartbeat alone is no change
        if job != shown:
            yield job
            shown = job
        if not job.active:
            return
        time.sleep(seconds)


def tend(store: Store) -> None:
    """Mark running jobs lost whose worker is gone, start queued ones where slots are free; else it costs one read."""
    active = _select(store, select(table).where(table.c.state.in_(ACTIVE)).order_by(table.c.id))
    running: Counter[str] = Counter()
    for job in active:
        if job.state == "running":
            if _is_gone(job):
                _mark_lost(store, job)
            else:
                running[job.kind] += 1
    for job in active:
        if job.state == "queued" and running[job.kind] < _slots(job.kind):
            running[job.kind] += 1
            if _claim(store, job):
                _start_worker(store, job)


def current(id: int, attempt: int) -> ColumnElement[bool]:
    """The fence that stands before every write of a worker: true while that attempt is the one that is running."""
    return (table.c.id == id) & (table.c.attempt == attempt) & (table.c.state == "running")


def enter(store: Store, id: int, attempt: int) -> Job | None:
    """Called by a worker as it begins: its job, or None if that attempt is not, or no longer, this process's to run."""
    mine = or_(table.c.pid.is_(None), table.c.pid == os.getpid())  # the launcher may have been quicker, or killed
    entering = update(table).where(current(id, attempt), mine).values(pid=os.getpid(), heartbeat=time.time())
    with store.engine.begin() as connection:
        row = connection.execute(entering.returning(table)).one_or_none()
    return _job(row) if row else None


def _claim(store: Store, job: Job) -> bool:
    """Take a queued job for starting; of all that try at once one succeeds. The same update counts the slots."""
    others = table.alias()
    taken = select(func.count()).where(others.c.kind == job.kind, others.c.state == "running").scalar_subquery()
    claim = update(table).where(
        table.c.id == job.id,
        table.c.attempt == job.attempt,
        table.c.state == "queued",
        taken < _slots(job.kind),
    )
    now = time.time()
    return _change(store, claim.values(state="running", started=now, heartbeat=now, host=socket.gethostname()))


def _start_worker(store: Store, job: Job) -> None:
    try:
        arguments = [str(store.folder), str(job.id), str(job.attempt)]
        with job.log.open("ab") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} job {job.id}, attempt {job.attempt}\n".encode())
            log.flush()
            worker = subprocess.Popen(
                # -u: the log is live; -P: a queue.py where the user stands does not shadow the library's
                [sys.executable, "-u", "-P", "-m", "recipe_core.jobs.worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,
            )
    except OSError as error:
        sentence = f"The worker could not be started in {job.folder} ({error.strerror}); put that right and resume it."
        failed = update(table).where(current(job.id, job.attempt))
        _change(store, failed.values(state="failed", error=sentence, ended=time.time()))
        return
    threading.Thread(target=worker.wait, name=f"reaper of job {job.id}", daemon=True).start()
    # Recorded here too, so that a worker that dies before it could enter is known to be gone at once.
    fresh = update(table).where(current(job.id, job.attempt), table.c.pid.is_(None))
    _change(store, fresh.values(pid=worker.pid, heartbeat=time.time()))


def _environment() -> dict[str, str]:
    """This process's environment, in which a worker also finds this recipe_core, from wherever it is launched."""
    home = str(Path(__file__).resolve().parents[2])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != home]
    return os.environ | {"PYTHONPATH": os.pathsep.join([home, *paths])}


def _is_gone(job: Job) -> bool:
    assert job.heartbeat is not None  # set by the claim
    if time.time() - job.heartbeat > settings.LOST_AFTER_SECONDS:
        return True
    if job.pid is None or job.host != socket.gethostname():
        return False
    try:
        process = psutil.Process(job.pid)
        # Whoever was born after the job's last heartbeat did not beat it: its pid was given away, e.g. after a reboot.
        born_later = process.create_time() > job.heartbeat + CLOCK_SLACK_SECONDS
        return born_later or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _mark_lost(store: Store, job: Job) -> None:
    """Unless its heart has beaten since the job was read."""
    still = update(table).where(current(job.id, job.attempt), table.c.heartbeat == job.heartbeat)
    _change(store, still.values(state="lost", ended=time.time()))


def _slots(kind: str) -> int:
    return settings.SLOTS.get(kind, 1)


def _why_not_resumed(job: Job) -> str:
    if job.active:
        return f"Job {job.id} is {job.state} already; there is nothing to resume."
    return f"Job {job.id} has {job.state}; start a new one instead of resuming it."


def _folder_is_taken(store: Store, folder: Path) -> Conflict:
    here = select(table).where(table.c.folder == str(folder), table.c.state.in_(ACTIVE))
    for job in _select(store, here):
        return Conflict(
            f"Job {job.id}, a {job.kind} of {job.subject}, is {job.state} already; stop it or let it finish."
        )
    return Conflict(f"A job was active in {folder} until just now; try again.")


def _newest_first(kind: str | None, subject: str | None) -> Select:
    query = select(table).order_by(table.c.id.desc())
    if kind is not None:
        query = query.where(table.c.kind == kind)
    if subject is not None:
        query = query.where(table.c.subject == subject)
    return query


def _select(store: Store, query: Select) -> list[Job]:
    with store.engine.connect() as connection:
        return [_job(row) for row in connection.execute(query)]


def _change(store: Store, statement) -> bool:
    """Whether the conditional update or delete met its row."""
    with store.engine.begin() as connection:
        return connection.execute(statement).rowcount > 0


def _job(row: Row) -> Job:
    values = dict(row._mapping)
    return Job(**values | {"folder": Path(values["folder"]), "stop_requested": bool(values["stop_requested"])})
