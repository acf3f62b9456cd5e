"""Files in a zip, read in place and never extracted."""

import io
import os
import posixpath
import stat
import struct
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, BinaryIO

from recipe_core import settings
from recipe_core.data.sources.base import shown
from recipe_core.data.sources.layout import is_ignored, is_image, parts_of
from recipe_core.data.sources.rows import is_table
from recipe_core.errors import BadSource

_ENCRYPTED = 0x1
_MADE_ON_WINDOWS = 0
# What zipfile raises on hostile or broken archives; NotImplementedError is an unknown way of compression.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, NotImplementedError, RuntimeError)


class Archive:
    """The members of one zip (`base.Files`)."""

    prefix = "zip: "

    def __init__(self, path: Path):
        self.name = str(path)
        self._handle: _Handle | None = None
        self._opened()

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_handle": None}

    def tables(self) -> list[str]:
        """The keys of the tables in the archive."""
        return sorted(key for key in self._opened().members if is_table(key))

    def folders(self) -> set[tuple[str, ...]]:
        return {parts_of(posixpath.dirname(key)) for key in self._opened().members if is_image(key)}

    def images(self, problems: list[str]) -> Iterator[tuple[str, str]]:
        members = _usable(self._opened().archive, problems)
        for key in sorted(filter(is_image, members), key=_as_walked):
            yield key, _token(members[key])

    def locate(self, path: str) -> str:
        if path.startswith("/"):
            raise ValueError(f"points to {shown(path)}, which is outside the archive")
        return posixpath.normpath(path)

    def token(self, key: str) -> str:
        member = self._opened().members.get(key)
        return _token(member) if member else ""

    def read(self, key: str) -> bytes:
        size = self._member(key).file_size
        if size > settings.MAX_IMAGE_BYTES:
            raise BadSource(
                f"{shown(key)} in {shown(self.name)} has {size:,} bytes; at most {settings.MAX_IMAGE_BYTES:,} are read."
            )
        try:
            return self._opened().archive.read(self._member(key))
        except _BROKEN as error:
            raise self._damaged(key, error) from None

    def open(self, key: str) -> BinaryIO:
        member = self._member(key)
        try:
            stream = self._opened().archive.open(member)
        except _BROKEN as error:
            raise self._damaged(key, error) from None
        return io.BufferedReader(_Checked(stream, lambda error: self._damaged(key, error)))

    def _member(self, key: str) -> zipfile.ZipInfo:
        member = self._opened().members.get(key)
        if member is None:
            raise FileNotFoundError(f"{shown(key)} does not exist in {shown(self.name)}.")
        return member

    def _damaged(self, key: str, error: Exception) -> BadSource:
        return BadSource(f"{shown(key)} in {shown(self.name)} is damaged: {shown(error)}.")

    def _opened(self) -> "_Handle":
        """The handle of this process, opened anew after a fork and when the file on disk is another one."""
        try:
            info = Path(self.name).stat()
            stamp = os.getpid(), info.st_ino, info.st_size, info.st_mtime_ns
            handle = self._handle
            if handle is None or handle.stamp != stamp:
                handle = self._handle = _Handle(self.name, stamp)
        except OSError as error:
            raise BadSource(f"{shown(self.name)} cannot be read: {error.strerror or error}.") from None
        except _BROKEN as error:
            raise BadSource(f"{shown(self.name)} is not a readable zip: {shown(error)}.") from None
        return handle


class _Handle:
    """An open zip. Given a file object, `ZipFile` locks each seek and read, so threads may share it."""

    def __init__(self, path: str, stamp: tuple[int, ...]):
        self.stamp = stamp
        with ExitStack() as on_failure:
            file = on_failure.enter_context(Path(path).open("rb"))
            try:
                self.archive = zipfile.ZipFile(file, metadata_encoding="utf-8")  # macOS writes UTF-8 without saying so
            except UnicodeDecodeError:
                self.archive = zipfile.ZipFile(file)
            on_failure.pop_all()
        weakref.finalize(self.archive, file.close)  # streams hold the archive, so not before the last of them has ended
        self.members = _usable(self.archive, [])


class _Checked(io.RawIOBase):
    """A member's stream whose failures are `BadSource`, naming the member."""

    def __init__(self, stream: IO[bytes], failure: Callable[[Exception], BadSource]):
        self._stream, self._failure = stream, failure

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            data = self._stream.read(len(buffer))
        except _BROKEN as error:
            raise self._failure(error) from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _usable(archive: zipfile.ZipFile, problems: list[str]) -> dict[str, zipfile.ZipInfo]:
    """Key -> member, without folders, hidden files and members that are no plain files inside the archive."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if member.create_system == _MADE_ON_WINDOWS:
            name = name.replace("\\", "/")
        if name.endswith("/") or any(is_ignored(part) for part in name.split("/") if part not in {".", ".."}):
            continue
        key = posixpath.normpath(name)
        flaw = _flaw(name, member) or ("is there twice" if key in members else None)
        if flaw:
            problems.append(f"The member {shown(name)} {flaw}; it was left out.")
        else:
            members[key] = member
    return members


def _flaw(name: str, member: zipfile.ZipInfo) -> str | None:
    if name.startswith("/") or ".." in name.split("/"):
        return "points outside the archive"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a symbolic link"
    return None


def _as_walked(key: str) -> list[tuple[bool, str]]:
    """Sorts a folder's own files before those in its sub-folders, as a walk over folders meets them."""
    *folders, name = key.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


def _token(member: zipfile.ZipInfo) -> str:
    return f"{member.CRC:08x}:{member.file_size}"
