"""A store of its own for each test, with impatient settings; what still runs at the end is killed."""

from pathlib import Path

import psutil
import pytest

from recipe_core import jobs, settings
from recipe_core.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "LOST_AFTER_SECONDS", 2.0)
    monkeypatch.setattr(settings, "SLOTS", {"pair": 2})
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    store = Store(tmp_path)
    yield store
    for job in jobs.listing(store):
        jobs.stop(store, job.id)
    for worker in psutil.Process().children():
        if worker.pid in {job.pid for job in jobs.listing(store)}:
            worker.kill()
