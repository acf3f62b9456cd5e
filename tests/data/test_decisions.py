"""Decisions: what people ruled, and where it stands after the files have moved."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.data.looks import Looks
from recipe_core.data.selection import Selection
from recipe_core.data.waivers import Waivers
from recipe_core.errors import BadDecision
from recipe_core.store import Store

ROOT = Path(__file__).parents[2]
HOSTILE = ["new\nline.png", "<script>alert(1)</script>.png", "naïve 猫 \u2028.png", "'; drop table decisions; --"]
# What a second process does: it rules on "a" again and again.
SECOND = """
import sys
from pathlib import Path
from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.store import Store
folder = Path(sys.argv[1])
decisions = Decisions(Store(folder.parent), "pets", Catalog(folder))
for number in range(40):
    decisions.decide(sys.argv[2], ["a", "b"], by=sys.argv[2], note=str(number))
"""


def write(folder, contents, partial=False, **columns):
    """A catalog of samples key -> content, of a finished scan or of one under way."""
    path = folder / ("scan/1/parts/0.parquet" if partial else "catalog/catalog.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {"key": list(contents), "byte_hash": list(contents.values()), "label": ["cat"] * len(contents)} | columns
    schema = pa.schema([("key", pa.string()), ("byte_hash", pa.string()), ("label", pa.string())])
    table = pa.table({name: given[name] for name in schema.names}, schema)
    pq.write_table(pa.table(table.to_pydict() | columns), path)


@pytest.fixture
def pets(tmp_path):
    """Decisions on the samples a to f with contents of their own, and c2, which is a copy of c."""
    write(tmp_path / "pets", {key: f"content {key}" for key in "abcdef"} | {"c2": "content c"})
    return decisions_of(tmp_path)


def decisions_of(folder):
    """With a catalog that shows them."""
    decisions = Decisions(Store(folder), "pets", Catalog(folder / "pets", decided=lambda: decisions.shown()))
    return decisions


def standing(decisions):
    """key -> (decision, label) of what stands."""
    current = decisions.current()
    return dict(zip(current["key"], zip(current["decision"], current["label"], strict=True), strict=True))


# What stands


def test_membership_is_the_latest_of_keep_exclude_and_relabel_and_the_label_the_latest_relabels(pets):
    for ruling, label in [("relabel", "dog"), ("exclude", None), ("keep", None), ("not-a-problem", None)]:
        pets.decide(ruling, "a", label=label)
    pets.decide("exclude", "b")
    pets.decide("relabel", "b", label="emu")
    pets.decide("not-a-problem", "d", by="ann", note="looks fine")
    assert standing(pets) == {"a": ("keep", "dog"), "b": ("relabel", "emu"), "d": ("not-a-problem", None)}
    rows = pets.current().set_index("key")
    assert rows["membership"].to_dict() == {"a": "keep", "b": "keep", "d": None}
    assert rows["not_a_problem"].to_dict() == {"a": True, "b": False, "d": True}
    assert rows.loc["d", ["by", "note"]].tolist() == ["ann", "looks fine"]


def test_undoing_an_act_brings_back_what_stood_before(pets):
    pets.decide("relabel", ["a", "b"], label="dog")
    act = pets.decide("exclude", ["a", "c"])
    undoing = pets.undo(act, by="ann")
    assert standing(pets) == {"a": ("relabel", "dog"), "b": ("relabel", "dog")}
    history = pets.history()
    assert history["act"].tolist() == [undoing, act, 1] and history["undone"].tolist() == [False, True, False]
    assert history["samples"].tolist() == [2, 2, 2] and history["first_key"].tolist() == ["a", "a", "a"]
    assert history["undoes"].tolist()[0] == act and history["by"].tolist() == ["ann", "", ""]


def test_undoing_a_ruling_on_samples_takes_back_the_latest_of_each_and_passes_over_the_others(pets):
    pets.decide("exclude", ["a", "b"])
    pets.decide("exclude", ["b", "d"])
    undoing = pets.undo_samples("exclude", ["a", "b", "e"])
    assert standing(pets) == {"b": ("exclude", None), "d": ("exclude", None)}
    assert pets.act(undoing)["samples"] == 2
    assert pets.history()["undone"].tolist() == [False, False, False], "of both acts something stands"
    pets.undo_samples("exclude", ["b"])
    assert standing(pets) == {"d": ("exclude", None)}
    assert pets.of("b")["undone"].tolist() == [True, True]
    with pytest.raises(BadDecision, match='None of these samples of "pets" is ruled "exclude"'):
        pets.undo_samples("exclude", ["b"])


def test_a_samples_history_has_its_acts_newest_first_with_those_undone(pets):
    first = pets.decide("relabel", ["a", "b"], label="<b>dog</b>", by="ann", note="a dog")
    second = pets.decide("exclude", "a", kind="blank")
    pets.undo(second)
    told = pets.of("a")
    assert told.drop(columns="at").values.tolist() == [
        [second, "", "exclude", None, "blank", "", True],
        [first, "ann", "relabel", "<b>dog</b>", "", "a dog", False],
    ]
    assert pets.of("f").empty


def test_what_is_no_problem_is_so_for_its_kind_of_findings_and_together_only_if_named_together(pets):
    pets.decide("not-a-problem", ["a", "b", "d"], kind="near_duplicate")
    pets.decide("not-a-problem", ["e"])
    act = pets.decide("not-a-problem", ["e", "f"], kind="blank")
    assert pets.dismissed("near_duplicate") == {"a", "b", "d", "e"}
    assert pets.dismissed("blank") == {"e", "f"}
    assert pets.dismissed_together("near_duplicate") == [{"a", "b", "d"}]
    pets.undo(act)
    assert pets.dismissed_together("blank") == [] and pets.dismissed("blank") == {"e"}


def test_the_catalog_shows_what_stands_at_the_time_of_the_question(pets):
    catalog = pets.catalog
    assert list(catalog.types())[-2:] == ["decision", "new_label"]
    assert catalog.count(Selection(where="decision IS NULL AND new_label IS NULL")) == 7
    pets.decide("exclude", ["a", "b"])
    pets.decide("relabel", "b", label="dog")
    rows = catalog.rows(Selection(where="decision IS NOT NULL"), order_by="decision desc")
    assert rows[["key", "decision"]].values.tolist() == [["b", "relabel"], ["a", "exclude"]]
    assert rows["new_label"][0] == "dog"
    assert catalog.count(Selection(choices={"decision": ("exclude",)})) == 1
    assert catalog.count(Selection(text="exclude")) == 0, "free text looks into what was given"
    assert catalog.sample("a")["decision"] == "exclude" and catalog.sample("d")["decision"] is None
    pets.undo_samples("exclude", ["a", "b"])
    assert catalog.choices("decision")["value"].dropna().tolist() == ["relabel"]


def test_a_catalog_with_metadata_of_the_same_name_shows_both(tmp_path):
    write(tmp_path / "pets", {"a": "1", "b": "2"}, Decision=["theirs", None])
    pets = decisions_of(tmp_path)
    pets.decide("keep", "b")
    rows = pets.catalog.rows()
    assert rows["meta_Decision"][0] == "theirs" and rows["decision"][1] == "keep"


# After a rescan


def rescanned(pets, contents):
    write(pets.catalog.folder, contents)
    return standing(pets)


def test_a_file_that_was_moved_keeps_its_decision_if_only_it_has_that_content(pets):
    pets.decide("exclude", ["a", "b"], note="why")
    moved = {"x/a": "content a", "b": "content b", "f": "content f"}
    assert rescanned(pets, moved) == {"x/a": ("exclude", None), "b": ("exclude", None)}
    assert pets.of("x/a")["note"].tolist() == ["why"]
    assert rescanned(pets, moved | {"y/a": "content a"}) == {"b": ("exclude", None)}, "which of the two is it?"
    assert rescanned(pets, moved) == {"x/a": ("exclude", None), "b": ("exclude", None)}, "it was not forgotten"


def test_another_file_under_the_same_name_is_another_sample(pets):
    act = pets.decide("exclude", "a")
    assert rescanned(pets, {"a": "content new", "b": "content b"}) == {}
    assert pets.of("a").empty and pets.history()["act"].tolist() == [act]
    assert rescanned(pets, {"a": "content b", "b": "content a"}) == {"b": ("exclude", None)}, "they changed places"


def test_excluding_one_of_two_copies_leaves_the_other_even_when_the_first_is_deleted(pets):
    pets.decide("exclude", "c")
    assert standing(pets) == {"c": ("exclude", None)}
    assert rescanned(pets, {"a": "content a", "c2": "content c"}) == {}


def test_a_file_that_is_missing_is_ruled_by_its_key_until_it_is_there(pets):
    write(pets.catalog.folder, {"gone": None, "gone2": None})
    pets.decide("exclude", "gone")
    assert standing(pets) == {"gone": ("exclude", None)}
    assert rescanned(pets, {"gone2": None}) == {}
    assert rescanned(pets, {"gone": "content gone"}) == {}


def test_while_the_first_scan_runs_a_decision_holds_but_is_not_followed(tmp_path):
    write(tmp_path / "pets", {"a": "content a"}, partial=True)
    pets = decisions_of(tmp_path)
    pets.decide("exclude", "a")
    assert standing(pets) == {"a": ("exclude", None)}
    assert rescanned(pets, {"a": "content a", "copy": "content a"}) == {"a": ("exclude", None)}
    assert rescanned(pets, {"copy": "content a"}) == {}, "nobody knew then whether there was a copy"


# Several at once, and many


def test_two_people_at_once_both_stand_in_the_history_and_the_later_one_holds(pets, tmp_path):
    command = [sys.executable, "-c", SECOND, str(tmp_path / "pets")]
    processes = [subprocess.Popen([*command, ruling], cwd=ROOT) for ruling in ("keep", "exclude")]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    history = pets.history(limit=100)
    assert history["ruling"].value_counts().to_dict() == {"keep": 40, "exclude": 40}
    assert (history["samples"] == 2).all() and history["act"].is_monotonic_decreasing
    assert standing(pets)["a"] == (history["ruling"][0], None)
    assert len(pets.history(limit=30, offset=60)) == 20


def test_what_another_process_decides_is_seen_at_once(pets, tmp_path):
    mine = decisions_of(tmp_path)
    assert mine.current().empty
    pets.decide("exclude", "a")
    assert standing(mine) == {"a": ("exclude", None)}


def test_a_hundred_thousand_samples_are_ruled_on_in_one_act(tmp_path):
    keys = [f"{number:06}.png" for number in range(100_000)]
    write(tmp_path / "pets", {key: f"content {key}" for key in keys})
    pets = decisions_of(tmp_path)
    act = pets.decide("exclude", keys)
    assert pets.catalog.count(Selection(where="decision = 'exclude'")) == 100_000
    assert pets.act(act)["samples"] == 100_000
    pets.undo(act)
    assert pets.current().empty


def test_any_text_is_a_key_or_a_label_and_stays_what_it_is(tmp_path):
    write(tmp_path / "pets", {key: f"content {key}" for key in HOSTILE})
    pets = decisions_of(tmp_path)
    pets.decide("relabel", HOSTILE, label=HOSTILE[1], by=HOSTILE[3], note=HOSTILE[0])
    assert standing(pets) == dict.fromkeys(HOSTILE, ("relabel", HOSTILE[1]))
    assert pets.history()[["label", "by", "note"]].values.tolist() == [[HOSTILE[1], HOSTILE[3], HOSTILE[0]]]
    assert pets.catalog.count(Selection(choices={"new_label": (HOSTILE[1],)})) == len(HOSTILE)


# What is refused


@pytest.mark.parametrize(
    ("ruling", "keys", "label", "sentence"),
    [
        ("exlude", "a", None, 'no ruling "exlude"; did you mean exclude?'),
        ("undo", "a", None, 'no ruling "undo"; the rulings are keep, exclude, relabel, not-a-problem'),
        ("relabel", "a", None, "its new label is needed"),
        ("relabel", "a", "  ", "its new label is needed"),
        ("exclude", "a", "dog", '"exclude" takes no label'),
        ("exclude", [], None, "No samples were given"),
        ("exclude", ["a", "C2", "nope"], None, '2 of the 3 keys are no samples.*"C2".*did you mean "c2"'),
        ("exclude", "zebra", None, '"pets" has no sample "zebra"'),
        ("exclude", [1, 2], None, "named by its key, a text"),
        ("exclude", ["\udce4"], None, "named by its key, a text"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_nothing_is_decided(pets, ruling, keys, label, sentence):
    with pytest.raises(BadDecision, match=sentence) as refused:
        pets.decide(ruling, keys, label=label)
    assert len(str(refused.value).splitlines()) == 1
    assert pets.current().empty and pets.history().empty


def test_an_act_that_is_not_there_or_was_undone_cannot_be_undone(pets, tmp_path):
    act = pets.decide("exclude", "a")
    others = Decisions(pets.store, "fishes", pets.catalog)
    for decisions, number in [(others, act), (pets, 99), (pets, pets.undo(act)), (pets, act)]:
        with pytest.raises(BadDecision, match=f"no act {number} on .* that could be undone"):
            decisions.undo(number)
    assert len(pets.history()) == 2 and others.history().empty


def test_before_a_scan_nothing_can_be_decided_and_nothing_stands(tmp_path):
    pets = decisions_of(tmp_path)
    with pytest.raises(BadDecision, match="has no samples yet; scan it first"):
        pets.decide("exclude", "a")
    assert pets.current().empty and pets.shown() is None and pets.dismissed("blank") == set()


# Looks and waivers


def test_a_sample_that_several_looked_at_counts_once(tmp_path):
    looks, others = (Looks(Store(tmp_path), name) for name in ("pets", "fishes"))
    looks.add(["a", "b", "a", HOSTILE[0]], by="ann")
    looks.add(["b", "c"], by="bob")
    looks.add([])
    assert (looks.count(), others.count()) == (4, 0)


def test_a_waiver_keeps_its_reason_and_needs_one(tmp_path):
    waivers, others = (Waivers(Store(tmp_path), name) for name in ("pets", "fishes"))
    waivers.waive("looked", "a benchmark, seen by thousands", by="ann")
    waivers.waive("findings", "later")
    assert waivers.all().drop(columns="at").values.tolist() == [
        ["findings", "later", ""],
        ["looked", "a benchmark, seen by thousands", "ann"],
    ]
    assert others.all().empty
    with pytest.raises(BadDecision, match='no check "loked"; did you mean looked'):
        waivers.waive("loked", "so")
    with pytest.raises(BadDecision, match="a reason is needed"):
        waivers.waive("looked", " ")
