"""Files in a folder on disk: walked with links but without loops, read without leaving the folder.

Names on disk are bytes. In keys, bytes that are not UTF-8 stand as U+F780..U+F7FF (private use), and so do the bytes of
those characters themselves where a name really holds them; so every key is valid UTF-8 and leads back to one file.
"""

# ruff: noqa: PTH116 - paths are strings here: a Path for each of ten million files costs more than its stat

import os
import posixpath
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from recipe_core import settings
from recipe_core.data.sources.base import shown
from recipe_core.data.sources.layout import is_ignored, is_image, parts_of
from recipe_core.errors import BadSource

_UNUSUAL = re.compile("[\udc80-\udcff\uf780-\uf7ff]")
_STANDS_FOR_BYTE = re.compile("[\uf780-\uf7ff]")


def key_of(path: str) -> str:
    """The key of a path as the system gives it."""
    if path.isascii():
        return path
    return _UNUSUAL.sub(lambda c: "".join(chr(0xF700 + b) for b in c[0].encode("utf-8", "surrogateescape")), path)


def path_of(key: str) -> str:
    """The path that a key was made from, as the system wants it."""
    return key if key.isascii() else _STANDS_FOR_BYTE.sub(lambda c: chr(ord(c[0]) - 0xF700 + 0xDC00), key)


def file_token(path: str) -> str:
    """ "size:mtime_ns" of a regular file, "" where there is none."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{info.st_size}:{info.st_mtime_ns}" if stat.S_ISREG(info.st_mode) else ""


def read_file(path: str) -> bytes:
    """All bytes of a regular file that is not larger than an image may be.

    Raises:
        FileNotFoundError, OSError: as the system says.
        BadSource: it is a pipe or device (reading could wait for ever), or too large.
    """
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise BadSource(f"{shown(path)} is not a file.")
    if info.st_size > settings.MAX_IMAGE_BYTES:
        raise BadSource(f"{shown(path)} has {info.st_size:,} bytes; at most {settings.MAX_IMAGE_BYTES:,} are read.")
    return Path(path).read_bytes()


class Folder:
    """The files below one folder (`base.Files`)."""

    prefix = ""

    def __init__(self, root: Path):
        self.name = str(root)
        self._root = str(root)
        self._starts = tuple(f"{start.rstrip('/')}/" for start in (self._root, os.path.realpath(self._root)))

    def folders(self) -> set[tuple[str, ...]]:
        return {parts_of(key_of(folder)) for folder, images in self._walk([]) if images}

    def images(self, problems: list[str]) -> Iterator[tuple[str, str]]:
        for folder, images in self._walk(problems):
            for name in images:
                path = posixpath.join(folder, name)
                yield key_of(path), file_token(posixpath.join(self._root, path))

    def locate(self, path: str) -> str:
        path = posixpath.normpath(path)
        for start in self._starts:
            path = path.removeprefix(start)
        return key_of(path)

    def token(self, key: str) -> str:
        return file_token(self._inside(key))

    def read(self, key: str) -> bytes:
        return read_file(self._inside(key))

    def open(self, key: str) -> BinaryIO:
        return Path(self._inside(key)).open("rb")

    def _inside(self, key: str) -> str:
        if not key or key.startswith("/") or ".." in key.split("/"):
            raise BadSource(f"{shown(key)} is not inside {shown(self.name)}.")
        path = posixpath.join(self._root, path_of(key))
        try:
            encoded = os.fsencode(path)
        except UnicodeEncodeError:
            encoded = b"\0"
        if b"\0" in encoded:  # no file can have such a name
            raise FileNotFoundError(f"{shown(key)} does not exist in {shown(self.name)}.")
        return path

    def _walk(self, problems: list[str]) -> Iterator[tuple[str, list[str]]]:
        """Each folder, relative to the root, with the sorted names of its images; depth first, sorted."""
        waiting = [("", False)]  # folder, reached through a link
        linked: set[tuple[int, int]] = set()
        while waiting:
            folder, through_link = waiting.pop()
            try:
                images, folders, links = self._list(folder)
            except OSError as error:
                if not folder:  # a disk that has gone must not look like an empty folder
                    raise BadSource(f"{shown(self.name)} cannot be read: {error.strerror or error}.") from None
                problems.append(f"The folder {shown(folder)} cannot be read ({error.strerror}); it was left out.")
                continue
            yield folder, images
            followed = [link for link in links if self._may_follow(link, through_link, linked, problems)]
            below = [(f, through_link) for f in folders] + [(f, True) for f in followed]
            waiting.extend(sorted(below, reverse=True))

    def _list(self, folder: str) -> tuple[list[str], list[str], list[str]]:
        """Of one folder: names of its images (sorted), its sub-folders, its links to folders (relative to the root)."""
        images: list[str] = []
        folders: list[str] = []
        links: list[str] = []
        with os.scandir(posixpath.join(self._root, folder)) as listing:
            for entry in listing:
                if is_ignored(entry.name):
                    continue
                if _is_folder(entry):
                    (links if entry.is_symlink() else folders).append(posixpath.join(folder, entry.name))
                elif is_image(entry.name):
                    images.append(entry.name)
        return sorted(images), folders, links

    def _may_follow(self, link: str, through_link: bool, linked: set[tuple[int, int]], problems: list[str]) -> bool:
        """Whether a link leads on: not to a folder around it, and, met behind another link, not a second time.

        The second rule keeps links among linked folders from multiplying; links in the folder proper are all followed.
        """
        path = posixpath.join(self._root, link)
        target = os.stat(path)
        if any(os.path.samestat(target, os.stat(around)) for around in Path(path).parents):
            problems.append(f"The link {shown(link)} leads back to a folder that contains it; it was left out.")
            return False
        identity = target.st_dev, target.st_ino
        if through_link and identity in linked:
            problems.append(f"The link {shown(link)} leads to a folder that was already read; it was left out.")
            return False
        linked.add(identity)
        return True


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
