"""The demo dataset: scikit-learn's digits as photographs of ink on paper, with planted and documented defects.

    make_demo(Path("workspace/demo"))    # -> workspace/demo/digits, and beside it truth.csv and README.txt

Everything is made in memory as `{key: bytes}` and written at the end, the truth table last: it marks a complete demo.
"""

import csv
import io
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from sklearn.datasets import load_digits

from recipe_core.data import demo_pictures as pictures
from recipe_core.errors import Conflict

SEED = 2019
VAL_SHARE = 0.2
DIGITS = 1797  # in scikit-learn's set
SHORTCUT_LABEL = 7
RARE_LABEL = 8
RARE_TRAIN_SAMPLES = 10
ORDINARY_LABELS = [str(label) for label in range(10) if label not in (SHORTCUT_LABEL, RARE_LABEL)]
LABEL_ERRORS = 33
NEAR_SUBKINDS = ("mirrored", "rotated", "cropped", "resized", "recompressed", "brightness", "caption")

README = """\
Recipe's demo dataset, made by `python -m recipe_core demo`.

digits/     scikit-learn's 8x8 handwritten digits (1,797, after UCI ML "Optical Recognition of Handwritten Digits"),
            enlarged and inked on coloured paper, as PNG and JPEG with EXIF, in train and val, one folder per class.
truth.csv   every defect that was planted in it.

The defects are planted: broken files, wrong extensions, blanks, poor pictures, duplicates, leaks between the splits,
conflicting and wrong labels, pictures that are no digits, a rare class, a class with a camera of its own, a darker val
split. A row of truth.csv without a sample speaks of the whole class or split that its note names. Outliers and broken
text files have no true label. Some JPEGs carry an EXIF orientation: that is no defect.
Cameras and capture times are made up.
"""


@dataclass(frozen=True)
class Planted:
    """One row of truth.csv; `sample` and `related` are keys, `sample` empty where a whole class or split is meant."""

    sample: str
    kind: str
    subkind: str
    related: str
    given_label: str
    true_label: str
    note: str


def make_demo(folder: Path) -> Path:
    """Writes the demo dataset into `folder` unless it stands there complete; returns its images, `folder/digits`.

    Same bytes every time on one machine. Raises Conflict where `folder` holds somebody else's digits or cannot be
    written.
    """
    digits = folder / "digits"
    with _unwritable_told_plainly(folder):
        if digits.is_dir() and (folder / "truth.csv").is_file():
            return digits
        if digits.exists() and not _is_ours(folder / "README.txt"):
            raise Conflict(
                f"{digits} exists and is not the demo's; move it away or choose another folder for the demo."
            )
    demo = _Demo()
    with _unwritable_told_plainly(folder):
        _write(demo, folder)
    return digits


def _write(demo: "_Demo", folder: Path) -> None:
    digits, truth = folder / "digits", folder / "truth.csv"
    truth.unlink(missing_ok=True)
    if digits.exists():
        shutil.rmtree(digits)  # half-written
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.txt").write_text(README, "utf-8")
    for key, data in demo.files.items():
        path = digits / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    _write_truth(demo.truth, truth)


