"""Files and archives for the tests of sources; an image's bytes are its own path, since sources never decode."""

import zipfile
from pathlib import Path

from recipe_core.data.sources import Entry, Problems, Source


def make_files(root: Path, *paths: str) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode("utf-8", "surrogateescape"))
    return root


def make_zip(file: Path, *paths: str, **texts: str | bytes) -> Path:
    """A zip of members that hold their own path; `texts` are members with a content (`labels_csv` -> labels.csv)."""
    with zipfile.ZipFile(file, "w") as archive:
        for path in paths:
            archive.writestr(path, path)
        for name, text in texts.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return file


def entries_of(source: Source) -> list[Entry]:
    return list(source.entries(Problems()))


def keys_of(source: Source) -> list[str]:
    return [entry.key for entry in entries_of(source)]


def placed(source: Source) -> dict[str, tuple[str | None, str | None]]:
    """key -> (split, label)."""
    return {entry.key: (entry.split, entry.label) for entry in source.entries(Problems())}


def problems_of(source: Source) -> list[str]:
    problems = Problems()
    list(source.entries(problems))
    return problems
