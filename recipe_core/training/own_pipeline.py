"""A user's own pipeline from a Python file on this machine.

pipeline = own_pipeline("my_training.py")           # its function pipeline()
pipeline = own_pipeline("my_training.py:baseline")
"""

import sys
from pathlib import Path
from types import ModuleType

from recipe_core.errors import BadPipeline
from recipe_core.own_code import place, run_file, told
from recipe_core.time_limit import time_limit
from recipe_core.training.pipeline import Pipeline


class _TooLong(BaseException):
    """No Exception, so that a file's own `except Exception` lets it through."""


def own_pipeline(name: str, seconds: float = 600) -> Pipeline:
    """The pipeline that a function of a file makes; modules beside the file can be imported by it.

    Args:
        name: FILE.py or FILE.py:FUNCTION.
        seconds: that the file and its function may take together.

    Raises:
        BadPipeline: the file cannot be read or run, has no such function, or it returns no usable Pipeline in time.
    """
    path, function = _parted(name)
    if not path.is_file():
        raise BadPipeline(f"There is no file {path}; name a Python file with a function {function}() -> Pipeline.")
    from recipe_core.training import vision  # noqa: F401  # the file may import torchvision; some torches need help

    try:
        with time_limit(seconds, _TooLong()):
            return _usable(path, _made(path, function))
    except _TooLong as error:
        raise BadPipeline(f"{place(path, error)}: it has not made a pipeline within {seconds:g} s.") from None


def _made(path: Path, function: str) -> Pipeline:
    build = getattr(_run(path), function, None)
    if not callable(build):
        raise BadPipeline(
            f"{path} has no function {function}(); define it to return a Pipeline, or name it: {path}:NAME."
        )
    try:
        pipeline = build()
    except Exception as error:  # a user's code may raise anything
        raise BadPipeline(told(path, error, f" in {function}()")) from error
    if not isinstance(pipeline, Pipeline):
        returned = type(pipeline).__name__
        raise BadPipeline(f"{path}: {function}() returned {returned}; it should return a recipe_core.Pipeline.")
    return pipeline


def _parted(name: str) -> tuple[Path, str]:
    file, colon, function = name.rpartition(":")
    if colon and function.isidentifier() and file:
        return Path(file), function
    return Path(name), "pipeline"


def _run(path: Path) -> ModuleType:
    """The file as a module; modules beside it can be imported, and no cache is left beside them."""
    beside = str(path.resolve().parent)
    if beside not in sys.path:
        sys.path.insert(0, beside)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return run_file(path, "recipe_own_pipeline", BadPipeline)
    finally:
        sys.dont_write_bytecode = before


def _usable(path: Path, pipeline: Pipeline) -> Pipeline:
    """All that no experiment can do without, told at once."""
    mistakes = [
        f"{name} is {type(getattr(pipeline, name)).__name__}, not a function"
        for name in ("model_fn", "loss_fn", "optimizer_fn", "train_step", "evaluate", "forward")
        if not callable(getattr(pipeline, name))
    ]
    mistakes += [
        f"{name} is {type(getattr(pipeline, name)).__name__}, which gives no batches"
        for name in ("train_loader", "val_loader")
        if not (hasattr(getattr(pipeline, name), "__iter__") or hasattr(getattr(pipeline, name), "__getitem__"))
    ]
    if not isinstance(pipeline.num_classes, int) or pipeline.num_classes < 0:
        mistakes.append(f"num_classes is {pipeline.num_classes!r}, not a whole number (0 for regression)")
    if mistakes:
        raise BadPipeline(f"{path}: the Pipeline cannot be audited: {'; '.join(mistakes)}.")
    return pipeline
