"""Zips that were uploaded through the browser, each in a folder of its own, until their dataset is removed."""

import re
import secrets
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from recipe_core.errors import BadSource

UNUSED_SECONDS = 24 * 3600  # after which an upload that became no dataset goes


@dataclass(frozen=True)
class Uploads:
    """The uploads that stand in `folder`."""

    folder: Path

    def __contains__(self, path: Path) -> bool:
        return path.parent.parent == self.folder

    def keep(self, name: str, upload: BinaryIO) -> Path:
        """Store an uploaded zip and return its path, whose name is like that of the uploaded file.

        Raises:
            BadSource: it cannot be stored, as on a full disk; nothing of it stays.
        """
        stem = re.sub(r"[^\w.-]+", "-", Path(name).stem)[:64] or "images"
        path = self.folder / secrets.token_hex(8) / f"{stem}.zip"
        try:
            path.parent.mkdir(parents=True)
            with path.open("wb") as file:
                shutil.copyfileobj(upload, file)
        except OSError as problem:
            self.discard(path)
            raise BadSource(f"{name} cannot be stored ({problem.strerror}); free some space and try again.") from None
        return path

    def discard(self, path: Path) -> None:
        """Delete an upload; any other file stays."""
        if path in self:
            shutil.rmtree(path.parent, ignore_errors=True)

    def tidy(self, used: Collection[Path]) -> None:
        """Delete what was uploaded a day ago or earlier and is not used."""
        for path in self.folder.glob("*/*.zip"):
            with suppress(FileNotFoundError):  # somebody else discards it
                if path not in used and path.stat().st_mtime < time.time() - UNUSED_SECONDS:
                    self.discard(path)
