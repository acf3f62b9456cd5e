"""Findings on the dataset as a whole: imbalance by counting what is trained on, and when they are decided."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from planted import findings_in, saved

from recipe_core.data.findings.tables import BIASES

SCRIPT = "<b>rare"
PICTURE = saved(Image.linear_gradient("L").resize((24, 24)))


def dataset(folder, **counts):
    """Samples of one picture: "split/label" -> how many."""
    return findings_in(
        folder, {f"{of}/{number}.png": PICTURE for of, count in counts.items() for number in range(count)}
    )


def told(found, kind="imbalance"):
    return {(one.subkind, one.evidence["label"]) for one in found.page(kind)[0]}


def test_a_rare_class_is_told_with_its_samples_and_an_even_dataset_is_not(tmp_path):
    found = dataset(tmp_path / "rare", **{"train/cat": 40, "train/dog": 40, f"train/{SCRIPT}": 3})
    ((one,), total) = found.page("imbalance")
    assert total == 1 and (one.subkind, one.evidence["label"]) == ("rare_class", SCRIPT)
    assert one.samples == tuple(f"train/{SCRIPT}/{number}.png" for number in range(3))
    assert one.evidence["even_share"] == pytest.approx(83 / 3) and 0.5 < one.score < 1
    assert told(dataset(tmp_path / "even", **{"train/cat": 12, "train/dog": 10, "train/cow": 8})) == set()


def test_a_class_that_is_most_of_it_is_told_and_its_constant_guess(tmp_path):
    found = dataset(tmp_path, **{"train/cat": 45, "train/dog": 15})
    (one,) = found.page("imbalance", "dominant_class")[0]
    assert one.evidence["constant_guess"] == 0.75 and "75%" in one.message.replace(" %", "%")


def test_only_what_is_trained_on_counts(tmp_path):
    found = dataset(tmp_path / "val", **{"train/cat": 20, "train/dog": 20, "val/cat": 90})
    assert told(found) == set()
    found = dataset(tmp_path / "no train", **{"one/cat": 60, "two/dog": 2})
    assert ("rare_class", "dog") in told(found)


@pytest.mark.parametrize("counts", [{"train/cat": 30}, {"train/cat": 1}])
def test_one_class_or_none_has_no_imbalance(counts, tmp_path):
    assert dataset(tmp_path, **counts).page("imbalance") == ([], 0)


def test_a_finding_on_the_whole_is_decided_once_half_of_its_samples_are_no_problem_or_all_are_excluded(tmp_path):
    found = dataset(tmp_path, **{"train/cat": 40, "train/dog": 4})
    rare = next(one for one in found.page("imbalance")[0] if one.subkind == "rare_class")
    found.decisions.decide("not-a-problem", rare.samples[:1], kind=rare.topic)
    assert not next(one for one in found.page("imbalance")[0] if one.id == rare.id).decided
    act = found.decisions.decide("not-a-problem", rare.samples[1:2], kind=rare.topic)
    assert next(one for one in found.page("imbalance")[0] if one.id == rare.id).decided
    assert rare.id not in {one.id for one in found.page("imbalance", undecided_only=True)[0]}
    found.decisions.undo(act)
    found.decisions.decide("exclude", rare.samples)
    assert next(one for one in found.page("imbalance")[0] if one.id == rare.id).decided


def test_what_the_examination_left_is_told_worst_first_with_its_evidence(tmp_path):
    found = dataset(tmp_path, **{"train/cat": 4, "train/dog": 4})
    keys = ["train/cat/0.png", "train/dog/0.png"]
    rows = [
        ("spurious_correlation", fact, keys, 8, score, f"{fact} tells it.", json.dumps({"fact": fact}))
        for fact, score in (("brightness", 0.6), ("camera_make", 0.9))
    ]
    (tmp_path / "examined").mkdir()
    pq.write_table(
        pa.table(list(map(list, zip(*rows, strict=True))), schema=BIASES), tmp_path / "examined" / "biases.parquet"
    )
    findings, total = found.page("spurious_correlation")
    assert total == 2 and [one.evidence["fact"] for one in findings] == ["camera_make", "brightness"]
    assert [(line.subkind, line.samples, line.undecided) for line in found.summary() if line.kind == findings[0].kind]
    assert found.page("spurious_correlation", limit=1, offset=1)[0][0].subkind == "brightness"
