"""What fit() costs beside a bare PyTorch loop, and the batches beside DataLoader + ImageFolder.

    .venv/bin/python -m benchmarks.training [--threads 1] [--only PRESET|loading|beside ...]

Hypotheses: with its metrics and the store a step of fit() takes at most 5 % longer than one of a bare loop over the
same model and batches, also of the linear model, whose step takes under 1 ms, as its fused Adam saves what the metrics
cost beside torch.optim.Adam as one writes it; beside a bare loop that takes fit's own optimizer, 15 % on that model;
from the second epoch on the batches of 32x32 images come at least 3 times faster than from DataLoader + ImageFolder +
torchvision's transforms with two workers (beside the process that takes the batches; ours has none). CPU seconds of
all processes are told beside those of the clock, as other work on the machine disturbs them less; the contestants take
turns. What a run does apart from its steps (checkpoints once a minute, evaluations) is not in the figures. Beside one
other busy process, training with a thread per core takes at most 1.5 times as long as alone if its threads wait as
recipe_core has them wait, and several times as long with OpenMP's own way.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.metrics import MetricWriter
from recipe_core.store import Store
from recipe_core.training.batches import Batches
from recipe_core.training.fit import fit
from recipe_core.training.pipeline import Pipeline, default_optimizer
from recipe_core.training.presets import PRESETS
from recipe_core.training.spec import RunSpec
from recipe_core.training.vision import torchvision

IMAGES, CLASSES, SIDE, BATCH = 10_000, 10, 32, 64
ROUNDS = 5
STEPS = {"linear": 4000, "tiny_cnn": 30, "resnet18": 4}
OTHERS = ("loading", "beside")
BUSY = "while True: pass"
STEPPING = """
import sys, time
import recipe_core  # which sets how threads wait, unless the environment does
import torch
from recipe_core.training.presets import PRESETS
from recipe_core.training.spec import RunSpec
pipeline = PRESETS["tiny_cnn"](__import__("pathlib").Path(sys.argv[1]), RunSpec.parse("tiny_cnn", {"device": "cpu"}))
model = pipeline.model_fn()
optimizer = pipeline.optimizer_fn(model)
batch = next(iter(pipeline.train_loader))
for step in range(21):
    if step == 1:
        begun = time.perf_counter()
    pipeline.train_step(model, batch, pipeline.loss_fn, optimizer)
print((time.perf_counter() - begun) / 20)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=[*STEPS, *OTHERS], default=[*STEPS, *OTHERS])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
        tensors = _tensors(folder / "tensors", images)
        for preset, steps in STEPS.items():
            if preset in options.only:
                _compare_loops(preset, steps, tensors, folder)
        if "loading" in options.only:
            _compare_loading(tensors, _image_folder(folder / "images", images))
        if "beside" in options.only:
            _compare_waits(tensors)


def _compare_loops(preset: str, steps: int, tensors: Path, folder: Path) -> None:
    spec = RunSpec.parse(preset, {"steps": steps, "eval_every": steps, "device": "cpu"})
    store = Store(folder / "store")
    bare, with_fused, ours = [], [], []
    for turn in range(ROUNDS):
        bare.append(_bare_loop(PRESETS[preset](tensors, spec), default_optimizer, steps))
        pipeline = PRESETS[preset](tensors, spec)
        with_fused.append(_bare_loop(pipeline, pipeline.optimizer_fn, steps))
        with MetricWriter(store, turn) as writer:
            recorder = _Recorder(writer, steps)
            fit(PRESETS[preset](tensors, spec), spec, folder / f"{preset}-{turn}", recorder)
        ours.append(recorder.seconds)
    print(f"{preset:10} fit {1e3 * min(ours) / (steps - 1):7.2f} ms/step")
    for name, theirs in (("torch.optim.Adam", bare), ("fit's optimizer", with_fused)):
        ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
        print(
            f"    bare loop with {name:16} {1e3 * min(theirs) / (steps - 1):7.2f} ms/step   "
            f"ratio: median of pairs {ratio:.3f}, of the best {min(ours) / min(theirs):.3f}",
            flush=True,
        )


def _bare_loop(pipeline: Pipeline, optimizer_fn: Callable, steps: int) -> float:
    """CPU seconds of all its steps but the first."""
    model = pipeline.model_fn().train()
    optimizer = optimizer_fn(model)
    batches = _endless(pipeline.train_loader)
    for step in range(steps):
        x, y = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        loss.item()
        if step == 0:
            begun = time.process_time()
    return time.process_time() - begun


