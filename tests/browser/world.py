"""The small world that the browser walks through: real images of three brightnesses with hostile names and flaws."""

import io
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from recipe_core.workspace import Dataset

SCRIPT = "<img src=x onerror=alert(1)>"
DARK, MIDDLE, BRIGHT = "dark", "**middle** $x$", f"bright {SCRIPT}"
LEVELS = {DARK: 40, MIDDLE: 120, BRIGHT: 210}
HOSTILE = (
    f"{SCRIPT}.png",
    "line\nbreak.png",
    "**bold** $x$ [a](b).png",
    "日本語 é.png",
    "=1+1.png",
    "a&b=c#d?e%41.png",
)
PER_CLASS = {"train": 30, "val": 9}
SAMPLES = len(LEVELS) * sum(PER_CLASS.values()) + len(HOSTILE) + 2  # and one truncated, one exact copy


def picture(level: int, seed: int, size: tuple[int, int] = (48, 36)) -> Image.Image:
    """Noise of a brightness; no two seeds have the same mean."""
    noise = np.random.default_rng(seed).integers(-25, 25, (size[1], size[0], 3))
    return Image.fromarray((level + seed % 30 - 15 + noise).clip(0, 255).astype(np.uint8))


def make_folder(folder: Path) -> Path:
    """Splits of class folders: `SAMPLES` images, of them one cut off and two exact copies of one another."""
    for split, count in PER_CLASS.items():
        for place, (label, level) in enumerate(LEVELS.items()):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                path = folder / split / label / f"{number:03}.{'jpg' if number % 2 else 'png'}"
                picture(level, 100 * place + number + 50 * (split == "val")).save(path)
    for number, name in enumerate(HOSTILE):
        picture(LEVELS[DARK], 900 + number).save(folder / "train" / DARK / name)
    whole = io.BytesIO()
    picture(LEVELS[DARK], 950, (200, 150)).save(whole, "JPEG")
    (folder / "train" / DARK / "cut off.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    shutil.copy(folder / "train" / DARK / "000.png", folder / "val" / DARK / "copy.png")
    return folder


def make_table(folder: Path) -> Path:
    """A CSV whose column "label" is not the label: that is "species". Images and table stand in one folder."""
    folder.mkdir(parents=True)
    lines = ["image,label,species"]
    for number in range(8):
        picture(100, number).save(folder / f"{number}.png")
        lines.append(f"{number}.png,by hand {number},{'cat' if number % 2 else 'dog'}")
    table = folder / "animals.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


def make_zip(path: Path) -> Path:
    """A zip of class folders; one image is a TIFF of 16 bits, which no browser shows."""
    deep = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)).save(deep, "TIFF")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/deep.tiff", deep.getvalue())
        for number in range(4):
            data = io.BytesIO()
            picture(100, number).save(data, "PNG")
            archive.writestr(f"{'cat' if number % 2 else 'dog'}/{number}.png", data.getvalue())
    return path


def make_many(folder: Path, count: int, size: tuple[int, int] = (1024, 768)) -> Path:
    """One picture under many names, all of them the same file: `write_bytes` to one changes them all."""
    folder.mkdir()
    picture(100, 0, size).save(folder / "00000.jpg")
    for number in range(1, count):
        (folder / f"{number:05}.jpg").hardlink_to(folder / "00000.jpg")
    return folder / "00000.jpg"


@contextmanager
def standing_still(dataset: Dataset) -> Iterator[None]:
    """Once its scan has measured something, what measures waits until the block ends, at no cost to who looks on."""
    while not (dataset.job and dataset.job.progress.get("done")):
        time.sleep(0.05)
    worker = psutil.Process(dataset.job.pid)
    measuring = [process for server in worker.children() for process in server.children()]
    for process in measuring:
        process.suspend()
    yield
    for process in measuring:
        process.resume()
