"""Runs of several processes that share each batch, by real processes on a dataset that trains in a second."""

import os
import signal

import numpy as np
import pandas as pd
import psutil
import pytest
from toy_dataset import ended, make_pictures, until

from recipe_core import jobs
from recipe_core.errors import BadSettings
from recipe_core.training.ranks import companions
from recipe_core.training.spec import RunSpec
from recipe_core.workspace import Workspace

TWO = {"processes": 2, "batch_size": 16, "device": "cpu"}
STEPS = 80
SLOW = """
import time
from torch import nn
class Slow(nn.Sequential):
    def forward(self, x):
        time.sleep(0.02 * self.training)
        return super().forward(x)
def model(classes):
    return Slow(nn.Flatten(), nn.Linear(3 * 16 * 16, classes))
"""


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """The scanned dataset; its workspace is the module's. What still runs at the end is killed."""
    home = tmp_path_factory.mktemp("shared")
    workspace = Workspace(home / "workspace")
    pets = workspace.add_dataset("pets", make_pictures(home / "pets"))
    assert pets.scan().state == "finished"
    (home / "slow.py").write_text(SLOW)
    yield pets
    for job in jobs.listing(workspace.store):
        if jobs.stop(workspace.store, job.id).active and job.pid and psutil.pid_exists(job.pid):
            psutil.Process(job.pid).kill()


def launch(pets, **changes):
    """A run of two processes that takes two seconds of training, unless changed."""
    own = {"model_file": pets.workspace.store.folder.parent / "slow.py", "steps": STEPS, "eval_every": 20}
    return pets.workspace.launch(pets, "linear", checkpoint_every=10, **(TWO | own | changes))


@pytest.fixture(scope="module")
def shared(pets):
    """A run that nobody disturbed."""
    run = launch(pets)
    assert ended(run).state == "finished", run.log_tail()
    return run


def curve(run):
    """Everything but the speed, and the accuracy on the worker's own share."""
    return run.metrics().drop(columns=["samples_per_second", "train_accuracy"])


def companion_of(run, steps):
    """The process beside the worker, once so many steps were taken."""
    until(lambda: len(run.metrics()) > steps or not run.job.active)
    assert run.state == "running", run.log_tail()
    (other,) = [each for each in psutil.Process(run.job.pid).children() if "spawn_main" in " ".join(each.cmdline())]
    return other


def test_two_processes_learn_what_one_does_from_the_same_batches(pets, shared):
    alone = launch(pets, processes=1)
    assert ended(alone).state == "finished", alone.log_tail()
    np.testing.assert_allclose(curve(shared), curve(alone), rtol=1e-3, atol=1e-5)
    assert shared.evaluation().summary["correct"] == alone.evaluation().summary["correct"]


def test_whatever_ends_a_shared_run_its_processes_end_and_it_resumes_to_the_same_curve(pets, shared):
    run = launch(pets)
    companion_of(run, 10).kill()
    assert ended(run).state == "failed"
    assert run.job.error.startswith("Another process of the run ended early"), run.job.error

    run.resume()
    other = companion_of(run, 25)
    os.kill(run.job.pid, signal.SIGKILL)
    until(lambda: not other.is_running() or other.status() == psutil.STATUS_ZOMBIE)
    assert run.state == "lost"

    run.resume()
    other = companion_of(run, 45)
    run.stop()
    assert ended(run).state == "stopped", run.log_tail()
    assert not other.is_running()

    run.resume()
    assert ended(run).state == "finished", run.log_tail()
    pd.testing.assert_frame_equal(curve(run), curve(shared), check_exact=True)


def test_a_batch_that_cannot_be_shared_evenly_fails_the_run_in_one_sentence(pets):
    run = launch(pets, batch_size=15)
    assert ended(run).state == "failed"
    assert "batch_size is 15, which 2 processes cannot share evenly" in run.job.error


def test_more_processes_than_cores_are_refused_in_one_sentence(tmp_path):
    spec = RunSpec.parse("linear", TWO | {"processes": 64, "batch_size": 64})
    with (
        pytest.raises(BadSettings, match=r"processes is 64, but this machine has \d+ cores"),
        companions(spec, tmp_path, tmp_path),
    ):
        pass
