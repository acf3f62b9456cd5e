"""Duplicates, leaks between the splits and labels that disagree, found and decided."""

from itertools import combinations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from planted import findings_in, keys_of, photos, saved, write_pairs, write_samples

from recipe_core.data.findings import Findings

A, B, C, D, E, F = (saved(photo) for photo in photos(6))
SAME_PIXELS = saved(photos(1)[0], compress_level=1)  # as A, in other bytes
MANY = 50_000


def kinds(found: Findings) -> dict[str, int]:
    """Findings of each kind of cluster."""
    clustered = {line.kind: 0 for line in found.summary() if line.kind != "blank"}
    for line in found.summary():
        if line.kind in clustered:
            clustered[line.kind] += line.findings
    return clustered


def undecided(found: Findings) -> dict[str, int]:
    return {line.kind: line.undecided for line in found.summary() if line.undecided}


def test_copies_are_told_from_files_with_the_same_pixels(tmp_path):
    found = findings_in(tmp_path, {"a.png": A, "b.png": B, "copy.png": B, "saved.png": SAME_PIXELS, "other.png": C})
    told = {finding.subkind: finding for finding in found.page("exact_duplicate")[0]}
    assert {subkind: finding.samples for subkind, finding in told.items()} == {
        "bytes": ("b.png", "copy.png"),
        "pixels": ("a.png", "saved.png"),
    }
    assert told["bytes"].pairs == (("b.png", "copy.png", 0.0),)
    assert "byte for byte" in told["bytes"].message
    assert kinds(found) == {"exact_duplicate": 2}


def test_a_picture_in_two_splits_is_a_leak_and_one_with_two_labels_a_conflict(tmp_path):
    files = {"train/cat/1.png": A, "val/cat/2.png": A, "train/cat/3.png": B, "train/dog/4.png": B}
    files |= {"train/cat/5.png": C, "train/cat/6.png": C, "train/dog/7.png": D}
    found = findings_in(tmp_path, files)
    assert kinds(found) == {"split_leak": 1, "label_conflict": 1, "exact_duplicate": 3}
    (leak,), _ = found.page("split_leak")
    assert (leak.samples, leak.severity, leak.subkind) == (("train/cat/1.png", "val/cat/2.png"), "error", "exact")
    assert leak.message == "The same picture stands in train and val."
    (conflict,), _ = found.page("label_conflict")
    assert conflict.pairs == (("train/cat/3.png", "train/dog/4.png", 0.0),)
    assert conflict.evidence["labels"] == {"cat": 1, "dog": 1}


def test_the_majority_of_a_conflict_is_suggested(tmp_path):
    found = findings_in(tmp_path, {f"train/{name}.png": A for name in ("cat/1", "cat/2", "dog/3")})
    assert [finding.suggested_label for finding in found.page("label_conflict")[0]] == ["cat"]


def test_blanks_are_no_leak_and_no_conflict_and_sizes_tell_them_apart(tmp_path):
    white = {side: saved(Image.new("RGB", (side, side), "white")) for side in (40, 41)}
    found = findings_in(
        tmp_path, {"train/cat/1.png": white[40], "val/dog/2.png": white[40], "val/dog/3.png": white[41]}
    )
    assert kinds(found) == {"exact_duplicate": 1}


def test_blanks_of_one_colour_are_no_duplicates_unless_they_are_the_same_file(tmp_path):
    white = Image.new("RGB", (40, 40), "white")
    files = {f"{level}.png": saved(white, compress_level=level) for level in (0, 1, 9)}
    assert kinds(findings_in(tmp_path, files | {"copy.png": files["9.png"]})) == {"exact_duplicate": 1}
    assert keys_of(findings_in(tmp_path), "exact_duplicate") == {"9.png", "copy.png"}


def test_near_pairs_link_contents_and_their_copies(tmp_path):
    files = {"train/cat/1.png": A, "train/cat/1copy.png": A, "val/cat/2.png": B, "val/dog/3.png": C, "val/dog/4.png": D}
    found = findings_in(tmp_path, files)
    write_pairs(
        found,
        ("train/cat/1.png", "val/cat/2.png", "cropped", 0.9),
        ("val/cat/2.png", "val/dog/3.png", "mirrored", 0.7),
    )
    (near,), _ = found.page("near_duplicate")
    assert near.samples == ("train/cat/1.png", "train/cat/1copy.png", "val/cat/2.png", "val/dog/3.png")
    assert {frozenset(pair[:2]): pair[2] for pair in near.pairs} == {
        frozenset({"train/cat/1.png", "val/cat/2.png"}): 6.0,
        frozenset({"train/cat/1copy.png", "val/cat/2.png"}): 6.0,
        frozenset({"val/cat/2.png", "val/dog/3.png"}): 6.0,
        frozenset({"train/cat/1.png", "val/dog/3.png"}): 12.0,
        frozenset({"train/cat/1copy.png", "val/dog/3.png"}): 12.0,
    }
    assert [pair["subkind"] for pair in near.evidence["pairs"]] == ["cropped", "mirrored"]
    assert kinds(found) == {"split_leak": 1, "label_conflict": 1, "exact_duplicate": 1, "near_duplicate": 1}
    (cluster,) = found.clusters().joined()
    assert cluster.kind == "split_leak" and cluster.samples == near.samples
    assert cluster.evidence["kinds"] == ["split_leak", "label_conflict", "exact_duplicate", "near_duplicate"]
    assert len(cluster.pairs) == 3


