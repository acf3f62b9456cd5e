"""One run in several processes that share each batch, on a GPU each (on a CPU: some of its cores each).

    with companions(spec, tensors, folder) as share:  # this process is rank 0
        pipeline = PRESETS[spec.preset](tensors, spec)
        model = fit(pipeline, spec, folder, share(recorder))

Each rank goes through the same fit() with the same weights and order of batches, and takes a share of each batch;
torch's DistributedDataParallel makes their gradients one. Rank 0 alone writes metrics and checkpoints and says when to
stop. Started here and not by torchrun: the job's worker must stay the process that is stopped, killed and resumed.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from recipe_core.errors import BadSettings, RecipeError, Stopped
from recipe_core.training.fit import Recorder, fit
from recipe_core.training.place import device_of
from recipe_core.training.presets import PRESETS
from recipe_core.training.spec import RunSpec

PATIENCE = timedelta(minutes=5)  # with a rank that does not come to an exchange


@contextmanager
def companions(
    spec: RunSpec, tensors: Path, folder: Path, guard: Callable[[], None] | None = None
) -> Iterator[Callable[[Recorder], Recorder]]:
    """Start the other processes of a run, which train along while the block does, and end with it.

    Gives what makes the recorder for fit() out of one's own. Of a run of one process it starts nothing.

    Args:
        folder: of the run.
        guard: called first in each of them, by import path.

    Raises:
        BadSettings: this machine has not so many GPUs or cores.
        RecipeError: one of them ended early.
    """
    if spec.processes == 1:
        yield lambda recorder: recorder
        return
    _require(spec)
    start = multiprocessing.get_context("spawn").Process
    with tempfile.TemporaryDirectory() as temporary:
        meeting = f"file://{temporary}/ranks"
        given = (spec, tensors, folder, meeting, guard)
        others = [start(target=_companion, args=(rank, *given), daemon=True) for rank in range(1, spec.processes)]
        for each in others:
            each.start()
        try:
            _join(0, spec, meeting)
            yield lambda recorder: _Shared(recorder, spec)
            distributed.destroy_process_group()
        except RuntimeError as error:
            if not _is_of_the_exchange(error):
                raise
            raise RecipeError(
                "Another process of the run ended early; the log says why. Resume goes on from the last checkpoint."
            ) from error
        finally:
            for each in others:
                each.terminate()
                each.join()


def _require(spec: RunSpec) -> None:
    gpus = device_of(spec.device) == "cuda"
    there = torch.cuda.device_count() if gpus else os.cpu_count() or 1
    if spec.processes > there:
        raise BadSettings(f"processes is {spec.processes}, but this machine has {there} {'GPUs' if gpus else 'cores'}.")


def _companion(rank: int, spec: RunSpec, tensors: Path, folder: Path, meeting: str, guard: Callable | None) -> None:
    """The life of rank 1, 2, ...: fit() once more, without a word."""
    if guard:
        guard()
    _join(rank, spec, meeting)
    with suppress(Stopped):  # rank 0 said so, and tells the store
        fit(PRESETS[spec.preset](tensors, spec), spec, folder, _Shared(None, spec))


def _join(rank: int, spec: RunSpec, meeting: str) -> None:
    if device_of(spec.device) == "cuda":
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // spec.processes))
        backend = "gloo"
    distributed.init_process_group(backend, meeting, PATIENCE, spec.processes, rank)


def _is_of_the_exchange(error: RuntimeError) -> bool:
    """Whether it says that another process is gone, and not what is wrong in this one."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


class _Shared:
    """A Recorder for one of several ranks: rank 0's is asked whether to go on, and all do what it says.

    Args:
        recorder: rank 0's own; the others have none.
    """

    def __init__(self, recorder: Recorder | None, spec: RunSpec):
        self.recorder = recorder
        self.ranks = spec.processes

    def record(self, step: int, values: dict[str, float]) -> None:
        if self.recorder:
            pace = {name: values[name] * self.ranks for name in ("samples_per_second",) if name in values}
            self.recorder.record(step, values | pace)

    def flush(self) -> None:
        if self.recorder:
            self.recorder.flush()

    def check(self) -> None:
        end: Stopped | None = None
        try:
            if self.recorder:
                self.recorder.check()
        except Stopped as stopped:
            end = stopped
        ending = torch.tensor(end is not None)
        distributed.broadcast(ending, src=0)
        if ending:
            raise end or Stopped("Rank 0 was asked to stop.")