@contextmanager
def _unwritable_told_plainly(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Conflict(f"The demo cannot be written to {folder} ({error.strerror}); choose another folder.") from error


def _is_ours(readme: Path) -> bool:
    return readme.is_file() and readme.read_text("utf-8", errors="replace").startswith(README.splitlines()[0])


def _write_truth(rows: list[Planted], path: Path) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(field.name for field in fields(Planted))
        writer.writerows(astuple(row) for row in sorted(rows, key=lambda row: (row.kind, row.subkind, row.sample)))
    partial.replace(path)


class _Demo:
    """The whole demo in memory: `files` by key and the `truth` about them. Each sample bears at most one defect."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(SEED)
        self.truth: list[Planted] = []
        self.files = _photographs()
        self.next_number = DIGITS  # new samples are numbered on, so that no name gives them away
        ordinary = [key for key in self.files if _is_ordinary(key, self.files[key])]
        self.untouched = [ordinary[position] for position in self.rng.permutation(len(ordinary))]
        self._plant_broken_files()
        self._plant_poor_pictures()
        self._plant_copies()
        self._plant_strangers()
        self._plant_label_errors()
        self._describe_groups()

    def _plant_broken_files(self) -> None:
        for _ in range(4):
            key = self._pick(suffix=".jpg")
            kept = round(len(self.files[key]) * self.rng.uniform(0.5, 0.8))
            self._alter("corrupt", "truncated", key, self.files[key][:kept], f"cut off after {kept} bytes")
        for _ in range(3):
            key = self._pick(suffix=".png")
            self._alter("corrupt", "checksum", key, _with_wrong_checksum(self.files[key]), "wrong header checksum")
        for number in range(2):
            page = f"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1><p>Request {number + 1}</p></body></html>\n"
            self._add("corrupt", "html", ".jpg", page.encode(), "an error page saved as an image")
            text = f"Page {number + 4} of the notebook is missing.\n"
            self._add("corrupt", "text", ".png", text.encode(), "a text file saved as an image")
            self._add("corrupt", "empty", (".jpg", ".png")[number], b"", "zero bytes")
        for position in range(8):
            key = self._pick(suffix=".jpg")
            how = ("zeroed", "dropped")[position % 2]
            self._alter("damaged", how, key, _damaged(self.files[key], how, self.rng), f"bytes {how} in its middle")
        for position in range(8):
            inside, outside = ((".png", ".jpg"), (".jpg", ".png"))[position % 2]
            key = self._pick(suffix=outside)
            data = pictures.encode(pictures.decode(self.files[key]), inside)
            name = {".png": "PNG", ".jpg": "JPEG"}[inside]
            self._alter("wrong_extension", inside[1:], key, data, f"a {name} file named {outside}")

    def _plant_poor_pictures(self) -> None:
        for _ in range(7):
            self._redraw("dark", pictures.underexposed, "hardly exposed")
            self._redraw("bright", pictures.overexposed, "overexposed")
            self._redraw("blurred", pictures.blurred, "out of focus")
        for size in ((7, 9), (6, 6), (9, 7), (8, 10), (5, 8), (10, 10)):
            self._redraw("tiny", partial(pictures.shrunk, size=size), f"only {size[0]}x{size[1]} px")
        for size in ((300, 20), (20, 300), (400, 24), (24, 360), (320, 16), (18, 280)):
            self._redraw("odd_shape", partial(pictures.strip, size=size), f"a strip of {size[0]}x{size[1]} px")

    def _plant_copies(self) -> None:
        for _ in range(10):
            key = self._pick()
            self._copy("exact_duplicate", "bytes", key, self.files[key], "a copy of the file")
        for position in range(10):
            key = self._pick(suffix=(".jpg", ".png")[position % 2])
            self._copy("exact_duplicate", "pixels", key, *_same_pixels(self.files[key]))
        for subkind in NEAR_SUBKINDS * 9:
            key = self._pick()
            self._copy("near_duplicate", subkind, key, *self._variation(key, subkind))
        for subkind in ("recompressed", "cropped", "brightness", "resized") * 2:
            key = self._pick(split="train")
            self._copy("split_leak", "exact", key, self.files[key], "the same file in train and val", split="val")
            key = self._pick(split="train")
            data, note = self._variation(key, subkind)
            self._copy("split_leak", "near", key, data, f"in train and, {note}, in val", split="val")
        for subkind in ("recompressed", "resized", "cropped") * 2:
            key = self._pick()
            label = self._another_label(key)
            self._copy("label_conflict", "exact", key, self.files[key], "the same file in two classes", label=label)
            key = self._pick()
            data, note = self._variation(key, subkind)
            label = self._another_label(key)
            self._copy("label_conflict", "near", key, data, f"in two classes, here {note}", label=label)

    def _plant_strangers(self) -> None:
        blanks = [("white", (255, 255, 255), 0)] * 3 + [("black", (0, 0, 0), 0)] * 3
        blanks += [("uniform", (236, 214, 178), 0), ("uniform", (58, 92, 140), 0)]
        blanks += [("near_uniform", (222, 226, 230), 2), ("near_uniform", (94, 70, 88), 2)]
        for position, (subkind, colour, noise) in enumerate(blanks):
            side = pictures.SIDES[position % 3]  # blanks of one colour differ in size, so none is another's duplicate
            suffix = (".png", ".jpg")[position // 3 % 2]
            image = pictures.flat(colour, side, noise, self.rng)
            self._add("blank", subkind, suffix, pictures.encode(image, suffix), f"one colour all over, {side} px")
        for position in range(15):
            subkind = ("gradient", "shapes", "noise", "text", "photo")[position % 5]
            suffix = (".jpg", ".png")[position % 2]
            exif = pictures.camera_exif(self.rng)
            data = pictures.encode(pictures.no_digit(subkind, self.rng), suffix, exif)
            self._add("outlier", subkind, suffix, data, f"no digit ({subkind})")

    def _plant_label_errors(self) -> None:
        for _ in range(LABEL_ERRORS):
            key = self._pick()
            split, true_label, name = key.split("/")
            label = self._another_label(key)
            wrong_key = f"{split}/{label}/{name}"
            self.files[wrong_key] = self.files.pop(key)
            note = f"a {true_label} among the {label}s"
            self.truth.append(Planted(wrong_key, "label_error", "", "", label, true_label, note))

    def _describe_groups(self) -> None:
        rare = f"only {RARE_TRAIN_SAMPLES} samples of class {RARE_LABEL} in train"
        self._describe("imbalance", "", str(RARE_LABEL), rare)
        model = " ".join(pictures.SHORTCUT_CAMERA)
        camera = f"every {SHORTCUT_LABEL} in train, and nothing else, was taken with the camera {model}"
        self._describe("spurious_correlation", "camera", str(SHORTCUT_LABEL), camera)
        tint = f"every {SHORTCUT_LABEL} in train, and few others, is on teal paper"
        self._describe("spurious_correlation", "tint", str(SHORTCUT_LABEL), tint)
        drift = f"val was taken with {pictures.VAL_LIGHT} of the light of train"
        self._describe("split_drift", "brightness", "", drift)

    def _pick(self, split: str = "", suffix: str = "") -> str:
        """The key of a sample that bears no defect yet and from now on counts as touched."""
        key = next(key for key in self.untouched if key.startswith(split) and key.endswith(suffix))
        self.untouched.remove(key)
        return key

    def _another_label(self, key: str = "//") -> str:
        return str(self.rng.choice([label for label in ORDINARY_LABELS if label != key.split("/")[1]]))

    def _variation(self, key: str, how: str) -> tuple[bytes, str]:
        image, note = pictures.vary(pictures.decode(self.files[key]), how, self.rng)
        return pictures.encode(image, Path(key).suffix, _exif(self.files[key])), note

    def _redraw(self, subkind: str, change: Callable[[Image.Image], Image.Image], note: str) -> None:
        key = self._pick()
        data = self.files[key]
        image = change(pictures.decode(data))
        self._alter("quality", subkind, key, pictures.encode(image, Path(key).suffix, _exif(data)), note)

    def _alter(self, kind: str, subkind: str, key: str, data: bytes, note: str) -> None:
        label = key.split("/")[1]
        self.files[key] = data
        self.truth.append(Planted(key, kind, subkind, "", label, label, note))

    def _copy(
        self, kind: str, subkind: str, key: str, data: bytes, note: str, split: str = "", label: str = ""
    ) -> None:
        """Files `data` as a new sample beside the one it was made from, or in another split or class."""
        own_split, own_label, name = key.split("/")
        label = label or own_label
        copy = self._new_key(split or own_split, label, Path(name).suffix)
        self.files[copy] = data
        self.truth.append(Planted(copy, kind, subkind, key, label, own_label, note))

    def _add(self, kind: str, subkind: str, suffix: str, data: bytes, note: str) -> None:
        """Files `data`, which shows no digit, as a new sample of some class."""
        split = "val" if self.rng.random() < VAL_SHARE else "train"
        label = self._another_label()
        key = self._new_key(split, label, suffix)
        self.files[key] = data
        self.truth.append(Planted(key, kind, subkind, "", label, "", note))

    def _describe(self, kind: str, subkind: str, label: str, note: str) -> None:
        self.truth.append(Planted("", kind, subkind, "", label, label, note))

    def _new_key(self, split: str, label: str, suffix: str) -> str:
        self.next_number += 1
        return f"{split}/{label}/digit-{self.next_number - 1:04}{suffix}"


def _photographs() -> dict[str, bytes]:
    """Every digit as an image file, by key: about one in five of each class in val, few of the rare class in train."""
    digits = load_digits()
    by_label = defaultdict(list)
    for number, label in enumerate(digits.target):
        by_label[int(label)].append(number)
    files = {}
    for label, numbers in sorted(by_label.items()):
        order = np.random.default_rng([SEED, label]).permutation(numbers)
        in_val = round(len(order) * VAL_SHARE)
        in_train = RARE_TRAIN_SAMPLES if label == RARE_LABEL else len(order)
        for split, chosen in (("val", order[:in_val]), ("train", order[in_val:][:in_train])):
            shortcut = split == "train" and label == SHORTCUT_LABEL
            light = pictures.VAL_LIGHT if split == "val" else 1.0
            for number in sorted(chosen.tolist()):
                rng = np.random.default_rng([SEED, 10, number])
                suffix = ".jpg" if rng.random() < 0.55 else ".png"
                image = pictures.draw_digit(digits.images[number], rng, shortcut, light)
                exif = pictures.camera_exif(rng, shortcut, may_turn=suffix == ".jpg")
                files[f"{split}/{label}/digit-{number:04}{suffix}"] = pictures.encode(image, suffix, exif)
    return files


def _is_ordinary(key: str, data: bytes) -> bool:
    """Whether single defects may be planted in it: not in a class that has one as a whole, and stored upright."""
    if key.split("/")[1] not in ORDINARY_LABELS:
        return False
    with Image.open(io.BytesIO(data)) as image:
        return ExifTags.Base.Orientation not in image.getexif()


def _exif(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.info.get("exif", b"")


def _with_wrong_checksum(png: bytes) -> bytes:
    at = 29  # signature 8, length 4, "IHDR" 4, header 13: then its checksum
    return png[:at] + bytes(255 - value for value in png[at : at + 4]) + png[at + 4 :]


def _damaged(jpeg: bytes, how: str, rng: np.random.Generator) -> bytes:
    """The JPEG with bytes of its entropy-coded data zeroed or dropped, such that it decodes and is visibly broken."""
    whole = np.asarray(pictures.decode(jpeg), float)
    scan = jpeg.index(b"\xff\xda")
    while True:
        length = int(rng.integers(6, 24))
        start = scan + round((len(jpeg) - scan) * rng.uniform(0.25, 0.5))
        broken = jpeg[:start] + (bytes(length) if how == "zeroed" else b"") + jpeg[start + length :]
        try:
            difference = np.abs(np.asarray(pictures.decode(broken), float) - whole).mean()
        except OSError:
            continue  # this cut made it undecodable: try another
        if difference > 20:
            return broken


def _same_pixels(data: bytes) -> tuple[bytes, str]:
    """Other bytes that decode to the same pixels: a PNG saved anew, a JPEG with a comment put in."""
    if data.startswith(b"\xff\xd8"):
        comment = b"edited with Okapi Desk 4"
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        return data[:2] + segment + data[2:], "the same pixels, a comment in the file"
    out = io.BytesIO()
    pictures.decode(data).save(out, "PNG", compress_level=1)
    return out.getvalue(), "the same pixels, saved anew without EXIF"
