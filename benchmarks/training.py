"""What fit() costs beside a bare PyTorch loop, and the batches beside DataLoader + ImageFolder.

    .venv/bin/python -m benchmarks.training [--threads 1]

Hypotheses: with its metrics, store and checkpoints fit() takes at most 5 % longer than a bare loop over the same model
and batches where a step takes 5 ms or more (tiny_cnn, resnet18), and some 0.2 ms a step in any case; from the second
epoch on the batches of 32x32 images come at least 3 times faster than from DataLoader + ImageFolder + torchvision's
transforms with two workers. Seconds are CPU time where only one process works, which other work on the machine disturbs
less; the contestants take turns.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.metrics import MetricWriter
from recipe_core.store import Store
from recipe_core.training.batches import Batches
from recipe_core.training.fit import fit
from recipe_core.training.pipeline import Pipeline
from recipe_core.training.presets import PRESETS
from recipe_core.training.spec import RunSpec
from recipe_core.training.vision import torchvision

IMAGES, CLASSES, SIDE, BATCH = 10_000, 10, 32, 64
ROUNDS = 3
STEPS = {"linear": 400, "tiny_cnn": 30, "resnet18": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
        tensors = _tensors(folder / "tensors", images)
        for preset, steps in STEPS.items():
            _compare_loops(preset, steps, tensors, folder)
        _compare_loading(tensors, _image_folder(folder / "images", images))


def _compare_loops(preset: str, steps: int, tensors: Path, folder: Path) -> None:
    spec = RunSpec.parse(preset, {"steps": steps, "eval_every": steps, "device": "cpu"})
    store = Store(folder / "store")
    bare, ours = [], []
    for turn in range(ROUNDS):
        bare.append(_cpu_seconds(lambda: _bare_loop(PRESETS[preset](tensors, spec), steps)))
        with MetricWriter(store, turn) as writer:
            recorder = _Recorder(writer)
            fit(PRESETS[preset](tensors, spec), spec, folder / f"{preset}-{turn}", recorder)
        ours.append(recorder.seconds)
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    print(
        f"{preset:10} bare loop {1e3 * min(bare) / steps:7.2f} ms/step   "
        f"fit {1e3 * min(ours) / steps:7.2f} ms/step   ratio {ratio:.3f}"
    )


def _bare_loop(pipeline: Pipeline, steps: int) -> None:
    model = pipeline.model_fn().train()
    optimizer = pipeline.optimizer_fn(model)
    batches = _endless(pipeline.train_loader)
    for _ in range(steps):
        x, y = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        loss.item()


def _endless(loader):
    while True:
        yield from loader


class _Recorder:
    """Writes to the store as a run does, and takes the CPU time from the first training step to the last."""

    def __init__(self, writer: MetricWriter):
        self.writer = writer
        self.begun: float | None = None
        self.seconds = 0.0

    def record(self, step: int, values: dict[str, float]) -> None:
        self.writer.record(step, values)
        if "train_loss" in values and self.begun is not None:
            self.seconds = time.process_time() - self.begun

    def check(self) -> None:
        if self.begun is None:
            self.begun = time.process_time()


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
    ours_seconds, theirs_seconds = [], []
    for _ in range(3):
        ours_seconds.append(_seconds(lambda: _drain(loader)))
        theirs_seconds.append(_seconds(lambda: _drain(theirs)))
    ours_pace, theirs_pace = IMAGES / min(ours_seconds), IMAGES / min(theirs_seconds)
    print(
        f"loading, second epoch on: Batches {ours_pace:,.0f} images/s   DataLoader + ImageFolder, 2 workers "
        f"{theirs_pace:,.0f} images/s   ratio {ours_pace / theirs_pace:.1f}"
    )


def _drain(loader) -> None:
    for _ in loader:
        pass


def _cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


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
