"""The embedding: a job after each examination that turns every picture into a vector, and then analyses the vectors.

Of a large dataset a sample of all labels and splits comes first, and is analysed, so that something is seen within
minutes; then the rest, and all is analysed again. Under the dataset's folder:

    embeddings/segments/*      the vectors so far; killed, the next attempt goes on from there    (segments.py)
    embeddings/*.parquet       what the analyses found                                            (analyses.py)
    embeddings/*.json          which backbone it is, and what is complete                         (state.py)
    embed/N/log.txt            of job N

All of it is about contents, not keys: a rescan embeds only what is new. The pixels come from the thumbnails, so that it
needs no source any more. Of several embeddings of one dataset the later ones find nothing left to do.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from recipe_core import jobs
from recipe_core.data.catalog import Catalog
from recipe_core.data.decode import Unreadable, decode
from recipe_core.data.embeddings import Embeddings, segments, state
from recipe_core.data.embeddings.analyses import ANALYSES, Analysis
from recipe_core.data.findings import tables
from recipe_core.data.findings.integrity import BLANK
from recipe_core.data.parallel import in_parallel, new_pool
from recipe_core.data.thumbnails import read_thumbnail
from recipe_core.jobs import Job, JobContext
from recipe_core.store import Store

KIND = "embed"
SAMPLE = 8_000  # pictures that are analysed before the rest is embedded
PIECE = 32  # pictures that a process embeds at once
SEGMENT_SECONDS = 5.0  # what is lost at most of a process's work when it is killed
MOST_SEGMENTS = 16  # after the end
MOST_PROCESSES = 16  # each takes some 100 MB
MODULE = "recipe_core.data.embeddings.backbone"  # that the processes share

# One row per content, those without a vector; of all labels and splits alike, then the rest of the larger ones.
UNKNOWN = f"""WITH pictures AS (
        SELECT DISTINCT ON (byte_hash) byte_hash AS content, label, split, _shard, _offset, _length
        FROM samples WHERE readable AND _length > 0 AND NOT {BLANK} ORDER BY byte_hash, key),
    ordered AS (SELECT *, row_number() OVER (PARTITION BY label, split ORDER BY content) AS turn FROM pictures)
    SELECT content, _shard, _offset, _length FROM ordered ANTI JOIN known USING (content) ORDER BY turn, content"""
PLACE = ("_shard", "_offset", "_length")


def launch(store: Store, name: str, spec: dict) -> Job | None:
    """Queue an embedding of the dataset of that name, unless it is complete or one is waiting already.

    Args:
        spec: `dataset` (its folder), as of a scan.
    """
    if is_embedded(Path(spec["dataset"])):
        return None
    if queued := [job for job in jobs.listing(store, KIND, name) if job.state == "queued"]:
        return queued[0]
    folder = Path(spec["dataset"]) / KIND / "{id}"
    return jobs.launch(store, kind=KIND, subject=name, work=f"{__name__}:work", spec=spec, folder=folder)


def is_embedded(dataset: Path) -> bool:
    """Whether the embedding of the finished catalog is complete; true of what no scan has finished."""
    catalog = tables.catalog_stamp(dataset)
    return catalog is None or not state.waiting(dataset, catalog)


def work(context: JobContext) -> None:
    """The job's work. Raises BadModel, where a user's backbone cannot be used, and Stopped."""
    dataset = Path(context.spec["dataset"])
    while not is_embedded(dataset):
        stamp = state.stamp(dataset, tables.catalog_stamp(dataset))
        assert stamp is not None  # else nothing would be waiting
        _Pass(context, Catalog(dataset), stamp).run()
    context.report(phase="finished")


@dataclass
class _Pass:
    """One go at a catalog and backbone; both may change meanwhile, then another follows."""

    context: JobContext
    catalog: Catalog
    stamp: str

    def run(self) -> None:
        self.backbone = state.backbone_name(self.catalog.folder)
        known = segments.known(self.catalog.folder, self.backbone)[1]
        unknown = self._unknown(known)
        self.total, self.done = known.num_rows + unknown.num_rows, known.num_rows
        # Small datasets are not worth the start of many processes.
        wanted = max(1, -(-unknown.num_rows // (4 * PIECE)))
        processes = min(os.cpu_count() or 1, MOST_PROCESSES, wanted)
        pool = new_pool(processes, MODULE)
        try:
            first = max(0, SAMPLE - known.num_rows)
            if not self._anything_analysed() and unknown.num_rows > first + SAMPLE // 2:
                self._embed(pool, processes, unknown.slice(0, first))
                self._analyse(pool, f"a sample of {self.stamp}")
                unknown = unknown.slice(first)
            self._embed(pool, processes, unknown)
            self._tidy()
            state.note_vectors(self.catalog.folder, self.stamp)
            self._analyse(pool, self.stamp)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _unknown(self, known: pa.Table) -> pa.Table:
        def answer(rows: duckdb.DuckDBPyConnection) -> pa.Table:
            rows.register("known", known)
            return rows.sql(UNKNOWN).to_arrow_table()

        return tables.ask(self.catalog, answer, pa.table({"content": []}))

    def _anything_analysed(self) -> bool:
        known = (each.about(self.catalog.folder).get("stamp", "") for each in ANALYSES)
        return any(stamp.endswith(f" by {self.backbone}") for stamp in known)

    # Embedding

    def _embed(self, pool: Executor, processes: int, unknown: pa.Table) -> None:
        """Add the vectors of these pictures, in their order, a block at a time, so that memory stays bounded."""
        embed = partial(embed_pictures, self.catalog.folder, state.own_backbone(self.catalog.folder))
        pace, gone = _Pace(self.done), 0
        self._report(pace)
        for start in range(0, unknown.num_rows, SAMPLE):
            rows = unknown.slice(start, SAMPLE)
            contents, places = (
                rows["content"].to_pylist(),
                list(zip(*(rows[name].to_pylist() for name in PLACE), strict=True)),
            )
            pieces = [(first, places[first : first + PIECE]) for first in range(0, len(places), PIECE)]
            segment = _Segment(self.catalog.folder, self.backbone, self.context.check)
            for (first, piece), (read, vectors) in in_parallel(pool, embed, pieces, 2 * processes, self.context.check):
                segment.add([contents[first + number] for number in read], vectors)
                self.done, gone = self.done + len(piece), gone + len(piece) - len(read)
                self._report(pace)
            segment.write()
        if gone:
            print(f"{gone} pictures were passed over: their thumbnails are gone, as after a rescan, or unreadable.")

    def _report(self, pace: "_Pace") -> None:
        self.context.report(phase="embedding", done=self.done, total=self.total, **pace.now(self.done, self.total))

    def _tidy(self) -> None:
        """Few segments, of contents that are still there; when they are many already."""
        contents = "SELECT DISTINCT byte_hash AS content FROM samples WHERE readable"
        wanted = tables.ask(self.catalog, lambda rows: rows.sql(contents).to_arrow_table(), pa.table({"content": []}))
        self.context.check()
        segments.merge(self.catalog.folder, self.backbone, wanted, MOST_SEGMENTS)

    # Analysing

    def _analyse(self, pool: Executor, stamp: str) -> None:
        """Run the analyses that are not there for this stamp, one after the other."""
        pending = [each for each in ANALYSES if each.about(self.catalog.folder).get("stamp") != stamp]
        for number, analysis in enumerate(pending):
            self.context.report(phase="analysing", done=number, total=len(pending))
            analyse_one = partial(analyse, self.catalog.folder)
            ((_, (table, pictures)),) = in_parallel(pool, analyse_one, [analysis], 1, self.context.check)
            self.context.check()
            about = {"stamp": stamp, "pictures": pictures, "total": self.total}
            analysis.write(analysis.path(self.catalog.folder), table, about)


@dataclass
class _Segment:
    """Gathers vectors and writes them every few seconds."""

    dataset: Path
    backbone: str
    check: Callable[[], None]

    def __post_init__(self) -> None:
        self.contents: list[str] = []
        self.vectors: list[np.ndarray] = []
        self.written = time.monotonic()

    def add(self, contents: list[str], vectors: np.ndarray) -> None:
        self.contents += contents
        self.vectors += [vectors]
        if time.monotonic() - self.written > SEGMENT_SECONDS:
            self.write()

    def write(self) -> None:
        if self.contents:
            self.check()
            segments.write_segment(self.dataset, self.backbone, self.contents, np.concatenate(self.vectors))
        self.contents, self.vectors, self.written = [], [], time.monotonic()


class _Pace:
    """Images per second over the last half minute, and the seconds left at that."""

    SECONDS = 30.0

    def __init__(self, done: int):
        self.times = deque([(time.monotonic(), done)])

    def now(self, done: int, total: int) -> dict:
        moment = time.monotonic()
        self.times.append((moment, done))
        while moment - self.times[0][0] > self.SECONDS:
            self.times.popleft()
        start, before = self.times[0]
        if done == before or moment - start < 1:
            return {}
        pace = (done - before) / (moment - start)
        return {"images_per_second": round(pace, 1), "seconds_left": (total - done) / pace}


# In the processes of the pool


def embed_pictures(dataset: Path, file: Path | None, piece: tuple[int, list[tuple]]) -> tuple[list[int], np.ndarray]:
    """The numbers of the piece's pictures that could be read, and their vectors: float16 (n, dims)."""
    backbone = _backbone(file)
    read, pictures = [], []
    for number, place in enumerate(piece[1]):
        try:
            pictures.append(decode(read_thumbnail(dataset / "thumbnails", *place)).pixels)
        except (OSError, Unreadable):
            continue
        read.append(number)
    return read, backbone.embed(pictures) if pictures else np.empty((0, backbone.dims), np.float16)


def analyse(dataset: Path, analysis: Analysis) -> tuple[pa.Table, int]:
    """What the analysis finds in the embeddings that are there, and of how many pictures."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    embedded = Embeddings.of(Catalog(dataset))
    return analysis.run(embedded), len(embedded)


_loaded: dict = {}  # the backbone of this process


def _backbone(file: Path | None):
    from recipe_core.data.embeddings.backbone import load_backbone  # imports torch, which only these processes need

    if file not in _loaded:
        import torch

        _loaded[file] = load_backbone(file)
    if _loaded[file].device == "cpu":
        import torch

        torch.set_num_threads(1)  # the pool has a process per core
    return _loaded[file]
