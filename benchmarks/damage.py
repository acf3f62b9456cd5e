"""How many visibly broken JPEGs are found, and how many healthy photographs are accused.

    python benchmarks/damage.py --photos FOLDER [--photos FOLDER ...] [--files 400] [--half a|b] [--seed 0]

FOLDER holds photographs (.jpg, .png), as they are or larger. Each is taken as it is where it is a JPEG of at most 2 MB,
and encoded anew in many ways; then bytes behind its first scan's header are zeroed, overwritten, dropped, doubled, ...
Counted is what every viewer still opens and shows visibly broken: in some aligned square of 16x16 px the mean absolute
difference to the whole picture is over 2 grey levels (and, stricter, over 10). `--half` takes every other photograph.
Peers: Pillow (an exception or a warning), libjpeg-turbo (a warning at full scale, strict).
"""

import argparse
import io
import random
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import show

from recipe_core import settings
from recipe_core.data.damage import damage_of
from recipe_core.data.decode import decode

LENGTHS = (1, 4, 16, 64, 512, 4096)
VISIBLE, PLAIN = 2, 10  # mean absolute grey levels in a square of 16x16 px
ENCODINGS: dict[str, dict] = {
    "4:2:0": {"subsampling": 2},
    "4:4:4": {"subsampling": 0},
    "grey": {},
    "optimised": {"optimize": True, "subsampling": 1},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "turbo": {},
}


def zeroed(data: bytes, at: int, length: int, chance: random.Random) -> bytes:
    return data[:at] + bytes(len(data[at : at + length])) + data[at + length :]


def overwritten(data: bytes, at: int, length: int, chance: random.Random) -> bytes:
    return data[:at] + chance.randbytes(len(data[at : at + length])) + data[at + length :]


def filled_with_ff(data: bytes, at: int, length: int, chance: random.Random) -> bytes:
    return data[:at] + b"\xff" * len(data[at : at + length]) + data[at + length :]


def dropped(data: bytes, at: int, length: int, chance: random.Random) -> bytes:
    return data[:at] + data[at + length :]


def doubled(data: bytes, at: int, length: int, chance: random.Random) -> bytes:
    return data[: at + length] + data[at:]


def inserted(data: bytes, at: int, length: int, chance: random.Random) -> bytes:
    return data[:at] + chance.randbytes(length) + data[at:]


def swapped(data: bytes, at: int, length: int, chance: random.Random) -> bytes:
    one, two = data[at : at + length], data[at + length : at + 2 * length]
    return data[:at] + two + one + data[at + 2 * length :]


