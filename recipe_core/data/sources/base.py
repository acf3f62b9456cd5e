"""What every source is made of: entries, problems, and the two contracts `Source` and `Files`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample as the source gives it.

    Attributes:
        key: its POSIX path relative to the source, unique, valid UTF-8; an absolute path where a table names one.
        label, split: None where not given; "train", "val" and "test" are spelled so whatever the source calls them.
        token: changes when the bytes may have changed: "size:mtime_ns" of a file, "crc:size" of an archive's member,
            "" where the file is missing.
        metadata: the other columns of a table by name; {} elsewhere.
    """

    key: str
    label: str | None
    split: str | None
    token: str
    metadata: dict[str, object] = field(default_factory=dict)


class Problems(list[str]):
    """A list of sentences that keeps the first `LIMIT` and counts the others, so that bad input cannot fill memory."""

    LIMIT = 100

    def __init__(self) -> None:
        super().__init__()
        self.more = 0

    def append(self, sentence: str) -> None:
        if len(self) < self.LIMIT:
            super().append(sentence)
        else:
            self.more += 1

    def sentences(self) -> tuple[str, ...]:
        """What to show: the sentences, and one more that counts those that were not kept."""
        return (*self, f"{self.more:,} more problems are not listed.") if self.more else tuple(self)


class Source(Protocol):
    """Where samples come from; the package's docstring has the contract in full."""

    @property
    def kind(self) -> str:
        """One of "folder of classes", "splits and classes", "splits", "flat folder", "table"; of a zip "zip: ..."."""

    @property
    def columns(self) -> dict[str, str | None] | None:
        """Of a table: which column is "path", "label", "split"; None elsewhere."""

    @property
    def available(self) -> tuple[str, ...]:
        """All columns of a table, for correcting the choice; () elsewhere."""

    def entries(self, problems: list[str]) -> Iterator[Entry]:
        """One entry per sample, in a fixed order; each problem is appended as one sentence."""

    def read(self, key: str) -> bytes:
        """The bytes of one sample. Raises FileNotFoundError, OSError or BadSource."""


class Files(Protocol):
    """A place that holds files under POSIX paths: a folder on disk, a zip."""

    name: str  # how sentences call it
    prefix: str  # of the source's kind: "" or "zip: "

    def folders(self) -> set[tuple[str, ...]]:
        """The folders that hold images directly, as path parts, cut to `layout.DEPTH`."""

    def images(self, problems: list[str]) -> Iterator[tuple[str, str]]:
        """(key, token) of each image, a folder's own before those in its sub-folders."""

    def locate(self, path: str) -> str:
        """The key of a path that a table names. Raises ValueError, saying what is wrong with the path."""

    def token(self, key: str) -> str:
        """The token of one file, "" where it is missing."""

    def read(self, key: str) -> bytes:
        """All bytes of one file. Raises FileNotFoundError, OSError or BadSource."""

    def open(self, key: str) -> BinaryIO:
        """One file as a stream of bytes. Raises FileNotFoundError, OSError or BadSource."""


def shown(text: object) -> str:
    """A name as it may stand in a sentence: no line breaks or control characters, and not endless."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[:300])
    return escaped + "…" if len(str(text)) > 300 else escaped