def _endless(loader):
    while True:
        yield from loader


class _Recorder:
    """Writes to the store as a run does, and takes the CPU time of all steps but the first.

    The clock is read twice in all: where it is a call to the kernel, reading it costs as much as what is measured.
    """

    def __init__(self, writer: MetricWriter, steps: int):
        self.writer = writer
        self.steps = steps
        self.begun = self.seconds = 0.0

    def record(self, step: int, values: dict[str, float]) -> None:
        self.writer.record(step, values)
        if "train_loss" in values and step == 0:
            self.begun = time.process_time()
        elif "train_loss" in values and step == self.steps - 1:
            self.seconds = time.process_time() - self.begun

    def flush(self) -> None:
        self.writer.flush()

    def check(self) -> None:
        pass


def _compare_waits(tensors: Path) -> None:
    """Seconds of a step of tiny_cnn, alone and beside a busy process of another session, with either way of waiting."""
    waits = {"OpenMP's own": {"GOMP_SPINCOUNT": "300000"}, "recipe_core's": {}}  # what libgomp does by default
    times: dict[tuple[str, bool], list[float]] = {}
    for _ in range(3):
        for beside in (False, True):
            # A session of its own: the scheduler shares the cores among sessions first, whatever their processes.
            busy = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True) if beside else None
            for name, environment in waits.items():
                command = [sys.executable, "-c", STEPPING, str(tensors)]
                told = subprocess.run(command, env=os.environ | environment, capture_output=True, check=True, text=True)
                times.setdefault((name, beside), []).append(float(told.stdout))
            if busy:
                busy.kill()
                busy.wait()
    for name in waits:
        alone, shared = (statistics.median(times[name, beside]) for beside in (False, True))
        print(f"waits {name:13} alone {1e3 * alone:6.1f} ms/step   beside another {1e3 * shared:6.1f}", flush=True)


def _compare_loading(tensors: Path, images: Path) -> None:
    loader = Batches(tensors, "train", BATCH, seed=0)
    mean, std = (json.loads((tensors / "meta.json").read_text())[f"channel_{name}"] for name in ("mean", "std"))
    transforms = torchvision.transforms
    steps = [
        transforms.Resize(SIDE),
        transforms.CenterCrop(SIDE),
        transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ]
    theirs = DataLoader(
        torchvision.datasets.ImageFolder(images, transforms.Compose(steps)),
        BATCH,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
    )
    for each in (loader, theirs):
        _drain(each)  # the first epoch
    ours, others = [], []
    for _ in range(ROUNDS):
        ours.append(_paces(loader))
        others.append(_paces(theirs))
    for name, column in (("clock", 0), ("CPU", 1)):
        mine, other = (max(paces[column] for paces in each) for each in (ours, others))
        print(
            f"loading from the second epoch on, by the {name}: Batches {mine:,.0f} images/s   "
            f"DataLoader + ImageFolder, 2 workers {other:,.0f} images/s   ratio {mine / other:.1f}"
        )


def _paces(loader) -> tuple[float, float]:
    """Images per second of one epoch: by the clock, and by the CPU time of this process and all its children."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    cpu, clock = _cpu_seconds(processes), time.perf_counter()
    _drain(loader)
    return IMAGES / (time.perf_counter() - clock), IMAGES / (_cpu_seconds(processes) - cpu)


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in processes)


def _drain(loader) -> None:
    for _ in loader:
        pass


def _tensors(folder: Path, images: np.ndarray) -> Path:
    """What `build_tensors` writes, of random images."""
    folder.mkdir(parents=True)
    labels = np.arange(IMAGES) % CLASSES
    for split, chosen in (("train", slice(None)), ("val", slice(0, BATCH))):
        np.save(folder / f"{split}_images.npy", images[chosen])
        np.save(folder / f"{split}_labels.npy", labels[chosen])
    meta = {"classes": [str(each) for each in range(CLASSES)], "size": SIDE}
    meta |= {"channel_mean": [0.5] * 3, "channel_std": [0.29] * 3}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def _image_folder(folder: Path, images: np.ndarray) -> Path:
    for number, pixels in enumerate(images):
        place = folder / str(number % CLASSES)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
