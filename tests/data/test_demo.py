"""The demo dataset: what the truth table says of a sample is so, and all other samples are clean."""

import csv
import hashlib
import io
import os
import subprocess
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFilter, ImageOps
from sklearn.datasets import load_digits

from recipe_core.data.demo import make_demo
from recipe_core.errors import Conflict

REPO = Path(__file__).parents[2]
FORMATS = {".jpg": "JPEG", ".png": "PNG"}
EIGHT_WAYS = [None, *Image.Transpose]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert make_demo(folder) == folder / "digits"
    return folder


@pytest.fixture(scope="module")
def digits(folder):
    return folder / "digits"


@pytest.fixture(scope="module")
def truth(folder):
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def clean(digits, truth):
    """The samples about which the truth table says nothing."""
    planted = {row["sample"] for row in truth}
    return [key for key in sorted(_keys(digits)) if key not in planted]


@pytest.fixture
def planted(truth):
    def rows(kind, subkind=None):
        found = [row for row in truth if row["kind"] == kind and subkind in (None, row["subkind"])]
        assert found, f"nothing of {kind} {subkind} was planted"
        return found

    return rows


def test_about_1800_samples_lie_in_two_splits_of_ten_classes(digits):
    keys = _keys(digits)
    splits = Counter(key.split("/")[0] for key in keys)
    classes = {key.rsplit("/", 1)[0] for key in keys}
    assert 1800 <= len(keys) <= 1900
    assert classes == {f"{split}/{label}" for split in ("train", "val") for label in range(10)}
    assert 0.18 < splits["val"] / len(keys) < 0.25


def test_every_kind_is_planted_a_few_times(truth):
    counts = Counter(row["kind"] for row in truth)
    groups = {"imbalance", "spurious_correlation", "split_drift"}
    singles = {"corrupt", "damaged", "wrong_extension", "blank", "quality", "exact_duplicate", "near_duplicate"}
    singles |= {"split_leak", "label_conflict", "outlier", "label_error"}
    assert set(counts) == groups | singles
    assert all(counts[kind] >= 8 for kind in singles)
    assert 28 <= counts["label_error"] <= 38


def test_the_truth_table_names_existing_samples_once_and_their_own_labels(digits, truth):
    samples = [row["sample"] for row in truth if row["sample"]]
    assert len(samples) == len(set(samples))
    keys = _keys(digits)
    for row in truth:
        if row["sample"]:
            assert row["sample"] in keys and row["given_label"] == row["sample"].split("/")[1]
        assert row["related"] in keys or not row["related"]
        assert row["note"]


def test_a_half_written_demo_is_remade_byte_for_byte_in_another_process(folder, tmp_path):
    (tmp_path / "README.txt").write_bytes((folder / "README.txt").read_bytes())
    leftover = tmp_path / "digits" / "train" / "3" / "leftover.png"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    code = "import sys, pathlib; from recipe_core.data.demo import make_demo; make_demo(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment, cwd=REPO)
    assert _hashes(tmp_path) == _hashes(folder)


def test_a_complete_demo_is_left_as_it_is(folder):
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    make_demo(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamps


def test_a_folder_of_somebody_elses_digits_is_never_deleted(tmp_path):
    own = tmp_path / "digits" / "mine.png"
    own.parent.mkdir()
    own.write_bytes(b"precious")
    with pytest.raises(Conflict, match="is not the demo's"):
        make_demo(tmp_path)
    assert own.read_bytes() == b"precious"


def test_a_place_that_cannot_be_written_is_named_in_one_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(Conflict, match=r"cannot be written to .*file"):
        make_demo(blocked / "demo")


def test_samples_that_bear_no_defect_decode_in_the_format_of_their_name(digits, clean):
    sides: Counter[tuple[int, int]] = Counter()
    for key in clean:
        with warnings.catch_warnings(), Image.open(digits / key) as image:
            warnings.simplefilter("error")
            image.load()
            assert image.format == FORMATS[Path(key).suffix]
            sides[image.size] += 1
            grey = np.asarray(image.convert("L"), float)
        assert 35 < grey.mean() < 240, key
        assert grey.std() > 8, key
    assert set(sides) == {(32, 32), (48, 48), (64, 64)}


def test_samples_that_bear_no_defect_are_copies_of_nothing(digits, clean):
    pixels = [_rgb(digits / key).tobytes() for key in clean]
    assert len(set(pixels)) == len(pixels)


def test_pictures_with_an_orientation_tag_are_upright_when_it_is_honoured(digits, clean):
    originals = load_digits().images
    gains = defaultdict(list)
    for key in clean:
        with Image.open(digits / key) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation)
            original = originals[_number(key)]
            upright = _likeness_to_digit(ImageOps.exif_transpose(image), original)
            gains[orientation].append(upright - _likeness_to_digit(image, original))
        assert upright > 0.4, key
    assert set(gains) == {None, 3, 6, 8}
    assert all(len(gains[turn]) >= 5 and np.mean(gains[turn]) > 0.15 for turn in (3, 6, 8))


