"""The one database of a workspace: SQLAlchemy Core, SQLite in WAL mode.

Everything that several processes write at once stands here (datasets, decisions, jobs, metrics); what is big stands in
files beside it. A store may be used from any thread and any process; each write is one short transaction.
"""

import sqlite3
from pathlib import Path

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Engine,
    ExceptionContext,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    text,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from recipe_core.errors import Unavailable

# Errors of the machine, by SQLite's codes; any other is a mistake in a statement.
OF_THE_MACHINE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}

schema = MetaData()

datasets = Table(
    "datasets",
    schema,
    Column("name", String, primary_key=True),
    Column("source", Text, nullable=False),
    Column("options", JSON, nullable=False),  # the columns of a table: {"path": ..., "label": ..., "split": ...}
    Column("note", Text),  # shown with the dataset, e.g. that it is a demo
    Column("created", Float, nullable=False),  # seconds since the epoch, as all times here
)

jobs = Table(
    "jobs",
    schema,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String, nullable=False),  # "scan", later "run", "embed"
    Column("subject", String, nullable=False),  # the dataset that it works on
    Column("work", String, nullable=False),  # import path of its function, "package.module:function"
    Column("spec", JSON, nullable=False),
    Column("folder", Text, nullable=False),  # where its log and files stand
    Column("state", String, nullable=False),  # queued, running, finished, failed, stopped, lost
    Column("attempt", Integer, nullable=False, default=0),  # a worker whose attempt is not this one has been replaced
    Column("progress", JSON, nullable=False, default=dict),
    Column("error", Text),  # one sentence, where it failed
    Column("stop_requested", Integer, nullable=False, default=0),
    Column("host", String),
    Column("pid", Integer),
    Column("heartbeat", Float),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Index("jobs_by_subject", "subject", "kind", "id"),
    Index("jobs_by_state", "state"),
    # One job at a time works in a folder.
    Index("jobs_active_in_folder", "folder", unique=True, sqlite_where=text("state IN ('queued', 'running')")),
    sqlite_autoincrement=True,  # the id of a deleted job is never given again: an old worker may still carry it
)

metrics = Table(
    "metrics",
    schema,
    Column("id", Integer, primary_key=True, autoincrement=True),  # later rows count before earlier ones
    Column("run", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("steps", LargeBinary, nullable=False),  # int64, as many as there are
    Column("measured", LargeBinary, nullable=False),  # float64, one per step
    Index("metrics_by_run", "run", "name", "id"),
)

# What people ruled. An act is written once; that it was taken back stands with its samples.
decisions = Table(
    "decisions",
    schema,
    Column("id", Integer, primary_key=True, autoincrement=True),  # of two acts on a sample the higher one holds
    Column("dataset", String, nullable=False),
    Column("ruling", String, nullable=False),  # keep, exclude, relabel, not-a-problem, undo
    Column("label", Text),  # of a relabel
    Column("kind", String, nullable=False),  # of the findings that it speaks of, "" for all
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("undoes", Integer),  # the one act that an undo takes back
    Index("decisions_by_dataset", "dataset", "id"),
    sqlite_autoincrement=True,
)

decided_samples = Table(
    "decided_samples",
    schema,
    Column("decision", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("dataset", String, nullable=False),
    Column("content", String, nullable=False),  # hash of the file's bytes, "" where it is missing
    Column("unique", Boolean, nullable=False),  # no other sample had that content then
    Column("undone_by", Integer),  # the act that took it back
    Index("decided_samples_by_key", "dataset", "key"),
    Index("decided_samples_by_content", "dataset", "content"),
    Index("decided_samples_by_undoing", "undone_by"),
)

looks = Table(
    "looks",
    schema,
    Column("dataset", String, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
)

waivers = Table(
    "waivers",
    schema,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("dataset", String, nullable=False),
    Column("check", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("waivers_by_dataset", "dataset", "id"),
)

# What people said of pairs of pictures that may be the same one: evidence of how precise a threshold is.
answers = Table(
    "answers",
    schema,
    Column("id", Integer, primary_key=True, autoincrement=True),  # of two answers on a pair the higher one holds
    Column("dataset", String, nullable=False),
    Column("a", Text, nullable=False),  # keys of samples, a before b
    Column("b", Text, nullable=False),
    Column("similarity", Float, nullable=False),
    Column("same", Boolean, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("answers_by_dataset", "dataset", "id"),
)

RULED = (decisions, decided_samples, looks, waivers, answers)  # what goes when their dataset is removed


class Store:
    """`Store("workspace").engine` is the database at `workspace/recipe.db`, made where it is missing.

    Raises, now and whenever it is used:
        Unavailable: the database cannot be read or written: a full disk, a lock, no permission.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.engine = _open(f"sqlite:///{self.folder / 'recipe.db'}")
        with self.engine.begin() as connection:
            # Not create_all(), which looks first: of two processes that open a new workspace at once, one would fail.
            for table in schema.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))


def _open(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _configure(connection, _record):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "handle_error")
    def _translate(context: ExceptionContext):
        code = getattr(context.original_exception, "sqlite_errorcode", 0)
        if code & 0xFF in OF_THE_MACHINE:  # the primary code is the lowest byte
            reason = f"{engine.url.database} cannot be used just now ({context.original_exception})"
            raise Unavailable(f"The database {reason}; put that right, and try again.")

    return engine
