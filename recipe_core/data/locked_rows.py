"""The rows of a catalog as DuckDB sees them, with what was decided on each beside what the scan measured.

DuckDB is locked to one dataset's folder: it opens no other file, loads nothing, and its settings cannot be changed.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa
from duckdb import DuckDBPyConnection, DuckDBPyRelation

from recipe_core import settings
from recipe_core.data.condition import first_line
from recipe_core.data.facts import ABOUT, DECIDED
from recipe_core.data.selection import EVERYTHING, Selection
from recipe_core.errors import BadQuery

Answer = TypeVar("Answer")
NOTHING_DECIDED = ", ".join(f"CAST(NULL AS VARCHAR) AS {fact.name}" for fact in DECIDED)


class LockedRows:
    """The Parquet files of one catalog, whichever they are at the time of a question; any thread may ask.

    `decided`, where given, tells the columns that the decisions add: a table with a row per decided sample (key and the
    columns of facts.DECIDED), or None where nothing is decided.
    """

    def __init__(self, folder: Path, decided: Callable[[], pa.Table | None] | None = None):
        self.folder = folder
        self._decided = decided
        self._lock = threading.Lock()
        self._connection: DuckDBPyConnection | None = None

    @property
    def finished(self) -> Path:
        """Where the catalog of a finished scan stands."""
        return self.folder / "catalog" / "catalog.parquet"

    @property
    def files(self) -> list[str]:
        """The Parquet files that make up the catalog now."""
        if self.finished.exists():
            return [str(self.finished)]
        return sorted(str(path) for path in (self.folder / "scan").glob("*/parts/*.parquet"))

    def ask(
        self, question: Callable[[DuckDBPyRelation], Answer], nothing: Answer, selection: Selection = EVERYTHING
    ) -> Answer:
        """Answer a question about the selected rows, or give `nothing` where there is no catalog yet."""

        def answer(files: list[str]) -> Answer:
            with self.selected(files, selection, settings.QUERY_SECONDS) as rows:
                return question(rows)

        return self._answered(answer, nothing)

    def compare(self, given: pa.Table, sql: str) -> pa.Table | None:
        """What SQL of our own says of `given`, a table, beside `samples` (key, content, of every sample).

        `content` is the hash of the file's bytes, '' where there are none. None where there is no catalog yet.
        """

        def answer(files: list[str]) -> pa.Table:
            with self._cursor(settings.QUERY_SECONDS) as cursor:
                cursor.register("given", given)
                samples = cursor.read_parquet(files, union_by_name=True)
                answered = samples.project("key, coalesce(byte_hash, '') AS content").query("samples", sql)
                assert answered is not None  # as it is of a SELECT
                return answered.to_arrow_table()

        return self._answered(answer, None)

    @contextmanager
    def selected(self, files: list[str], selection: Selection, seconds: float) -> Iterator[DuckDBPyRelation]:
        """The selected rows, for at most so many seconds. Raises BadQuery."""
        with self._cursor(seconds) as cursor:
            try:
                rows = self._with_decisions(cursor, cursor.read_parquet(files, union_by_name=True))
                types = types_of(rows)
                # Free text looks into what was given, not into what was measured.
                texts = [name for name in types if name not in ABOUT and not name.startswith("_")]
                for expression in selection.expressions(types, texts):
                    rows = rows.filter(expression)
                yield rows
            except (duckdb.IOException, duckdb.InterruptException):
                raise
            except duckdb.Error as problem:
                if not selection.where.strip():
                    raise
                raise BadQuery(f"The condition cannot be used: {first_line(problem)}.") from problem

    def _with_decisions(self, cursor: DuckDBPyConnection, rows: DuckDBPyRelation) -> DuckDBPyRelation:
        if self._decided is None:
            return rows
        # A catalog that was scanned before there were decisions may have a column of metadata with such a name.
        ours = {fact.name for fact in DECIDED}
        given = [f"{quoted(name)} AS {quoted(f'meta_{name}')}" for name in rows.columns if name.casefold() in ours]
        if given:
            others = [quoted(name) for name in rows.columns if name.casefold() not in ours]
            rows = rows.project(", ".join([*others, *given]))
        if (decided := self._decided()) is None:
            return rows.project(f"*, {NOTHING_DECIDED}")
        return rows.join(cursor.from_arrow(decided), "key", how="left")

    def _answered(self, answer: Callable[[list[str]], Answer], nothing: Answer) -> Answer:
        while files := self.files:
            try:
                return answer(files)
            except duckdb.IOException:
                if self.files == files:  # else the scan has just replaced its parts by the finished catalog
                    raise
        return nothing

    @contextmanager
    def _cursor(self, seconds: float) -> Iterator[DuckDBPyConnection]:
        with self._lock:
            if self._connection is None:
                self._connection = _locked_connection(self.folder)
            cursor = self._connection.cursor()
        done = threading.Event()
        watch = threading.Thread(target=_interrupt_after, args=(seconds, cursor, done), daemon=True)
        watch.start()
        try:
            yield cursor
        except duckdb.InterruptException as problem:
            raise BadQuery(f"The query was stopped after {seconds:.0f} s; make the condition simpler.") from problem
        finally:
            done.set()
            watch.join()
            with suppress(duckdb.Error):
                cursor.close()


def quoted(name: str) -> str:
    """A column's name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def types_of(rows: DuckDBPyRelation) -> dict[str, str]:
    """Column -> DuckDB type."""
    return dict(zip(rows.columns, map(str, rows.types), strict=True))


def _interrupt_after(seconds: float, cursor: DuckDBPyConnection, done: threading.Event) -> None:
    """Interrupt what the cursor does once its time is over, again and again: between two statements it goes unheard."""
    if not done.wait(seconds):
        while not done.wait(0.05):
            with suppress(duckdb.Error):
                cursor.interrupt()


def _locked_connection(folder: Path) -> DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"SET memory_limit = '{settings.QUERY_MEMORY}'")
    spill = folder / "tmp"
    spill.mkdir(parents=True, exist_ok=True)
    connection.execute(f"SET temp_directory = {_literal(str(spill))}")
    readable = ", ".join(_literal(f"{folder / part}/") for part in ("catalog", "scan"))
    connection.execute(f"SET allowed_directories = [{readable}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
