"""The best of a cluster: what stays, what is excluded, and what is left to people."""

from planted import findings_in, jpeg, photos, saved, write_pairs

from recipe_core.data.findings import Findings
from recipe_core.data.findings.best import Plan, keep_the_best

PHOTO, OTHER = photos(2)
LARGE, SMALL = saved(PHOTO), saved(PHOTO.resize((48, 48)))


def plan(found: Findings) -> Plan:
    return keep_the_best(found.catalog, found.decisions, found.clusters().samples())


def near(folder, files: dict[str, bytes]) -> Findings:
    """All files are near duplicates of the first."""
    found = findings_in(folder, files)
    first, *others = files
    write_pairs(found, *((first, other, "resized", 0.95) for other in others))
    return found


def test_of_a_cluster_most_pixels_stay_then_the_least_compressed(tmp_path):
    files = {"a.jpg": jpeg(PHOTO, 30), "b.jpg": jpeg(PHOTO, 95), "c.jpg": jpeg(PHOTO.resize((48, 48)), 100)}
    found = near(tmp_path, files)
    assert plan(found) == Plan(exclude=("a.jpg", "c.jpg"), best=("b.jpg",), across_splits=0, conflicts=0)


def test_a_grey_copy_is_not_kept_in_place_of_a_coloured_picture_however_little_it_is_compressed(tmp_path):
    grey = jpeg(PHOTO.convert("L").convert("RGB"), 100)
    found = near(tmp_path, {"grey.jpg": grey, "coloured.jpg": jpeg(PHOTO, 60)})
    assert plan(found) == Plan(("grey.jpg",), ("coloured.jpg",), across_splits=0, conflicts=0)


def test_of_a_cluster_across_splits_the_held_out_copy_stays_even_where_it_is_smaller(tmp_path):
    found = near(tmp_path, {"train/cat/a.png": LARGE, "val/cat/b.png": SMALL})
    assert plan(found) == Plan(("train/cat/a.png",), ("val/cat/b.png",), across_splits=1, conflicts=0)


def test_what_somebody_kept_stays_and_what_is_excluded_counts_no_more(tmp_path):
    files = {"a.png": LARGE, "b.png": SMALL, "c.png": saved(PHOTO.resize((32, 32)))}
    found = near(tmp_path, files)
    found.decisions.decide("keep", "c.png")
    assert plan(found).exclude == ("a.png", "b.png")
    found.decisions.decide("exclude", "a.png")
    assert plan(found) == Plan(("b.png",), ("c.png",), 0, 0)


def test_labels_that_disagree_are_settled_by_people_first(tmp_path):
    found = near(tmp_path, {"train/cat/a.png": LARGE, "train/dog/b.png": SMALL})
    assert plan(found) == Plan((), (), 0, conflicts=1)
    found.decisions.decide("relabel", "train/dog/b.png", label="cat")
    assert plan(found).conflicts == 0


def test_without_clusters_there_is_nothing_to_exclude(tmp_path):
    assert plan(findings_in(tmp_path, {"a.png": LARGE, "b.png": saved(OTHER)})) == Plan((), (), 0, 0)
