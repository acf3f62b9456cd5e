"""How fast the scan is, beside the bare decode limit and the peers, and how much memory it takes.

    .venv/bin/python -m benchmarks.scan [--photos FOLDER] [--small FOLDER] [--count N] [--small-count N]
                                        [--peers PYTHON] [--memory]

--photos, --small: pictures to crop the 1600x1200 and the 32x32 JPEGs from; textured synthetic ones if not given.
--peers: an interpreter with cleanvision and imagededup (`pip install cleanvision imagededup`).
--memory: instead, peak memory and growth of whole scans of 15,000, 30,000 and 60,000 JPEGs of 32x32.

HYPOTHESIS, stated before the measurement, for two cores:
1600x1200: scan >= 0.7 of the bare decode limit (Pillow `draft`, same scale, same processes), > 5 x imagehash per image.
32x32:     scan >= 3,000 images/s; no more than 0.5 of the bare limit, since there the facts cost more than the decode.
Memory:    <= 1 GB (PSS) in all processes of the job at 60,000; seconds grow linearly.
"""

import argparse
import multiprocessing
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from pathlib import Path

import imagehash
import psutil
from PIL import Image

os.environ["RECIPE_AFTER_SCAN"] = ""  # what follows a scan would run beside the next one

from benchmarks.common import PHOTO, SMALL, in_turn, make_pictures, show
from recipe_core import Workspace, settings
from recipe_core.data.listing import choose_what_to_measure, list_samples
from recipe_core.data.shards import measure_shard
from recipe_core.data.sources import open_source

ROUNDS = 5
CORES = os.cpu_count() or 1
SUBSET = {PHOTO: 200, SMALL: 2000}  # what the slow contestants are given
LIMIT = "bare decode (Pillow draft)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--small-count", type=int, default=10_240)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recipe-benchmark-") as temporary, _pool() as pool:
        make = partial(make_pictures, pool=pool)
        if options.memory:
            memory_and_growth(Path(temporary), options.small, make)
            return
        for size, count, originals in (
            (PHOTO, options.count, options.photos),
            (SMALL, options.small_count, options.small),
        ):
            speed(Path(temporary), size, count, originals, make, pool, options.peers)


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(CORES, mp_context=multiprocessing.get_context("spawn"))


# Speed


def speed(
    temporary: Path,
    size: tuple[int, int],
    count: int,
    originals: Path | None,
    make: Callable,
    pool: Executor,
    peers: Path | None,
) -> None:
    name = f"{size[0]}x{size[1]}"
    pictures = make(temporary / name, size, count, originals)
    subset = make(temporary / f"{name}-subset", size, SUBSET[size], originals)
    paths = [sorted(folder.rglob("*.jpg")) for folder in (pictures, subset)]
    contestants: dict[str, Callable[[], object]] = {
        "scan, shards": _shards(pictures, temporary / f"{name}-scan", pool),
        LIMIT: partial(_over, pool, bare_decode, paths[0]),
        "imagehash phash + dhash": partial(_over, pool, hash_each, paths[1]),
    }
    images = dict(zip(contestants, (count, count, SUBSET[size]), strict=True))
    in_turn(contestants, 1)  # warm: processes started, modules imported, files in the page cache
    measured = in_turn(contestants, ROUNDS)
    whole, start_up = whole_scan(temporary / f"{name}-workspace", pictures, subset)
    measured["scan, whole job"] = (whole - start_up, float("nan"))
    images["scan, whole job"] = count
    for peer in ("cleanvision", "imagededup") if peers else ():
        command = [peers, "benchmarks/peers.py", peer, subset]
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        measured[peer], images[peer] = (float(answer.stdout), float("nan")), SUBSET[size]
    title = f"{count:,} JPEGs of {name}, {CORES} processes, best of {ROUNDS} in turn"
    _show_speed(f"{title} (whole job: once, less {start_up:.1f} s of start-up)", measured, images)


def _show_speed(title: str, measured: dict[str, tuple[float, float]], images: dict[str, int]) -> None:
    limit, limit_cpu = (part / images[LIMIT] for part in measured[LIMIT])
    rows = []
    for name, (seconds, cpu) in measured.items():
        each, each_cpu = seconds / images[name], cpu / images[name]
        row = [name, f"{1 / each:,.0f}", f"{limit / each:.3f}", f"{each_cpu * 1e3:.2f}", f"{limit_cpu / each_cpu:.3f}"]
        rows.append(row)
    show(title, ["", "images/s", "of the limit", "CPU ms/image", "of the limit by CPU"], rows)


