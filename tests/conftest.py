"""What the tests of several floors share."""

import os
from contextlib import suppress

import psutil
import pytest

# What else follows each of the many scans would keep the cores busy; the tests of it start it. Workers inherit this.
os.environ["RECIPE_AFTER_SCAN"] = ""

from recipe_core import jobs
from recipe_core.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    """An empty workspace; scans that a test leaves running are ended with it."""
    workspace = Workspace(tmp_path / "workspace")
    yield workspace
    for job in jobs.listing(workspace.store):
        if job.active:
            jobs.stop(workspace.store, job.id)
            with suppress(psutil.NoSuchProcess):  # it may end by itself
                if job.pid:
                    psutil.Process(job.pid).kill()
