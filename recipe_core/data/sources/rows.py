"""Tables row by row: CSV and TSV with whatever is broken in them, Parquet in batches."""

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from recipe_core.data.sources.base import Files, shown
from recipe_core.data.sources.layout import is_image
from recipe_core.errors import BadSource

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
LONGEST_LINE = 2**20  # characters read as one line, so that a file without line ends cannot fill memory
BATCH_ROWS = 4096

_BROKEN_UTF8 = re.compile("[\udc80-\udcff]")
_BROKEN_UTF16 = re.compile("\ufffd")


def is_table(name: str) -> bool:
    """Whether a file is a table by its suffix."""
    return PurePosixPath(name).suffix.lower() in TABLE_SUFFIXES


class Rows(Protocol):
    """A table that can be read row by row, more than once."""

    name: str  # how sentences call it
    unit: str  # what rows are counted in: "line" (from 1, the header's) or "row" (from 1)
    columns: tuple[str, ...]  # unique

    def rows(self, problems: list[str]) -> Iterator[tuple[int, Sequence[object]]]:
        """(number, values in the order of the columns); a row that cannot be read is a problem and left out."""


def open_rows(files: Files, key: str) -> Rows:
    """The rows of a table. Raises BadSource where it is none or is empty."""
    name = PurePosixPath(key).name
    try:
        if name.lower().endswith(".parquet"):
            return ParquetRows(shown(name), lambda: _open_seekable(files, key))
        return CsvRows(shown(name), lambda: files.open(key))
    except OSError as error:
        raise BadSource(f"{shown(name)} cannot be read: {error.strerror or error}.") from None


def _open_seekable(files: Files, key: str) -> BinaryIO:
    """Parquet is read from its end; a zip's member has to be in memory for that."""
    stream = files.open(key)
    if stream.seekable():
        return stream
    stream.close()
    return io.BytesIO(files.read(key))


class CsvRows:
    """A CSV or TSV in UTF-8 or UTF-16 (with byte-order mark), separated by comma, semicolon, tab or bar.

    A first row in which a value ends like an image's name is no header; the columns are then "column 1" and so on.
    Values are str, or None where empty.
    """

    unit = "line"

    def __init__(self, name: str, open_stream: Callable[[], BinaryIO]):
        self.name = name
        self._open = open_stream
        with self._open() as stream:
            start = stream.read(2)
        self._is_utf16 = start in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
        with self._text() as text:
            lines = iter(lambda: text.readline(LONGEST_LINE), "")
            head = list(islice(filter(str.strip, lines), 20))
        if not head:
            raise BadSource(f"{name} is empty; it needs a header line and one line for each image.")
        self._delimiter = max(",;\t|", key=lambda delimiter: _agreement(head, delimiter))
        # In "path, label" the blank belongs to the separator.
        self._skip_blank = f"{self._delimiter} " in head[0]
        if flaw := self._flaw_of_text(head[:1]):
            raise BadSource(f"The header of {name} {flaw}; save the table as UTF-8.")
        try:
            header: list[str] = next(self._reader(iter(head)))
        except csv.Error as error:
            raise BadSource(f"The header of {name} cannot be read as a row ({error}).") from None
        self._has_header = not any(is_image(cell) for cell in header)
        self.columns = _unique([cell.strip() if self._has_header else "" for cell in header])

    def rows(self, problems: list[str]) -> Iterator[tuple[int, Sequence[object]]]:
        with self._text() as text:
            lines = _Lines(text)
            reader = self._reader(lines)
            header_to_come = self._has_header
            while True:
                number = lines.start_row()
                flaw = None
                try:
                    values = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    flaw = f"cannot be read as a row ({error})"
                    lines.put_back_all_but_first()
                else:
                    if not values:
                        continue
                    if header_to_come:
                        header_to_come = False
                        continue
                    flaw = self._flaw_of_text(lines.of_row) or self._flaw_of_length(values)
                if flaw:
                    problems.append(f"line {number} of {self.name} {flaw}; it was left out.")
                else:
                    yield number, [value or None for value in values]

    def _text(self) -> io.TextIOWrapper:
        # Broken bytes go through as marks that no proper text holds, so that only their rows are lost.
        encoding, errors = ("utf-16", "replace") if self._is_utf16 else ("utf-8-sig", "surrogateescape")
        return io.TextIOWrapper(self._open(), encoding=encoding, errors=errors, newline="")

    def _reader(self, lines: Iterator[str]):
        return csv.reader(lines, delimiter=self._delimiter, skipinitialspace=self._skip_blank, strict=True)

    def _flaw_of_text(self, lines: list[str]) -> str | None:
        if any("\0" in line for line in lines):
            return "holds NUL bytes"
        broken = _BROKEN_UTF16 if self._is_utf16 else _BROKEN_UTF8
        if any(not line.isascii() and broken.search(line) for line in lines):
            return f"holds bytes that are not {'UTF-16' if self._is_utf16 else 'UTF-8'}"
        return None

    def _flaw_of_length(self, values: list[str]) -> str | None:
        if len(values) == len(self.columns):
            return None
        fields = "1 field" if len(values) == 1 else f"{len(values)} fields"
        return f"has {fields} where {len(self.columns)} are expected"


