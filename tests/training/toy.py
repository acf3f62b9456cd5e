"""Folders of tensors from synthetic pictures, and a recorder that keeps what it is told."""

import json

import numpy as np
import pandas as pd
import torch

from recipe_core.errors import Stopped
from recipe_core.training.fit import fit
from recipe_core.training.presets import PRESETS
from recipe_core.training.spec import RunSpec

torch.set_num_threads(1)
COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 40]])


def tensors(folder, train=(64, 40, 24), val=(24, 15, 9), size=8, learnable=True, seed=0):
    """A folder of tensors whose classes have colours of their own; `train` and `val` count the samples per class."""
    chance = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split, counts in (("train", train), ("val", val)):
        labels = chance.permutation(np.repeat(np.arange(len(counts)), counts))
        colours = COLOURS[labels if learnable else chance.integers(0, len(counts), len(labels))]
        images = colours[:, None, None, :] + chance.normal(0, 30, (len(labels), size, size, 3))
        images = images.clip(0, 255).astype(np.uint8)
        np.save(folder / f"{split}_images.npy", images)
        np.save(folder / f"{split}_labels.npy", labels.astype(np.int64))
        if split == "train":
            pixels = images.reshape(-1, 3) / 255
    meta = {"classes": [f"class {each}" for each in range(len(train))], "size": size, "train": sum(train)}
    meta |= {"channel_mean": pixels.mean(0).tolist(), "channel_std": pixels.std(0).tolist(), "val": sum(val)}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


class Memory:
    """A Recorder; asked to stop before the step `stop_at`."""

    def __init__(self, stop_at=None):
        self.points = {}
        self.stop_at = stop_at
        self.updates = 0

    def record(self, step, values):
        self.points.setdefault(step, {}).update(values)
        self.updates += "train_loss" in values

    def flush(self):
        pass

    def check(self):
        if self.updates == self.stop_at:
            raise Stopped("asked to stop")

    def history(self):
        return pd.DataFrame.from_dict(self.points, orient="index").sort_index()

    def curve(self):
        """Everything but the speed, which no seed decides."""
        return self.history().drop(columns="samples_per_second", errors="ignore")


def train(folder, run_folder, preset, settings=None, seed=0, recorder=None, change=lambda pipeline: None, **more):
    """Fit a preset; what was recorded."""
    spec = RunSpec.parse(preset, {"device": "cpu", **(settings or {})}, seed)
    pipeline = PRESETS[preset](folder, spec)
    change(pipeline)
    recorder = recorder or Memory()
    recorder.model = fit(pipeline, spec, run_folder, recorder, **more)
    return recorder
