"""How many planted near duplicates are found, by kind, how many accusations are wrong, and how fast.

    .venv/bin/python -m benchmarks.duplicates [--photos FOLDER] [--small FOLDER] [--copies N] [--seeds N ...]
                                              [--sheet PNG] [--peers PYTHON] [--hamming] [--many N]

--photos: large pictures, cut into 640x480 tiles that do not overlap. --small: pictures taken as they are, as of 32x32.
--copies: of each kind for each seed; few beside the originals, else they crowd.
--sheet: a picture of the pairs that were not planted, side by side: a data set can have duplicates of its own.
--peers: an interpreter with cleanvision, imagededup and fastdup, which get the same files.
--hamming: only the search among 64-bit hashes. --many: the whole search over N of the small pictures, jittered.

HYPOTHESIS, stated before the measurement: recall >= 0.95 of each kind, precision >= 0.98, on photographs and on 32x32
alike; 60,000 of 32x32 in under three minutes on two cores, below 1 GB; a million hashes at radius 4 in under 10 s.
"""

import argparse
import io
import json
import random
import resource
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from benchmarks.common import KINDS as SUFFIXES
from benchmarks.common import show
from benchmarks.copies import COPIES, cropped, resized, saved
from recipe_core.data.decode import decode
from recipe_core.data.duplicates.hamming import pairs_within
from recipe_core.data.duplicates.search import near_duplicates
from recipe_core.data.measure import measure

TILE = (640, 480)
LEAST_CONTRAST = 12  # of an original: on a blank wall every kind of copy looks like every other wall


def tiles(folder: Path) -> list[bytes]:
    """The pictures of a folder at up to 2560 px, cut into tiles that do not overlap."""
    found = []
    for path in sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.stat().st_size > 100_000
    ):
        with Image.open(path) as file:
            file.draft("RGB", (2560, 2560))
            image = file.convert("RGB")
        image.thumbnail((2560, 2560))
        for left in range(0, image.width - TILE[0] + 1, TILE[0]):
            for top in range(0, image.height - TILE[1] + 1, TILE[1]):
                tile = image.crop((left, top, left + TILE[0], top + TILE[1]))
                if np.asarray(tile.convert("L")).std() >= LEAST_CONTRAST:
                    out = io.BytesIO()
                    tile.save(out, "JPEG", quality=92)
                    found.append(out.getvalue())
    return found


def as_they_are(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]


def plant(originals: list[bytes], copies: int, seed: int) -> tuple[list[bytes], dict[tuple[int, int], str]]:
    """Copies of each kind, each of another original where there are enough; pairs (original, copy) -> kind."""
    chance = random.Random(seed)
    files, truth, order = list(originals), {}, []
    for kind, alter in COPIES.items():
        for _ in range(copies):
            order = order or chance.sample(range(len(originals)), len(originals))
            number = order.pop()
            with Image.open(io.BytesIO(originals[number])) as file:
                image = file.convert("RGB")
            truth[number, len(files)] = kind
            files.append(saved(alter(image, chance), kind, chance))
    return files, truth


class Thumbnails:
    """Row number -> picture, from encoded thumbnails in memory."""

    def __init__(self, encoded: list[bytes]):
        self.encoded = encoded

    def __call__(self, row: int) -> np.ndarray | None:
        return decode(self.encoded[row], 0).pixels


def measured(files: list[bytes]) -> tuple[pa.Table, Thumbnails]:
    """The files as the scan would leave them, of equal pixels the first only."""
    found = measure([f"{number}.jpg" for number in range(len(files))], lambda key: files[int(key.split(".")[0])])
    rows = pa.Table.from_pylist([{"number": number, **each.facts} for number, each in enumerate(found)])
    first = np.unique(rows["pixel_hash"].to_numpy(zero_copy_only=False).astype(str), return_index=True)[1]
    first.sort()
    return rows.take(first), Thumbnails([found[number].thumbnail for number in first])


@dataclass
class Tally:
    """What one finder was given and what it found."""

    planted: Counter = field(default_factory=Counter)
    hit: Counter = field(default_factory=Counter)
    pairs: int = 0
    strange: int = 0  # pairs that were not planted, nor are two copies of one original

    def add(self, found: Iterable[tuple[int, int]], truth: dict[tuple[int, int], str]) -> list[tuple[int, int]]:
        """Count pairs, the lower number first; returns the strange ones."""
        original = {copy: number for number, copy in truth}
        found = set(found)
        strange = [at for at in found if len({original.get(each, each) for each in at}) > 1]
        self.planted.update(truth.values())
        self.hit.update(truth[at] for at in truth.keys() & found)
        self.pairs, self.strange = self.pairs + len(found), self.strange + len(strange)
        return strange


