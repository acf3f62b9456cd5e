"""What is found in the embeddings: the list of analyses, and the tables that they leave.

    embeddings/<name>.parquet     its table, by content; its metadata tells which catalog and backbone it is about

An analysis is a function of the embeddings that returns such a table:

    def outliers(embedded: Embeddings) -> pa.Table: ...

A new one is a function, its schema and a line in ANALYSES. It runs in a process of its own, once on a sample of a large
dataset and once on all of it; what it may take of memory is a few hundred MB beside a float32 (n, 64).
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from recipe_core.data.put import put

if TYPE_CHECKING:
    from recipe_core.data.embeddings import Embeddings

ABOUT = b"about"  # in a table's metadata: JSON


@dataclass(frozen=True)
class Analysis:
    """One thing that is found in the embeddings.

    Attributes:
        schema: of its table; its first column is `content`, the hash of the file's bytes.
        function: "module:function", imported only where it runs.
        words: what is not known before it has run, as in "Not embedded yet: which pictures are unlike all others."
    """

    name: str
    schema: pa.Schema
    function: str
    words: str

    def path(self, dataset: Path) -> Path:
        """Where its table stands."""
        return dataset / "embeddings" / f"{self.name}.parquet"

    def about(self, dataset: Path) -> dict:
        """What its table is about: `stamp`, `pictures` that were analysed of `total`; {} where there is none."""
        try:
            metadata = pq.read_schema(self.path(dataset)).metadata or {}
        except FileNotFoundError:
            return {}
        return json.loads(metadata.get(ABOUT, b"{}"))

    def run(self, embedded: "Embeddings") -> pa.Table:
        """Its table."""
        module, _, function = self.function.partition(":")
        return getattr(importlib.import_module(module), function)(embedded).select(self.schema.names).cast(self.schema)

    def write(self, path: Path, table: pa.Table, about: dict) -> None:
        """Put a table of its at `path`."""
        stamped = table.replace_schema_metadata({ABOUT: json.dumps(about)})
        put(path, lambda partial: pq.write_table(stamped, partial))


OUTLIERS = pa.schema(
    [
        ("content", pa.string()),
        ("unlike_anything", pa.float64()),
        ("unlike_class", pa.float64()),
        ("nearest", pa.list_(pa.string())),
        ("nearest_in_class", pa.list_(pa.string())),
    ]
)
MAP = pa.schema([("content", pa.string()), ("x", pa.float32()), ("y", pa.float32())])
LABEL_ERRORS = pa.schema(
    [
        ("content", pa.string()),
        ("given", pa.string()),
        ("suggested", pa.string()),
        ("wrong", pa.float64()),
        ("for_given", pa.list_(pa.string())),
        ("for_suggested", pa.list_(pa.string())),
    ]
)

ANALYSES = (
    Analysis(
        "label_errors",
        LABEL_ERRORS,
        "recipe_core.data.embeddings.label_errors:label_errors",
        "which labels are likely wrong",
    ),
    Analysis(
        "outliers", OUTLIERS, "recipe_core.data.embeddings.outliers:outliers", "which pictures are unlike the others"
    ),
    Analysis("map", MAP, "recipe_core.data.embeddings.projection:project", "which pictures lie together on the map"),
)