def test_each_sample_of_a_cluster_of_many_pairs_is_told_how_it_differs(tmp_path):
    names = [f"{number:02}.png" for number in range(17)]
    found = findings_in(tmp_path, {name: saved(photo) for name, photo in zip(names, photos(17), strict=True)})
    alike = [(*ends, "resized", 0.9) for ends in combinations(names[:16], 2)]
    write_pairs(found, *alike, ("00.png", "16.png", "caption", 0.6))
    (near,), _ = found.page("near_duplicate")
    assert len(alike) > len(near.evidence["pairs"])
    assert near.differences_from(["00.png"])["16.png"].subkind == "caption"


def test_pictures_with_two_partners_in_common_are_a_pair_and_a_bridge_joins_but_its_ends(tmp_path):
    found = findings_in(tmp_path, dict(zip("abcdef", (A, B, C, D, E, F), strict=True)))
    square = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]
    bridge = [("d", "e"), ("e", "f")]
    write_pairs(found, *((*ends, "resized", 0.9) for ends in square + bridge))
    (near,), _ = found.page("near_duplicate")
    assert {frozenset(pair[:2]) for pair in near.pairs} == {*map(frozenset, [*square, *bridge, "ac", "bd"])}
    assert len(near.evidence["pairs"]) == 6, "how two differ is told of those that were compared"


@pytest.mark.parametrize(
    ("small", "large", "names"),
    [
        ("train/cat/cut {1}.png", "train/cat/whole.png", ("cut {1}.png", "whole.png")),
        ("train/cat/1.png", "val/cat/1.png", ("train/cat/1.png", "val/cat/1.png")),
        ("train/cat/a\nb\x1b[31m.png", "train/cat/c.png", (r"a\nb\x1b[31m.png", "c.png")),
    ],
)
def test_a_pair_says_by_name_which_of_the_two_was_changed(tmp_path, small, large, names):
    found = findings_in(tmp_path, {small: A, large: B})
    write_pairs(
        found, (small, large, "cropped", 0.9), differences=["{a} is a crop of {b}: 9 % cut off", "WEBP and JPEG"]
    )
    (near,), _ = found.page("near_duplicate")
    told = f"{names[0]} is a crop of {names[1]}: 9 % cut off"
    assert near.message == f"2 samples show nearly the same picture: {told}, WEBP and JPEG."
    assert near.evidence["pairs"][0]["differences"] == [told, "WEBP and JPEG"]
    leaks = [leak.message for leak in found.page("split_leak")[0]]
    said = f"Nearly the same picture stands in train and val: {told}, WEBP and JPEG."
    assert leaks == ([said] if large.startswith("val/") else [])


def test_samples_are_told_by_how_they_differ_from_the_best_where_that_is_known(tmp_path):
    found = findings_in(tmp_path, {"best": A, "flipped": B, "small": C, "cut": D, "copy": A})
    write_pairs(
        found,
        ("flipped", "small", "mirrored", 0.99),
        ("best", "small", "resized", 0.97),
        ("best", "flipped", "mirrored", 0.96),
        ("cut", "flipped", "cropped", 0.9),
    )
    (cluster,) = found.clusters().joined()
    differences = cluster.differences_from({"best"})
    told = {key: (each.subkind, each.similarity, each.other) for key, each in differences.items() if key != "best"}
    assert told == {
        "flipped": ("mirrored", 0.96, "best"),
        "small": ("resized", 0.97, "best"),
        "cut": ("cropped", 0.9, "flipped"),
    }


def test_a_threshold_parts_clusters(tmp_path):
    found = findings_in(tmp_path, dict(zip("abcdef", (A, B, C, D, E, F), strict=True)))
    write_pairs(found, ("a", "b", "resized", 0.95), ("b", "c", "cropped", 0.8), ("d", "e", "mirrored", 0.6))
    assert [cluster.samples for cluster in found.clusters().joined()] == [("a", "b", "c"), ("d", "e")]
    assert [cluster.samples for cluster in found.clusters(0.9).joined()] == [("a", "b")]
    assert [found.clusters(at).count() for at in (0.5, 0.7, 0.9, 0.99)] == [2, 1, 1, 0]
    assert found.clusters().count("near_duplicate", "mirrored") == 1


