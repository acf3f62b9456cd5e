"""Running a user's own Python file from this machine, and telling in one sentence what went wrong in it."""

import importlib.machinery
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from recipe_core.errors import RecipeError


def run_file(path: Path, name: str, error_kind: type[RecipeError]) -> ModuleType:
    """The module that a Python file is, run anew under this name.

    Raises:
        error_kind: it cannot be read or run.
    """
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look there
    try:
        # From the text each time: a cached .pyc beside it would miss an edit within the same second.
        exec(loader.source_to_code(loader.get_data(str(path)), str(path)), module.__dict__)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise error_kind(f"{path}{line}: {error.msg}.") from error
    except Exception as error:  # a user's code may raise anything
        raise error_kind(told(path, error, "")) from error
    return module


def told(path: Path, error: Exception, where: str) -> str:
    """One sentence on an error in a user's file, with the last line of that file on the way to it."""
    text = str(error).strip().partition("\n")[0].rstrip(".")
    return f"{place(path, error)}: {type(error).__name__}{where}{': ' if text else ''}{text}."


def place(path: Path, error: BaseException) -> str:
    """ "FILE.py, line 12": the last line of a user's file on the way to an error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)
