"""What the benchmarks share: pictures to measure on, contestants run in turn, the table of results."""

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

PHOTO, SMALL = (1600, 1200), (32, 32)  # width, height
KINDS = {".jpg", ".jpeg", ".png"}


def make_pictures(folder: Path, size: tuple[int, int], count: int, originals: Path | None, pool: Executor) -> Path:
    """A folder of `count` JPEGs of one size in ten class folders: random crops of the pictures in `originals`."""
    for label in range(10):
        (folder / f"class{label}").mkdir(parents=True)
    found = sorted(path for path in originals.rglob("*") if path.suffix.lower() in KINDS) if originals else []
    step = 50
    jobs = [pool.submit(_make, folder, size, range(i, min(i + step, count)), found) for i in range(0, count, step)]
    for job in jobs:
        job.result()
    return folder


def _make(folder: Path, size: tuple[int, int], numbers: range, originals: Sequence[Path]) -> None:
    chance = random.Random(numbers.start)
    every = max(1, len(numbers) // 10)  # crops of one original, since reading it costs more than they do
    for place, number in enumerate(numbers):
        if place % every == 0:
            original = _original(originals, chance)
        path = folder / f"class{number % 10}" / f"{number:06}.jpg"
        _crop(original, size, chance).save(path, quality=chance.randint(88, 92))


def _original(originals: Sequence[Path], chance: random.Random) -> Image.Image:
    if originals:
        return Image.open(chance.choice(originals)).convert("RGB")
    return _textured(chance)


def _textured(chance: random.Random) -> Image.Image:
    """Colour noise in octaves, falling off like that of photographs (amplitude ~ 1 / frequency)."""
    numbers, width, height = np.random.default_rng(chance.getrandbits(32)), 2000, 1500
    layers = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 11):
        noise = numbers.integers(0, 256, (2**octave * 3 // 4, 2**octave, 3), np.uint8)
        layers += (np.asarray(Image.fromarray(noise).resize((width, height))) - 127.5) / 2 ** (octave - 2)
    return Image.fromarray((127.5 + 0.6 * layers).clip(0, 255).astype(np.uint8))


def _crop(original: Image.Image, size: tuple[int, int], chance: random.Random) -> Image.Image:
    share = chance.uniform(0.6, 1.0) * min(original.width / size[0], original.height / size[1])
    width, height = size[0] * share, size[1] * share
    left, top = chance.uniform(0, original.width - width), chance.uniform(0, original.height - height)
    return original.resize(size, box=(left, top, left + width, top + height), reducing_gap=2.0)


def in_turn(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Run each contestant once per round, in turn (A, B, A, B, ...).

    Returns:
        name -> (seconds of its best round, CPU seconds of its cheapest round, over this process and its children).
    """
    best = {name: (float("inf"), float("inf")) for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start, cpu = time.perf_counter(), _cpu_seconds()
            run()
            seconds, cpu = time.perf_counter() - start, _cpu_seconds() - cpu
            best[name] = (min(best[name][0], seconds), min(best[name][1], cpu))
    return best


def _cpu_seconds() -> float:
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (this, *this.children(recursive=True)))


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))))
