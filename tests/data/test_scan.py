"""The scan as users start it: real sources, a real worker process, killed, stopped, repeated."""

import io
import json
import os
import shutil
import socket
import zipfile
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
from pictures import encoded, noise, png_header, smooth
from PIL import Image
from scan_helpers import (
    Deadly,
    Endless,
    context_of,
    make_images,
    make_table,
    shards_of,
    thumbnail_of,
    until,
)

from recipe_core.data import scan as scan_module
from recipe_core.data.catalog import Catalog
from recipe_core.data.decode import decode
from recipe_core.errors import Conflict, NotFound, RecipeError

MANY = 2100  # five shards of images so small that a scan of them takes a second


def scanned(workspace, source, name="pets", **columns):
    dataset = workspace.add_dataset(name, source, columns or None)
    job = dataset.scan()
    assert job.state == "finished", job.log_tail()
    return dataset


def placed(dataset):
    rows = dataset.query()
    missing = rows[["label", "split"]].isna()
    return {
        row.key: (None if missing.label[row.Index] else row.label, None if missing.split[row.Index] else row.split)
        for row in rows.itertuples()
    }


@pytest.fixture(scope="session")
def many_images(tmp_path_factory):
    root = tmp_path_factory.mktemp("many")
    contents = [encoded(noise(6, 6, seed), "PNG") for seed in range(40)]
    for number in range(MANY):
        folder = root / f"class{number % 3}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:05}.png").write_bytes(contents[number % 40])
    return root


# Sources


def zipped(root, target):
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root))
    return target


def test_a_folder_of_classes_and_its_zip_give_the_same_catalog(workspace, tmp_path):
    root = make_images(tmp_path / "pets", "cat/a.png", "cat/b.png", "dog/ü <b>'\".png", "dog/new\nline.png")
    folder = scanned(workspace, root)
    archive = scanned(workspace, zipped(root, tmp_path / "pets.zip"), "zipped")
    assert placed(folder) == placed(archive)
    assert placed(folder) == {
        "cat/a.png": ("cat", None),
        "cat/b.png": ("cat", None),
        "dog/ü <b>'\".png": ("dog", None),
        "dog/new\nline.png": ("dog", None),
    }
    facts = [dataset.query().drop(columns=["label", "split"]) for dataset in (folder, archive)]
    pd.testing.assert_frame_equal(*facts)


def test_splits_and_classes_come_from_the_folders(workspace, tmp_path):
    root = make_images(tmp_path / "set", "train/cat/1.png", "train/dog/2.png", "Validation/cat/3.png")
    assert placed(scanned(workspace, root)) == {
        "train/cat/1.png": ("cat", "train"),
        "train/dog/2.png": ("dog", "train"),
        "Validation/cat/3.png": ("cat", "val"),
    }


def test_a_table_keeps_its_columns_typed_by_their_values_and_none_of_them_hides_a_fact(workspace, tmp_path):
    root = make_images(tmp_path / "t", "a.png", "b.png", "c.png")
    columns = ["file", "species", "fold", "age", "weight", "ok", "seen", "code", "dash", "gaps", "share", "WIDTH"]
    columns += ["_shard", "filename", "Key", "a.b", 'say "hi"', "*", "naïve, ü"]

    def hostile(number):
        return ["s", "f", "k", number, "q", "*", "u"]

    table = make_table(
        root / "t.csv",
        columns,
        ["a.png", "cat", "train", 3, "1.5", "true", "2020-01-02 03:04:05", "007", "-", "", "nan", "x", *hostile(1)],
        ["b.png", "dog", "test", -4, "2e3", "False", "2021-01-01", "010", "5", "7", "0.5", "y", *hostile(2)],
        ["c.png", "", "train", 0, ".5", "true", "2022-12-31T00:00:00", "1", ".", "", "inf", "z", *hostile(3)],
    )
    dataset = scanned(workspace, table, path="file", label="species", split="fold")
    types = dataset.catalog.types()
    wanted = {"age": "BIGINT", "weight": "DOUBLE", "ok": "BOOLEAN", "seen": "TIMESTAMP", "code": "VARCHAR"}
    wanted |= {"dash": "VARCHAR", "gaps": "BIGINT", "share": "DOUBLE", "meta_WIDTH": "VARCHAR", "width": "INTEGER"}
    wanted |= {"shard": "VARCHAR", "filename": "VARCHAR", "meta_Key": "VARCHAR", "a.b": "BIGINT", 'say "hi"': "VARCHAR"}
    wanted |= {"column": "VARCHAR", "naïve, ü": "VARCHAR"}
    assert {name: types.get(name) for name in wanted} == wanted
    rows = dataset.query(order_by="key")
    assert rows["age"].tolist() == [3, -4, 0]
    assert rows["weight"].tolist() == [1.5, 2000, 0.5]
    assert rows["ok"].tolist() == [True, False, True]
    assert rows["seen"].tolist() == [datetime(2020, 1, 2, 3, 4, 5), datetime(2021, 1, 1), datetime(2022, 12, 31)]
    assert rows["code"].tolist() == ["007", "010", "1"]
    assert rows["share"].isna().tolist() == [True, False, False]
    assert rows["gaps"].isna().tolist() == [True, False, True]
    assert rows["width"].tolist() == [12, 12, 12]
    assert placed(dataset) == {"a.png": ("cat", "train"), "b.png": ("dog", "test"), "c.png": (None, "train")}
    assert dataset.query('"a.b" = 2 and "say ""hi""" = \'q\'')["key"].tolist() == ["b.png"]


