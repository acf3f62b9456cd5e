"""Checkpoints: everything that a run needs to go on as if it had never stopped, bit for bit on a CPU."""

import io
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from recipe_core.training.gauge import require_finite
from recipe_core.training.pipeline import Pipeline
from recipe_core.training.place import place

EVERY_SECONDS = 60.0


class Checkpoint:
    """The run's one checkpoint, `<folder>/last.pt`, and when the next is due.

    Args:
        every: steps between two; None: a minute.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        pipeline: Pipeline,
        every: int | None = None,
    ):
        self.path = folder / "last.pt"
        self.every = every
        self._parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        self._loader = pipeline.train_loader
        self._device = pipeline.device
        self._saved_at: float | None = None

    def due(self, step: int) -> bool:
        """Whether one should be saved before this step; the first is due at once, so that there always is one."""
        if self._saved_at is None:
            return True
        if self.every is not None:
            return step % self.every == 0
        return time.monotonic() - self._saved_at > EVERY_SECONDS

    def save(self, step: int) -> None:
        """Write it beside its place and rename it into it; the old one stays if that fails, as on a full disk.

        Of the processes that share a run only the first writes.

        Raises:
            Diverged: a weight is no finite number; the old one stays.
        """
        require_finite(self._parts["model"], step)
        if place()[0] > 0:
            return
        content = io.BytesIO()
        state = {name: part.state_dict() for name, part in self._parts.items() if part is not None}
        torch.save({"step": step, "batches": self._batches(), "random": _random_state(), **state}, content)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_suffix(".partial")
        try:
            with half.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            half.replace(self.path)
        finally:
            half.unlink(missing_ok=True)
        self._saved_at = time.monotonic()

    def restore(self) -> int:
        """Set everything to where the checkpoint was made; the step to go on with, 0 if there is none."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, map_location=self._device, weights_only=True)
        for name, part in self._parts.items():
            if part is not None:
                part.load_state_dict(state[name])
        if state["batches"] is not None:
            self._loader.restore(state["batches"])  # type: ignore[attr-defined]
        _restore_random_state(state["random"])
        self._saved_at = time.monotonic()
        return state["step"]

    def _batches(self) -> dict[str, int] | None:
        return self._loader.state() if hasattr(self._loader, "state") else None


def seed_everything(seed: int) -> None:
    """Every source of chance that training may draw from."""
    # Without an accelerator torch.manual_seed does no more than this, but notes the whole stack for each kind: 0.5 ms.
    (torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed)(seed)
    random.seed(seed)
    np.random.seed(seed)


def _random_state() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
    }


def _restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda"]])
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
