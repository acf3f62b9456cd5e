"""Where samples come from: a folder, a table, or a zip of either.

    source = open_source("/data/pets")           # or a .csv, .tsv, .parquet, .zip
    print(understand(source).sentence)           # "splits and classes: train 50,000, test 10,000, 10 classes"
    problems = Problems()
    for entry in source.entries(problems):       # one Entry per sample, lazily
        data = source.read(entry.key)            # the bytes of its image

The contract of a source, whatever it reads from (`base.Source`):

- `entries(problems)` walks the source once more at each call, always in the same order, without reading an image. Keys
  are valid UTF-8 and unique. What cannot be a sample (a broken row, a loop of links) is left out and adds one sentence
  to `problems`; a sample whose file is missing is an entry without token. It raises `BadSource` only where the source
  as a whole has become unreadable.
- `read(key)` gives the bytes of one sample. It raises `FileNotFoundError`, another `OSError` or `BadSource`, never
  reads outside the source (a table's own rows may name files elsewhere), and may be called from many threads.
- `kind`, `columns` and `available` say what was understood.
- It can be pickled; handles are opened again in each process.

A new source is a class with these members and a line in `open_source`. Where only the place of the files is new (a tar,
say), it is a `base.Files`: `LaidOut` and `TableSource` work over any.
"""

from collections.abc import Mapping
from pathlib import Path

from recipe_core.data.sources.archive import Archive
from recipe_core.data.sources.base import Entry, Files, Problems, Source, shown
from recipe_core.data.sources.folder import Folder, key_of
from recipe_core.data.sources.layout import IMAGE_SUFFIXES, LaidOut
from recipe_core.data.sources.rows import is_table
from recipe_core.data.sources.table import TableSource, names_files
from recipe_core.data.sources.understanding import Understanding, understand
from recipe_core.errors import BadSource

__all__ = [
    "IMAGE_SUFFIXES",
    "Entry",
    "Problems",
    "Source",
    "Understanding",
    "open_source",
    "start_of_paths",
    "understand",
]

ColumnChoice = Mapping[str, str | None]


def open_source(location: str | Path, columns: ColumnChoice | None = None) -> Source:
    """The source at a path; no image is read.

    Args:
        location: a folder, a table (.csv, .tsv, .parquet) or a .zip; `~` is the home folder.
        columns: for tables, any of "path", "label", "split" -> the column's name; a role that is not named is guessed,
            one that is None ("label", "split") has no column.

    Raises:
        BadSource: nothing is there, it cannot be read, it is none of these, it holds no images, or the table has no
            usable path column or not the columns that were named.
    """
    if not str(location).strip():
        raise BadSource("No path was given; name a folder, a table (.csv, .tsv, .parquet) or a .zip.")
    path = Path(location).expanduser().absolute()
    try:
        path.stat()
    except FileNotFoundError:
        raise BadSource(f"{shown(location)} does not exist; check the path.") from None
    except (OSError, ValueError) as error:
        raise BadSource(f"{shown(location)} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if path.is_dir():
        return _open_folder(path, columns)
    if not path.is_file():
        raise BadSource(f"{shown(location)} is neither a folder nor a file.")
    if is_table(path.name):
        return TableSource(Folder(path.parent), key_of(path.name), columns)
    if path.suffix.lower() == ".zip":
        return _open_archive(path, columns)
    raise BadSource(f"{shown(location)} is no folder, no table (.csv, .tsv, .parquet) and no .zip.")


def start_of_paths(location: str | Path) -> str:
    """What stands before a sample's key in the path of its file: a folder, or an archive and "!"."""
    path = Path(location).expanduser().absolute()
    if not path.is_dir() and path.suffix.lower() == ".zip":
        return f"{path}!"
    return f"{str(path if path.is_dir() else path.parent).rstrip('/')}/"


def _open_folder(path: Path, columns: ColumnChoice | None) -> Source:
    if columns:
        raise BadSource(f"{shown(path)} is a folder and has no columns; name the table in it instead.")
    folder, problems = Folder(path), Problems()
    if not _has_images(folder, problems):
        tables = sorted(file.name for file in path.iterdir() if is_table(file.name))
        raise _no_images(folder, [f"its table {shown(name)} can be opened itself" for name in tables] or problems)
    return LaidOut(folder)


def _open_archive(path: Path, columns: ColumnChoice | None) -> Source:
    """A table in the archive wins over its folders where it is the only one, stands above the images and names them."""
    archive, problems = Archive(path), Problems()
    tables = archive.tables()
    if columns:
        if len(tables) != 1:
            raise BadSource(
                f"{shown(path)} holds {len(tables)} tables; columns can be named where there is exactly one."
            )
        return TableSource(archive, tables[0], columns)
    laid_out = LaidOut(archive)
    if len(tables) == 1 and laid_out.stands_above_images(tables[0]) and names_files(archive, tables[0]):
        return TableSource(archive, tables[0])
    if not _has_images(archive, problems):
        raise _no_images(archive, problems)
    return laid_out


def _has_images(files: Files, problems: list[str]) -> bool:
    return next(files.images(problems), None) is not None


def _no_images(files: Files, reasons: list[str]) -> BadSource:
    reason = f"; {reasons[0].rstrip('.')}" if reasons else ""
    return BadSource(f"{shown(files.name)} holds no images ({', '.join(IMAGE_SUFFIXES)}){reason}.")