def copied_from_elsewhere(data: bytes, at: int, length: int, chance: random.Random) -> bytes:
    other = chance.randrange(at // 2, at)
    return data[:at] + data[other : other + len(data[at : at + length])] + data[at + length :]


def flipped_bits(data: bytes, at: int, length: int, chance: random.Random) -> bytes:
    broken = bytearray(data)
    for place in range(at, min(len(data) - 2, at + length), 4):
        broken[place] ^= 1 << chance.randrange(8)
    return bytes(broken)


PLANTS: tuple[Callable[[bytes, int, int, random.Random], bytes], ...] = (
    zeroed, overwritten, filled_with_ff, dropped, doubled, inserted, swapped, copied_from_elsewhere, flipped_bits,
)  # fmt: skip


def encode(image: Image.Image, name: str, chance: random.Random) -> bytes:
    quality = chance.choice((50, 75, 85, 92, 95))
    if name == "turbo":
        return simplejpeg.encode_jpeg(np.asarray(image.convert("RGB")), quality, "RGB", "422", fastdct=True)
    out = io.BytesIO()
    image.convert("L" if name == "grey" else "RGB").save(out, "JPEG", quality=quality, **ENCODINGS[name])
    return out.getvalue()


def healthy(paths: list[Path], chance: random.Random) -> dict[str, bytes]:
    """Name -> JPEG: each photograph as it is, and scaled and encoded anew."""
    files = {}
    for path in paths:
        data = path.read_bytes()
        if data.startswith(b"\xff\xd8") and len(data) < 2e6:
            files[f"{path} as it is"] = data
        image = Image.open(io.BytesIO(data)).convert("RGB")
        name = chance.choice(list(ENCODINGS))
        side = min(max(image.size), chance.choice((200, 500, 1000, 1600)))
        image = ImageOps.contain(image, (side, side))
        files[f"{path} {side} px {name}"] = encode(image, name, chance)
    return files


def pixels(data: bytes) -> np.ndarray | None:
    try:
        return simplejpeg.decode_jpeg(
            data, "GRAY" if simplejpeg.decode_jpeg_header(data)[2] == "Gray" else "RGB", strict=False
        )
    except ValueError:
        return None


def visible(broken: np.ndarray, whole: np.ndarray) -> float:
    """The largest mean absolute difference of a square of 16x16 px."""
    difference = np.abs(broken.astype(np.int16) - whole).mean(axis=2)
    height, width = difference.shape
    difference = np.pad(difference, ((0, -height % 16), (0, -width % 16)))
    return float(difference.reshape(difference.shape[0] // 16, 16, -1, 16).mean(axis=(1, 3)).max())


def turbo_notices(data: bytes) -> bool:
    try:
        simplejpeg.decode_jpeg(data)
    except ValueError:
        return True
    return False


def pillow_notices(data: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            Image.open(io.BytesIO(data)).load()
        except (OSError, Warning, SyntaxError):
            return True
    return False


def recipe_notices(data: bytes) -> bool:
    """What the scan notices, or else the second look."""
    return decode(data, settings.MEASURED_SIDE).error is not None or damage_of(data) is not None


FINDERS = {"recipe": recipe_notices, "libjpeg-turbo": turbo_notices, "Pillow": pillow_notices}


def plant(data: bytes, how: Callable, chance: random.Random) -> tuple[bytes, int]:
    scan = data.index(b"\xff\xda") + 14
    length = min(chance.choice(LENGTHS), max(1, (len(data) - scan) // 8))
    return how(data, chance.randrange(scan, len(data) - 2 - length), length, chance), length


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, action="append", required=True)
    parser.add_argument("--files", type=int, default=400, help="broken files per kind of damage")
    parser.add_argument("--limit", type=int, default=300, help="photographs taken of each folder")
    parser.add_argument("--half", choices=("a", "b"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for what is missed and wrongly accused")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    files: dict[str, bytes] = {}
    for folder in options.photos:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".png"} and not p.is_symlink())
        if options.half:
            paths = paths["ab".index(options.half) :: 2]
        files |= healthy(chance.sample(paths, min(options.limit, len(paths))), chance)
    damage_of(next(iter(files.values())))  # loads what is compiled
    false, seconds = defaultdict(int), defaultdict(float)
    for name, data in files.items():
        for finder, notices in FINDERS.items():
            start = time.perf_counter()
            accused = notices(data)
            seconds[finder] += time.perf_counter() - start
            false[finder] += accused
            if accused and finder == "recipe":
                print("ACCUSED", name, damage_of(data))
                keep(options.keep, "accused", name, data)
    rows, missed = [], 0
    names = list(files)
    found: dict = defaultdict(lambda: defaultdict(int))
    for how in PLANTS:
        counted = 0
        for _ in range(3 * options.files):
            name = chance.choice(names)
            data, length = plant(files[name], how, chance)
            broken = pixels(data)
            whole = pixels(files[name])
            if broken is None or broken.shape != whole.shape:
                continue
            loss = visible(broken, whole)
            if loss <= VISIBLE:
                continue
            counted += 1
            noticed = {finder: notices(data) for finder, notices in FINDERS.items()}
            for group in ("all", how.__name__, f"{1 << length.bit_length() - 1}+ bytes", name.rsplit(" ", 1)[1]):
                for level in [VISIBLE] + [PLAIN] * (loss > PLAIN):
                    found[group][level] += 1
                    for finder, yes in noticed.items():
                        found[group][finder, level] += yes
            if not noticed["recipe"]:
                missed += 1
                keep(options.keep, "missed", f"{missed} {how.__name__} {length} {loss:.0f} {Path(name).name}", data)
                keep(options.keep, "missed", f"{missed} whole", files[name])
            if counted == options.files:
                break
    for group, counts in found.items():
        row = [group, counts[VISIBLE]]
        row += [f"{counts[f, VISIBLE] / counts[VISIBLE]:.1%}" for f in FINDERS]
        row += [counts[PLAIN], *(f"{counts[f, PLAIN] / max(1, counts[PLAIN]):.1%}" for f in FINDERS)]
        rows.append(row)
    head = ["broken", "over 2", *FINDERS, "over 10", *FINDERS]
    show("Share found of what is visibly broken", head, rows)
    show(
        f"Healthy photographs accused, of {len(files)}",
        ["finder", "accused", "ms per file"],
        [[f, false[f], f"{1e3 * seconds[f] / len(files):.2f}"] for f in FINDERS],
    )


def keep(folder: Path | None, what: str, name: str, data: bytes) -> None:
    if folder:
        (folder / what).mkdir(parents=True, exist_ok=True)
        (folder / what / (name.replace("/", "_").replace(" ", "_")[-120:] + ".jpg")).write_bytes(data)


if __name__ == "__main__":
    main()
