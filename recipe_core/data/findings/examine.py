"""The examination: a job after each scan that looks at the pictures themselves, for damage and for near duplicates, and
at the dataset as a whole, for biases.

Under the dataset's folder:

    examined/damage.parquet      what is known of every picture's damage, by the hash of its bytes
    examined/parts/*.parquet     what was found since, a part per shard; killed, the next attempt goes on from there
    examined/pairs.parquet       near duplicates, by the hashes of their pixels
    examined/compared.parquet    which pictures were compared for them
    examined/biases.parquet      what gives labels away, in what the splits differ
    examined/examined.json       for which catalog each of the three is complete
    examine/N/log.txt            of job N

Damage and pairs are about contents, not keys: a rescan examines only what is new. Everything is written beside its
place and renamed into it. Of several examinations of one dataset the later ones find nothing left to do.
"""

import json
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recipe_core import jobs, settings
from recipe_core.data.catalog import Catalog
from recipe_core.data.decode import Unreadable, decode
from recipe_core.data.embeddings import embed
from recipe_core.data.findings import tables
from recipe_core.data.findings.integrity import BLANK
from recipe_core.data.findings.tables import BIASES, DAMAGE, PAIRS, catalog_stamp, examined, is_examined
from recipe_core.data.listing import sql_path
from recipe_core.data.parallel import ending_when_stuck, in_parallel, new_pool, survivors
from recipe_core.data.put import put
from recipe_core.data.sources import Source, open_source
from recipe_core.data.thumbnails import read_thumbnail
from recipe_core.errors import RecipeError
from recipe_core.jobs import Job, JobContext
from recipe_core.store import Store

if TYPE_CHECKING:
    from recipe_core.data.duplicates.search import Earlier

KIND = "examine"
SHARDS, SMALLEST_SHARD, LARGEST_SHARD = 256, 16, 4096
# One sample of each content whose damage is not known yet.
UNKNOWN = """SELECT byte_hash AS content, min(key) AS key
    FROM samples ANTI JOIN damage ON samples.byte_hash = damage.content WHERE readable
    GROUP BY byte_hash ORDER BY key"""
KNOWN = (
    "SELECT DISTINCT ON (damage.content) damage.* FROM damage SEMI JOIN samples ON samples.byte_hash = damage.content"
)
# Blanks are a finding of their own; any of them is like any other.
PICTURES = f"""SELECT DISTINCT ON (pixel_hash)
        pixel_hash, phash_turned, dhash_turned, width, height, aspect, brightness, contrast, saturation, sharpness,
        entropy, file_bytes, format, _shard, _offset, _length
    FROM samples WHERE readable AND _length > 0 AND NOT {BLANK} ORDER BY pixel_hash, key"""

Damage = dict | None  # a row without its content; None where the file could not be read any more


def launch(store: Store, name: str, spec: dict) -> Job | None:
    """Queue an examination of the dataset of that name, unless it is complete or one is waiting already.

    One that is running may have looked for a newer catalog for the last time: a second one then waits for its end.

    Args:
        spec: `dataset` (its folder), `source` (its location), `columns` (of a table, or None), as of a scan.
    """
    if is_examined(Path(spec["dataset"])):
        return None
    if waiting := [job for job in jobs.listing(store, KIND, name) if job.state == "queued"]:
        return waiting[0]
    folder = Path(spec["dataset"]) / KIND / "{id}"
    return jobs.launch(store, kind=KIND, subject=name, work=f"{__name__}:work", spec=spec, folder=folder)


def work(context: JobContext) -> None:
    """The job's work, followed by the embedding, a job of its own.

    Raises:
        BadSource: the source is gone.
        Stopped: the job was asked to stop.
    """
    examine(context)
    if embed.KIND in settings.AFTER_SCAN:
        embed.launch(context.store, context.job.subject, context.spec)


