"""The metrics of runs in the store: written in batches, read as tables, thinned on the server for charts.

    with MetricWriter(store, run=7) as writer:
        writer.record(0, {"train_loss": 2.3})
    read_metrics(store, run=7, max_points=1000)       # one row per step, one column per metric

A row of the store holds many points of one metric as two arrays, so that a million points are read in a fraction of a
second. A step that was written twice, as after a resume, counts as it was written last.
"""

import time
from collections import defaultdict
from collections.abc import Collection

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Connection, delete, insert, select

from recipe_core.errors import Replaced
from recipe_core.store import Store, jobs
from recipe_core.store import metrics as table

FLUSH_SECONDS = 0.5  # what is at most lost when the process is killed


class MetricWriter:
    """Buffers the points of one run and writes them twice a second, when the next point comes, and at the end.

    Args:
        allowed: a condition on the table of jobs, as `jobs.current`, without which nothing is written.
    """

    def __init__(self, store: Store, run: int, allowed: ColumnElement[bool] | None = None):
        self.store = store
        self.run = run
        self.allowed = allowed
        self._points: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self._written = time.monotonic()

    def record(self, step: int, values: dict[str, float]) -> None:
        """Keep the values of one step."""
        for name, value in values.items():
            self._points[name].append((step, value))
        if time.monotonic() - self._written > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered, in one transaction.

        Raises:
            Replaced: it is not allowed any more; nothing was written.
        """
        rows = [_row(self.run, name, points) for name, points in self._points.items()]
        if rows:
            with self.store.engine.begin() as connection:
                connection.execute(insert(table), rows)  # before the look at the job: from here on it cannot change
                self._require_allowed(connection)
            self._points.clear()
        self._written = time.monotonic()

    def _require_allowed(self, connection: Connection) -> None:
        if self.allowed is not None and connection.execute(select(jobs.c.id).where(self.allowed)).first() is None:
            raise Replaced(f"Run {self.run} was given up or replaced.")

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        self.flush()


def read_metrics(
    store: Store,
    run: int,
    names: Collection[str] | None = None,
    max_points: int | None = None,
    steps: tuple[int, int] | None = None,
) -> pd.DataFrame:
    """The metrics of a run.

    Args:
        names: of the metrics wanted; by default all.
        max_points: at most so many points per metric, each the mean of its neighbours.
        steps: first and last wanted; by default all.

    Returns:
        One column per metric, one row per step in ascending order; NaN where a metric was not measured.
    """
    query = select(table.c.name, table.c.steps, table.c.measured).where(table.c.run == run).order_by(table.c.id)
    if names is not None:
        query = query.where(table.c.name.in_(list(names)))
    pieces: dict[str, list[tuple[bytes, bytes]]] = defaultdict(list)
    with store.engine.connect() as connection:
        for name, at, values in connection.execute(query):
            pieces[name].append((at, values))
    wanted = slice(*steps) if steps else slice(None)
    series = {name: _thinned(_series(parts).loc[wanted], max_points) for name, parts in pieces.items()}
    return pd.DataFrame(series).rename_axis("step").sort_index()


def newest_point(store: Store, run: int) -> int:
    """A number that grows with every batch of points that was written; 0 before the first."""
    query = select(table.c.id).where(table.c.run == run).order_by(table.c.id.desc()).limit(1)
    with store.engine.connect() as connection:
        return connection.execute(query).scalar() or 0


def delete_metrics(store: Store, run: int) -> None:
    """Forget all points of a run."""
    with store.engine.begin() as connection:
        connection.execute(delete(table).where(table.c.run == run))


def _row(run: int, name: str, points: list[tuple[int, float]]) -> dict:
    steps, values = zip(*points, strict=True)
    return {
        "run": run,
        "name": name,
        "steps": np.array(steps, np.int64).tobytes(),
        "measured": np.array(values, np.float64).tobytes(),
    }


def _series(parts: list[tuple[bytes, bytes]]) -> pd.Series:
    steps = np.frombuffer(b"".join(steps for steps, _ in parts), np.int64)
    values = np.frombuffer(b"".join(values for _, values in parts), np.float64)
    # Of equal steps the last one written: the first of the reversed arrays.
    unique, first = np.unique(steps[::-1], return_index=True)
    return pd.Series(values[::-1][first], index=unique)


def _thinned(series: pd.Series, max_points: int | None) -> pd.Series:
    if max_points is None or len(series) <= max_points:
        return series
    starts = np.linspace(0, len(series), max_points, endpoint=False).astype(int)
    sizes = np.diff(np.append(starts, len(series)))
    means = np.add.reduceat(series.to_numpy(), starts) / sizes
    return pd.Series(means, index=series.index.to_numpy()[starts])
