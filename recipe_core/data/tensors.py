"""The decoded images of a manifest at one size, as files that training maps into memory.

    folder = build_tensors(dataset.opened, manifest, 32, dataset.folder / "tensors", print, lambda: None)
    images = np.load(folder / "train_images.npy", mmap_mode="r")    # uint8 (n, 32, 32, 3), upright RGB

A folder `<manifest hash>-<size>` is complete, always; it is built under another name. For each of train and val:

    train_images.npy     uint8 (n, size, size, 3): the centred square of each image
    train_labels.npy     int64 (n,): positions in the classes
    train_samples.json   the n keys, in the rows' order
    meta.json            classes, size, manifest (its hash), train and val (samples of each), train_samples and
                         val_samples (file names), channel_mean and channel_std (of train, red, green, blue, 0 to 1)
"""

import errno
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pandas as pd

from recipe_core.data.catalog import Catalog
from recipe_core.data.manifest import Manifest, readable_samples
from recipe_core.data.sources import Source
from recipe_core.data.squares import Chunk, Outcome, start_process, write_chunk
from recipe_core.errors import NotTrainable

SPLITS = ("train", "val")
CHUNK_BYTES = 2**21  # decoded pixels that are written, and counted as progress, at once
MOST_CHUNK_SAMPLES = 256
MOST_PROCESSES = 8  # each takes about 100 MB
LEFTOVER_SECONDS = 24 * 3600.0  # what a killed process left half-built is deleted at this age


def default_size(catalog: Catalog) -> int:
    """The size in px that suits a dataset on a CPU: its median shorter side, in steps of 8, from 16 to 64.

    Raises:
        NotTrainable: no scan has finished, or no sample is readable.
    """
    sides = readable_samples(catalog, ["width", "height"])
    median = np.median(np.minimum(sides["width"].to_numpy(), sides["height"].to_numpy()))
    return int(np.clip(int(median / 8 + 0.5) * 8, 16, 64))


def build_tensors(
    source: Source,
    manifest: Manifest,
    size: int,
    folder: Path,
    on_progress: Callable[[int, int], None],
    check: Callable[[], None],
) -> Path:
    """Decode the samples of train and val in parallel, unless that was done before.

    Args:
        size: px, of each side.
        folder: where the folders of all manifests and sizes of the dataset stand.
        on_progress: called with the images done and all images.
        check: called about twice a second and before the result is put in its place; may raise to end the build.

    Returns:
        The folder of the files.

    Raises:
        NotTrainable: samples have vanished or changed since the scan, or the disk is too small.
    """
    target = folder / f"{manifest.hash}-{size}"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    _delete_leftovers(folder)
    # A name of its own: two runs may build the same at the same time, and the first to finish wins.
    partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".partial", dir=folder))
    try:
        _fill(partial, source, manifest, size, on_progress, check)
        check()
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():
                raise
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            raise _disk_is_full(partial) from problem
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _delete_leftovers(folder: Path) -> None:
    for path in folder.glob("*.partial"):
        if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _fill(
    partial: Path,
    source: Source,
    manifest: Manifest,
    size: int,
    on_progress: Callable[[int, int], None],
    check: Callable[[], None],
) -> None:
    frames = dict(zip(SPLITS, (manifest.train, manifest.val), strict=True))
    total = sum(map(len, frames.values()))
    needed = total * size * size * 3
    _require_room(partial, needed)
    number_of = {label: number for number, label in enumerate(manifest.classes)}
    chunks: list[Chunk] = []
    for split, frame in frames.items():
        labels = frame["label"].map(number_of).to_numpy(np.int64)
        np.save(partial / f"{split}_labels.npy", labels)
        _write_json(partial / f"{split}_samples.json", frame["sample"].tolist())
        chunks += _chunks(partial / f"{split}_images.npy", split, size, frame)
    counted = Outcome()
    done = 0
    on_progress(done, total)
    for chunk, outcome in _in_parallel(source, chunks, check):
        if outcome.gone:
            raise _gone(outcome.gone)
        if chunk.split == "train":
            counted.samples += outcome.samples
            counted.sums += outcome.sums
            counted.squares += outcome.squares
        done += outcome.samples
        on_progress(done, total)
    _write_json(partial / "meta.json", _meta(manifest, size, frames, counted))


def _chunks(file: Path, split: str, size: int, frame: pd.DataFrame) -> Iterator[Chunk]:
    """Make the file at its full length, and cut its rows."""
    row = size * size * 3
    images = np.lib.format.open_memmap(file, "w+", np.uint8, (len(frame), size, size, 3))
    samples, hashes = frame["sample"].tolist(), frame["content_hash"].tolist()
    step = max(1, min(MOST_CHUNK_SAMPLES, CHUNK_BYTES // row))
    for start in range(0, len(frame), step):
        rows = slice(start, start + step)
        yield Chunk(file, images.offset + start * row, size, samples[rows], hashes[rows], split)


def _meta(manifest: Manifest, size: int, frames: dict, train: Outcome) -> dict:
    pixels = train.samples * size * size
    mean = train.sums / pixels
    variance = np.maximum(train.squares / pixels - mean**2, 0)
    return {
        "classes": list(manifest.classes),
        "size": size,
        "manifest": manifest.hash,
        **{split: len(frames[split]) for split in SPLITS},
        **{f"{split}_samples": f"{split}_samples.json" for split in SPLITS},
        "channel_mean": (mean / 255).tolist(),
        "channel_std": (np.sqrt(variance) / 255).tolist(),
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _require_room(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed:
        raise _disk_is_full(folder)


def _disk_is_full(folder: Path) -> NotTrainable:
    return NotTrainable(f"The disk of {folder.parent} has no room for the decoded images; free some or train smaller.")


def _gone(samples: list[str]) -> NotTrainable:
    names = ", ".join(f'"{sample}"' for sample in samples[:3]) + (" and more" if len(samples) > 3 else "")
    verb = "has" if len(samples) == 1 else "have"
    return NotTrainable(
        f"{names} {verb} vanished, changed or become unreadable since the scan; rescan the dataset and launch a new "
        "run."
    )


def _in_parallel(source: Source, chunks: Sequence[Chunk], check: Callable[[], None]) -> Iterator[tuple[Chunk, Outcome]]:
    """Each chunk as it is written, a bounded number at a time."""
    processes = min(os.cpu_count() or 1, len(chunks), MOST_PROCESSES)
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=start_process, initargs=(source,))
    waiting, running = deque(chunks), dict[Future, Chunk]()
    try:
        while waiting or running:
            while waiting and len(running) < 2 * processes:
                chunk = waiting.popleft()
                running[pool.submit(write_chunk, chunk)] = chunk
            for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
            check()
    except BrokenProcessPool as problem:
        raise NotTrainable(
            "A process that decodes images was killed, for want of memory or by a broken file; free memory or rescan."
        ) from problem
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
