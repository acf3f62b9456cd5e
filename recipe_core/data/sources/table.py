"""A table as a source: one row per sample, with the path of its image, its label and split, and any metadata."""

import math
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice

from recipe_core.data.sources.base import Entry, Files, Problems, shown
from recipe_core.data.sources.folder import file_token, path_of, read_file
from recipe_core.data.sources.layout import is_image, split_name
from recipe_core.data.sources.rows import Rows, open_rows
from recipe_core.errors import BadSource

SAMPLE_ROWS = 1000  # rows that decide which column holds the paths

# Names of columns in lower case without separators, the likeliest first.
_NAMES = {
    role: names.split()
    for role, names in {
        "path": "path filepath imagepath imgpath relativepath relpath filename imagefilename imagename imgname "
        "imagefile file image img imageid imgid fname fn",
        "label": "label class category target labelname classname categoryname species y labels labelid classid",
        "split": "split subset set fold partition usage splits phase",
    }.items()
}

Columns = dict[str, str | None]


class TableSource:
    """The rows of a table as samples; `columns` names those of "path", "label" and "split".

    Paths are relative to the table's folder or, on disk, absolute; a key is the former wherever the file stands inside.
    Metadata of a CSV is str or None, of a Parquet int, float, bool, str, datetime or None.

    Raises:
        BadSource: no readable table, no such column, no column with paths of images, no rows.
    """

    def __init__(self, files: Files, table: str, columns: Mapping[str, str | None] | None = None):
        self._files = files
        self._table = table
        self._base = posixpath.dirname(table)
        self._elsewhere: set[int] | None = None
        rows, first = _first_rows(files, table)
        self.available = rows.columns
        self.columns: Columns = _choose(rows, first, columns or {})

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_elsewhere": None}  # hashes of str differ between processes

    @property
    def kind(self) -> str:
        return f"{self._files.prefix}table"

    def entries(self, problems: list[str]) -> Iterator[Entry]:
        rows, label_of, split_of = self._rows(), self._getter("label"), self._getter("split")
        roles = set(self.columns.values())
        others = [(at, name) for at, name in enumerate(self.available) if name not in roles]
        seen: set[int] = set()  # hashes of 64 bits: at 10 million rows one false match in 300,000 tables
        for number, values, key in self._keys(rows, problems):
            where = f"{rows.unit} {number} of {rows.name}"
            if hash(key) in seen:
                problems.append(f"{where} lists {shown(key)} again; it was left out.")
                continue
            seen.add(hash(key))
            token = self._token(key)
            if not token:
                problems.append(f"{where} points to {shown(key)}, which does not exist.")
            split = split_of(values)
            split = split and (split_name(split) or split)
            yield Entry(key, label_of(values), split, token, {name: values[at] for at, name in others})

    def read(self, key: str) -> bytes:
        if not key.startswith("/"):
            return self._files.read(key)
        if not self._lists(key):
            raise BadSource(f"{shown(key)} is not listed in {shown(self._table)}.")
        return read_file(path_of(key))

    def _rows(self) -> Rows:
        rows = open_rows(self._files, self._table)
        if rows.columns != self.available:
            raise BadSource(f"The columns of {rows.name} have changed since it was opened; open it again.")
        return rows

    def _getter(self, role: str) -> Callable[[Sequence[object]], str | None]:
        column = self.columns[role]
        if column is None:
            return lambda values: None
        at = self.available.index(column)
        return lambda values: _text(values[at])

    def _keys(self, rows: Rows, problems: list[str]) -> Iterator[tuple[int, Sequence[object], str]]:
        """(number, values, key) of each row whose path can be one."""
        path_of_row = self._getter("path")
        for number, values in rows.rows(problems):
            try:
                key = key_in_table(self._files, self._base, path_of_row(values))
            except ValueError as flaw:
                problems.append(f"{rows.unit} {number} of {rows.name} {flaw}; it was left out.")
            else:
                yield number, values, key

    def _token(self, key: str) -> str:
        return file_token(path_of(key)) if key.startswith("/") else self._files.token(key)

    def _lists(self, key: str) -> bool:
        """Whether a row names this absolute path; the table is read once for it in each process."""
        if self._elsewhere is None:
            keys = (key for _, _, key in self._keys(self._rows(), Problems()))
            self._elsewhere = {hash(key) for key in keys if key.startswith("/")}
        return hash(key) in self._elsewhere


