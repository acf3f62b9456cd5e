"""The listing of a scan: every sample of the source with what was given, and which of them must be measured.

`listing.parquet` has the columns key, label, split, `_token` and the metadata, typed by their values;
`todo.parquet` has the rows whose sample is new or changed, one row group per shard.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from recipe_core import settings
from recipe_core.data.catalog import quoted
from recipe_core.data.facts import ABOUT
from recipe_core.data.sources import Entry, Problems, Source
from recipe_core.errors import BadSource

GIVEN = ("key", "label", "split", "_token")
BATCH = 20_000
WHOLE_NUMBER = "^-?(0|[1-9][0-9]{0,17})$"
NUMBER = "^(?i)(nan|[-+]?inf|[-+]?(0|[1-9][0-9]*|0?[.][0-9]+|(0|[1-9][0-9]*)[.][0-9]*)(e[-+]?[0-9]+)?)$"

NAN = "CAST('nan' AS DOUBLE)"


def list_samples(source: Source, folder: Path) -> None:
    """Write `listing.parquet` and `problems.json` into `folder`; what stands there is kept.

    Raises:
        BadSource: the source as a whole cannot be read, or has no samples.
    """
    if (folder / "listing.parquet").exists():
        return
    problems, raw = Problems(), folder / "listing.raw.parquet"
    names = _write_raw(source.entries(problems), raw)
    if pq.read_metadata(raw).num_rows == 0:
        raise BadSource(f"The source has no usable sample; {problems[0] if problems else 'it is empty.'}")
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{settings.QUERY_MEMORY}'")
        connection.execute(f"SET temp_directory = '{sql_path(folder / 'tmp')}'")
        given = ", ".join(quoted(name) for name in GIVEN)
        typed = "".join(f", {_typed(connection, raw, name)}" for name in names.values())
        partial = folder / "listing.partial.parquet"
        connection.execute(
            f"COPY (SELECT {given}{typed} FROM '{sql_path(raw)}') TO '{sql_path(partial)}' (FORMAT parquet)"
        )
    (folder / "problems.json").write_text(json.dumps(problems.sentences()), encoding="utf-8")
    partial.rename(folder / "listing.parquet")
    raw.unlink()


def choose_what_to_measure(folder: Path, catalog: Path | None) -> int:
    """Write `todo.parquet`: the samples that the catalog (None: there is none) does not hold with the same token.

    Returns:
        The number of shards.
    """
    todo = folder / "todo.parquet"
    if not todo.exists():
        new = f"SELECT * FROM '{sql_path(folder / 'listing.parquet')}' AS new"
        if catalog:
            same = "old.key = new.key AND old._token = new._token AND old._token != ''"
            new += f" WHERE NOT EXISTS (FROM '{sql_path(catalog)}' AS old WHERE {same})"
        with duckdb.connect() as connection:
            rows = connection.sql(f"{new} ORDER BY key")
            size = _shard_samples(rows.aggregate("count(*)").fetchall()[0][0])
            reader = rows.to_arrow_reader(BATCH)
            partial = folder / "todo.partial.parquet"
            with pq.ParquetWriter(partial, reader.schema) as writer:
                for batch in reader:
                    writer.write_table(pa.Table.from_batches([batch]), row_group_size=size)
        partial.rename(todo)
    return pq.read_metadata(todo).num_row_groups


def _shard_samples(samples: int) -> int:
    """Few enough that all cores have work to the end, also of a small folder of large photos."""
    shards_wanted = 8 * (os.cpu_count() or 1)
    return max(settings.SHARD_SAMPLES // 32, min(settings.SHARD_SAMPLES, -(-samples // shards_wanted)))


def _write_raw(entries: Iterable[Entry], path: Path) -> dict[str, str]:
    """All entries with their metadata as text. Returns the metadata's columns: as given -> as they are called here."""
    stream = iter(entries)
    first = list(islice(stream, BATCH))
    names = _free_names(list(first[0].metadata)) if first else {}
    schema = pa.schema([(name, pa.string()) for name in (*GIVEN, *names.values())])
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(first, stream):
            columns = [
                [e.key for e in batch],
                [e.label for e in batch],
                [e.split for e in batch],
                [e.token for e in batch],
            ]
            columns += [[_text(e.metadata.get(name)) for e in batch] for name in names]
            writer.write_table(pa.table(columns, schema=schema))
    return names


def _batches(first: list[Entry], stream: Iterator[Entry]) -> Iterator[list[Entry]]:
    batch = first
    while batch:
        yield batch
        batch = list(islice(stream, BATCH))


def _free_names(names: Sequence[str]) -> dict[str, str]:
    """Metadata columns keep their names unless a fact or another column has it already (SQL knows no case)."""
    taken = {name.casefold() for name in (*GIVEN, *ABOUT)}
    free: dict[str, str] = {}
    for name in names:
        wanted = name.strip().lstrip("_")
        wanted = "column" if wanted in ("", "*") else wanted
        candidate, number = wanted, 1
        while candidate.casefold() in taken:
            candidate, number = f"meta_{wanted}" + (f"_{number}" if number > 1 else ""), number + 1
        taken.add(candidate.casefold())
        free[name] = candidate
    return free


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _typed(connection: duckdb.DuckDBPyConnection, raw: Path, name: str) -> str:
    """A metadata column cast to what all its values are: whole numbers, numbers, truth values, times, else text.

    NaN among numbers is a missing value.
    """
    column = quoted(name)
    tests = {
        "BIGINT": f"regexp_full_match({column}, '{WHOLE_NUMBER}')",
        "DOUBLE": f"regexp_full_match({column}, '{NUMBER}') AND TRY_CAST({column} AS DOUBLE) IS NOT NULL",
        "BOOLEAN": f"lower({column}) IN ('true', 'false')",
        "TIMESTAMP": f"regexp_matches({column}, '^[0-9]{{4}}-') AND TRY_CAST({column} AS TIMESTAMP) IS NOT NULL",
    }
    checks = ", ".join(f"coalesce(bool_and({test}), false)" for test in tests.values())
    verdicts = connection.execute(f"SELECT {checks} FROM '{sql_path(raw)}' WHERE {column} IS NOT NULL").fetchall()[0]
    kind = next((kind for kind, holds in zip(tests, verdicts, strict=True) if holds), "VARCHAR")
    value = f"CAST({column} AS {kind})"
    return f"{f'nullif({value}, {NAN})' if kind == 'DOUBLE' else value} AS {column}"


def sql_path(path: Path) -> str:
    """A path as it stands between the quotes of a SQL text."""
    return str(path).replace("'", "''")
