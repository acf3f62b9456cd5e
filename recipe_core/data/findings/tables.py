"""The tables that findings are found in, as views of one DuckDB connection; all SQL here is our own, nothing is typed.

samples    the catalog, finished or growing
damage     of each picture: content (byte_hash), score, message, evidence (JSON); of a healthy one the content only
pairs      near duplicates: a, b (pixel_hash), subkind, similarity, distance, evidence
biases     findings on the whole dataset: what gives labels away, in what the splits differ
and, of each analysis of the embeddings, the table of its name (embeddings/analyses.py), by content (byte_hash)
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa

from recipe_core import settings
from recipe_core.data.catalog import Catalog
from recipe_core.data.embeddings.analyses import ANALYSES
from recipe_core.data.listing import sql_path

DAMAGE = pa.schema(
    [("content", pa.string()), ("score", pa.float64()), ("message", pa.string()), ("evidence", pa.string())]
)
PAIRS = pa.schema(
    [
        ("a", pa.string()),
        ("b", pa.string()),
        ("subkind", pa.string()),
        ("similarity", pa.float64()),
        ("distance", pa.float64()),
        ("evidence", pa.string()),
    ]
)
BIASES = pa.schema(
    [
        ("kind", pa.string()),
        ("subkind", pa.string()),
        ("samples", pa.list_(pa.string())),
        ("concerned", pa.int64()),
        ("score", pa.float64()),
        ("message", pa.string()),
        ("evidence", pa.string()),
    ]
)
EXAMINED = {"damage": DAMAGE, "pairs": PAIRS, "biases": BIASES}
SCHEMAS = EXAMINED | {analysis.name: analysis.schema for analysis in ANALYSES}
Answer = TypeVar("Answer")


def files_of(dataset: Path, name: str) -> list[str]:
    """Where a table beside the samples stands now: complete, and what a running examination adds to it."""
    for analysis in ANALYSES:
        if analysis.name == name:
            return [str(path) for path in (analysis.path(dataset),) if path.exists()]
    folder = dataset / "examined"
    parts = sorted(folder.glob("parts/*.parquet")) if name == "damage" else []
    return [str(path) for path in (folder / f"{name}.parquet", *parts) if path.exists()]


def catalog_stamp(dataset: Path) -> str | None:
    """Tells one finished catalog from another; None where no scan has finished."""
    info = _stamp(dataset / "catalog" / "catalog.parquet")
    return f"{info[1]}-{info[2]}" if info else None


def examined(dataset: Path) -> dict:
    """What the examination has done: table -> the stamp of the catalog that it is complete for."""
    path = dataset / "examined" / "examined.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def is_examined(dataset: Path) -> bool:
    """Whether the examination of the finished catalog is complete."""
    stamp, done = catalog_stamp(dataset), examined(dataset)
    return stamp is not None and all(done.get(name) == stamp for name in EXAMINED)


def ask(catalog: Catalog, question: Callable[[duckdb.DuckDBPyConnection], Answer], nothing: Answer) -> Answer:
    """Answer a question about the tables, or give `nothing` where there is no catalog yet."""
    while catalog.files:
        files = _files(catalog)
        try:
            with _opened(catalog.folder, files) as connection:
                return question(connection)
        except duckdb.IOException:
            if _files(catalog) == files:  # else a job has just replaced parts by the whole
                raise
    return nothing


def version(catalog: Catalog) -> tuple:
    """Another one as soon as any of the tables holds other rows."""
    return catalog.version, *(_stamp(Path(path)) for name in SCHEMAS for path in files_of(catalog.folder, name))


def _files(catalog: Catalog) -> dict[str, list[str]]:
    return {"samples": catalog.files} | {name: files_of(catalog.folder, name) for name in SCHEMAS}


def _stamp(path: Path) -> tuple | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size


@contextmanager
def _opened(dataset: Path, files: dict[str, list[str]]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{settings.QUERY_MEMORY}'")
        connection.execute(f"SET temp_directory = '{sql_path(dataset / 'tmp')}'")
        for name, paths in files.items():
            if paths:
                connection.read_parquet(paths, union_by_name=True).create_view(name)
            else:
                connection.from_arrow(SCHEMAS[name].empty_table()).create_view(name)
        yield connection
