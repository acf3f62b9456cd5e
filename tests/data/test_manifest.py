"""The manifest, from the Parquet file that a scan leaves behind."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recipe_core.data.catalog import Catalog
from recipe_core.data.manifest import read_manifest
from recipe_core.errors import NotTrainable


def catalog(folder, rows):
    """A catalog of rows (key, label, split), in which those with "broken" in their key are unreadable."""
    keys, labels, splits = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"key": keys, "label": labels, "split": splits, "byte_hash": [f"hash of {key}" for key in keys]}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    table = table.append_column("readable", pa.array(["broken" not in key for key in keys], pa.bool_()))
    return write(folder, table)


def write(folder, table):
    path = folder / "pets" / "catalog" / "catalog.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return Catalog(folder / "pets")


def samples(frame):
    return frame["sample"].tolist()


PETS = [("a", "cat", "train"), ("b", "dog", "train"), ("c", "cat", "val"), ("d", "dog", "test")]
UNSPLIT = [(f"{label}{number:03}", label, None) for label in ("cat", "dog", "emu") for number in range(50)]


def test_the_manifest_holds_what_is_readable_and_labelled_sorted_by_sample(tmp_path):
    rows = [*reversed(PETS), ("broken", "cat", "train"), ("e", None, "train")]
    manifest = read_manifest(catalog(tmp_path, rows))
    assert manifest.frame.values.tolist() == [[*row, f"hash of {row[0]}"] for row in PETS]
    assert manifest.frame.columns.tolist() == ["sample", "label", "split", "content_hash"]


def test_classes_are_in_natural_order(tmp_path):
    labels = ["10", "2", "1", "01", "b10a", "b9z", "b", "9" * 5000]
    manifest = read_manifest(catalog(tmp_path, [(label, label, s) for s in ("train", "val") for label in labels]))
    assert manifest.classes == ("01", "1", "2", "10", "9" * 5000, "b", "b9z", "b10a")


def test_val_validates_where_there_is_one_and_test_where_not(tmp_path):
    manifest = read_manifest(catalog(tmp_path, PETS))
    assert (samples(manifest.train), samples(manifest.val)) == (["a", "b"], ["c"])
    manifest = read_manifest(catalog(tmp_path, [row for row in PETS if row[2] != "val"]))
    assert (samples(manifest.train), samples(manifest.val)) == (["a", "b"], ["d"])


def test_where_only_what_is_held_out_has_a_split_the_rest_is_learned_from(tmp_path):
    manifest = read_manifest(catalog(tmp_path, [(key, label, s if s == "test" else None) for key, label, s in PETS]))
    assert (samples(manifest.train), samples(manifest.val)) == (["a", "b", "c"], ["d"])


def test_without_splits_a_fixed_fifth_of_each_class_is_held_out(tmp_path):
    manifest = read_manifest(catalog(tmp_path, UNSPLIT))
    assert manifest.val["label"].value_counts().to_dict() == {"cat": 10, "dog": 10, "emu": 10}
    assert sorted(samples(manifest.train) + samples(manifest.val)) == samples(manifest.frame)
    assert manifest.frame["split"].isna().all()
    assert samples(read_manifest(catalog(tmp_path, UNSPLIT[::-1])).val) == samples(manifest.val)
    assert samples(manifest.val)[:10] != samples(manifest.frame)[:10], "not simply the first"


def test_exact_copies_in_a_class_are_held_out_together(tmp_path):
    table = pq.read_table(catalog(tmp_path, UNSPLIT).files[0])
    pictures = [f"picture {number // 4}" for number in range(len(UNSPLIT))]
    manifest = read_manifest(write(tmp_path, table.set_column(3, "byte_hash", [pictures])))
    train, val = (set(zip(part["label"], part["content_hash"], strict=True)) for part in (manifest.train, manifest.val))
    assert len(val) >= 6 and not train & val


def test_even_a_class_of_two_is_split_and_a_class_of_one_is_learned_from(tmp_path):
    rows = [("a1", "a", None), ("a2", "a", None), ("b", "b", None)]
    manifest = read_manifest(catalog(tmp_path, rows))
    assert sorted(manifest.train["label"]) == ["a", "b"] and manifest.val["label"].tolist() == ["a"]


def test_the_hash_depends_on_every_cell_and_on_nothing_else(tmp_path):
    pets = [*PETS, ("e", "cat", "train"), ("f", "dog", "train")]
    first = read_manifest(catalog(tmp_path, pets)).hash
    assert len(first) == 16 and int(first, 16)
    assert read_manifest(catalog(tmp_path, [*pets[::-1], ("broken", "cat", "train")])).hash == first
    changed = [
        [("A", "cat", "train"), *pets[1:]],
        [("a", "dog", "train"), *pets[1:]],
        [("a", "cat", None), *pets[1:]],
        pets[:-1],
    ]
    table = pq.read_table(catalog(tmp_path, pets).files[0])
    hashes = {read_manifest(write(tmp_path, table.set_column(3, "byte_hash", [list("uvwxyz")]))).hash}
    hashes |= {read_manifest(catalog(tmp_path, rows)).hash for rows in changed}
    assert len(hashes | {first}) == 6


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("broken", "cat", "train")], "no readable sample"),
        ([("a", None, "train")], "a label; use a folder per class"),
        ([("a", "cat", "train"), ("b", "cat", "val")], '"cat"; training needs two'),
        ([("a", "cat", "train"), ("b", "dog", "val")], 'All train samples of "pets" have the label "cat"'),
        ([("a", "cat", "val"), ("b", "dog", "val")], "readable train sample"),
        ([("a", "cat", "train"), ("b", "dog", "train")], r'validation sample \(splits: "train"\)'),
        ([("a", "cat", "fold1"), ("b", "dog", "fold2")], r'"fold1", "fold2"\); name a split "train"'),
        ([("a", "cat", None), ("b", "dog", None)], "has two different images"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_a_sentence(tmp_path, rows, sentence):
    with pytest.raises(NotTrainable, match=sentence) as refused:
        read_manifest(catalog(tmp_path, rows))
    assert str(refused.value).count('"pets"') == 1


def test_a_scan_that_has_not_finished_is_no_ground_for_training(tmp_path):
    with pytest.raises(NotTrainable, match='No scan of "pets" has finished'):
        read_manifest(Catalog(tmp_path / "pets"))
