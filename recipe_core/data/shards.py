"""The shards of a scan: what a process of its pool measures and writes as one.

The pool's processes import this file instead of the whole scan: they start in half the time, and take less memory.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recipe_core import settings
from recipe_core.data.facts import FACTS
from recipe_core.data.measure import Measured, measure
from recipe_core.data.parallel import ending_when_stuck, survivors
from recipe_core.data.put import put
from recipe_core.data.sources import Source

PLACE = (("_shard", pa.string()), ("_offset", pa.int64()), ("_length", pa.int32()))  # of the thumbnail
MEASURED = pa.schema([*((fact.name, fact.type) for fact in FACTS), *PLACE])
CRASHED = {
    "readable": False,
    "error_kind": "broken",
    "error": "Reading this file crashed the decoder, or took it longer than "
    f"{settings.FILE_SECONDS:.0f} s; convert or remove it.",
}


def measure_shard(source: Source, folder: Path, thumbnails: Path, shard: int) -> None:
    """Measure one shard of the scan in `folder` and write its part and its thumbnails."""
    given = _given(folder, shard)
    _write_part(folder, thumbnails, shard, given, _measure(source, given["key"].to_pylist()))


def measure_carefully(source: Source, folder: Path, thumbnails: Path, shard: int, check: Callable[[], None]) -> None:
    """Measure a shard that may hold a file which kills or hangs the process that reads it; its row says so."""
    given = _given(folder, shard)
    keys, killed = given["key"].to_pylist(), Measured(dict(CRASHED))
    measured = survivors(partial(_measure, source), keys, killed, __name__, check)
    _write_part(folder, thumbnails, shard, given, measured)


def _measure(source: Source, keys: Sequence[str]) -> list[Measured]:
    with ending_when_stuck(settings.FILE_SECONDS) as going_on:

        def read(key: str) -> bytes:
            going_on()
            return source.read(key)

        return measure(keys, read)


def _given(folder: Path, shard: int) -> pa.Table:
    return pq.ParquetFile(folder / "todo.parquet").read_row_group(shard)


def _write_part(folder: Path, thumbnails: Path, shard: int, given: pa.Table, measured: Sequence[Measured]) -> None:
    # A name that was never used before: a job may be resumed when an earlier attempt is in the catalog already.
    name, offset, rows = f"{folder.name}-{shard}-{os.urandom(4).hex()}", 0, []
    for sample in measured:
        length = len(sample.thumbnail)
        rows.append(sample.facts | ({"_shard": name, "_offset": offset, "_length": length} if length else {}))
        offset += length
    encoded = b"".join(sample.thumbnail for sample in measured)
    put(thumbnails / f"{name}.bin", lambda path: path.write_bytes(encoded))
    table = pa.Table.from_pylist(rows, MEASURED)
    for position, column in enumerate(given.column_names):
        table = table.add_column(position, given.schema.field(column), given[column])
    put(folder / "parts" / f"{shard}.parquet", lambda path: pq.write_table(table, path))
