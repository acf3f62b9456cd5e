"""Keeping the caller's objects as they were found, whatever an experiment does to them.

kept = Kept(pipeline)
with kept.untouched():
    ...                     # train, evaluate, draw from the loaders
"""

import contextlib
import functools
import random
import sys
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

MOST_BYTES = 2**28  # a larger tensor or array is somebody's dataset
SMALL_BYTES = 2**23  # up to here contents are put back even where torch saw no change
MOST_ITEMS = 4096  # a longer list is somebody's dataset
MOST_OBJECTS = 100_000
LEFT_ALONE = sys.stdlib_module_names | {"numpy", "pandas", "PIL", "pyarrow", "duckdb", "sqlalchemy", "sklearn", "scipy"}


class Kept:
    """All state that can be reached from an object through attributes, closures, arguments and globals.

    Models, optimizers, loaders, generators and counters among it; modules of the standard library, iterators under
    way and what is larger than MOST_BYTES are not.
    """

    def __init__(self, root: object):
        self._undo: list[Callable[[], object]] = []
        self._seen: dict[int, Any] = {}  # holds the objects, so that an id stays theirs
        self._wait: list[Any] = [root]
        while self._wait and len(self._seen) < MOST_OBJECTS:
            self._visit(self._wait.pop())

    def restore(self) -> None:
        """Put everything back to what it was when this was made."""
        for undo in self._undo:
            undo()

    @contextlib.contextmanager
    def untouched(self) -> Iterator[None]:
        """Whatever happens inside leaves the objects, the sources of chance and torch's settings as they are."""
        with as_found():
            try:
                yield
            finally:
                self.restore()

    def _visit(self, item: Any) -> None:
        if id(item) in self._seen or item is None or isinstance(item, (str, bytes, int, float, type, types.ModuleType)):
            return
        self._seen[id(item)] = item
        if isinstance(item, torch.Tensor):
            self._keep_tensor(item)
        elif isinstance(item, np.ndarray):
            self._keep_array(item)
        elif isinstance(item, torch.Generator):
            self._undo.append(functools.partial(item.set_state, item.get_state()))
        elif isinstance(item, np.random.Generator):
            self._undo.append(functools.partial(setattr, item.bit_generator, "state", item.bit_generator.state))
        elif isinstance(item, np.random.RandomState):
            self._undo.append(functools.partial(item.set_state, item.get_state()))
        elif isinstance(item, random.Random):
            self._undo.append(functools.partial(item.setstate, item.getstate()))
        elif isinstance(item, types.FunctionType):
            self._keep_function(item)
        elif isinstance(item, types.MethodType):
            self._wait += [item.__self__, item.__func__]
        elif isinstance(item, functools.partial):
            self._wait += [item.func, *item.args, *item.keywords.values()]
        elif isinstance(item, (list, deque, dict, set)):
            self._keep_container(item)
            self._keep_attributes(item)
        elif isinstance(item, tuple):
            self._wait += item[:MOST_ITEMS]
        else:
            self._keep_attributes(item)

    def _keep_tensor(self, item: torch.Tensor) -> None:
        usual = item.layout == torch.strided and item.is_leaf and not item.is_inference()
        if not usual or item.numel() * item.element_size() > MOST_BYTES:
            return
        # The same memory under another name: `tensor.data = other` and changes of `tensor.data` are undone, too.
        place, values, version = item.data, item.data.clone(), item._version
        grad, wants_grad = item.grad, item.requires_grad
        grad_values = None if grad is None else grad.detach().clone()
        small = values.numel() * values.element_size() <= SMALL_BYTES

        def undo() -> None:
            if item.data_ptr() != place.data_ptr() or item.device != place.device:
                item.data = place
            if (small or item._version != version) and not torch.equal(place, values):
                place.copy_(values)
            if item.is_leaf:
                item.requires_grad_(wants_grad)
            item.grad = grad
            if grad is not None and grad_values is not None:
                grad.detach().copy_(grad_values)

        self._undo.append(undo)

    def _keep_array(self, item: np.ndarray) -> None:
        if item.flags.writeable and not item.dtype.hasobject and item.nbytes <= SMALL_BYTES:
            self._undo.append(functools.partial(np.copyto, item, item.copy()))

    def _keep_function(self, function: types.FunctionType) -> None:
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                self._undo.append(functools.partial(setattr, cell, "cell_contents", cell.cell_contents))
                self._wait.append(cell.cell_contents)
        self._wait += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        self._wait += vars(function).values()
        home = function.__globals__
        if not _is_library(home.get("__name__", ""), home.get("__file__")):
            for name in _names(function.__code__) & home.keys():
                self._undo.append(functools.partial(home.__setitem__, name, home[name]))
                self._wait.append(home[name])

    def _keep_container(self, item: Any) -> None:
        if len(item) > MOST_ITEMS:
            return
        if isinstance(item, dict):
            self._wait += item.values()
            self._undo.append(functools.partial(_refill_dict, item, dict(item)))
        else:
            self._wait += item
            fill = item.update if isinstance(item, set) else item.extend
            self._undo.append(functools.partial(_refill, item, list(item), fill))

    def _keep_attributes(self, item: Any) -> None:
        own = getattr(item, "__dict__", None)
        if not isinstance(own, dict) or _is_library(type(item).__module__, None):
            return
        self._seen[id(own)] = own
        self._wait += own.values()
        self._undo.append(functools.partial(_refill_dict, own, dict(own)))
        for method in vars(type(item)).values():  # what they reach in their file
            if isinstance(method, types.FunctionType) and not type(item).__module__.startswith("torch"):
                self._wait.append(method)


def _refill_dict(item: dict, saved: dict) -> None:
    """The contents only: a defaultdict or OrderedDict keeps its kind."""
    if len(item) != len(saved) or any(key not in item or item[key] is not value for key, value in saved.items()):
        item.clear()
        item.update(saved)


def _refill(item: Any, saved: list, fill: Callable) -> None:
    item.clear()
    fill(saved)


def _names(code: types.CodeType) -> set[str]:
    """The names that a function and the functions inside it look up."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _is_library(module: str, file: str | None) -> bool:
    return module.partition(".")[0] in LEFT_ALONE - {"__main__"} or "site-packages" in (file or "")


@contextlib.contextmanager
def as_found() -> Iterator[None]:
    """Sources of chance, torch's settings and the filters of warnings are afterwards what they were."""
    random_state, numpy_state = random.getstate(), np.random.get_state()
    threads, grad, deterministic = (
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    dtype, benchmark = torch.get_default_dtype(), torch.backends.cudnn.benchmark
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            random.setstate(random_state)
            np.random.set_state(numpy_state)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            torch.set_grad_enabled(grad)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.set_default_dtype(dtype)
            torch.backends.cudnn.benchmark = benchmark
