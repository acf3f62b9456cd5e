"""The embedding, by real processes on real pictures: what it leaves, how it goes on, what it does with odd datasets."""

import os
import signal
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recipe_core import jobs
from recipe_core.data.embeddings import embed, segments, state
from recipe_core.data.embeddings.analyses import ANALYSES
from recipe_core.errors import BadModel

# A backbone of a user's own that costs nothing: the mean colours of 16 squares.
OWN = """
import torch
SIDE = 32
class Means(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1) {change}
def backbone():
    return Means()
"""


def photos(count):
    """Pictures with large patches of colour, none like another."""
    patches = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), np.uint8)
    return [Image.fromarray(each).resize((48, 48)) for each in patches]


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "means.py"
    file.write_text(OWN.format(change=""))
    return file


def scanned(workspace, folder, count=40, labels=("cat", "dog")):
    """A dataset of `count` photographs that nobody has embedded yet."""
    for number, photo in enumerate(photos(count)):
        path = folder / labels[number % len(labels)] if labels else folder
        path.mkdir(parents=True, exist_ok=True)
        photo.save(path / f"{number:03}.png")
    dataset = workspace.add_dataset("pets", folder)
    dataset.scan()
    return dataset


def ended(workspace, job):
    """The job at its end."""
    return list(jobs.follow(workspace.store, job.id))[-1]


def embedded(dataset, backbone=None):
    """The dataset after an embedding that came to its end."""
    if job := dataset.launch_embedding(backbone):
        job = ended(dataset.workspace, job)
        assert job.state == "finished", job.error
    return dataset.embeddings()


def test_every_picture_becomes_a_vector_and_a_rescan_embeds_only_what_is_new(workspace, tmp_path, own):
    pets = scanned(workspace, tmp_path / "pets")
    assert "Not embedded yet" in pets.found.unembedded()[0]
    there = embedded(pets, own)
    assert there.vectors.shape == (40, 48) and list(there.keys) == sorted(pets.query()["key"])
    assert list(there.classes[0]) == ["cat", "dog"] and np.bincount(there.classes[1]).tolist() == [20, 20]
    assert pets.found.unembedded() == []
    assert pets.launch_embedding() is None
    before = segments.known(pets.folder, state.backbone_name(pets.folder))[0]
    photos(41)[-1].save(tmp_path / "pets" / "cat" / "new.png")
    (tmp_path / "pets" / "dog" / "001.png").unlink()
    pets.scan()
    assert pets.launch_embedding() is not None  # a scan that changed under the embeddings
    there = embedded(pets)
    assert "cat/new.png" in there.keys and "dog/001.png" not in there.keys and len(there) == 40
    files = segments.known(pets.folder, state.backbone_name(pets.folder))[0]
    (new,) = set(files) - set(before)
    assert set(before) < set(files) and len(np.load(new)) == 1


def test_a_killed_embedding_goes_on_where_it_was(workspace, tmp_path, own):
    own.write_text(OWN.format(change="").replace("return torch", "__import__('time').sleep(0.5); return torch"))
    pets = scanned(workspace, tmp_path / "pets", count=160)
    job = pets.launch_embedding(own)
    while jobs.get(workspace.store, job.id).progress.get("done", 0) < embed.PIECE:
        time.sleep(0.02)
    os.kill(jobs.get(workspace.store, job.id).pid, signal.SIGKILL)
    while jobs.get(workspace.store, job.id).state == "running":
        jobs.tend(workspace.store)
        time.sleep(0.05)
    assert jobs.get(workspace.store, job.id).state == "lost"
    assert len(embedded(pets)) == 160
    assert not list((pets.folder / "embeddings").rglob("*.partial"))


def test_another_backbone_begins_anew_and_forgets_the_first_ones_vectors(workspace, tmp_path, own):
    pets = scanned(workspace, tmp_path / "pets", count=12)
    first = embedded(pets, own).vectors[:]
    own.write_text(OWN.format(change="* 2"))
    assert len(pets.embeddings()) == 0
    assert np.allclose(embedded(pets).vectors[:], 2 * first, rtol=1e-2)
    assert len(list((pets.folder / "embeddings" / "segments").glob("*.npy"))) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def backbone(:", "line 1"),
        ("x = 1", "has no function backbone()"),
        ("def backbone(): return 3", "returned int"),
        ("import torch\ndef backbone(): return torch.nn.Identity()", "it should give a vector per image"),
        ("SIDE = 'big'\ndef backbone(): pass", "SIDE is 'big'"),
        ("def backbone(): return open('/nowhere')", "FileNotFoundError in backbone()"),
    ],
)
def test_a_backbone_file_of_the_wrong_kind_is_one_sentence(tmp_path, text, told):
    from recipe_core.data.embeddings.backbone import load_backbone

    file = tmp_path / "wrong.py"
    file.write_text(text)
    with pytest.raises(BadModel, match=r"wrong\.py") as problem:
        load_backbone(file)
    assert told in str(problem.value) and "\n" not in str(problem.value)


def test_a_job_whose_backbone_is_wrong_fails_with_that_sentence(workspace, tmp_path):
    pets = scanned(workspace, tmp_path / "pets", count=3)
    with pytest.raises(BadModel, match="There is no file"):
        pets.launch_embedding(tmp_path / "gone.py")
    file = tmp_path / "wrong.py"
    file.write_text("x = 1")
    job = pets.launch_embedding(file)
    job = ended(workspace, job)
    assert job.state == "failed" and "has no function backbone()" in job.error


def test_one_picture_without_a_label_is_embedded_too(workspace, tmp_path, own):
    pets = scanned(workspace, tmp_path / "pets", count=1, labels=())
    there = embedded(pets, own)
    assert len(there) == 1 and set(there.labels) == {None} and there.classes[1].tolist() == [-1]
    for analysis in ANALYSES:
        assert pq.read_table(analysis.path(pets.folder)).num_rows == 1
    assert [line for line in pets.found.summary() if line.kind == "outlier"] == []


def test_blank_and_broken_pictures_have_no_vector(workspace, tmp_path):
    folder = tmp_path / "pets"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (90 * number,) * 3).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"")
    pets = workspace.add_dataset("pets", folder)
    pets.scan()
    assert len(embedded(pets)) == 0
    assert pets.found.unembedded() == []


def test_many_segments_become_one_without_what_is_gone(tmp_path):
    vectors = np.arange(40, dtype=np.float16).reshape(20, 2)
    for row in range(20):
        segments.write_segment(tmp_path, "b", [f"c{row:02}"], vectors[row : row + 1])
    wanted = segments.known(tmp_path, "b")[1].slice(0).select(["content"]).sort_by("content").slice(5)
    segments.merge(tmp_path, "b", wanted, most=10)
    files, where = segments.known(tmp_path, "b")
    assert len(files) == 1 and where["content"].to_pylist() == [f"c{row:02}" for row in range(5, 20)]
    merged = segments.Vectors(files, where["file"].to_numpy(), where["row"].to_numpy())
    assert np.array_equal(merged[:], vectors[5:]) and merged[0].tolist() == [10.0, 11.0]