def test_a_parquet_table_keeps_its_types_and_a_broken_row_is_a_problem_not_an_end(workspace, tmp_path):
    root = make_images(tmp_path / "p", "a.png", "b.png")
    frame = pd.DataFrame(
        {
            "image_path": ["a.png", "b.png", "gone.png", None, "../outside.png", "a.png"],
            "score": [0.1, np.nan, 1, 1, 1, 1],
            "when": pd.to_datetime(["2020-01-01 10:00"] * 6),
            "flag": [True, False, True, True, True, True],
            "target": [0, 1, 1, 1, 1, 1],
        }
    )
    frame.to_parquet(root / "p.parquet")
    dataset = scanned(workspace, root / "p.parquet")
    rows = dataset.query(order_by="key").set_index("key")
    assert list(rows.index) == ["a.png", "b.png", "gone.png"]
    assert rows["label"].tolist() == ["0", "1", "1"]
    assert dataset.catalog.types()["when"] == "TIMESTAMP"
    assert dataset.catalog.types()["flag"] == "BOOLEAN"
    assert rows.loc["a.png", "score"] == 0.1
    assert pd.isna(rows.loc["b.png", "score"])
    assert rows.loc["gone.png", "error_kind"] == "missing"
    assert len(dataset.problems()) == 4
    assert all("\n" not in problem for problem in dataset.problems())


def test_a_table_without_one_usable_row_fails_with_a_sentence_and_can_be_mended(workspace, tmp_path):
    root = make_images(tmp_path / "t", "a.png")
    table = make_table(root / "t.csv", ["path", "label"], ["", "x"], ["../../etc/passwd.png", "y"])
    dataset = workspace.add_dataset("pets", table, {"path": "path"})
    with pytest.raises(RecipeError, match=r"no usable sample; .*has no path"):
        dataset.scan()
    make_table(root / "t.csv", ["path", "label"], ["a.png", "x"])
    assert dataset.scan().state == "finished"
    assert placed(dataset) == {"a.png": ("x", None)}


# What is measured


