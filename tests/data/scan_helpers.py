"""Datasets for the tests of the scan, and sources that misbehave in the processes that read them."""

import csv
import importlib
import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from pictures import encoded, noise

from recipe_core import settings
from recipe_core.data.sources import Entry
from recipe_core.data.thumbnails import read_thumbnail

PATIENCE_SECONDS = 60


def make_images(root: Path, *paths: str) -> Path:
    """A PNG of its own at each path."""
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(noise(12, 10, number), "PNG"))
    return root


def make_table(file: Path, columns: Sequence[str], *rows: Sequence[object]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([columns, *rows])
    return file


def until(condition):
    """What `condition()` gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return answer


def thumbnail_of(dataset, key: str) -> bytes:
    sample = dataset.catalog.sample(key)
    return read_thumbnail(dataset.folder / "thumbnails", sample["_shard"], sample["_offset"], sample["_length"])


def shards_of(dataset) -> dict[str, str]:
    """key -> the thumbnail shard, whose name tells when the sample was measured."""
    rows = dataset.catalog.rows(internal=True)
    return dict(zip(rows["key"], rows["_shard"], strict=True))


@dataclass
class Deadly:
    """A source in which reading some keys kills the reading process."""

    keys: list[str]
    deadly: set[str]
    kind: str = "flat folder"
    columns: None = None
    available: tuple = ()
    image: bytes = field(default_factory=lambda: encoded(noise(8, 8)))

    def entries(self, problems):
        return iter([Entry(key, None, None, "1:1") for key in self.keys])

    def read(self, key):
        if key in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.image


@dataclass
class Endless(Deadly):
    """A source in which reading some keys never ends and holds the interpreter, as a decoder's loop may."""

    def __setstate__(self, state):
        self.__dict__ |= state
        importlib.import_module("recipe_core.data.appearance")  # whose import is not to count
        settings.FILE_SECONDS = 1.0  # in the processes that read, which are given this source

    def read(self, key):
        if key in self.deadly:
            re.fullmatch("(a|a)*b", "a" * 200)
        return self.image


def context_of(folder: Path, attempt: int = 1) -> SimpleNamespace:
    """A job's context for running the work in this process."""
    spec = {"dataset": str(folder), "source": "", "columns": None}
    return SimpleNamespace(
        spec=spec, job=SimpleNamespace(id=1, attempt=attempt), report=lambda **_: None, check=lambda: None
    )
