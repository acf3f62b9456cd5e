"""The decoded images of a manifest: from files on disk, through the pool of processes, to mapped arrays."""

import contextlib
import json
import os
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded, exif, noise, smooth
from PIL import Image

from recipe_core.data import tensors as module
from recipe_core.data.catalog import Catalog
from recipe_core.data.decode import decode
from recipe_core.data.fingerprints import byte_hash
from recipe_core.data.manifest import Manifest, read_manifest
from recipe_core.data.sources import open_source
from recipe_core.data.tensors import build_tensors, default_size
from recipe_core.errors import NotTrainable, Stopped
from recipe_core.workspace import Workspace


def made(folder, images):
    """A folder of the files {path: bytes}, and its manifest."""
    for path, data in images.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    paths = sorted(images)
    columns = {
        "sample": paths,
        "label": [path.split("/")[1] for path in paths],
        "split": [path.split("/")[0] for path in paths],
        "content_hash": [byte_hash(images[path]) for path in paths],
    }
    return Manifest(pd.DataFrame(columns), tuple(sorted(set(columns["label"]))), "0123456789abcdef")


def built(tmp_path, images, size=32):
    manifest = made(tmp_path / "images", images)
    source = open_source(tmp_path / "images")
    return build_tensors(source, manifest, size, tmp_path / "tensors", lambda done, total: None, lambda: None)


def images_of(folder, split="train"):
    return np.load(folder / f"{split}_images.npy", mmap_mode="r")


def with_val(images):
    return images | {"val/cat/v.png": encoded(noise(32, 32, 99))}


def distance(a, b):
    return np.abs(a.astype(int) - np.asarray(b).astype(int)).mean()


def resized(pixels, side, size):
    """The reference: the centred square of the whole picture, resized by Pillow in one step."""
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    square = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def test_a_scanned_folder_becomes_arrays_of_its_images_labels_and_keys(tmp_path):
    pixels = {}
    for number in range(40):
        key = f"{'val' if number % 4 == 0 else 'train'}/{('dog', 'cat')[number % 2]}/{number:02}.png"
        pixels[key] = noise(32, 32, number)
        (tmp_path / "pets" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / key).write_bytes(encoded(pixels[key]))
    (tmp_path / "pets/train/cat/broken.png").write_bytes(b"no image")
    dataset = Workspace(tmp_path / "workspace").add_dataset("pets", tmp_path / "pets")
    dataset.scan()
    manifest, progress = read_manifest(dataset.catalog), []

    def on_progress(done, total):
        progress.append((done, total))

    folder = build_tensors(dataset.opened, manifest, 32, dataset.folder / "tensors", on_progress, lambda: None)
    assert folder == dataset.folder / "tensors" / f"{manifest.hash}-32"
    meta = json.loads((folder / "meta.json").read_text())
    for split in ("train", "val"):
        keys = json.loads((folder / meta[f"{split}_samples"]).read_text())
        assert keys == sorted(key for key in pixels if key.startswith(split)) and meta[split] == len(keys)
        images, labels = images_of(folder, split), np.load(folder / f"{split}_labels.npy")
        assert images.dtype == np.uint8 and labels.dtype == np.int64
        assert np.array_equal(images, [pixels[key] for key in keys]), "bit for bit"
        assert [meta["classes"][label] for label in labels] == [key.split("/")[1] for key in keys]
    train = images_of(folder).reshape(-1, 3) / 255
    assert np.allclose(meta["channel_mean"], train.mean(axis=0)) and np.allclose(meta["channel_std"], train.std(axis=0))
    assert (meta["size"], meta["manifest"]) == (32, manifest.hash)
    assert progress[0] == (0, 40) and progress[-1] == (40, 40) and progress == sorted(progress)