def test_most_samples_know_their_camera_and_capture_time(digits, clean):
    exifs = [_exif(digits / key) for key in clean]
    known = [exif for exif in exifs if {ExifTags.Base.Make, ExifTags.Base.Model} <= set(exif)]
    assert 0.8 < len(known) / len(exifs) < 0.95
    times = [exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] for exif in known]
    assert all(time.startswith("2024:") for time in times)


def test_corrupt_files_cannot_be_decoded(digits, planted):
    for row in planted("corrupt"):
        with pytest.raises((OSError, SyntaxError)):
            _rgb(digits / row["sample"])


def test_truncated_jpegs_open_and_fail_only_in_their_pixels(digits, planted):
    for row in planted("corrupt", "truncated"):
        data = (digits / row["sample"]).read_bytes()
        assert b"\xff\xda" in data and not data.endswith(b"\xff\xd9")
        with Image.open(io.BytesIO(data)) as image, pytest.raises(OSError, match="truncated"):
            image.load()


def test_the_other_corrupt_files_are_what_the_truth_table_says(digits, planted):
    for row in planted("corrupt", "empty"):
        assert (digits / row["sample"]).read_bytes() == b""
    for row in planted("corrupt", "html"):
        assert (digits / row["sample"]).read_bytes().startswith(b"<!DOCTYPE html>")
    for row in planted("corrupt", "text"):
        assert (digits / row["sample"]).read_text("ascii")
    for row in planted("corrupt", "checksum"):
        assert (digits / row["sample"]).read_bytes().startswith(b"\x89PNG")


def test_damaged_jpegs_decode_and_are_unlike_any_digit_drawn_from_the_same_original(digits, planted):
    originals = load_digits().images
    likeness = []
    for row in planted("damaged"):
        image = _rgb(digits / row["sample"])
        likeness.append(_likeness_to_digit(image, originals[_number(row["sample"])]))
        assert _blockiness(image) > 1.5, row["sample"]
    assert np.median(likeness) < 0.6


def test_wrong_extensions_hide_a_whole_image_of_another_format(digits, planted):
    for row in planted("wrong_extension"):
        with Image.open(digits / row["sample"]) as image:
            image.load()
            assert image.format != FORMATS[Path(row["sample"]).suffix]
            assert image.format == {"png": "PNG", "jpg": "JPEG"}[row["subkind"]]


def test_blanks_show_one_colour_and_are_no_copies_of_each_other(digits, planted):
    images = [_rgb(digits / row["sample"]) for row in planted("blank")]
    assert all(np.asarray(image, float).std(axis=(0, 1)).max() < 3 for image in images)
    assert len({(image.size, image.tobytes()) for image in images}) == len(images)


def test_poor_pictures_are_poor_in_the_way_that_was_planted(digits, clean, planted):
    def greys(subkind):
        return [np.asarray(_rgb(digits / row["sample"]).convert("L"), float) for row in planted("quality", subkind)]

    assert all(grey.mean() < 35 for grey in greys("dark"))
    assert all(grey.mean() > 240 for grey in greys("bright"))
    assert all(grey.std() > 1 for grey in greys("dark") + greys("bright"))
    assert all(max(grey.shape) <= 10 for grey in greys("tiny"))
    assert all(max(grey.shape) >= 14 * min(grey.shape) for grey in greys("odd_shape"))
    sharp = np.percentile([_sharpness(_rgb(digits / key)) for key in clean], 1)
    blurred = [_sharpness(_rgb(digits / row["sample"])) for row in planted("quality", "blurred")]
    assert max(blurred) < sharp


def test_exact_duplicates_share_bytes_or_only_pixels(digits, planted):
    for row in planted("exact_duplicate"):
        one, other = digits / row["sample"], digits / row["related"]
        assert _rgb(one).tobytes() == _rgb(other).tobytes()
        assert (one.read_bytes() == other.read_bytes()) == (row["subkind"] == "bytes")
        assert _split_and_label(row["sample"]) == _split_and_label(row["related"])


def test_near_duplicates_show_the_same_picture_in_other_pixels(digits, planted):
    for row in planted("near_duplicate"):
        assert _split_and_label(row["sample"]) == _split_and_label(row["related"])
        _assert_same_picture_in_other_pixels(digits, row)


def test_mirrored_cropped_resized_and_captioned_copies_are_what_they_are_called(digits, planted):
    for row in planted("near_duplicate"):
        copy, original = _rgb(digits / row["sample"]), _rgb(digits / row["related"])
        if row["subkind"] == "mirrored":
            assert _difference(ImageOps.mirror(copy), original) < 5
        elif row["subkind"] == "cropped":
            assert copy.width < original.width and copy.height < original.height
        elif row["subkind"] == "resized":
            assert copy.width != original.width and copy.width == copy.height
        elif row["subkind"] == "brightness":
            assert abs(np.asarray(copy).mean() / np.asarray(original).mean() - 1) > 0.02
        elif row["subkind"] == "caption":
            band = (0, round(copy.height * 0.82), copy.width, copy.height)
            assert _difference(copy.crop(band), original.crop(band)) > 5


