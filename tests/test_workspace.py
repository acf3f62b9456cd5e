"""The workspace: names, the same source twice, many processes at once."""

import errno
import io
import os
import subprocess
import sys
import time
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recipe_core.errors import BadSource, Conflict, NotFound
from recipe_core.store import RULED
from recipe_core.workspace import Workspace


@pytest.fixture
def images(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        (tmp_path / "images" / label / "a.png").write_bytes(b"an image")
    (tmp_path / "images" / "t.csv").write_text("path,label,kind\ncat/a.png,x,y\n")
    return tmp_path / "images"


@pytest.mark.parametrize("name", ["pets", "Pets-2.1", "ü_漢", "a" * 64, "7"])
def test_a_name_is_letters_digits_dots_dashes_and_underscores(workspace, images, name):
    dataset = workspace.add_dataset(name, images)
    assert workspace.dataset(name) == dataset
    assert dataset.folder.parent == workspace.folder / "datasets"


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../x", "a/b", "a\\b", "-x", ".x", "a b", "a\n", "a\0", "a" * 65, "<b>"]
)
def test_any_other_name_is_refused_and_nothing_is_made(workspace, images, name):
    with pytest.raises(Conflict, match="cannot name a dataset"):
        workspace.add_dataset(name, images)
    assert workspace.datasets() == []
    assert not (workspace.folder / "uploads").exists()


def test_the_same_source_again_is_the_same_dataset_and_another_a_conflict(workspace, images):
    first = workspace.add_dataset("pets", images, note="first")
    assert workspace.add_dataset("pets", images) == first
    with pytest.raises(Conflict, match="taken"):
        workspace.add_dataset("pets", images / "cat")
    workspace.add_dataset("table", images / "t.csv")
    with pytest.raises(Conflict, match="taken"):
        workspace.add_dataset("table", images / "t.csv", {"label": "kind"})
    assert [dataset.name for dataset in workspace.datasets()] == ["pets", "table"]


def test_a_source_that_cannot_be_read_is_not_registered(workspace, tmp_path):
    with pytest.raises(BadSource, match="does not exist"):
        workspace.add_dataset("pets", tmp_path / "nowhere")
    assert workspace.datasets() == []


def test_a_wrong_name_is_answered_with_the_right_one(workspace, images):
    with pytest.raises(NotFound, match="recipe_core scan pets SOURCE"):
        workspace.dataset("pets")
    for name in ("pets", "columns"):
        workspace.add_dataset(name, images)
    with pytest.raises(NotFound, match=r"did you mean pets\?"):
        workspace.dataset("Pet")
    with pytest.raises(NotFound, match=r"did you mean columns\?"):
        workspace.dataset("column")
    with pytest.raises(NotFound, match="the datasets are pets, columns"):
        workspace.dataset("zzzzzz")


def test_an_uploaded_zip_is_kept_with_its_dataset_and_goes_with_it(workspace):
    upload = io.BytesIO()
    with zipfile.ZipFile(upload, "w") as archive:
        archive.writestr("cat/a.png", b"an image")
        archive.writestr("dog/b.png", b"another")
    upload.seek(0)
    path = workspace.keep_upload("../pets & more.zip", upload)
    assert path.name == "pets-more.zip"
    dataset = workspace.add_dataset("pets", path)
    assert dataset.read("cat/a.png") == b"an image"
    workspace.remove_dataset("pets")
    assert list((workspace.folder / "uploads").iterdir()) == []


def test_an_upload_that_does_not_fit_on_the_disk_is_one_sentence_and_leaves_nothing(workspace):
    class Full(io.BytesIO):
        def read(self, size=-1):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(BadSource, match=r"pets\.zip cannot be stored \(No space left on device\); free some space"):
        workspace.keep_upload("pets.zip", Full())
    assert list(workspace.uploads.folder.iterdir()) == []


def test_an_upload_that_became_no_dataset_goes_after_a_day(workspace):
    abandoned, recent = (workspace.keep_upload(name, io.BytesIO(b"x")) for name in ("a.zip", "b.zip"))
    a_day_ago = time.time() - 25 * 3600
    os.utime(abandoned, (a_day_ago, a_day_ago))
    workspace.keep_upload("c.zip", io.BytesIO(b"x"))
    assert not abandoned.parent.exists() and recent.exists()


def test_processes_that_add_at_once_agree(tmp_path, images):
    # They also make the workspace at once: its database and its secret.
    script = (
        "import sys; from recipe_core import Workspace\n"
        "sys.stdin.readline(); workspace = Workspace(sys.argv[1])\n"
        "try: print(workspace.add_dataset('pets', sys.argv[2]).source, workspace.signer.sign('x'))\n"
        "except Exception as problem: print(type(problem).__name__, workspace.signer.sign('x'))"
    )
    places = [images, images, images / "cat", images / "dog"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "shared"), str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for place in places
    ]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    answers = [worker.communicate(timeout=60)[0].split() for worker in workers]
    (winner,) = (dataset.source for dataset in Workspace(tmp_path / "shared").datasets())
    assert {signature for _, signature in answers} == {Workspace(tmp_path / "shared").signer.sign("x")}
    for place, (answer, _) in zip(places, answers, strict=True):
        assert answer == (winner if str(place) == winner else "Conflict")


def test_a_workspace_may_be_opened_from_anywhere_and_again(tmp_path, images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Workspace("ws").add_dataset("pets", "images")
    monkeypatch.chdir("/")
    assert Workspace(tmp_path / "ws").dataset("pets").source == str(images)


def test_a_database_from_before_there_were_decisions_gains_their_tables(tmp_path, images):
    pets = Workspace(tmp_path / "old").add_dataset("pets", images)
    with pets.workspace.store.engine.begin() as connection:
        for table in RULED:
            table.drop(connection)
    pets = Workspace(tmp_path / "old").dataset("pets")
    pets.looks.add(["cat/a.png"])
    pets.waivers.waive("looked", "a test")
    assert (pets.looks.count(), len(pets.waivers.all()), len(pets.decisions.history())) == (1, 1, 0)


def test_a_dataset_that_is_removed_takes_its_decisions_looks_and_waivers_along(workspace, images):
    def added(name):
        dataset = workspace.add_dataset(name, images)
        (dataset.folder / "catalog").mkdir(parents=True)
        samples = pa.table({"key": ["cat/a.png"], "byte_hash": ["content"]})
        pq.write_table(samples, dataset.folder / "catalog" / "catalog.parquet")
        return dataset

    for dataset in (added("pets"), added("others")):
        dataset.decide("exclude", "cat/a.png")
        dataset.looks.add(["cat/a.png"])
        dataset.waivers.waive("looked", "a test")
    workspace.remove_dataset("pets")
    for dataset, left in ((added("pets"), 0), (workspace.dataset("others"), 1)):
        rows = (dataset.decisions.current(), dataset.decisions.history(), dataset.waivers.all())
        assert [len(table) for table in rows] == [left] * 3 and dataset.looks.count() == left