def _shards(pictures: Path, folder: Path, pool: Executor) -> Callable[[], None]:
    """The scan's own work on its own shards, listing and joining excluded."""
    (folder / "parts").mkdir(parents=True)
    (folder / "thumbnails").mkdir()
    source = open_source(str(pictures))
    list_samples(source, folder)
    shards = choose_what_to_measure(folder, None)
    measure_one = partial(measure_shard, source, folder, folder / "thumbnails")
    return lambda: _all(pool.map(measure_one, range(shards)))


def _over(pool: Executor, work: Callable[[Sequence[Path]], None], paths: Sequence[Path]) -> None:
    part = max(1, min(settings.SHARD_SAMPLES, len(paths) // CORES))
    _all(pool.map(work, [paths[start : start + part] for start in range(0, len(paths), part)]))


def _all(results: object) -> None:
    list(results)  # type: ignore[call-overload]


def bare_decode(paths: Sequence[Path]) -> None:
    for path in paths:
        with Image.open(path) as image:
            longer = max(image.size)
            if longer >= 2 * settings.MEASURED_SIDE:
                width, height = (-(-edge * settings.MEASURED_SIDE // longer) for edge in image.size)
                image.draft("RGB", (width, height))
            image.load()


def hash_each(paths: Sequence[Path]) -> None:
    for path in paths:
        with Image.open(path) as image:
            imagehash.phash(image)
            imagehash.dhash(image)


def whole_scan(folder: Path, pictures: Path, few: Path) -> tuple[float, float]:
    """Seconds of a whole job, and of its start-up: those of a job over a single image."""
    single = folder / "single"
    single.mkdir(parents=True)
    (single / "only.jpg").write_bytes(next(few.rglob("*.jpg")).read_bytes())
    workspace = Workspace(folder / "workspace")
    seconds = []
    for name, source in (("warm", single), ("single", single), ("all", pictures)):
        start = time.perf_counter()
        workspace.add_dataset(name, source).scan()
        seconds.append(time.perf_counter() - start)
    return seconds[2], seconds[1]


# Memory


def memory_and_growth(temporary: Path, originals: Path | None, make: Callable) -> None:
    rows = []
    for count in (15_000, 30_000, 60_000):
        pictures = make(temporary / f"{count}", SMALL, count, originals)
        with Watch() as watch:
            whole, start_up = whole_scan(temporary / f"{count}-workspace", pictures, pictures)
        seconds = whole - start_up
        rows.append([f"{count:,}", f"{seconds:.1f}", f"{watch.cpu:.1f}", f"{watch.pss:.0f}", f"{watch.rss:.0f}"])
    show(
        "Whole scans of 32x32 JPEGs, seconds without start-up; CPU with three; peaks are sums over all processes",
        ["images", "seconds", "CPU seconds", "peak PSS MB", "peak RSS MB"],
        rows,
    )


class Watch:
    """Samples the new processes under this one: peak memory in MB and CPU seconds."""

    SECONDS = 0.1

    def __enter__(self) -> "Watch":
        self.pss = self.rss = 0.0
        self._cpu: dict[psutil.Process, float] = {}
        self._others = set(psutil.Process().children(recursive=True))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(self.SECONDS):
            children = [child for child in psutil.Process().children(recursive=True) if child not in self._others]
            sizes = [self._look(child) for child in children]
            self.pss = max(self.pss, sum(pss for pss, _ in sizes) / 1e6)
            self.rss = max(self.rss, sum(rss for _, rss in sizes) / 1e6)

    def _look(self, process: psutil.Process) -> tuple[int, int]:
        try:
            size = process.memory_full_info()
            self._cpu[process] = sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:  # it has ended; a zombie too
            return 0, 0
        return size.pss, size.rss

    @property
    def cpu(self) -> float:
        """CPU seconds of all processes that were seen, each to the last time that it was."""
        return sum(self._cpu.values())


if __name__ == "__main__":
    main()
