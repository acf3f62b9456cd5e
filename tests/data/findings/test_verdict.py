"""The verdict: most harmful first, and a gate that opens when everything bad is ruled on and enough was looked at."""

import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from planted import findings_in, photos, saved

from recipe_core.data.findings import KINDS, integrity
from recipe_core.data.findings.tables import catalog_stamp
from recipe_core.data.findings.verdict import verdict, wanted_looks
from recipe_core.data.waivers import Waivers

A, B, C, *OTHERS = (saved(photo) for photo in photos(24))
FILES = {"train/cat/1.png": A, "val/cat/1.png": A, "train/cat/2.png": B, "train/dog/2.png": B, "train/cat/3.png": C}
FILES |= {"train/cat/3copy.png": C, "train/cat/broken.jpg": b"", "train/cat/is_png.jpg": OTHERS[0]}
FILES |= {"train/cat/white.png": saved(Image.new("RGB", (96, 96), "white"))}
FILES |= {f"train/cat/good{number}.png": data for number, data in enumerate(OTHERS[1:])}
FILES |= {"train/cat/tiny.png": saved(photos(1)[0].resize((9, 9)))}
EVERYTHING = len(FILES)


@pytest.fixture
def found(tmp_path):
    """As after a scan and an examination that found nothing."""
    found = findings_in(tmp_path, FILES)
    (tmp_path / "examined").mkdir()
    stamp = catalog_stamp(tmp_path)
    done = dict.fromkeys(("damage", "pairs", "biases"), stamp)
    (tmp_path / "examined" / "examined.json").write_text(json.dumps(done))
    return found


@pytest.fixture
def waivers(found):
    return Waivers(found.decisions.store, "pets")


def settle(found):
    found.decisions.decide("exclude", ["val/cat/1.png", "train/cat/broken.jpg"])
    found.decisions.decide("relabel", ["train/dog/2.png"], label="cat")


def test_silent_harm_comes_before_loud_and_poor_pictures_last(found, waivers):
    told = verdict(found, 0, waivers.all())
    kinds = [line.kind for line in told.lines]
    assert kinds == [
        "split_leak", "label_conflict", "corrupt", "exact_duplicate",
        "imbalance", "wrong_extension", "blank", "quality",
    ]  # fmt: skip
    assert told.lines[0].sentence == "1 picture stands in several splits (2 samples)"
    assert told.lines[2].sentence == "1 file cannot be read: empty"
    assert told.lines[-1].subkind == "tiny"
    assert all(0 < line.harm <= 1 for line in told.lines)


def test_the_gate_says_what_is_missing_and_opens_when_nothing_is(found, waivers):
    gate = verdict(found, 10, waivers.all()).gate
    assert not gate.open
    assert gate.reasons == (
        "3 error findings are undecided.",
        f"10 samples were looked at; {EVERYTHING} should be.",
    )
    settle(found)
    assert verdict(found, 10, waivers.all()).gate.reasons == (f"10 samples were looked at; {EVERYTHING} should be.",)
    gate = verdict(found, EVERYTHING, waivers.all()).gate
    assert gate.open and gate.looked_share == gate.wanted_share == 1


def test_a_waiver_opens_its_part_of_the_gate_and_names_who_and_why(found, waivers):
    waivers.waive("findings", "a benchmark, taken as it is", by="ann")
    gate = verdict(found, 0, waivers.all()).gate
    assert gate.waived == {"findings": "a benchmark, taken as it is (ann)"}
    assert len(gate.reasons) == 1 and "looked at" in gate.reasons[0]
    waivers.waive("looked", "seen elsewhere")
    assert verdict(found, 0, waivers.all()).gate.open


def test_the_gate_stays_shut_while_not_everything_is_examined(found, waivers, tmp_path):
    settle(found)
    (tmp_path / "examined" / "examined.json").unlink()
    told = verdict(found, EVERYTHING, waivers.all())
    assert told.gate.reasons == told.pending and "Not examined yet" in told.pending[0]


@pytest.mark.parametrize(("samples", "wanted"), [(0, 0), (7, 7), (200, 200), (10_000, 200), (1_000_000, 10_000)])
def test_a_hundredth_should_be_looked_at_and_at_least_two_hundred(samples, wanted):
    assert wanted_looks(samples) == wanted


def test_without_samples_the_gate_is_shut(tmp_path):
    found = findings_in(tmp_path)
    told = verdict(found, 0, Waivers(found.decisions.store, "pets").all())
    assert told.lines == () and not told.gate.open


def test_the_docs_explain_every_kind_and_subkind():
    docs = (Path(__file__).parents[3] / "docs" / "findings.md").read_text("utf-8")
    for kind in KINDS.values():
        assert f"| `{kind.name}` | {kind.severity} |" in docs
        assert [subkind for subkind in kind.subkinds if f"`{subkind}`" not in docs] == []


def test_while_a_scan_runs_the_summary_is_made_now_and_then_and_after_each_decision(found, tmp_path, monkeypatch):
    rows = pq.read_table(tmp_path / "catalog" / "catalog.parquet")
    parts = tmp_path / "scan" / "1" / "parts"
    parts.mkdir(parents=True)
    finished = (tmp_path / "catalog" / "catalog.parquet").rename(tmp_path / "kept")
    asked = []

    def slow(*given):
        asked.append(given)
        time.sleep(0.3)
        return summaries(*given)

    summaries = integrity.summaries
    monkeypatch.setattr(integrity, "summaries", slow)
    pq.write_table(rows.slice(0, 12), parts / "0.parquet")
    first = found.summary()
    pq.write_table(rows.slice(12), parts / "1.parquet")
    assert found.summary() == first and len(asked) == 1
    found.decisions.decide("exclude", [rows["key"][0].as_py()])
    assert found.summary() != first and len(asked) == 2
    finished.rename(tmp_path / "catalog" / "catalog.parquet")
    assert found.summary() and len(asked) == 3
