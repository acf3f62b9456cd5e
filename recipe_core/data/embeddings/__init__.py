"""Embeddings: every picture as a vector by a pretrained backbone, and what is found in them.

    embedded = Embeddings.of(dataset.catalog)       # what is embedded now, of samples that are in the catalog
    embedded.labels, embedded.splits                # one row per picture, in the order of keys
    embedded.vectors[:100]                          # float32 (100, 1280)
    for start, block in embedded.vectors.blocks(): ...

Copies of one file are one row: that of the first by key. Pictures that are blank or cannot be read have none. The job
that makes them is in embed.py; what is found in them, in analyses.py.
"""

from dataclasses import dataclass
from functools import cached_property

import duckdb
import numpy as np
import pyarrow as pa

from recipe_core.data.catalog import Catalog
from recipe_core.data.embeddings import segments, state
from recipe_core.data.embeddings.segments import Vectors

# The first sample of each content that has a vector.
ROWS = """SELECT content, key, label, split, file, row FROM (
        SELECT DISTINCT ON (content) known.*, key, label, split
        FROM samples JOIN known ON samples.byte_hash = known.content WHERE readable ORDER BY content, key, file)
    ORDER BY key"""


@dataclass(frozen=True)
class Embeddings:
    """The vectors of a dataset's pictures, one row per content.

    Attributes:
        rows: content, key, label, split; label and split are null where none is given.
        vectors: of the same rows, float16 on disk; not normalised.
        layers: how many of a vector's numbers come from each layer of the backbone; () where that is not known.
    """

    rows: pa.Table
    vectors: Vectors
    layers: tuple[int, ...] = ()

    @classmethod
    def of(cls, catalog: Catalog) -> "Embeddings":
        """What is embedded now by the dataset's backbone."""
        from recipe_core.data.findings import tables  # which reads the analyses' tables

        backbone = state.backbone_name(catalog.folder)
        files, where = segments.known(catalog.folder, backbone)

        def answer(rows: duckdb.DuckDBPyConnection) -> pa.Table:
            rows.register("known", where)
            return rows.sql(ROWS).to_arrow_table()

        nothing = pa.table({name: pa.array([], pa.string()) for name in ("content", "key", "label", "split")})
        found = tables.ask(catalog, answer, None)
        if found is None:
            return cls(nothing, Vectors([], np.empty(0, int), np.empty(0, int)))
        vectors = Vectors(files, found["file"].to_numpy(), found["row"].to_numpy())
        return cls(found.select(nothing.column_names), vectors, state.LAYERS if backbone == state.SHIPPED else ())

    def __len__(self) -> int:
        return self.rows.num_rows

    @cached_property
    def keys(self) -> np.ndarray:
        """str (n,)."""
        return self.rows["key"].to_numpy(zero_copy_only=False)

    @cached_property
    def labels(self) -> np.ndarray:
        """str or None (n,), as given."""
        return self.rows["label"].to_numpy(zero_copy_only=False)

    @cached_property
    def splits(self) -> np.ndarray:
        """str or None (n,)."""
        return self.rows["split"].to_numpy(zero_copy_only=False)

    @cached_property
    def contents(self) -> np.ndarray:
        """str (n,), the hashes of the files' bytes."""
        return self.rows["content"].to_numpy(zero_copy_only=False)

    @cached_property
    def classes(self) -> tuple[np.ndarray, np.ndarray]:
        """The labels, sorted, and the number of each row's, int32 (n,); -1 where there is none."""
        encoded = self.rows["label"].combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_numpy(zero_copy_only=False)
        order = np.argsort(names)
        place = np.append(np.argsort(order), -1).astype(np.int32)  # the last is for what has none
        return names[order], place[encoded.indices.fill_null(len(names)).to_numpy()]