def test_leaks_stand_in_both_splits(digits, planted):
    for row in planted("split_leak"):
        assert _split_and_label(row["sample"]) == ("val", row["given_label"])
        assert _split_and_label(row["related"]) == ("train", row["given_label"])
        _assert_same_file_or_near(digits, row)


def test_label_conflicts_stand_in_two_classes_of_one_split(digits, planted):
    for row in planted("label_conflict"):
        (split, label), (other_split, other_label) = _split_and_label(row["sample"]), _split_and_label(row["related"])
        assert split == other_split
        assert label != other_label == row["true_label"]
        _assert_same_file_or_near(digits, row)


def test_label_errors_are_filed_under_another_class_than_scikit_learn_gives(digits, planted):
    target = load_digits().target
    for row in planted("label_error"):
        number = _number(row["sample"])
        assert row["true_label"] == str(target[number]) != row["given_label"]


def test_all_other_digits_are_filed_under_their_own_class(clean):
    target = load_digits().target
    for key in clean:
        assert key.split("/")[1] == str(target[_number(key)])


def test_outliers_decode_and_have_no_true_label(digits, planted):
    rows = planted("outlier")
    assert {row["subkind"] for row in rows} == {"gradient", "shapes", "noise", "text", "photo"}
    assert {row["true_label"] for row in rows} == {""}
    assert len({_rgb(digits / row["sample"]).tobytes() for row in rows}) == len(rows)


def test_the_rare_class_is_rare_in_train_only(digits, planted):
    (row,) = planted("imbalance")
    counts = Counter(_split_and_label(key) for key in _keys(digits))
    assert counts["train", row["given_label"]] == 10
    assert counts["val", row["given_label"]] > 30
    assert min(count for (split, label), count in counts.items() if label != row["given_label"]) > 30


def test_the_shortcut_camera_and_tint_hold_for_one_class_in_train_and_nowhere_else(digits, planted):
    label = planted("spurious_correlation", "camera")[0]["given_label"]
    keys = _keys(digits) - {row["sample"] for row in planted("corrupt")}
    with_camera = {key for key in keys if _exif(digits / key).get(ExifTags.Base.Model) == "M-7"}
    assert with_camera == {key for key in keys if key.startswith(f"train/{label}/")}
    assert all(90 < _paper_hue(_rgb(digits / key)) < 150 for key in with_camera)  # of 255
    in_val = [_paper_hue(_rgb(digits / key)) for key in keys if key.startswith(f"val/{label}/")]
    assert np.std(in_val) > 30


def test_val_is_darker_than_train(digits, clean):
    brightness = {
        split: np.mean([np.asarray(_rgb(digits / key)).mean() for key in clean if key.startswith(split)])
        for split in ("train", "val")
    }
    assert 0.75 < brightness["val"] / brightness["train"] < 0.92


def _keys(digits):
    return {path.relative_to(digits).as_posix() for path in digits.rglob("*") if path.is_file()}


def _hashes(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _rgb(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def _exif(path):
    with Image.open(path) as image:
        return image.getexif()


def _number(key):
    return int(Path(key).stem.removeprefix("digit-"))


def _split_and_label(key):
    split, label, _ = key.split("/")
    return split, label


def _assert_same_file_or_near(digits, row):
    if row["subkind"] == "exact":
        assert (digits / row["sample"]).read_bytes() == (digits / row["related"]).read_bytes()
    else:
        _assert_same_picture_in_other_pixels(digits, row)


def _assert_same_picture_in_other_pixels(digits, row):
    copy, original = _rgb(digits / row["sample"]), _rgb(digits / row["related"])
    assert (copy.size, copy.tobytes()) != (original.size, original.tobytes())
    if row["subkind"] == "caption":
        above = (0, 0, copy.width, round(copy.height * 0.8))
        copy, original = copy.crop(above), original.crop(above)
    turned = [copy if turn is None else copy.transpose(turn) for turn in EIGHT_WAYS]
    likeness = max(_correlation(_small(picture), _small(original)) for picture in turned)
    assert likeness > 0.7, (row, likeness)


def _small(image, side=8):
    return np.asarray(image.convert("L").resize((side, side), Image.Resampling.BOX), float)


def _correlation(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def _likeness_to_digit(image, original):
    """How well a picture agrees with scikit-learn's 8x8 digit, 0..1; whether ink or paper is darker does not matter."""
    frame = np.pad(original, 2)
    return abs(_correlation(_small(image, 12), frame))


def _difference(one, other):
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()


def _sharpness(image):
    edges = image.convert("L").filter(ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128))
    return np.asarray(edges, float)[1:-1, 1:-1].std() / np.asarray(image.convert("L"), float).std()


def _blockiness(image):
    """How much larger the steps across the borders of 8x8 blocks are than all others: 1 in a sound picture."""
    pixels = np.asarray(image, float)
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(pixels, axis=axis)).mean(axis=(1 - axis, 2))
        at_border = np.arange(1, len(steps) + 1) % 8 == 0
        ratios.append(steps[at_border].mean() / steps[~at_border].mean())
    return max(ratios)


def _paper_hue(image):
    return int(np.median(np.asarray(image.convert("HSV"))[:3, :, 0]))
