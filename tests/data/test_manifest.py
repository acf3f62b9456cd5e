"""The manifest, from the Parquet file that a scan leaves behind."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.data.manifest import freeze, frozen_manifest, read_manifest, trainable_manifest
from recipe_core.errors import NotTrainable
from recipe_core.store import Store


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


def decided(catalog, *acts):
    """The decisions on such a catalog: (ruling, keys) or ("relabel", keys, label)."""
    decisions = Decisions(Store(catalog.folder.parent), "pets", catalog)
    for ruling, keys, *label in acts:
        decisions.decide(ruling, keys, label=label[0] if label else None)
    return decisions


def test_the_manifest_holds_what_is_readable_sorted_by_sample(tmp_path):
    rows = [*reversed(PETS), ("broken", "cat", "train"), ("e", None, "train")]
    manifest = read_manifest(catalog(tmp_path, rows))
    assert manifest.frame.values.tolist() == [[*row, f"hash of {row[0]}"] for row in [*PETS, ("e", None, "train")]]
    assert manifest.frame.columns.tolist() == ["sample", "label", "split", "content_hash"]
    assert manifest.cleaned == {"unreadable": 1, "excluded": 0, "relabelled": 0}


def test_what_has_no_label_is_listed_but_not_read_by_a_run(tmp_path):
    manifest = read_manifest(catalog(tmp_path, [*PETS, ("e", None, "train"), ("f", None, "val")]))
    assert samples(manifest.frame) == list("abcdef") and manifest.classes == ("cat", "dog")
    assert (samples(manifest.train), samples(manifest.val)) == (["a", "b"], ["c"])


def test_the_excluded_are_left_out_and_the_relabelled_have_their_new_label(tmp_path):
    pets = catalog(tmp_path, [*PETS, ("e", None, "train"), ("f", "dog", "train"), ("broken", "cat", "val")])
    acts = [("exclude", ["b", "broken"]), ("relabel", ["a", "e"], "emu"), ("relabel", "f", "dog"), ("keep", "c")]
    manifest = read_manifest(pets, decided(pets, *acts))
    assert dict(zip(manifest.frame["sample"], manifest.frame["label"], strict=True)) == {
        "a": "emu",
        "c": "cat",
        "d": "dog",
        "e": "emu",
        "f": "dog",
    }
    assert manifest.cleaned == {"unreadable": 1, "excluded": 1, "relabelled": 2}, "f has the label that it had"
    assert manifest.hash != read_manifest(pets).hash


def test_a_ruling_that_changes_no_sample_leaves_the_hash_as_it_is(tmp_path):
    pets = catalog(tmp_path, PETS)
    acts = [("keep", ["a", "b"]), ("not-a-problem", "c"), ("relabel", "d", "dog")]
    assert read_manifest(pets, decided(pets, *acts)).hash == read_manifest(pets).hash


def test_where_all_is_excluded_the_manifest_is_empty_and_nothing_trains(tmp_path):
    pets = catalog(tmp_path, PETS)
    decisions = decided(pets, ("exclude", list("abcd")))
    assert read_manifest(pets, decisions).cleaned["excluded"] == 4
    with pytest.raises(NotTrainable, match='All readable samples of "pets" are excluded; undo some'):
        trainable_manifest(pets, decisions)


def test_a_frozen_manifest_stays_what_it_was(tmp_path):
    pets = catalog(tmp_path, [*PETS, ("e", None, None)])
    manifest = trainable_manifest(pets)
    freeze(manifest, pets.folder)
    freeze(manifest, pets.folder)  # as the next run does
    catalog(tmp_path, PETS[:1])
    frozen = frozen_manifest(pets.folder, manifest.hash)
    assert frozen.frame.equals(manifest.frame) and frozen.classes == manifest.classes
    assert [path.name for path in (pets.folder / "manifests").iterdir()] == [f"{manifest.hash}.parquet"]


def test_a_frozen_manifest_that_is_gone_or_was_touched_is_one_sentence(tmp_path):
    pets = catalog(tmp_path, PETS)
    manifest, other = trainable_manifest(pets), trainable_manifest(catalog(tmp_path / "other", PETS[::-1] + UNSPLIT))
    with pytest.raises(NotTrainable, match="cannot be read; launch a new run"):
        frozen_manifest(pets.folder, manifest.hash)
    freeze(manifest, pets.folder)
    freeze(other, pets.folder)
    place = pets.folder / "manifests"
    (place / f"{other.hash}.parquet").replace(place / f"{manifest.hash}.parquet")
    with pytest.raises(NotTrainable, match="was changed; launch a new run"):
        frozen_manifest(pets.folder, manifest.hash)
    (place / f"{manifest.hash}.parquet").write_bytes(b"PAR1")
    with pytest.raises(NotTrainable, match="cannot be read; launch a new run"):
        frozen_manifest(pets.folder, manifest.hash)


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
        trainable_manifest(catalog(tmp_path, rows))
    assert str(refused.value).count('"pets"') == 1


def test_a_scan_that_has_not_finished_is_no_ground_for_training(tmp_path):
    with pytest.raises(NotTrainable, match='No scan of "pets" has finished'):
        read_manifest(Catalog(tmp_path / "pets"))