def names_files(files: Files, table: str) -> bool:
    """Whether a table has a column of paths of which one at least leads to a file."""
    try:
        first = islice(TableSource(files, table).entries(Problems()), SAMPLE_ROWS)
        return any(entry.token for entry in first)
    except BadSource:
        return False


def key_in_table(files: Files, base: str, path: str | None) -> str:
    """The key of a path as a row gives it; `base` is the table's folder. Raises ValueError, saying what is wrong."""
    if not path or not path.strip():
        raise ValueError("has no path")
    if "\0" in path:
        raise ValueError("has a path with NUL bytes")
    if "://" in path:
        raise ValueError(f"points to {shown(path)}, which is a web address and not a file")
    path = path.strip()
    key = files.locate(posixpath.join(base, path))
    if "\\" in path and not (key.startswith("/") or files.token(key)):
        key = files.locate(posixpath.join(base, path.replace("\\", "/")))  # written on Windows
    if key == ".." or key.startswith("../"):
        raise ValueError(f"points to {shown(path)}, which is outside the table's folder")
    return key


def _first_rows(files: Files, table: str) -> tuple[Rows, list[Sequence[object]]]:
    rows, problems = open_rows(files, table), Problems()
    first = [values for _, values in islice(rows.rows(problems), SAMPLE_ROWS)]
    if not first:
        reason = f": {problems[0].rstrip('.')}" if problems else ""
        raise BadSource(f"{rows.name} has no rows that can be read{reason}.")
    return rows, first


def _choose(rows: Rows, first: list[Sequence[object]], given: Mapping[str, str | None]) -> Columns:
    for column in given.values():
        if column is not None and column not in rows.columns:
            raise BadSource(_no_such_column(rows, column))
    path = given.get("path") or _guess_path(rows, first)
    if path is None:
        raise BadSource(
            f"{rows.name} has no column with paths of image files (it has {_listed(rows.columns)}); name one."
        )
    chosen: Columns = {"path": path}
    for role in ("label", "split"):
        taken = {*chosen.values(), *given.values()}
        free = [column for column in rows.columns if column not in taken]
        chosen[role] = given[role] if role in given else _guess_by_name(role, free)
    if chosen["split"] is None and "split" not in given:
        chosen["split"] = _guess_split(rows, first, {*chosen.values()})
    return chosen


def _guess_split(rows: Rows, first: list[Sequence[object]], taken: set[str | None]) -> str | None:
    """A column whatever its name, all of whose values are names of splits."""
    for at, column in enumerate(rows.columns):
        if column not in taken and all(isinstance(row[at], str) and split_name(str(row[at])) for row in first):
            return column
    return None


def _guess_path(rows: Rows, first: list[Sequence[object]]) -> str | None:
    """The column named like one of paths, where its values look like images; else the one whose values do most."""
    shares = {
        column: sum(isinstance(row[at], str) and _looks_like_path(str(row[at])) for row in first) / len(first)
        for at, column in enumerate(rows.columns)
    }
    likely = [column for column in rows.columns if shares[column] > 0.5]
    return _guess_by_name("path", likely) or max(likely, key=lambda column: shares[column], default=None)


def _looks_like_path(value: str) -> bool:
    return is_image(value.strip()) and "://" not in value


def _guess_by_name(role: str, columns: Sequence[str]) -> str | None:
    plain = {re.sub(r"[\W_]", "", column.lower()): column for column in reversed(columns)}
    return next((plain[name] for name in _NAMES[role] if name in plain), None)


def _no_such_column(rows: Rows, column: str) -> str:
    close = get_close_matches(column, rows.columns, n=1)
    hint = f"; did you mean {shown(close[0])}?" if close else "."
    return f"{rows.name} has no column {shown(column)}, it has {_listed(rows.columns)}{hint}"


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    return ", ".join(shown(column) for column in columns[:20]) + more


def _text(value: object) -> str | None:
    """A label or split as str: 3.0 is "3"; nothing, NaN and blanks are None."""
    if value is None:
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    text = str(value)
    return text if text.strip() else None