class _Lines:
    """The lines of a text, counted by rows; those of a row that proved broken can be put back.

    A quote that never closes swallows all lines after it: only its own line is to be lost.
    """

    def __init__(self, text: io.TextIOWrapper):
        self.of_row: list[str] = []  # the lines of the row being read
        self._text = text
        self._again: deque[str] = deque()
        self._before = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.of_row.append(line)
        return line

    def start_row(self) -> int:
        """The number, from 1, of the line that comes next."""
        self._before += len(self.of_row)
        self.of_row = []
        return self._before + 1

    def put_back_all_but_first(self) -> None:
        self._again.extendleft(reversed(self.of_row[1:]))
        del self.of_row[1:]


def _agreement(lines: list[str], delimiter: str) -> tuple[int, int]:
    """How well a delimiter explains the first lines: lines with as many fields as the first (more than one), fields."""
    try:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return 0, 0
    return (counts.count(counts[0]), counts[0]) if counts and counts[0] > 1 else (0, 0)


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """The names of columns, where empty or repeated made into "column 3"."""
    unique: list[str] = []
    for at, name in enumerate(names, start=1):
        while not name or name in unique:
            name, at = f"column {at}", at + len(names)
        unique.append(name)
    return tuple(unique)


class ParquetRows:
    """A Parquet file, streamed. Values are int, float, bool, str, datetime or None; columns of bytes are left aside."""

    unit = "row"

    def __init__(self, name: str, open_stream: Callable[[], BinaryIO]):
        self.name = name
        self._open = open_stream
        with self._open() as stream:
            schema = self._parquet(stream).schema_arrow
        self._positions = [at for at, column in enumerate(schema) if not _holds_bytes(column.type)]
        self.columns = _unique([schema.field(at).name for at in self._positions])

    def rows(self, problems: list[str]) -> Iterator[tuple[int, Sequence[object]]]:
        number = 0
        try:
            for values in self._stored_rows():
                number += 1
                if any(isinstance(v, str) and not v.isascii() and _BROKEN_UTF8.search(v) for v in values):
                    problems.append(f"row {number} of {self.name} holds text that is not UTF-8; it was left out.")
                else:
                    yield number, values
        except (pa.ArrowException, OSError) as error:
            sentence = f"{self.name} cannot be read after row {number} ({shown(error)}); what follows was left out."
            problems.insert(0, sentence)  # it weighs more than any row's

    def _stored_rows(self) -> Iterator[tuple[object, ...]]:
        with self._open() as stream:
            file = self._parquet(stream)
            names = [file.schema_arrow.field(at).name for at in self._positions]
            for batch in file.iter_batches(BATCH_ROWS, columns=names):
                yield from zip(*(_scalars(column) for column in batch.columns), strict=True)

    def _parquet(self, stream: BinaryIO) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise BadSource(f"{self.name} is not a readable Parquet file: {shown(error).rstrip('.')}.") from None


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds bytes, as those with images in them do."""
    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(at).type) for at in range(kind.num_fields))
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _scalars(column: pa.Array) -> list[object]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        values = [v and v.decode("utf-8", "surrogateescape") for v in column.cast(pa.large_binary()).to_pylist()]
    except (ValueError, OverflowError):  # a time that Python cannot hold
        values = column.cast(pa.string()).to_pylist()
    return [v if v is None or isinstance(v, int | float | str | datetime) else str(v) for v in values]
