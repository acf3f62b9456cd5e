"""Jobs whose folder is named by their id, which nobody knows before they are launched."""

from pathlib import Path

import pytest

from recipe_core import jobs, settings
from recipe_core.errors import Conflict
from recipe_core.store import Store

HERE = Path(__file__).parent


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "SLOTS", {"queued": 0})
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    return Store(tmp_path / "{id}")


def launch(store, folder, kind="queued"):
    return jobs.launch(
        store, kind=kind, subject="pets", work="work:count", spec={"to": 3}, folder=store.folder / folder
    )


def test_a_job_may_have_a_folder_named_by_its_id(store):
    launched = [launch(store, "runs/{id}") for _ in range(3)]
    assert [job.folder for job in launched] == [store.folder / "runs" / str(job.id) for job in launched]
    assert len({job.folder for job in launched}) == 3 and all(job.folder.is_dir() for job in launched)
    assert sorted(path.name for path in (store.folder / "runs").iterdir()) == sorted(str(job.id) for job in launched)


def test_its_worker_finds_it_and_a_resumed_job_keeps_it(store):
    job = launch(store, "runs/{id}")
    jobs.stop(store, job.id)
    settings.SLOTS["queued"] = 1
    again = list(jobs.follow(store, jobs.resume(store, job.id).id))[-1]
    assert (again.state, again.folder) == ("finished", job.folder), again.log_tail()
    assert (job.folder / "notes.txt").read_text().splitlines() == ["2 0", "2 1", "2 2"]


def test_only_the_last_part_of_a_path_stands_for_the_id(store):
    job = launch(store, "{id}s/scan")
    assert job.folder == store.folder / "{id}s/scan"
    with pytest.raises(Conflict, match=f"Job {job.id}"):
        launch(store, "{id}s/scan")


def test_a_job_whose_folder_cannot_be_made_is_not_recorded(store):
    (store.folder / "runs").write_text("a file")
    with pytest.raises(OSError):
        launch(store, "runs/{id}")
    assert jobs.listing(store) == []
