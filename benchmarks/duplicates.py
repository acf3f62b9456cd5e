"""How many planted near duplicates are found, by kind, how many accusations are wrong, and how fast.

    .venv/bin/python -m benchmarks.duplicates [--photos FOLDER] [--small FOLDER] [--copies N] [--seed N]
                                              [--sheet PNG] [--hamming] [--many N]

--photos: large pictures, cut into 640x480 tiles that do not overlap. --small: pictures taken as they are, as of 32x32.
--sheet: a picture of the pairs that were not planted, side by side: a data set can have duplicates of its own.
--hamming: only the search among 64-bit hashes. --many: the whole search over N of the small pictures, jittered.

HYPOTHESIS, stated before the measurement: recall >= 0.95 of each kind, precision >= 0.98, on photographs and on 32x32
alike; 60,000 of 32x32 in under three minutes on two cores, below 1 GB; a million hashes at radius 4 in under 10 s.
"""

import argparse
import io
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from benchmarks.common import KINDS as SUFFIXES
from benchmarks.common import show
from recipe_core.data.decode import decode
from recipe_core.data.duplicates.hamming import pairs_within
from recipe_core.data.duplicates.search import near_duplicates
from recipe_core.data.measure import measure

TILE = (640, 480)
LEAST_CONTRAST = 12  # of an original: on a blank wall every kind of copy looks like every other wall


def _resized(image: Image.Image, across: float, down: float) -> Image.Image:
    size = max(8, round(image.width * across)), max(8, round(image.height * down))
    return image.resize(size, Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), width - round(right * width), height - round(bottom * height))
    )


def _off_centre(image: Image.Image, chance: random.Random) -> Image.Image:
    shares = [chance.uniform(0, 0.1) for _ in range(2)]
    left, top = (share * chance.random() for share in shares)
    return _cropped(image, left, top, shares[0] - left, shares[1] - top)


def _barred(image: Image.Image, chance: random.Random) -> Image.Image:
    image = image.copy()
    height = max(3, round(image.height * chance.uniform(0.06, 0.15)))
    top = chance.choice((0, image.height - height))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, top, image.width, top + height - 1), fill=chance.choice(("white", "black", "navy", "gold")))
    font = ImageFont.load_default(max(5, height * 0.75))
    draw.text((image.width / 2, top + height / 2), f"copy {chance.randint(1, 99)}", "grey", font, anchor="mm")
    return image


def _written_on(image: Image.Image, chance: random.Random) -> Image.Image:
    image = image.copy()
    font = ImageFont.load_default(max(7, image.height * chance.uniform(0.12, 0.2)))
    place = image.width * chance.uniform(0.4, 0.6), image.height * chance.uniform(0.2, 0.8)
    ImageDraw.Draw(image).text(
        place, chance.choice(("sample", "PROOF", "Nr. 27")), chance.choice(("white", "black", "red")), font, anchor="mm"
    )
    return image


def _turned(image: Image.Image, chance: random.Random, angle: float = 5) -> Image.Image:
    angle *= chance.choice((-1, 1))
    fill = chance.choice(("black", "white", "mean", "away", "expand"))
    if fill == "expand":
        return image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    mean = tuple(int(value) for value in np.asarray(image).mean((0, 1)))
    turned = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=mean if fill in ("mean", "away") else fill)
    return _cropped(turned, *[0.045] * 4) if fill == "away" else turned


def _toned(image: Image.Image, chance: random.Random) -> Image.Image:
    gamma = chance.choice((0.6, 0.75, 1.35, 1.6))
    image = image.point([round(255 * (value / 255) ** gamma) for value in range(256)] * 3)
    return ImageEnhance.Contrast(image).enhance(chance.choice((0.7, 1.3)))


