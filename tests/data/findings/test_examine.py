"""The examination: what it leaves, how it goes on after a stop, what it does with files that are gone or deadly."""

import json
import os
import signal
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pytest
from planted import findings_in, photos, saved, write_samples

from recipe_core.data.findings import examine
from recipe_core.errors import Stopped

FILES = {f"train/cat/{number:02}.png": saved(photo) for number, photo in enumerate(photos(40, side=24))}
BROKEN = "train/cat/07.png"
TEXTS, NUMBERS = ("pixels_a", "pixels_b", "subkind", "evidence"), ("a", "b", "distance")
RESULT = pa.schema(
    [(name, pa.string()) for name in TEXTS] + [(name, pa.int64()) for name in NUMBERS] + [("similarity", pa.float32())]
)


class Files:
    """A source of the files above."""

    def __init__(self, files):
        self.files, self.seen = dict(files), []

    def read(self, key):
        self.seen.append(key)
        if key not in self.files:
            raise FileNotFoundError(key)
        return self.files[key]


class Killer:
    """A source that kills whoever reads one of its keys."""

    def read(self, key):
        if key == BROKEN:
            os.kill(os.getpid(), signal.SIGKILL)
        return FILES[key]


def context_of(folder, check=lambda: None):
    spec = {"dataset": str(folder), "source": "", "columns": None}
    return SimpleNamespace(spec=spec, check=check, report=lambda **_: None)


@pytest.fixture
def looks(monkeypatch):
    """Looks at pictures that need no decoder of ours: one file is broken, the first two pictures are alike."""

    def damage_of(data):
        if data == FILES[BROKEN]:
            return SimpleNamespace(score=0.9, message="The lower half is grey.", evidence={"from_row": 0.5})
        return None

    def near_duplicates(rows, read_picture, check, report, earlier, executor):
        assert read_picture(0).shape == (24, 24, 3)
        assert read_picture(rows.num_rows - 1) is not None
        hashes = rows["pixel_hash"].to_pylist()
        if earlier is not None:
            assert earlier.pixel_hashes < set(hashes)
            return earlier.pairs
        pair = {"a": 0, "b": 1, "pixels_a": hashes[0], "pixels_b": hashes[1], "subkind": "mirrored"}
        return pa.Table.from_pylist([pair | {"similarity": 0.9, "distance": 3, "evidence": "{}"}], RESULT)

    damage, search = ModuleType("damage"), ModuleType("search")
    damage.damage_of, search.near_duplicates = damage_of, near_duplicates
    search.RESULT, search.Earlier = RESULT, namedtuple("Earlier", ["pixel_hashes", "pairs"])
    monkeypatch.setitem(sys.modules, "recipe_core.data.damage", damage)
    monkeypatch.setitem(sys.modules, "recipe_core.data.duplicates.search", search)
    monkeypatch.setattr(examine, "new_pool", lambda workers, preload: ThreadPoolExecutor(workers))


@pytest.fixture
def source(monkeypatch):
    source = Files(FILES)
    monkeypatch.setattr(examine, "open_source", lambda *_: source)
    return source


def test_an_examination_finds_what_is_damaged_and_what_is_alike(tmp_path, looks, source):
    found = findings_in(tmp_path, FILES)
    assert "Not examined yet" in found.pending()[0]
    examine.work(context_of(tmp_path))
    (damaged,), _ = found.page("damaged")
    assert (damaged.samples, damaged.score, damaged.message) == ((BROKEN,), 0.9, "The lower half is grey.")
    assert damaged.evidence == {"from_row": 0.5}
    assert [finding.subkind for finding in found.page("near_duplicate")[0]] == ["mirrored"]
    assert found.pending() == []
    assert sorted(source.seen) == sorted(FILES)


def test_a_second_examination_looks_only_at_what_is_new(tmp_path, looks, source):
    findings_in(tmp_path, FILES)
    examine.work(context_of(tmp_path))
    source.seen.clear()
    examine.work(context_of(tmp_path))
    assert source.seen == []
    new = saved(photos(41, side=24)[-1])
    source.files |= {"train/cat/new.png": new, "train/cat/copy.png": FILES[BROKEN]}
    write_samples(tmp_path, source.files)
    examine.work(context_of(tmp_path))
    assert source.seen == ["train/cat/new.png"]
    found = findings_in(tmp_path)
    assert {finding.samples for finding in found.page("damaged")[0]} == {(BROKEN,), ("train/cat/copy.png",)}
    assert [finding.subkind for finding in found.page("near_duplicate")[0]] == ["mirrored"]


def test_a_stopped_examination_goes_on_where_it_was_and_shows_what_it_has(tmp_path, looks, source):
    found = findings_in(tmp_path, FILES)

    def stop():
        if len(source.seen) >= examine.SMALLEST_SHARD:
            raise Stopped("stop")

    with pytest.raises(Stopped):
        examine.work(context_of(tmp_path, check=stop))
    parts = list((tmp_path / "examined" / "parts").glob("*.parquet"))
    seen = list(source.seen)
    source.seen.clear()
    examine.work(context_of(tmp_path))
    assert len(seen) + len(source.seen) <= len(FILES) + 3 * examine.SMALLEST_SHARD  # what was under way is done again
    assert {BROKEN} == {finding.samples[0] for finding in found.page("damaged")[0]}
    assert found.pending() == [] and not list((tmp_path / "examined" / "parts").iterdir())
    assert len(source.seen) == len(FILES) - examine.SMALLEST_SHARD * len(parts)


def test_a_catalog_that_changes_meanwhile_is_examined_too(tmp_path, looks, source, monkeypatch):
    found = findings_in(tmp_path, dict(list(FILES.items())[10:]))
    put = examine.put

    def rescan_before_the_end(path, write):
        put(path, write)
        if path.name == "pairs.parquet" and found.catalog.count() < len(FILES):
            write_samples(tmp_path, FILES)

    monkeypatch.setattr(examine, "put", rescan_before_the_end)
    examine.work(context_of(tmp_path))
    assert sorted(source.seen) == sorted(FILES)
    assert found.pending() == []


def test_files_that_are_gone_are_passed_over_and_the_log_says_so(tmp_path, looks, source, capsys):
    found = findings_in(tmp_path, FILES)
    for key in list(FILES)[:3]:
        del source.files[key]
    examine.work(context_of(tmp_path))
    assert found.pending() == []
    assert "3 files could not be read any more" in capsys.readouterr().out


def test_without_a_finished_scan_there_is_nothing_to_examine(tmp_path, looks, source):
    findings_in(tmp_path, FILES, growing=True)
    examine.work(context_of(tmp_path))
    assert source.seen == []


def test_a_dataset_without_a_readable_picture_is_examined_at_once(tmp_path, looks, source):
    found = findings_in(tmp_path, {"a.jpg": b"", "b.jpg": b""})
    examine.work(context_of(tmp_path))
    assert found.pending() == []
    assert json.loads((tmp_path / "examined" / "examined.json").read_text())


def test_a_file_that_kills_its_reader_is_passed_over(monkeypatch):
    keys = [BROKEN, "train/cat/08.png", "train/cat/09.png"]
    monkeypatch.setattr(examine, "examine_files", read_files)
    (shard,) = examine._examined_shards(Killer(), pa.table({"content": keys, "key": keys}), lambda: None)
    assert shard[1] == [None, *({"score": float(len(FILES[key]))} for key in keys[1:])]


def read_files(source, keys):
    return [{"score": float(len(source.read(key)))} for key in keys]