def score(title: str, originals: list[bytes], options: argparse.Namespace) -> None:
    tallies: dict[str, Tally] = defaultdict(Tally)
    named: Counter = Counter()
    pictures, cpu = 0, 0.0
    for seed in options.seeds:
        files, truth = plant(originals, options.copies, seed)
        rows, thumbnails = measured(files)
        start = time.process_time()
        pairs = near_duplicates(rows, thumbnails).to_pylist()
        cpu += time.process_time() - start
        number = rows["number"].to_pylist()
        found = {(number[pair["a"]], number[pair["b"]]): pair for pair in pairs}
        kept = set(number)
        truth = {at: kind for at, kind in truth.items() if kept.issuperset(at)}  # not those of equal pixels
        strange = tallies["Recipe"].add(found, truth)
        named.update((truth[at], found[at]["subkind"]) for at in truth.keys() & found.keys())
        pictures += len(rows)
        if options.sheet:
            sheet = options.sheet.with_stem(f"{options.sheet.stem}-{title.split()[0]}-{seed}")
            draw_pairs([found[at] for at in strange], thumbnails, sheet)
        for peer, peers_pairs in pairs_of_peers(files, options.peers).items():
            tallies[peer].add((at for at in peers_pairs if kept.issuperset(at)), truth)
    lines = []
    for kind, copies in tallies["Recipe"].planted.items():
        names = ", ".join(f"{name} {times}" for (of, name), times in named.most_common() if of == kind)
        lines.append([kind, copies, *(f"{tally.hit[kind] / copies:.2f}" for tally in tallies.values()), names])
    show(title, ["planted", "copies", *tallies, "named"], lines)
    for finder, tally in tallies.items():
        recall = tally.hit.total() / tally.planted.total()
        precision = 1 - tally.strange / max(1, tally.pairs)
        print(f"{finder}: recall of all {recall:.3f}, precision {precision:.3f} or more:", end=" ")
        print(f"of {tally.pairs} pairs {tally.strange} were not planted")
    print(f"{pictures} pictures, {1000 * cpu / pictures:.1f} ms of CPU each")


def pairs_of_peers(files: list[bytes], python: Path | None) -> dict[str, set[tuple[int, int]]]:
    """Peer -> the pairs of numbers that it takes for duplicates at default settings."""
    if python is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(files):
            suffix = "webp" if data.startswith(b"RIFF") else "png" if data.startswith(b"\x89PNG") else "jpg"
            (Path(folder) / f"{number}.{suffix}").write_bytes(data)
        answers = {}
        for peer in ("cleanvision", "imagededup", "fastdup"):
            command = [python, "benchmarks/peers.py", peer, folder, "--pairs"]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
            pairs = json.loads(done.stdout)
            answers[peer] = {tuple(sorted(int(name.split(".")[0]) for name in pair)) for pair in pairs}
        return answers


def draw_pairs(pairs: list[dict], thumbnails: Thumbnails, path: Path) -> None:
    """Pairs side by side, the least alike first."""
    shown = sorted(pairs, key=lambda pair: pair["similarity"])[:100]
    sheet = Image.new("RGB", (10 * 210, (len(shown) // 10 + 1) * 115), "white")
    for place, pair in enumerate(shown):
        left, top = place % 10 * 210, place // 10 * 115
        for offset, row in ((0, pair["a"]), (100, pair["b"])):
            picture = Image.fromarray(thumbnails(row))
            factor = 96 / max(picture.size)
            sheet.paste(resized(picture, factor, factor), (left + offset, top))
        ImageDraw.Draw(sheet).text((left, top + 98), f"{pair['subkind']} {pair['similarity']:.2f}", "red")
    sheet.save(path)


def hamming() -> None:
    lines = []
    for count, radius in ((1_000_000, 4), (1_000_000, 8)):
        hashes = np.random.default_rng(0).integers(0, 2**64, count, dtype=np.uint64)
        start = time.perf_counter()
        found = len(pairs_within(hashes, radius)[0])
        lines.append([f"{count:,}", radius, found, f"{time.perf_counter() - start:.1f}"])
    show("All pairs of random 64-bit hashes", ["hashes", "radius", "pairs", "seconds"], lines)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def many(originals: list[bytes], count: int) -> None:
    """The whole search over many small pictures: crops at random of the given ones, so that most are look-alikes."""
    chance, files = random.Random(0), []
    for number in range(count):
        with Image.open(io.BytesIO(originals[number % len(originals)])) as file:
            image = file.convert("RGB")
        left, top = chance.uniform(0, 0.5), chance.uniform(0, 0.5)
        part = cropped(image, left, top, 0.5 - left, 0.5 - top).resize(image.size, Image.Resampling.BICUBIC)
        files.append(saved(part, "", chance))
    rows, thumbnails = measured(files)
    start = time.perf_counter()
    pairs = near_duplicates(rows, thumbnails)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(rows):,} small pictures: {len(pairs):,} pairs in {seconds:.0f} s, peak memory {memory:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--hamming", action="store_true")
    parser.add_argument("--many", type=int, default=0)
    options = parser.parse_args()
    if options.hamming:
        hamming()
    if options.photos:
        score("photographs of 640x480", tiles(options.photos), options)
    if options.small:
        small = as_they_are(options.small)
        many(small, options.many) if options.many else score("small pictures", small, options)


if __name__ == "__main__":
    main()