def _watermarked(image: Image.Image, chance: random.Random) -> Image.Image:
    """The same words all over the picture, half transparent."""
    layer = Image.new("L", image.size)
    font = ImageFont.load_default(max(7, image.height // 10))
    for top in range(0, image.height, max(12, image.height // 4)):
        for left in range(-top % 50, image.width, max(30, image.width // 3)):
            ImageDraw.Draw(layer).text((left, top), "(c) 2026", 110, font)
    return Image.composite(Image.new("RGB", image.size, "white"), image, layer)


def _tinted(image: Image.Image, chance: random.Random) -> Image.Image:
    """Each channel brighter or darker by up to 12 %, as by another white balance."""
    factors = [chance.uniform(0.88, 1.12) for _ in range(3)]
    return image.point([min(255, round(value * factor)) for factor in factors for value in range(256)])


def _framed(image: Image.Image, chance: random.Random) -> Image.Image:
    border = max(1, round(min(image.size) * chance.uniform(0.03, 0.06)))
    return ImageOps.expand(image, border, chance.choice(("white", "black", "grey")))


def _letterboxed(image: Image.Image, chance: random.Random) -> Image.Image:
    """Bars at two opposite sides, to the shape that some frame has."""
    width, height = image.size
    bar = round(height * chance.uniform(0.08, 0.125))
    whole = Image.new("RGB", (width, height + 2 * bar), chance.choice(("white", "black")))
    whole.paste(image, (0, bar))
    return whole


def _captioned_below(image: Image.Image, chance: random.Random) -> Image.Image:
    """A line of text below the picture, which grows by it."""
    bar = max(4, round(image.height * chance.uniform(0.08, 0.15)))
    whole = Image.new("RGB", (image.width, image.height + bar), chance.choice(("white", "black")))
    whole.paste(image)
    place = whole.width / 2, image.height + bar / 2
    ImageDraw.Draw(whole).text(
        place, f"Figure {chance.randint(1, 99)}", "grey", ImageFont.load_default(max(5, bar * 0.7)), anchor="mm"
    )
    return whole


def _brighter(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _crop_5(image: Image.Image) -> Image.Image:
    return _cropped(image, *[0.05] * 4)


TURN = Image.Transpose
COPIES: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "recompressed": lambda image, chance: image,  # what is saved in which quality: _save
    "as WebP": lambda image, chance: image,
    "half size": lambda image, chance: _resized(image, 0.5, 0.5),
    "other size": lambda image, chance: _resized(image, s := chance.uniform(0.6, 1.8), s * chance.uniform(0.93, 1.07)),
    "brighter": lambda image, chance: _brighter(image, chance.uniform(1.2, 1.5)),
    "darker": lambda image, chance: _brighter(image, chance.uniform(0.5, 0.8)),
    "contrast": lambda image, chance: ImageEnhance.Contrast(image).enhance(chance.choice((0.6, 1.5))),
    "gamma, contrast": _toned,
    "cropped 5 %": lambda image, chance: _crop_5(image),
    "cropped off-centre": _off_centre,
    "mirrored": lambda image, chance: image.transpose(TURN.FLIP_LEFT_RIGHT),
    "upside down": lambda image, chance: image.transpose(chance.choice((TURN.FLIP_TOP_BOTTOM, TURN.ROTATE_180))),
    "quarter turn": lambda image, chance: image.transpose(chance.choice((TURN.ROTATE_90, TURN.ROTATE_270))),
    "caption bar": _barred,
    "caption below": _captioned_below,
    "text on it": _written_on,
    "watermark": _watermarked,
    "turned 5 degrees": _turned,
    "blurred": lambda image, chance: image.filter(ImageFilter.GaussianBlur(max(image.size) / 320 + 0.4)),
    "grey": lambda image, chance: image.convert("L").convert("RGB"),
    "tinted": _tinted,
    "frame": _framed,
    "letterbox": _letterboxed,
    "mirrored half low": lambda image, chance: _resized(image.transpose(TURN.FLIP_LEFT_RIGHT), 0.5, 0.5),
    "cropped low": lambda image, chance: _crop_5(image),
    "cropped brighter": lambda image, chance: _brighter(_crop_5(image), 1.25),
    "turned captioned": lambda image, chance: _barred(image.transpose(TURN.ROTATE_90), chance),
}
LOW = {"recompressed": (20, 90), "mirrored half low": (50, 80), "cropped low": (40, 70)}  # qualities; else 85 to 95


def _save(image: Image.Image, kind: str, chance: random.Random) -> bytes:
    out = io.BytesIO()
    if kind == "as WebP":
        image.save(out, "WEBP", quality=chance.randint(50, 90))
    else:
        image.save(out, "JPEG", quality=chance.randint(*LOW.get(kind, (85, 95))))
    return out.getvalue()


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
            files.append(_save(alter(image, chance), kind, chance))
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


def score(title: str, originals: list[bytes], options: argparse.Namespace) -> None:
    files, truth = plant(originals, options.copies, options.seed)
    rows, thumbnails = measured(files)
    start, cpu = time.perf_counter(), time.process_time()
    pairs = near_duplicates(rows, thumbnails).to_pylist()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    number = rows["number"].to_pylist()
    found = {(number[pair["a"]], number[pair["b"]]): pair for pair in pairs}
    original = {copy: number for number, copy in truth}
    strange = [pair for at, pair in found.items() if len({original.get(each, each) for each in at}) > 1]
    planted, hit, named = Counter(truth.values()), Counter(), Counter()
    for at in truth.keys() & found.keys():
        hit[truth[at]] += 1
        named[truth[at], found[at]["subkind"]] += 1
    lines = []
    for kind, count in planted.items():
        names = ", ".join(f"{name} {times}" for (of, name), times in named.most_common() if of == kind)
        lines.append([kind, f"{hit[kind] / count:.2f}", count, names])
    show(title, ["planted", "recall", "copies", "named"], lines)
    print(
        f"pairs {len(pairs)}, not planted {len(strange)}: precision {1 - len(strange) / max(1, len(pairs)):.3f} or more"
    )
    print(f"{len(rows)} pictures in {seconds:.1f} s ({len(rows) / seconds:.0f}/s), {cpu:.1f} s of CPU")
    if options.sheet:
        draw_pairs(strange, thumbnails, options.sheet.with_stem(f"{options.sheet.stem}-{title.split()[0]}"))


def draw_pairs(pairs: list[dict], thumbnails: Thumbnails, path: Path) -> None:
    """Pairs side by side, the least alike first."""
    shown = sorted(pairs, key=lambda pair: pair["similarity"])[:100]
    sheet = Image.new("RGB", (10 * 210, (len(shown) // 10 + 1) * 115), "white")
    for place, pair in enumerate(shown):
        left, top = place % 10 * 210, place // 10 * 115
        for offset, row in ((0, pair["a"]), (100, pair["b"])):
            picture = Image.fromarray(thumbnails(row))
            factor = 96 / max(picture.size)
            sheet.paste(_resized(picture, factor, factor), (left + offset, top))
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
        part = _cropped(image, left, top, 0.5 - left, 0.5 - top).resize(image.size, Image.Resampling.BICUBIC)
        files.append(_save(part, "", chance))
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path)
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