def test_bad_files_are_rows_that_say_why_and_everything_else_is_measured(workspace, tmp_path):
    root = make_images(tmp_path / "flat", "good.png", "other.png")
    whole = encoded(noise(60, 60), "JPEG")
    bad = {
        "empty.jpg": (b"", "empty"),
        "cut.jpg": (whole[: len(whole) // 2], "truncated"),
        "page.png": (b"<html>404</html>", "not_an_image"),
        "huge.png": (png_header(60_000, 60_000), "too_large"),
        "noise.gif": (os.urandom(999), "not_an_image"),
    }
    for name, (data, _) in bad.items():
        (root / name).write_bytes(data)
    (root / "really.jpg").write_bytes(encoded(noise(9, 9), "PNG"))
    (root / "locked.png").symlink_to(root / "nowhere.png")
    dataset = scanned(workspace, root)
    rows = dataset.query().set_index("key")
    assert {name: rows.loc[name, "error_kind"] for name in bad} == {name: kind for name, (_, kind) in bad.items()}
    assert rows.loc["locked.png", "error_kind"] == "missing"
    assert rows["readable"].sum() == 3
    assert rows.loc["really.jpg", "format"] == "PNG"
    assert rows.loc[list(bad), "error"].notna().all()
    assert dataset.query("readable and phash is not null and copies = 1")["key"].tolist() == [
        "good.png",
        "other.png",
        "really.jpg",
    ]


def test_facts_copies_and_thumbnails_belong_to_their_samples(workspace, tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for number in range(30):
        (root / f"{number:02}.png").write_bytes(encoded(noise(20, 15, number % 25), "PNG"))
    (root / "photo.jpg").write_bytes(encoded(smooth(900, 600), "JPEG"))
    dataset = scanned(workspace, root)
    for number in (0, 7, 29):
        assert thumbnail_of(dataset, f"{number:02}.png") == encoded(noise(20, 15, number % 25), "PNG")
    photo = Image.open(io.BytesIO(thumbnail_of(dataset, "photo.jpg")))
    expected = Image.fromarray(decode((root / "photo.jpg").read_bytes()).pixels).resize(photo.size)
    assert np.abs(np.asarray(photo).astype(int) - np.asarray(expected)).mean() < 3
    copies = dataset.query().set_index("key")["copies"]
    assert copies["00.png"] == copies["25.png"] == 2
    assert copies["10.png"] == copies["photo.jpg"] == 1
    assert dataset.job.progress["done"] == 31


# Going on after a kill or a stop


def parts_of(dataset):
    return list((dataset.folder / "scan").glob("*/parts/*.parquet"))


def test_a_scan_killed_in_the_middle_is_browsed_resumed_and_complete_with_nothing_done_twice(workspace, many_images):
    dataset = workspace.add_dataset("many", many_images)
    dataset.launch_scan()
    until(lambda: parts_of(dataset))
    worker = psutil.Process(until(lambda: dataset.job.pid))
    for process in [*worker.children(recursive=True), worker]:
        process.kill()
    assert until(lambda: dataset.job.state != "running" and dataset.job.state) == "lost"
    before = shards_of(dataset)
    assert 0 < len(before) < MANY
    key = next(iter(before))
    assert thumbnail_of(dataset, key) == (many_images / key).read_bytes()

    assert dataset.scan().state == "finished"
    after = shards_of(dataset)
    assert dataset.catalog.count() == len(after) == MANY
    assert {key: after[key] for key in before} == before
    assert set(after) == {path.relative_to(many_images).as_posix() for path in many_images.rglob("*.png")}
    for key in [*list(after)[:5], *list(after)[-5:]]:
        assert thumbnail_of(dataset, key) == (many_images / key).read_bytes()
    assert dataset.job.attempt == 2
    assert {path.stem for path in (dataset.folder / "thumbnails").iterdir()} == set(after.values())
    assert not any(path.is_dir() for path in (dataset.folder / "scan").iterdir())


def test_a_stopped_scan_keeps_what_it_has_and_the_next_goes_on(workspace, many_images):
    dataset = workspace.add_dataset("many", many_images)
    dataset.launch_scan()
    with pytest.raises(Conflict, match="scanned already"):
        dataset.launch_scan()
    with pytest.raises(Conflict, match="being scanned"):
        workspace.remove_dataset("many")
    until(lambda: parts_of(dataset))
    dataset.stop_scan()
    until(lambda: not dataset.job.active)
    assert dataset.job.state == "stopped"
    before = shards_of(dataset)
    assert 0 < len(before) < MANY
    assert set(dataset.query("readable", limit=20)["label"]) <= {"class0", "class1", "class2"}
    assert dataset.scan().state == "finished"
    after = shards_of(dataset)
    assert len(after) == MANY
    assert {key: after[key] for key in before} == before


def test_a_scan_killed_while_it_cleared_up_ends_well_when_it_is_resumed(tmp_path, monkeypatch):
    source = Deadly(["a.png", "b.png"], set())
    monkeypatch.setattr(scan_module, "open_source", lambda *_: source)
    with monkeypatch.context() as patch:
        half_cleared = SimpleNamespace(rmtree=lambda path: (path / "problems.json").unlink(missing_ok=True))
        patch.setattr(scan_module, "shutil", half_cleared)
        scan_module.scan(context_of(tmp_path))
    scan_module.scan(context_of(tmp_path, attempt=2))
    assert Catalog(tmp_path).count() == 2
    source.keys.append("c.png")
    scan_module.scan(context_of(tmp_path, attempt=3))
    rows = Catalog(tmp_path).rows(internal=True)
    assert rows["key"].tolist() == ["a.png", "b.png", "c.png"]
    for place in rows.itertuples():
        thumbnails = (tmp_path / "thumbnails" / f"{rows['_shard'][place.Index]}.bin").read_bytes()
        start = rows["_offset"][place.Index]
        assert thumbnails[start : start + rows["_length"][place.Index]] == source.image


@pytest.mark.parametrize("source", [Deadly, Endless])
def test_files_that_kill_or_hang_the_reading_process_are_rows_that_say_so(tmp_path, monkeypatch, source):
    keys = [f"{number}.png" for number in range(5)]
    monkeypatch.setattr(scan_module, "open_source", lambda *_: source(keys, {"1.png", "3.png"}))
    scan_module.scan(context_of(tmp_path))
    rows = Catalog(tmp_path).rows().set_index("key")
    assert rows["readable"].tolist() == [True, False, True, False, True]
    assert rows.loc["3.png", "error_kind"] == "broken"
    assert "crashed the decoder, or took it longer than 120 s" in rows.loc["3.png", "error"]


def test_pipes_sockets_and_devices_named_like_images_are_rows_that_say_so(workspace, tmp_path):
    root = make_images(tmp_path / "flat", "a.png")
    os.mkfifo(root / "pipe.png")
    (root / "device.png").symlink_to("/dev/zero")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(root / "socket.png"))
    rows = scanned(workspace, root).query().set_index("key")
    listener.close()
    for name in ("pipe.png", "device.png", "socket.png"):
        assert rows.loc[name, "error_kind"] == "unreadable"
        assert rows.loc[name, "error"] == f"{root / name} is not a file."
    assert rows["readable"].sum() == 1


# Scanning again


def test_a_second_scan_measures_only_what_has_changed(workspace, tmp_path):
    root = make_images(tmp_path / "t", *(f"{number}.png" for number in range(8)))
    rows = [[f"{number}.png", "cat", number] for number in range(8)]
    table = make_table(root / "t.csv", ["path", "label", "age"], *rows)
    dataset = scanned(workspace, table)
    first = shards_of(dataset)
    written = (dataset.folder / "catalog" / "catalog.parquet").stat().st_mtime_ns

    assert dataset.scan().progress["to_measure"] == 0
    assert shards_of(dataset) == first
    assert (dataset.folder / "catalog" / "catalog.parquet").stat().st_mtime_ns == written

    (root / "0.png").write_bytes(encoded(noise(30, 30, 99), "PNG"))
    make_images(root, "new.png")
    rows[1][1] = "dog"
    make_table(root / "t.csv", ["path", "label", "age"], *rows[:7], ["new.png", "cat", "old"])
    job = dataset.scan()
    assert job.progress["to_measure"] == job.progress["done"] == 2
    again = shards_of(dataset)
    assert set(again) == {*(f"{number}.png" for number in range(7)), "new.png"}
    assert {key for key in again if again[key] != first.get(key)} == {"0.png", "new.png"}
    found = dataset.query().set_index("key")
    assert found.loc["1.png", "label"] == "dog"
    assert found.loc["0.png", "width"] == 30
    assert found["age"].tolist()[-1] == "old"
    assert thumbnail_of(dataset, "0.png") == (root / "0.png").read_bytes()
    assert thumbnail_of(dataset, "3.png") == (root / "3.png").read_bytes()


def test_a_file_that_has_gone_and_come_back_is_followed(workspace, tmp_path):
    root = make_images(tmp_path / "t", "a.png", "b.png")
    table = make_table(root / "t.csv", ["path", "label"], ["a.png", "x"], ["b.png", "y"])
    (root / "b.png").rename(root / "kept")
    dataset = scanned(workspace, table)
    assert dataset.query("error_kind = 'missing'")["key"].tolist() == ["b.png"]
    (root / "kept").rename(root / "b.png")
    dataset.scan()
    assert dataset.query("readable")["key"].tolist() == ["a.png", "b.png"]
    assert dataset.problems() == []


def test_a_scan_leaves_nothing_in_the_temporary_folder(workspace, tmp_path, monkeypatch):
    (temporary := tmp_path / "t").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    dataset = scanned(workspace, make_images(tmp_path / "pets", "cat/a.png", "dog/b.png"))
    until(lambda: not psutil.pid_exists(dataset.job.pid))
    assert list(temporary.iterdir()) == []


def test_a_removed_dataset_leaves_its_images_and_nothing_else(workspace, tmp_path):
    root = make_images(tmp_path / "pets", "cat/a.png", "dog/b.png")
    dataset = scanned(workspace, root)
    workspace.remove_dataset("pets")
    assert len(list(root.rglob("*.png"))) == 2
    assert not dataset.folder.exists()
    assert dataset.catalog.count() == 0
    with pytest.raises(NotFound, match="pets"):
        workspace.dataset("pets")
    again = scanned(workspace, root)
    assert again.catalog.count() == 2


def test_a_source_that_has_gone_is_a_sentence_and_the_catalog_stays(workspace, tmp_path):
    root = make_images(tmp_path / "pets", "cat/a.png", "dog/b.png")
    dataset = scanned(workspace, root)
    shutil.rmtree(root)
    with pytest.raises(RecipeError, match="does not exist"):
        workspace.dataset("pets").scan()
    assert dataset.catalog.count() == 2
    assert json.loads((dataset.folder / "problems.json").read_text()) == []
