"""Files that are replaced as a whole: written beside their place, then renamed into it."""

import os
from collections.abc import Callable
from pathlib import Path


def put(path: Path, write: Callable[[Path], object]) -> None:
    """Put what `write` writes to the path that it is given at `path`."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    write(partial)
    partial.rename(path)
