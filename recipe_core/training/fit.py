"""The training loop, one page from top to bottom.

model = fit(PRESETS["linear"](folder, spec), spec, run_folder, recorder)
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from recipe_core.errors import OutOfMemory, Replaced, Stopped
from recipe_core.training.checkpoint import Checkpoint, seed_everything
from recipe_core.training.gauge import Gauge, all_finite, diverged
from recipe_core.training.pipeline import Pipeline
from recipe_core.training.spec import RunSpec

EVALUATIONS = 10  # at least so many in a run, unless the spec says otherwise


class Recorder(Protocol):
    """Where a run's measurements go. After a resume, steps since the checkpoint come again with the same values."""

    def record(self, step: int, values: dict[str, float]) -> None:
        """Keep the values of one step; of a step more than one call may come, with different names."""

    def flush(self) -> None:
        """Write what was recorded where the end of this process does not reach it; may raise Replaced."""

    def check(self) -> None:
        """Raise Stopped if the run is to stop."""


def fit(
    pipeline: Pipeline,
    spec: RunSpec,
    folder: Path,
    recorder: Recorder,
    on_evaluation: Callable[[int, nn.Module], None] = lambda step, model: None,
) -> nn.Module:
    """Train a pipeline for its total_steps, or for the rest of them if the folder has a checkpoint.

    Of step k are recorded, all before its update: train_loss, learning_rate, samples_per_second, and of the steps that
    the Gauge measures train_accuracy, grad_norm, update_ratio (|update| / |weights|); and at every evaluation val_loss
    and val_accuracy of the model after k updates, at step 0 before any. Seeds the process' sources of chance.

    Args:
        folder: of the run; the checkpoint is `<folder>/checkpoints/last.pt`.
        on_evaluation: called with the number of updates and the model after each evaluation.

    Raises:
        Stopped: the recorder said so; a checkpoint was saved, unless it said Replaced.
        Diverged: a loss, gradient or weight is no finite number; the last good checkpoint stays.
        OutOfMemory: a batch does not fit, and which would.
    """
    seed_everything(spec.seed)
    model = pipeline.model_fn().to(pipeline.device)
    optimizer = pipeline.optimizer_fn(model)
    scheduler = pipeline.scheduler_fn(optimizer) if pipeline.scheduler_fn else None
    checkpoint = Checkpoint(folder / "checkpoints", model, optimizer, scheduler, pipeline, spec.checkpoint_every)
    step = checkpoint.restore()
    per_epoch = len(pipeline.train_loader)  # type: ignore[arg-type]
    total = pipeline.total_steps or spec.total_steps(per_epoch)
    gauge = Gauge(model, total)
    eval_every = spec.eval_every or max(1, min(per_epoch, math.ceil(total / EVALUATIONS)))
    batches = endless(pipeline.train_loader)

    while True:
        # Between two updates: stop, save, evaluate. A run that is resumed here goes on as if it had not stopped.
        try:
            recorder.check()
            if checkpoint.due(step) or step == total:
                _save(checkpoint, step, recorder)
            if step % eval_every == 0 or step == total:
                measured = pipeline.evaluate(model, checked(pipeline.val_loader, recorder.check))
                values = {f"val_{name}": value for name, value in measured.items()}
                if not all_finite(values):
                    raise diverged(model, next(iter(pipeline.val_loader)), pipeline.forward, step, "validation loss")
                recorder.record(step, values)
                on_evaluation(step, model)
        except Replaced:
            raise
        except Stopped:
            _save(checkpoint, step, recorder)
            raise
        if step == total:
            gauge.close()
            return model

        # One update.
        started = time.perf_counter()
        batch = next(batches)
        try:
            loss = pipeline.train_step(model, batch, pipeline.loss_fn, optimizer)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(pipeline, model, optimizer, batch) from error
        seconds = time.perf_counter() - started
        values = {"train_loss": loss, "learning_rate": optimizer.param_groups[0]["lr"]}
        if not (all_finite(values) and all_finite(values := values | gauge.measure(step, batch[1]))):
            gauge.undo()
            what = "gradient or update" if math.isfinite(loss) else "training loss"
            raise diverged(model, batch, pipeline.forward, step, what)
        recorder.record(step, {**values, "samples_per_second": len(batch[1]) / seconds})
        step += 1
        if scheduler and (pipeline.scheduler_interval == "step" or step % per_epoch == 0):
            scheduler.step()


def _save(checkpoint: Checkpoint, step: int, recorder: Recorder) -> None:
    recorder.flush()  # first, for after a resume only what follows the checkpoint comes again
    checkpoint.save(step)


def endless(loader: Iterable) -> Iterator:
    """Its batches, epoch after epoch."""
    while True:
        yield from loader


def checked(loader: Iterable, check: Callable[[], None]) -> Iterator:
    """Its batches, with a look before each whether to go on."""
    for batch in loader:
        check()
        yield batch


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch could not get memory, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def out_of_memory(pipeline: Pipeline, model: nn.Module, optimizer: torch.optim.Optimizer, batch) -> OutOfMemory:
    """The error that names the largest half, quarter, ... of the batch that a step can take."""
    samples = fits = len(batch[1])
    while (fits := fits // 2) > 0:
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        try:
            pipeline.train_step(model, [part[:fits] for part in batch], pipeline.loss_fn, optimizer)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            advice = f"a batch of {fits} fits: set batch_size={fits}"
            break
    else:
        advice = "not even one sample fits: take a smaller model or size"
    return OutOfMemory(f"A batch of {samples} samples does not fit into the memory of {pipeline.device}; {advice}.")
