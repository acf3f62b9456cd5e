"""The scan: a job that measures every new or changed sample of a source and writes the catalog.

Under the dataset's folder, for job number N:

    scan/N/listing.parquet    all samples with what was given      (listing.py)
    scan/N/todo.parquet       those to be measured, a row group per shard
    scan/N/parts/I.parquet    the measured rows of shard I; a shard that has one is done
    thumbnails/N-I-*.bin      its thumbnails, under a name of their own at each attempt
    catalog/catalog.parquet   the outcome, replaced as a whole at the end

All files are written beside their place and renamed into it, so a killed scan goes on with the shards that are missing.
"""

import functools
import json
import os
import random
import shutil
import time
from collections import deque
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from recipe_core import settings
from recipe_core.data import shards
from recipe_core.data.catalog import quoted
from recipe_core.data.findings import examine
from recipe_core.data.listing import choose_what_to_measure, list_samples, sql_path
from recipe_core.data.parallel import in_parallel, new_pool
from recipe_core.data.sources import Source, open_source
from recipe_core.jobs import JobContext

PRELOAD = (shards.__name__, "recipe_core.data.appearance")  # by the processes that measure; the latter is compiled


def work(context: JobContext) -> None:
    """The job's work, followed by the examination, a job of its own.

    Its spec: `dataset` (its folder), `source` (its location), `columns` (of a table, or None).

    Raises:
        BadSource: the source cannot be read any more.
        Stopped: the job was asked to stop; what is measured stays.
    """
    scan(context)
    if examine.KIND in settings.AFTER_SCAN:
        examine.launch(context.store, context.job.subject, context.spec)


def scan(context: JobContext) -> None:
    """The work without what follows it."""
    _scan(context, str(context.job.id))
    if context.job.attempt > 1:  # its listing is from before it was interrupted: look once more for what changed since
        _scan(context, f"{context.job.id}-again")


def _scan(context: JobContext, name: str) -> None:
    dataset = Path(context.spec["dataset"])
    folder = dataset / "scan" / name
    for made in (folder / "parts", dataset / "thumbnails", dataset / "catalog"):
        made.mkdir(parents=True, exist_ok=True)
    context.report(phase="listing")
    source = open_source(context.spec["source"], context.spec["columns"])
    list_samples(source, folder)
    context.check()
    old = _known(dataset / "catalog" / "catalog.parquet")
    count = choose_what_to_measure(folder, old)
    _measure_shards(context, source, folder, dataset / "thumbnails", count)
    context.report(phase="finishing", **_counts(folder))
    _finish(context, dataset, folder, old)


def _known(catalog: Path) -> Path | None:
    """The catalog of an earlier scan, unless it was measured by another version of the facts."""
    return catalog if catalog.exists() and set(shards.MEASURED.names) <= set(pq.read_schema(catalog).names) else None


# Measuring


def _measure_shards(context: JobContext, source: Source, folder: Path, thumbnails: Path, count: int) -> None:
    done = {int(path.stem) for path in (folder / "parts").glob("*.parquet")}
    # In random order, so that what can be browsed early is of all classes.
    order = [shard for shard in random.Random(0).sample(range(count), count) if shard not in done]
    progress = _Progress(context, folder)
    crashed: list[int] = []
    while order:
        pool, at_once = new_pool(os.cpu_count() or 1, *PRELOAD), 2 * (os.cpu_count() or 1)
        try:
            measure_one = functools.partial(shards.measure_shard, source, folder, thumbnails)
            for shard, _ in in_parallel(pool, measure_one, order, at_once, context.check):
                progress.add(pq.read_metadata(folder / "parts" / f"{shard}.parquet").num_rows)
        except BrokenProcessPool:
            order = [shard for shard in order if not (folder / "parts" / f"{shard}.parquet").exists()]
            crashed, order = order[:at_once], order[at_once:]
        else:
            order = []
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        while crashed:
            shard = crashed.pop()
            shards.measure_carefully(source, folder, thumbnails, shard, context.check)
            progress.add(pq.read_metadata(folder / "parts" / f"{shard}.parquet").num_rows)


# Saying how far it is


class _Progress:
    """Reports samples done of all, images/s of the last seconds, and seconds left at that pace."""

    WINDOW = 10.0  # s

    def __init__(self, context: JobContext, folder: Path):
        self.context = context
        self.counts = _counts(folder)
        self.times: deque[tuple[float, int]] = deque([(time.monotonic(), self.counts["done"])])
        self.add(0)

    def add(self, samples: int) -> None:
        now = time.monotonic()
        self.counts["done"] += samples
        self.times.append((now, self.counts["done"]))
        while len(self.times) > 2 and now - self.times[1][0] > self.WINDOW:
            self.times.popleft()
        start, before = self.times[0]
        seconds = now - start
        pace = (self.counts["done"] - before) / seconds if seconds > 0.2 else 0.0
        left = (self.counts["to_measure"] - self.counts["done"]) / pace if pace else None
        self.context.report(phase="measuring", **self.counts, images_per_second=round(pace, 1), seconds_left=left)