def test_fifty_thousand_copies_are_one_finding_with_a_star_of_pairs(tmp_path):
    found = findings_in(tmp_path, {"a.png": A})
    path = tmp_path / "catalog" / "catalog.parquet"
    row = pq.read_table(path)
    many = pa.concat_tables([row] * MANY)
    keys = pa.array([f"{number:05}.png" for number in range(MANY)])
    pq.write_table(many.set_column(many.column_names.index("key"), "key", keys), path)
    (finding,), total = found.page("exact_duplicate")
    assert (total, len(finding.samples), len(finding.pairs)) == (1, MANY, MANY - 1)
    assert {pair[0] for pair in finding.pairs} == {"00000.png"}


def test_identical_pictures_without_labels_are_one_finding(tmp_path):
    found = findings_in(tmp_path, {f"{number}.png": A for number in range(20)})
    assert [(line.kind, line.findings, line.samples) for line in found.summary()] == [("exact_duplicate", 1, 20)]


def test_hostile_labels_are_told_as_they_are(tmp_path):
    found = findings_in(tmp_path, {"train/<b>x/1.png": A, "train/'; DROP/2.png": A})
    assert set(found.page("label_conflict")[0][0].evidence["labels"]) == {"<b>x", "'; DROP"}


def test_an_id_survives_a_rescan(tmp_path):
    files = {"train/cat/1.png": A, "val/cat/2.png": A, "train/cat/3.png": B}
    before = [finding.id for finding in findings_in(tmp_path, files).all()]
    write_samples(tmp_path, files | {"train/cat/0.png": C})
    assert [finding.id for finding in findings_in(tmp_path).all()] == before
    assert all(len(id) == 12 and int(id, 16) >= 0 for id in before)


# Decisions


def test_excluding_all_but_one_copy_decides_and_excluding_one_of_three_does_not(tmp_path):
    found = findings_in(tmp_path, {f"train/cat/{number}.png": A for number in range(3)})
    found.decisions.decide("exclude", ["train/cat/0.png"])
    assert undecided(found) == {"exact_duplicate": 1}
    act = found.decisions.decide("exclude", ["train/cat/1.png"])
    assert undecided(found) == {}
    assert found.page("exact_duplicate", undecided_only=True) == ([], 0)
    assert found.page("exact_duplicate")[0][0].decided
    found.decisions.undo(act)
    assert undecided(found) == {"exact_duplicate": 1}


def test_keeping_all_copies_decides(tmp_path):
    found = findings_in(tmp_path, {f"train/cat/{number}.png": A for number in range(3)})
    found.decisions.decide("keep", ["train/cat/0.png", "train/cat/1.png"])
    assert undecided(found) == {"exact_duplicate": 1}
    found.decisions.decide("keep", ["train/cat/2.png"])
    assert undecided(found) == {}


def test_a_leak_is_decided_once_it_stands_in_one_split(tmp_path):
    found = findings_in(tmp_path, {"train/cat/1.png": A, "train/cat/2.png": A, "val/cat/3.png": A})
    found.decisions.decide("exclude", ["val/cat/3.png"])
    assert undecided(found) == {"exact_duplicate": 1}


def test_relabelling_settles_a_conflict(tmp_path):
    found = findings_in(tmp_path, {"train/cat/1.png": A, "train/dog/2.png": A})
    assert undecided(found)["label_conflict"] == 1
    found.decisions.decide("relabel", ["train/dog/2.png"], label="cat")
    assert undecided(found) == {"exact_duplicate": 1}


def test_not_a_duplicate_speaks_of_the_samples_named_together_and_survives_a_rescan(tmp_path):
    files = {"train/cat/1.png": A, "val/cat/2.png": B, "train/cat/3.png": C}
    found = findings_in(tmp_path, files)
    pairs = [("train/cat/1.png", "val/cat/2.png", "cropped", 0.9), ("val/cat/2.png", "train/cat/3.png", "cropped", 0.8)]
    write_pairs(found, *pairs)
    for key in files:  # one by one they say nothing of a pair
        found.decisions.decide("not-a-problem", [key], kind="near_duplicate")
    assert undecided(found) == {"split_leak": 1, "near_duplicate": 1}
    found.decisions.decide("not-a-problem", ["train/cat/1.png", "val/cat/2.png"], kind="near_duplicate")
    assert undecided(found) == {"split_leak": 1, "near_duplicate": 1}
    found.decisions.decide("not-a-problem", ["train/cat/3.png", "val/cat/2.png"], kind="near_duplicate")
    assert undecided(found) == {}
    write_samples(tmp_path, files | {"train/cat/4.png": D})
    again = findings_in(tmp_path)
    assert undecided(again) == {} and keys_of(again, "near_duplicate") == set(files)


def test_excluding_one_copy_leaves_the_near_duplicates_of_the_other(tmp_path):
    found = findings_in(tmp_path, {"a.png": A, "a2.png": A, "b.png": B})
    write_pairs(found, ("a.png", "b.png", "resized", 0.9))
    found.decisions.decide("exclude", ["a.png"])
    assert undecided(found) == {"near_duplicate": 1}
    found.decisions.decide("exclude", ["a2.png"])
    assert undecided(found) == {}
