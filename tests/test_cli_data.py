"""decide, manifest and waive on the terminal."""

import csv
import json
import zipfile

import pytest
from toy_dataset import make_pictures

from recipe_core.cli import main
from recipe_core.workspace import Workspace

NEWLINE = "red/new\nline<b>.png"


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    home = tmp_path_factory.mktemp("decided")
    red = make_pictures(home / "pets", 4) / "red"
    (red / "new\nline<b>.png").write_bytes((red / "0.png").read_bytes() + b" ")
    (red / "broken.png").write_bytes(b"")
    with zipfile.ZipFile(home / "zipped.zip", "w") as archive:
        for path in sorted((home / "pets").rglob("[0-9].png")):
            name = path.relative_to(home / "pets").as_posix()
            archive.write(path, f"={name}" if name.startswith("red") else name)
    workspace = Workspace(home / "workspace")
    for name, source in (("pets", "pets"), ("zipped", "zipped.zip")):
        workspace.add_dataset(name, home / source).scan()
    return workspace


@pytest.fixture
def pets(scanned):
    """With nothing decided."""
    dataset = scanned.dataset("pets")
    yield dataset
    history = dataset.decisions.history(limit=1000)
    for act in history.loc[~history["undone"] & (history["ruling"] != "undo"), "act"]:
        dataset.decisions.undo(int(act))


@pytest.fixture
def recipe(scanned, capsys):
    """Runs a command and gives its status, standard output and standard error."""

    def run(*arguments):
        try:
            status = main(["--workspace", str(scanned.folder), *map(str, arguments)])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


def decided(dataset):
    rows = dataset.query("decision is not null")
    return dict(zip(rows["key"], rows["decision"], strict=True))


def test_options_stand_before_between_and_behind_the_samples(pets, recipe):
    samples = ["red/1.png", "red/2.png"]
    for words in (
        ["decide", "pets", "exclude", "--by", "ann", "--note", "why", *samples],
        ["decide", "pets", "exclude", *samples, "--by", "ann", "--note", "why"],
        ["decide", "--by", "ann", "pets", "exclude", samples[0], "--note", "why", samples[1]],
    ):
        status, told, _ = recipe(*words)
        assert status == 0 and told.startswith("pets: exclude, 2 samples (act ")
        assert decided(pets) == dict.fromkeys(samples, "exclude")
        assert pets.decisions.history(limit=1)[["by", "note"]].values.tolist() == [["ann", "why"]]
        assert recipe("decide", "pets", "exclude", "--undo", *samples)[0] == 0
        assert decided(pets) == {}


def test_a_label_that_no_sample_has_is_taken_and_said(pets, recipe):
    status, told, said = recipe("decide", "pets", "relabel", "--label", "<b>crab</b>", "red/1.png")
    assert status == 0 and 'relabel as "<b>crab</b>", 1 sample' in told and "it is a new class" in said
    assert pets.manifest().classes == ("<b>crab</b>", "blue", "green", "red")
    for label in ("<b>crab</b>", "blue"):
        assert recipe("decide", "pets", "relabel", "--label", label, "red/2.png")[2] == ""


def test_the_manifest_is_what_training_reads_and_can_be_decided_from(pets, recipe, tmp_path):
    recipe("decide", "pets", "exclude", "blue/0.png", "blue/1.png")
    recipe("decide", "pets", "relabel", "--label", "blue", "red/1.png")
    path = tmp_path / "clean.csv"
    status, told, said = recipe("manifest", "pets", "-o", path)
    assert (status, told) == (0, "")
    assert said.startswith("pets: 11 samples (1 unreadable, 2 excluded, 1 relabelled), manifest ")
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["sample"]: row for row in csv.DictReader(file)}
    assert list(next(iter(rows.values()))) == ["sample", "path", "label", "split", "content_hash"]
    assert rows.keys() == set(pets.query("readable")["key"]) - {"blue/0.png", "blue/1.png"}
    assert rows[NEWLINE]["path"] == f"{pets.source}/{NEWLINE}" and rows["red/1.png"]["label"] == "blue"
    assert rows["green/0.png"]["content_hash"] == pets.catalog.sample("green/0.png")["byte_hash"]
    assert recipe("manifest", "pets")[1].encode() == path.read_bytes(), "and without -o on standard output"
    assert recipe("decide", "pets", "keep", "--from", path)[1].startswith("pets: keep, 11 samples")
    assert decided(pets)[NEWLINE] == "keep"