def _counts(folder: Path) -> dict:
    """samples: in the source; to_measure: new or changed; done: measured so far."""
    parts = (folder / "parts").glob("*.parquet")
    return {
        "samples": pq.read_metadata(folder / "listing.parquet").num_rows,
        "to_measure": pq.read_metadata(folder / "todo.parquet").num_rows,
        "done": sum(pq.read_metadata(part).num_rows for part in parts),
    }


# Finishing


def _finish(context: JobContext, dataset: Path, folder: Path, old: Path | None) -> None:
    """Join what was given with what was measured, now or before, into the new catalog; then clear the rest away."""
    catalog = dataset / "catalog" / "catalog.parquet"
    counts = _counts(folder)
    if counts["to_measure"] or old is None or not _same_given(old, folder):
        partial = folder / "catalog.partial.parquet"
        _join(folder, old, partial)
        context.check()
        partial.rename(catalog)
        _forget_thumbnails(dataset / "thumbnails", catalog)
    if (problems := folder / "problems.json").exists():  # else this is a resumed scan that was killed below this line
        problems.replace(dataset / "problems.json")
    context.report(phase="finished", **counts)
    for old in (dataset / "scan").iterdir():
        if old.is_dir():
            shutil.rmtree(old)


def _join(folder: Path, old: Path | None, target: Path) -> None:
    columns = ", ".join(quoted(name) for name in ("key", "_token", *shards.MEASURED.names))
    sources = []
    if any((folder / "parts").glob("*.parquet")):
        sources.append(f"SELECT {columns} FROM read_parquet('{sql_path(folder)}/parts/*.parquet', union_by_name=true)")
    if old:
        fresh = f"SELECT key FROM '{sql_path(folder)}/todo.parquet'"
        sources.append(f"SELECT {columns} FROM '{sql_path(old)}' WHERE key NOT IN ({fresh})")
    given = f"SELECT * FROM '{sql_path(folder)}/listing.parquet'"
    facts = " UNION ALL ".join(sources)
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{settings.QUERY_MEMORY}'")
        connection.execute(f"SET temp_directory = '{sql_path(folder)}/tmp'")
        joined = f"""
            WITH facts AS NOT MATERIALIZED ({facts}),
                 copies AS (SELECT byte_hash, count(*) AS copies FROM facts GROUP BY byte_hash)
            SELECT given.*, facts.* EXCLUDE (key, _token), copies.copies
            FROM ({given}) AS given JOIN facts USING (key, _token) LEFT JOIN copies USING (byte_hash)
            ORDER BY key"""
        # A page's few rows are then decoded out of small row groups: half the time of the usual 122,880 rows.
        form = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"
        connection.execute(f"COPY ({joined}) TO '{sql_path(target)}' ({form})")


def _same_given(catalog: Path, folder: Path) -> bool:
    """Whether the listing gives what the catalog holds already: same samples, labels, splits and metadata."""
    listing = folder / "listing.parquet"
    names = pq.read_schema(listing).names
    if [name for name in pq.read_schema(catalog).names if name not in (*shards.MEASURED.names, "copies")] != names:
        return False
    if pq.read_metadata(catalog).num_rows != pq.read_metadata(listing).num_rows:
        return False
    given = ", ".join(quoted(name) for name in names)
    with duckdb.connect() as connection:
        changed = f"SELECT {given} FROM '{sql_path(listing)}' EXCEPT SELECT {given} FROM '{sql_path(catalog)}'"
        return not connection.execute(f"SELECT 1 FROM ({changed}) LIMIT 1").fetchall()


def _forget_thumbnails(folder: Path, catalog: Path) -> None:
    """Delete the shards of thumbnails that no row of the catalog points to."""
    with duckdb.connect() as connection:
        used = {
            shard for (shard,) in connection.execute(f"SELECT DISTINCT _shard FROM '{sql_path(catalog)}'").fetchall()
        }
    for path in folder.glob("*.bin"):
        if path.stem not in used:
            path.unlink()


def read_problems(dataset: Path) -> list[str]:
    """What the last scan found wrong with the source itself, one sentence each."""
    path = dataset / "problems.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
