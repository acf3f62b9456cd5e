"""The vectors on disk: segments of two files each, mapped into memory, found by content.

    embeddings/segments/<name>.npy        float16 (n, dims)
    embeddings/segments/<name>.parquet    content (hash of the file's bytes) of each of its rows; its metadata names the
                                          backbone

A segment is there when its Parquet file is, which is written last. A content that stands in several segments has the
same vector in each.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recipe_core.data.put import put

MERGED_ROWS = 4096  # at once
BACKBONE = b"backbone"


class Vectors:
    """Rows of several files as one matrix, of which a part is in memory at a time; `vectors[i]` is of sample i.

    Attributes:
        shape: (n, dims).
    """

    def __init__(self, files: Sequence[Path], file: np.ndarray, row: np.ndarray):
        """`file` and `row`: integers (n,), where each vector stands."""
        self._maps = [np.load(path, mmap_mode="r") for path in files]
        self._file, self._row = file, row
        self.shape = len(row), self._maps[0].shape[1] if self._maps else 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """float32 (k, dims), or (dims,) of a single number."""
        file, row = np.atleast_1d(self._file[which]), np.atleast_1d(self._row[which])
        found = np.empty((len(row), self.shape[1]), np.float32)
        for number in np.unique(file):
            here = file == number
            found[here] = self._maps[number][row[here]]
        return found[0] if np.isscalar(which) else found

    def blocks(self, size: int = 4096) -> Iterator[tuple[int, np.ndarray]]:
        """The number of a block's first row, and the block: float32 (size or less, dims)."""
        for start in range(0, len(self), size):
            yield start, self[start : start + size]


def write_segment(dataset: Path, backbone: str, contents: Sequence[str], vectors: np.ndarray) -> Path:
    """Add vectors, float16 (n, dims), of these contents; returns the new segment's Parquet file."""
    return _write(dataset, backbone, contents, lambda path: _save(path, vectors))


def known(dataset: Path, backbone: str) -> tuple[list[Path], pa.Table]:
    """The files of vectors by this backbone, and content, file, row: where each content's vector stands."""
    while True:
        try:
            return _known(dataset, backbone)
        except FileNotFoundError:  # a job has just merged some
            continue


def merge(dataset: Path, backbone: str, wanted: pa.Table, most: int) -> None:
    """Make one segment of all where there are over `most`, and forget those of other backbones.

    Args:
        wanted: `content`; what is not in it is dropped.
    """
    kept = set(_of_backbone(dataset, backbone))
    for path in set(_all(dataset)) - kept:
        _forget(path)
    if len(kept) <= most:
        return
    files, where = known(dataset, backbone)
    where = where.join(wanted.select(["content"]), "content", join_type="left semi").sort_by("content")
    vectors = Vectors(files, where["file"].to_numpy(), where["row"].to_numpy())

    def copy(path: Path) -> None:
        # Written, not mapped: on a full disk a mapped page kills the process.
        with path.open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": vectors.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for _, block in vectors.blocks(MERGED_ROWS):
                file.write(block.astype(np.float16).tobytes())

    _write(dataset, backbone, where["content"].to_pylist(), copy)
    for path in kept:
        _forget(path)


def _write(dataset: Path, backbone: str, contents: Sequence[str], write) -> Path:
    folder = dataset / "embeddings" / "segments"
    folder.mkdir(parents=True, exist_ok=True)
    name = os.urandom(6).hex()
    table = pa.table({"content": pa.array(contents, pa.string())}).replace_schema_metadata({BACKBONE: backbone})
    put(folder / f"{name}.npy", write)
    put(folder / f"{name}.parquet", lambda path: pq.write_table(table, path))
    return folder / f"{name}.parquet"


def _save(path: Path, vectors: np.ndarray) -> None:
    with path.open("wb") as file:  # by a path np.save would add a suffix
        np.save(file, np.ascontiguousarray(vectors, np.float16))


def _known(dataset: Path, backbone: str) -> tuple[list[Path], pa.Table]:
    segments = _of_backbone(dataset, backbone)
    empty = pa.table({"content": pa.array([], pa.string()), "file": pa.array([], pa.int32())})
    tables = [empty.append_column("row", pa.array([], pa.int64()))]
    for number, path in enumerate(segments):
        contents = pq.read_table(path, columns=["content"])
        place = {"file": np.full(len(contents), number, np.int32), "row": np.arange(len(contents))}
        tables.append(pa.table({"content": contents["content"], **place}))
    return [path.with_suffix(".npy") for path in segments], pa.concat_tables(tables)


def _of_backbone(dataset: Path, backbone: str) -> list[Path]:
    segments = []
    for path in _all(dataset):
        metadata = pq.read_schema(path).metadata or {}
        if metadata.get(BACKBONE) == backbone.encode():
            segments.append(path)
    return segments


def _all(dataset: Path) -> list[Path]:
    return sorted((dataset / "embeddings" / "segments").glob("*.parquet"))


def _forget(path: Path) -> None:
    """The Parquet file first: without it there is no segment."""
    path.unlink()
    path.with_suffix(".npy").unlink()