def test_a_zips_samples_have_paths_in_it_and_no_cell_starts_a_formula(scanned, recipe, tmp_path):
    path = tmp_path / "clean.csv"
    recipe("manifest", "zipped", "-o", path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["sample"]: row["path"] for row in csv.DictReader(file)}
    assert rows["blue/0.png"] == f"{scanned.dataset('zipped').source}!blue/0.png"
    assert "'=red/0.png" in rows
    assert recipe("decide", "zipped", "keep", "--from", path)[0] == 0
    assert decided(scanned.dataset("zipped"))["=red/0.png"] == "keep"


@pytest.mark.parametrize(
    "text",
    [
        "red/1.png\nblue/1.png\n",
        "\ufeffred/1.png\r\n\r\nblue/1.png",
        'label,sample\nx,red/1.png\n"a ""b""",blue/1.png\nshort\n',
        "key,label\nred/1.png,x\nblue/1.png,y\n",
    ],
    ids=["lines", "lines of Windows", "a CSV", "a table of the dashboard"],
)
def test_samples_come_from_a_file_of_keys_or_a_csv(pets, recipe, tmp_path, text):
    (tmp_path / "keys").write_text(text, "utf-8", newline="")
    assert recipe("decide", "pets", "exclude", "--from", tmp_path / "keys")[0] == 0
    assert decided(pets) == {"red/1.png": "exclude", "blue/1.png": "exclude"}


def refused(recipe, *arguments):
    """The one sentence on standard error."""
    status, told, said = recipe(*arguments)
    assert (status, told) == (2, "") and said.count("\n") == 1
    return said


def test_a_file_that_cannot_be_used_is_one_sentence_and_nothing_is_decided(pets, recipe, tmp_path):
    (tmp_path / "keys").write_text("red/1.png\nred/l.png\nnope\n")
    sentence = refused(recipe, "decide", "pets", "exclude", "--from", tmp_path / "keys")
    assert '2 of the 3 keys are no samples; the first: "pets" has no sample "red/l.png"; did you mean' in sentence
    (tmp_path / "empty").write_text("\n\n")
    assert "No samples were given" in refused(recipe, "decide", "pets", "exclude", "--from", tmp_path / "empty")
    assert "No such file" in refused(recipe, "decide", "pets", "exclude", "--from", tmp_path / "gone")
    assert "cannot be read" in refused(recipe, "decide", "pets", "exclude", "--from", tmp_path)
    (tmp_path / "image").write_bytes(b"\x89PNG\xff")
    assert "neither text in UTF-8" in refused(recipe, "decide", "pets", "exclude", "--from", tmp_path / "image")
    assert "not both" in refused(recipe, "decide", "pets", "exclude", "a", "--from", tmp_path / "keys")
    assert decided(pets) == {}


def test_a_wrong_word_is_answered_with_the_right_one(pets, recipe):
    assert "did you mean exclude?" in refused(recipe, "decide", "pets", "exlude", "red/1.png")
    assert 'did you mean "red/1.png"?' in refused(recipe, "decide", "pets", "exclude", "Red/1.png")
    assert "did you mean pets?" in refused(recipe, "manifest", "pest")
    assert "did you mean looked?" in refused(recipe, "waive", "pets", "loked", "--reason", "so")
    assert "nothing to undo" in refused(recipe, "decide", "pets", "exclude", "--undo", "red/1.png")
    assert "required" in refused(recipe, "decide", "pets")
    assert 'has no sample "-x.png"' in refused(recipe, "decide", "pets", "exclude", "--", "-x.png")


def test_a_file_that_cannot_be_written_is_one_sentence_and_leaves_nothing(recipe, tmp_path):
    assert "choose another file" in refused(recipe, "manifest", "pets", "-o", tmp_path / "no" / "clean.csv")
    assert "choose another file" in refused(recipe, "manifest", "pets", "-o", tmp_path)
    assert list(tmp_path.parent.glob(f"{tmp_path.name}*")) == [tmp_path] and list(tmp_path.iterdir()) == []


def test_a_waiver_is_kept_with_its_reason(pets, recipe):
    status, told, _ = recipe("waive", "pets", "looked", "--reason", "seen by thousands", "--by", "ann")
    assert (status, told) == (0, 'pets: "looked" is waived.\n')
    assert pets.waivers.all()[["check", "reason", "by"]].values.tolist() == [["looked", "seen by thousands", "ann"]]


def test_what_was_decided_is_asked_for_like_any_column(pets, recipe):
    recipe("decide", "pets", "exclude", "red/1.png")
    status, told, _ = recipe("query", "pets", "--where", "decision = 'exclude'", "--json")
    assert status == 0 and [row["key"] for row in json.loads(told)] == ["red/1.png"]
