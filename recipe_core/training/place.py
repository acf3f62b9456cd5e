"""Where this process computes: its device, and its place among those that share a run (`ranks` starts them)."""

from collections.abc import Callable

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from recipe_core.errors import BadSettings


def place() -> tuple[int, int]:
    """This process's rank, and how many share the run."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def device_of(wanted: str) -> str:
    """cpu or cuda.

    Args:
        wanted: auto, cpu or cuda.

    Raises:
        BadSettings: cuda, where there is none.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise BadSettings("device is cuda, but torch finds no CUDA device on this machine; take device=auto or cpu.")
    return "cuda" if there and wanted != "cpu" else "cpu"


class SharedStep:
    """A train step whose gradients and loss are the means over all ranks.

    Args:
        step: the train step of one process.
    """

    def __init__(self, step: Callable):
        self._step = step
        self._model: nn.Module | None = None

    def __call__(self, model: nn.Module, batch, loss_fn: Callable, optimizer: torch.optim.Optimizer) -> float:
        if self._model is None or self._model.module is not model:
            self._model = DistributedDataParallel(model)
        loss = torch.tensor(self._step(self._model, batch, loss_fn, optimizer), dtype=torch.float64)
        distributed.all_reduce(loss)
        return loss.item() / place()[1]