def examine(context: JobContext) -> None:
    """The work without what follows it."""
    dataset = Path(context.spec["dataset"])
    (dataset / "examined" / "parts").mkdir(parents=True, exist_ok=True)
    while (stamp := catalog_stamp(dataset)) is not None and not is_examined(dataset):
        for name, look in LOOKS.items():
            if examined(dataset).get(name) != stamp:
                look(context, Catalog(dataset))
                _note(dataset, examined(dataset) | {name: stamp})
    context.report(phase="finished")


def _note(dataset: Path, done: dict) -> None:
    put(dataset / "examined" / "examined.json", lambda path: path.write_text(json.dumps(done), "utf-8"))


# Damage


def _look_for_damage(context: JobContext, catalog: Catalog) -> None:
    """Bring examined/damage.parquet up to the catalog."""
    examined_folder = catalog.folder / "examined"
    source = open_source(context.spec["source"], context.spec["columns"])
    unknown = tables.ask(catalog, lambda rows: rows.sql(UNKNOWN).to_arrow_table(), pa.table({"content": [], "key": []}))
    done, gone, total = 0, 0, unknown.num_rows
    context.report(phase="examining", done=0, total=total)
    for shard, damages in _examined_shards(source, unknown, context.check):
        found = zip(shard["content"].to_pylist(), damages, strict=True)
        rows = [{"content": content} | damage for content, damage in found if damage is not None]
        context.check()
        part = pa.Table.from_pylist(rows, DAMAGE)
        put(examined_folder / "parts" / f"{shard['content'][0]}.parquet", partial(pq.write_table, part))
        done, gone = done + len(damages), gone + len(damages) - len(rows)
        context.report(phase="examining", done=done, total=total)
    if gone:
        print(f"{gone} files could not be read any more and were passed over; scan again to see which.")

    def copy(rows: duckdb.DuckDBPyConnection, path: Path) -> None:
        rows.execute(f"COPY ({KNOWN}) TO '{sql_path(path)}' (FORMAT parquet, COMPRESSION zstd)")

    context.check()
    put(examined_folder / "damage.parquet", lambda path: tables.ask(catalog, lambda rows: copy(rows, path), None))
    for part in (examined_folder / "parts").iterdir():
        part.unlink()