def test_many_chunks_land_in_their_rows(tmp_path):
    colours = {f"train/cat/{number:04}.png": number for number in range(1000)}
    images = {key: encoded(np.full((4, 4, 3), (n % 256, n // 256, 7), np.uint8)) for key, n in colours.items()}
    rows = images_of(built(tmp_path, with_val(images), size=4))[:, 0, 0].astype(int)
    assert (rows[:, 0] + 256 * rows[:, 1]).tolist() == list(range(1000))


def test_images_of_any_shape_give_their_centred_square_upright(tmp_path):
    wide, tall, strip = smooth(200, 120, 1), smooth(120, 201, 2), smooth(4000, 100, 3)
    turned = np.ascontiguousarray(np.rot90(wide))
    narrow, small = noise(33, 32, 5), smooth(10, 12, 6)
    images = {
        "train/cat/1-wide.png": encoded(wide),
        "train/cat/2-tall.png": encoded(tall),
        "train/cat/3-strip.jpg": encoded(strip, "JPEG", quality=95, subsampling=0),
        "train/cat/4-turned.png": encoded(turned, exif=exif(6)),
        "train/cat/5-grey.png": encoded(Image.fromarray(wide).convert("L")),
        "train/cat/6-large.jpg": encoded(smooth(1600, 1200, 4), "JPEG", quality=95),
        "train/cat/7-narrow.png": encoded(narrow),
        "train/cat/8-small.png": encoded(small),
    }
    found = images_of(built(tmp_path, with_val(images)))
    assert distance(found[0], resized(wide, 120, 32)) < 1
    assert distance(found[1], resized(tall, 120, 32)) < 1
    assert distance(found[2], resized(strip, 100, 32)) < 2, "a long one is not blurred by decoding at reduced scale"
    assert np.array_equal(found[3], found[0])
    assert np.ptp(found[4].astype(int), axis=2).max() == 0
    assert distance(found[5], resized(decode(images["train/cat/6-large.jpg"]).pixels, 1200, 32)) < 2
    assert np.array_equal(found[6], narrow[:, :32]), "cropped only"
    assert distance(found[7], resized(small, 10, 32)) < 1


def test_what_was_built_is_used_again(tmp_path):
    images = with_val({"train/cat/a.png": encoded(noise(32, 32))})
    folder = built(tmp_path, images)
    before = (folder / "meta.json").stat().st_mtime_ns
    manifest = made(tmp_path / "images", images)
    (tmp_path / "images/train/cat/a.png").unlink()
    source = open_source(tmp_path / "images")
    assert build_tensors(source, manifest, 32, tmp_path / "tensors", print, lambda: None) == folder
    assert (folder / "meta.json").stat().st_mtime_ns == before


def test_samples_that_are_not_what_was_scanned_are_named_with_the_remedy(tmp_path):
    images = with_val({f"train/cat/{name}.png": encoded(noise(32, 32, at)) for at, name in enumerate("abcdef")})
    manifest = made(tmp_path / "images", images)
    source = open_source(tmp_path / "images")
    for name, now in {"b": None, "c": encoded(noise(32, 32, 50)), "d": b"text", "e": None}.items():
        path = tmp_path / f"images/train/cat/{name}.png"
        path.unlink()
        if now:
            path.write_bytes(now)
    with pytest.raises(NotTrainable) as refused:
        build_tensors(source, manifest, 32, tmp_path / "tensors", lambda *_: None, lambda: None)
    assert str(refused.value) == (
        '"train/cat/b.png", "train/cat/c.png", "train/cat/d.png" and more have vanished, changed or become unreadable '
        "since the scan; rescan the dataset and launch a new run."
    )
    assert list((tmp_path / "tensors").iterdir()) == []


@dataclass
class Slow:
    """A source that takes its time, or kills the process that reads it."""

    data: bytes
    deadly: bool = False

    def read(self, key):
        if self.deadly:
            os.kill(os.getpid(), 9)
        time.sleep(0.05)
        return self.data


def slow_manifest(data, samples=2000):
    keys = [f"{number:05}" for number in range(samples)]
    splits = ["train" if number % 2 else "val" for number in range(samples)]
    columns = {"sample": keys, "label": "cat", "split": splits, "content_hash": byte_hash(data)}
    return Manifest(pd.DataFrame(columns), ("cat",), "0" * 16)


def test_a_build_that_is_stopped_leaves_nothing_behind(tmp_path):
    data, calls = encoded(noise(32, 32)), []

    def check():
        calls.append(1)
        if len(calls) == 2:
            raise Stopped("stop")

    with pytest.raises(Stopped):
        build_tensors(Slow(data), slow_manifest(data), 32, tmp_path / "tensors", lambda *_: None, check)
    assert list((tmp_path / "tensors").iterdir()) == []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie, as after another test
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()  # else pytest waits for the chunk under way


def test_a_process_of_the_pool_that_dies_is_told(tmp_path):
    data = encoded(noise(32, 32))
    with pytest.raises(NotTrainable, match="was killed"):
        build_tensors(Slow(data, True), slow_manifest(data, 20), 32, tmp_path / "t", lambda *_: None, lambda: None)


def test_of_two_that_build_the_same_the_first_to_finish_wins(tmp_path):
    images = with_val({"train/cat/a.png": encoded(noise(32, 32))})
    manifest, source = made(tmp_path / "images", images), open_source(tmp_path / "images")
    nested = []

    def finish_another_first():
        if not nested:
            nested.append("under way")
            nested[0] = build_tensors(source, manifest, 32, tmp_path / "tensors", lambda *_: None, lambda: None)
            (nested[0] / "first").touch()

    folder = build_tensors(source, manifest, 32, tmp_path / "tensors", lambda *_: None, finish_another_first)
    assert folder == nested[0] and (folder / "first").exists()
    assert list((tmp_path / "tensors").iterdir()) == [folder]


def test_a_disk_without_room_is_told_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 6000}))
    with pytest.raises(NotTrainable, match="tensors has no room"):
        built(tmp_path, with_val({"train/cat/a.png": encoded(noise(32, 32))}))


def test_what_a_killed_build_left_is_deleted_a_day_later(tmp_path):
    old, young = tmp_path / "tensors/a.1.partial", tmp_path / "tensors/a.2.partial"
    for folder, age in ((old, 25 * 3600), (young, 23 * 3600)):
        folder.mkdir(parents=True)
        os.utime(folder, times=(time.time() - age,) * 2)
    built(tmp_path, with_val({"train/cat/a.png": encoded(noise(32, 32))}))
    assert not old.exists() and young.exists()


@pytest.mark.parametrize(
    ("sides", "size"), [([(32, 32)], 32), ([(28, 28)], 32), ([(27, 99)], 24), ([(5, 5)], 16), ([(900, 700)] * 2, 64)]
)
def test_the_default_size_is_the_median_shorter_side_within_what_a_cpu_can_do(tmp_path, sides, size):
    (tmp_path / "catalog").mkdir()
    sides = [*sides, (None, None)]
    columns = {"readable": [width is not None for width, _ in sides]}
    columns |= {"width": [width for width, _ in sides], "height": [height for _, height in sides]}
    pq.write_table(pa.table(columns), tmp_path / "catalog" / "catalog.parquet")
    assert default_size(Catalog(tmp_path)) == size
