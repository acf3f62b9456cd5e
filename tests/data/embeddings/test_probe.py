"""What decisions change for a linear model: planted label errors that are put right raise its score."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.data.embeddings import Embeddings
from recipe_core.data.embeddings.probe import probe
from recipe_core.data.embeddings.segments import Vectors
from recipe_core.errors import NotTrainable
from recipe_core.store import Store

COUNT = 400
KEYS = [f"{number:04}.png" for number in range(COUNT)]
TRUTH = np.arange(COUNT) % 4


@pytest.fixture
def decisions(tmp_path):
    (tmp_path / "catalog").mkdir()
    samples = pa.table({"key": KEYS, "byte_hash": KEYS, "label": [str(of) for of in TRUTH]})
    pq.write_table(samples, tmp_path / "catalog" / "catalog.parquet")
    return Decisions(Store(tmp_path / "workspace"), "pets", Catalog(tmp_path))


def embedded(folder, labels) -> Embeddings:
    """Four clouds that lie over one another a little, with these labels."""
    chance = np.random.default_rng(0)
    points = chance.normal(0, 1, (4, 12))[TRUTH] + chance.normal(0, 0.9, (COUNT, 12))
    np.save(folder / "all.npy", points.astype(np.float16))
    columns = {"content": KEYS, "key": KEYS, "label": labels, "split": [None] * COUNT}
    rows = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    return Embeddings(rows, Vectors([folder / "all.npy"], np.zeros(COUNT, int), np.arange(COUNT)))


def test_without_decisions_nothing_changes(tmp_path, decisions):
    before, after = probe(embedded(tmp_path, [str(of) for of in TRUTH]), decisions)
    assert before == after
    assert 0 < before.low < before.value < before.high < 1


def test_labels_that_are_put_right_raise_the_score_and_labels_made_wrong_lower_it(tmp_path, decisions):
    wrong = np.random.default_rng(1).random(COUNT) < 0.45
    there = embedded(tmp_path, [str((of + bad) % 4) for of, bad in zip(TRUTH, wrong, strict=True)])
    for number in range(4):
        keys = [key for key, of, bad in zip(KEYS, TRUTH, wrong, strict=True) if bad and of == number]
        decisions.decide("relabel", keys, label=str(number))
    before, after = probe(there, decisions)
    assert after.value > before.value + 0.03
    swapped = [key for key, of in zip(KEYS, TRUTH, strict=True) if of == 0]
    decisions.decide("relabel", swapped[::2], label="1")
    assert probe(there, decisions)[1].value < after.value


def test_what_is_excluded_is_neither_learned_from_nor_tested_on(tmp_path, decisions):
    noise = np.arange(COUNT) < COUNT // 2
    labels = [str((of + 1 + number % 3) % 4) if noise[number] else str(of) for number, of in enumerate(TRUTH)]
    there = embedded(tmp_path, labels)
    before = probe(there, decisions)[0]
    decisions.decide("exclude", [key for key, bad in zip(KEYS, noise, strict=True) if bad])
    tested, after = probe(there, decisions)
    assert tested.value > before.value + 0.1  # the same model, on what is left
    assert after.value > tested.value


@pytest.mark.parametrize("labels", [[None] * COUNT, ["one"] * COUNT, ["a", "b", *[None] * (COUNT - 2)]])
def test_one_class_or_too_few_labels_are_told_in_a_sentence(labels, tmp_path, decisions):
    with pytest.raises(NotTrainable, match="two labels"):
        probe(embedded(tmp_path, labels), decisions)


def test_of_nothing_but_excluded_samples_nothing_can_be_told(tmp_path, decisions):
    decisions.decide("exclude", KEYS)
    with pytest.raises(NotTrainable):
        probe(embedded(tmp_path, [str(of) for of in TRUTH]), decisions)
