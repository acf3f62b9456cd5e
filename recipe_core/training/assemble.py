"""A Pipeline from a folder of tensors, a spec and the name of a model: what all presets share."""

import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from recipe_core.errors import BadModel, BadSettings
from recipe_core.training.batches import Batches
from recipe_core.training.expectation import class_prior
from recipe_core.training.models import MODELS, last_linear, own_model, start_at_prior, start_at_zero
from recipe_core.training.pipeline import Pipeline, default_train_step
from recipe_core.training.place import SharedStep, device_of, place
from recipe_core.training.spec import RunSpec

EVAL_BATCH = 128  # samples at least: without gradients more fit, and small batches are slow


def assemble(folder: Path, spec: RunSpec, model: str, zero_input: bool = False, fixed: int | None = None) -> Pipeline:
    """The pipeline of a preset.

    Args:
        model: a name in MODELS; the spec's own file comes before it.
        zero_input: give the model zeros instead of the images.
        fixed: train on this many samples only, whatever the spec's subset says.

    Raises:
        BadSettings: the spec asks for what this machine or dataset does not have.
        BadModel: the user's model file cannot be used.
    """
    device = device_of(spec.device)
    split = functools.partial(
        Batches, folder, seed=spec.seed, zero_input=zero_input, device=device, channels_last=spec.channels_last
    )
    labels = np.load(folder / "train_labels.npy")
    rows = _subset(len(labels), fixed or spec.subset, spec.seed)
    train = split(split="train", batch_size=spec.batch_size, rows=rows, share=place())
    if train.batch_size % spec.processes:
        raise BadSettings(f"batch_size is {train.batch_size}, which {spec.processes} processes cannot share evenly.")
    val = split(split="val", batch_size=max(spec.batch_size, EVAL_BATCH))
    num_classes = len(train.classes)
    total_steps = spec.total_steps(len(train))
    if spec.warmup_steps >= total_steps:
        raise BadSettings(f"warmup_steps is {spec.warmup_steps}, but the run has {total_steps} steps only.")
    prior = class_prior(np.bincount(labels, minlength=num_classes))
    build = _own_model if spec.model_file else _preset_model
    train_step = functools.partial(default_train_step, autocast=torch.bfloat16) if spec.bf16 else default_train_step
    return Pipeline(
        model_fn=functools.partial(build, spec, model, train.size, prior),
        train_loader=train,
        val_loader=val,
        num_classes=num_classes,
        optimizer_fn=functools.partial(_optimizer, spec),
        scheduler_fn=functools.partial(_scheduler, spec, total_steps) if _rate_changes(spec) else None,
        train_step=SharedStep(train_step) if place()[1] > 1 else train_step,
        preprocess_train=train.normalise,
        preprocess_eval=val.normalise,
        raw_train_loader=_Raw(train),
        raw_val_loader=_Raw(val),
        total_steps=total_steps,
        class_names=train.classes,
        device=device,
    )


class _Raw:
    """The raw batches of a loader, as often as they are asked for."""

    def __init__(self, batches: Batches):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self):
        return self.batches.raw()


def _subset(samples: int, wanted: int | None, seed: int) -> np.ndarray | None:
    """A fixed choice of rows by the seed, or None for all."""
    if wanted is None or wanted >= samples:
        return None
    return np.sort(np.random.default_rng(seed).choice(samples, wanted, replace=False))


def _preset_model(spec: RunSpec, name: str, size: int, prior: np.ndarray) -> nn.Module:
    model = MODELS[name](len(prior), size)
    head = last_linear(model, len(prior))
    assert head is not None
    start_at_zero(head)
    if spec.bias_to_prior:
        start_at_prior(head, prior)
    return _laid_out(model, spec)


def _own_model(spec: RunSpec, name: str, size: int, prior: np.ndarray) -> nn.Module:
    """The user's model; its weights start as its author wants, only the final bias at the prior."""
    path = Path(str(spec.model_file))
    model = own_model(path, len(prior), size)
    if spec.bias_to_prior:
        head = last_linear(model, len(prior))
        if head is None or head.bias is None:
            raise BadModel(
                f"{path}: the model has no final nn.Linear with a bias for {len(prior)} classes, which bias_to_prior "
                "needs; set bias_to_prior=false."
            )
        start_at_prior(head, prior)
    return _laid_out(model, spec)


def _laid_out(model: nn.Module, spec: RunSpec) -> nn.Module:
    if spec.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if spec.compile:
        model.compile()
    return model


def _optimizer(spec: RunSpec, model: nn.Module) -> torch.optim.Optimizer:
    rate, decay = spec.learning_rate, spec.weight_decay
    if spec.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=spec.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if spec.optimizer == "adamw" else torch.optim.Adam
    # One pass over all weights, in a sixth of the time; torch has it for real numbers only.
    fused = all(parameter.is_floating_point() for parameter in model.parameters())
    return kind(model.parameters(), lr=rate, weight_decay=decay, fused=fused)


def _rate_changes(spec: RunSpec) -> bool:
    return spec.schedule != "constant" or spec.warmup_steps > 0


def _scheduler(
    spec: RunSpec, total_steps: int, optimizer: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, _share_of_rate(spec, total_steps))


def _share_of_rate(spec: RunSpec, total_steps: int) -> Callable[[int], float]:
    """Step to the share of the learning rate: a linear rise, then constant or half a cosine down to zero."""

    def share(step: int) -> float:
        if step < spec.warmup_steps:
            return (step + 1) / (spec.warmup_steps + 1)
        if spec.schedule == "constant":
            return 1.0
        done = (step - spec.warmup_steps) / (total_steps - spec.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return share