def _examined_shards(
    source: Source, unknown: pa.Table, check: Callable[[], None]
) -> Iterator[tuple[pa.Table, list[Damage]]]:
    """Shards (content, key), in any order, each with what was found in its files."""
    size = max(SMALLEST_SHARD, min(LARGEST_SHARD, unknown.num_rows // SHARDS))
    slices = [unknown.slice(start, size) for start in range(0, unknown.num_rows, size)]
    shards = {shard["key"][0].as_py(): shard for shard in slices}
    workers, examine = os.cpu_count() or 1, partial(examine_files, source)
    while shards:
        pool, suspects = new_pool(workers, __name__), list[str]()
        pieces = [shard["key"].to_pylist() for shard in shards.values()]
        try:
            for keys, damages in in_parallel(pool, examine, pieces, 2 * workers, check):
                yield shards.pop(keys[0]), damages
        except BrokenProcessPool:
            suspects = list(shards)[: 2 * workers]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        for shard in map(shards.pop, suspects):
            yield shard, survivors(examine, shard["key"].to_pylist(), None, __name__, check)


def examine_files(source: Source, keys: Sequence[str]) -> list[Damage]:
    """Look for damage in files, each as a row of DAMAGE without its content."""
    found: list[Damage] = []
    with ending_when_stuck(settings.FILE_SECONDS) as going_on:
        for key in keys:
            going_on()
            found.append(_examine_file(source, key))
    return found


def _examine_file(source: Source, key: str) -> Damage:
    from recipe_core.data.damage import damage_of  # compiles its decoder, which only these processes need

    try:
        damage = damage_of(source.read(key))
    except (OSError, RecipeError):
        return None
    except Exception:  # noqa: BLE001  one odd file must not end the examination; the job's log tells
        print(f"Looking for damage in {key!r} failed:")
        traceback.print_exc()
        return None
    row: dict = dict.fromkeys(("score", "message", "evidence"))
    if damage is not None:
        row = {"score": damage.score, "message": damage.message, "evidence": json.dumps(damage.evidence)}
    return row


# Near duplicates


def _look_for_pairs(context: JobContext, catalog: Catalog) -> None:
    """Bring examined/pairs.parquet up to the catalog."""

    def report(share: float) -> None:
        context.report(phase="comparing", done=round(100 * share), total=100)

    report(0.0)
    pictures = tables.ask(catalog, lambda rows: rows.sql(PICTURES).to_arrow_table(), pa.table({"pixel_hash": []}))
    pairs = PAIRS.empty_table()
    if pictures.num_rows > 1:
        from recipe_core.data.duplicates.search import near_duplicates  # imports torch

        pool = new_pool(os.cpu_count() or 1, __name__)
        try:
            thumbnails = Thumbnails.of(catalog.folder / "thumbnails", pictures)
            earlier = _earlier(catalog.folder / "examined")
            found = near_duplicates(pictures, thumbnails, context.check, report, earlier, pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        # By content from here on: the numbers of rows are of this catalog only.
        found = found.drop_columns(["a", "b"]).rename_columns({"pixels_a": "a", "pixels_b": "b"})
        pairs = found.select(PAIRS.names).cast(PAIRS)
    context.check()
    put(catalog.folder / "examined" / "pairs.parquet", partial(pq.write_table, pairs))
    # After the pairs: what is killed in between compares again.
    compared = pictures.select(["pixel_hash"])
    put(catalog.folder / "examined" / "compared.parquet", partial(pq.write_table, compared))


def _earlier(folder: Path) -> "Earlier | None":
    """What an earlier examination compared, in the words of the search."""
    from recipe_core.data.duplicates.search import RESULT, Earlier

    if not (folder / "compared.parquet").exists():
        return None
    pairs = pq.read_table(folder / "pairs.parquet").rename_columns({"a": "pixels_a", "b": "pixels_b"})
    numbers = pa.array([0] * pairs.num_rows)  # of rows then
    pairs = pairs.append_column("a", numbers).append_column("b", numbers).select(RESULT.names).cast(RESULT)
    hashes = pq.read_table(folder / "compared.parquet")["pixel_hash"].to_pylist()
    return Earlier(frozenset(hashes), pairs)


# Biases


def _look_for_biases(context: JobContext, catalog: Catalog) -> None:
    """Make examined/biases.parquet for the catalog, anew: all of it concerns the dataset as a whole."""
    from recipe_core.data.biases.report import find_biases  # imports scipy

    context.report(phase="looking for biases")
    nothing: list[dict] = []
    found = tables.ask(catalog, lambda rows: find_biases(rows, context.check), nothing)
    context.check()
    table = pa.Table.from_pylist(found, BIASES)
    put(catalog.folder / "examined" / "biases.parquet", partial(pq.write_table, table))


# The quick ones first: what they find shows while the others still look.
LOOKS = {"biases": _look_for_biases, "damage": _look_for_damage, "pairs": _look_for_pairs}


@dataclass(frozen=True)
class Thumbnails:
    """Row number -> the thumbnail of that row, uint8 (height, width, 3); None where it is gone."""

    folder: Path
    shards: np.ndarray
    names: tuple[str, ...]  # of the shards, by number
    offsets: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, folder: Path, rows: pa.Table) -> "Thumbnails":
        shards = rows["_shard"].combine_chunks().dictionary_encode()
        offsets, lengths = (rows[name].to_numpy() for name in ("_offset", "_length"))
        return cls(folder, shards.indices.to_numpy(), tuple(shards.dictionary.to_pylist()), offsets, lengths)

    def __call__(self, row: int) -> np.ndarray | None:
        place = (self.names[self.shards[row]], int(self.offsets[row]), int(self.lengths[row]))
        try:
            return decode(read_thumbnail(self.folder, *place)).pixels
        except (OSError, Unreadable):
            return None
