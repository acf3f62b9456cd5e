"""Runs, by real worker processes on a dataset that trains in a second."""

import json
import os
import signal
from itertools import pairwise

import numpy as np
import pandas as pd
import psutil
import pytest
from sqlalchemy import update
from toy_dataset import ended, make_pictures, until

from recipe_core import jobs, settings
from recipe_core.errors import BadSettings, Conflict, NotFound, NotTrainable
from recipe_core.metrics import MetricWriter, read_metrics
from recipe_core.store import jobs as table_of_jobs
from recipe_core.workspace import Workspace

STEPS = 150
# Slow enough to be caught; beside it stands one dot for each step that it began.
SLOW = """
import time
from torch import nn
class Slow(nn.Sequential):
    def forward(self, x):
        if self.training:
            time.sleep(0.01)
            with open(__file__ + ".steps", "a") as file:
                file.write(".")
        return super().forward(x)
def model(classes):
    return Slow(nn.Flatten(), nn.Linear(3 * 16 * 16, classes))
"""
POISONED = """
from torch import nn
class Poison(nn.Module):
    steps = 0
    def forward(self, x):
        self.steps += self.training
        return x * float("nan") if self.steps > 5 else x
def model(classes):
    return nn.Sequential(nn.Flatten(), Poison(), nn.Linear(3 * 16 * 16, classes))
"""
RAISING = """
def model(classes):
    raise ValueError("no such net")
"""
MISSHAPEN = """
from torch import nn
def model(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, classes + 1))
"""


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """The scanned dataset; its workspace is the module's. What still runs at the end is killed."""
    home = tmp_path_factory.mktemp("runs")
    workspace = Workspace(home / "workspace")
    pets = workspace.add_dataset("pets", make_pictures(home / "pets"))
    assert pets.scan().state == "finished"
    yield pets
    for job in jobs.listing(workspace.store):
        if jobs.stop(workspace.store, job.id).active and job.pid and psutil.pid_exists(job.pid):
            psutil.Process(job.pid).kill()


@pytest.fixture(scope="module")
def ws(pets):
    return pets.workspace


@pytest.fixture(scope="module")
def queued(pets, ws):
    """Three runs launched at once: two of one seed, one of another. One slot is there."""
    runs = [ws.launch(pets, "linear", seed, "beats 50 %", epochs=20, batch_size=16) for seed in (0, 0, 1)]
    states = [run.state for run in runs]
    frozen = (runs[-1].folder / "spec.json").read_bytes()
    assert not (runs[-1].folder / "log.txt").exists()  # it has not started
    return runs, states, [ended(run) for run in runs], frozen


@pytest.fixture(scope="module")
def others(pets, ws, tmp_path_factory):
    """Runs by name and their ends; two at a time."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(settings.SLOTS, "run", 2)
        runs = {
            "majority": ws.launch(pets, "majority", epochs=2),
            "one_batch": ws.launch(pets, "one_batch", steps=20, batch_size=8),
        }
        for name, code in {"poisoned": POISONED, "raising": RAISING, "misshapen": MISSHAPEN}.items():
            (folder / f"{name}.py").write_text(code)
            own = {"model_file": folder / f"{name}.py", "bias_to_prior": False}
            runs[name] = ws.launch(pets, "linear", epochs=10, **own)
        return {name: (run, ended(run)) for name, run in runs.items()}


@pytest.fixture
def slow(pets, ws, tmp_path):
    """`slow()` launches a run that takes a while."""
    (tmp_path / "slow.py").write_text(SLOW)

    def launch():
        every = {"eval_every": 50, "checkpoint_every": 20}
        return ws.launch(pets, "linear", model_file=tmp_path / "slow.py", steps=STEPS, batch_size=16, **every)

    return launch


@pytest.fixture(scope="module")
def followed(pets, ws, tmp_path_factory):
    """A slow run that nobody disturbed, and the points that it gave while it was followed."""
    file = tmp_path_factory.mktemp("undisturbed") / "slow.py"
    file.write_text(SLOW)
    run = ws.launch(pets, "linear", model_file=file, steps=STEPS, batch_size=16, eval_every=50)
    points = list(run.follow(seconds=0.02))
    assert run.state == "finished", run.log_tail()
    return run, points


@pytest.fixture(scope="module")
def undisturbed(followed):
    return curve(followed[0])


def curve(run):
    """Everything but the speed, which no seed decides."""
    return run.metrics().drop(columns="samples_per_second")


def begun(run, steps=10):
    """Wait until so many steps' metrics, and more, can be read."""
    until(lambda: len(run.metrics()) > steps or not run.job.active)
    assert run.state == "running", run.log_tail()


# To the end


def test_runs_launched_at_once_wait_for_the_one_slot_and_all_finish(queued):
    runs, states, ends, _ = queued
    assert states[1:] == ["queued", "queued"]
    assert [job.state for job in ends] == ["finished"] * 3, [run.log_tail() for run in runs]
    assert all(earlier.ended <= later.started for earlier, later in pairwise(ends))


def test_a_finished_run_has_metrics_verdicts_evaluation_and_what_the_net_saw(queued):
    run = queued[0][0]
    history = run.metrics()
    assert len(history) == history.index[-1] + 1 == 20 * (48 // 16) + 1  # after the last update comes an evaluation
    assert {"train_loss", "val_loss", "val_accuracy", "grad_norm", "update_ratio"} <= set(history.columns)
    assert {verdict.claim.id: verdict.verdict for verdict in run.verdicts()} == {
        "initial_loss": "pass",
        "beats_floor_loss": "pass",
        "beats_floor_accuracy": "pass",
    }
    evaluation = run.evaluation()
    assert (evaluation.classes, evaluation.summary["samples"]) == (("blue", "green", "red"), 12)
    assert evaluation.summary["accuracy"] == history["val_accuracy"].iloc[-1]
    batch = run.fixed_batch()
    assert batch["probabilities"].shape == (len(batch["steps"]), 12, 3) and batch["steps"][-1] == 60
    for split, samples in (("train", 48), ("val", 12)):
        assert run.inputs(split)["pictures"].shape == (min(16, samples), 16, 16, 3)
        assert len(run.samples(split)) == samples
    assert run.device and "linear on cpu" in run.log_tail()


def test_a_seed_decides_the_curve_to_the_last_bit(queued):
    first, same, other = (curve(run) for run in queued[0])
    pd.testing.assert_frame_equal(first, same, check_exact=True)
    assert (first["train_loss"] != other["train_loss"]).iloc[:-1].any()  # the last row has none


@pytest.mark.parametrize("preset", ["majority", "one_batch"])
def test_other_presets_finish_and_are_judged_too(others, preset):
    run, job = others[preset]
    assert job.state == "finished", run.log_tail()
    claims = [claim.id for claim in run.expectation.claims]
    assert [verdict.claim.id for verdict in run.verdicts()] == claims and len(claims) == 3
    assert run.evaluation() is not None


def test_of_a_run_on_a_subset_is_kept_what_it_says_of_its_samples_in_the_end(others):
    learnt = others["one_batch"][0].learnt()
    assert learnt["rows"].shape == learnt["labels"].shape == (8,)
    assert learnt["probabilities"].shape == (8, len(others["one_batch"][0].classes))
    assert others["majority"][0].learnt() is None  # it saw them all


def test_followed_a_run_gives_each_step_once_with_all_its_metrics(followed):
    run, points = followed
    assert [point["step"] for point in points] == list(range(STEPS + 1))
    history = run.metrics()
    for point in points:
        assert point == {"step": point["step"], **history.loc[point["step"]].dropna().to_dict()}


def test_the_expectation_is_frozen_in_a_file_before_the_run_starts(queued, ws, pets):
    run, frozen = queued[0][-1], queued[-1]
    told = json.loads(frozen)
    assert (told["expectation"]["expect"], told["spec"]["seed"], told["dataset"]) == ("beats 50 %", 1, "pets")
    assert told["expectation"] == json.loads(json.dumps(ws.preview(pets, run.spec).to_dict()))
    assert told["expectation"]["initial_loss"] == pytest.approx(np.log(3))
    assert told["samples"] == {"train": 48, "val": 12}
    assert {"torch", "python", "numpy"} <= set(told["versions"])
    assert (run.folder / "spec.json").read_bytes() == frozen and told == run.record


# Disturbed


def test_a_killed_run_is_lost_keeps_its_metrics_and_resumes_on_the_same_curve(slow, undisturbed, tmp_path):
    run = slow()
    begun(run)
    checkpoint = run.folder / "checkpoints" / "last.pt"
    saved = checkpoint.stat().st_mtime_ns
    until(lambda: checkpoint.stat().st_mtime_ns > saved)  # what was measured last is not written yet, unless for it
    os.kill(run.job.pid, signal.SIGKILL)
    assert ended(run).state == "lost"
    kept = curve(run)
    began = (tmp_path / "slow.py.steps").stat().st_size
    # A second has room for 100 steps of 10 ms at most, however busy the machine.
    assert 0 < len(kept) < STEPS and began - len(kept) <= 100
    pd.testing.assert_frame_equal(kept, undisturbed.loc[kept.index, kept.columns], check_exact=True)
    assert run.evaluation() is None
    assert {each.verdict for each in run.verdicts() if each.claim.reading != "first"} <= {"pass", "unsure"}
    run.resume()
    assert ended(run).state == "finished", run.log_tail()
    pd.testing.assert_frame_equal(curve(run), undisturbed, check_exact=True)
    # From the last checkpoint, of which there is one every 20 steps.
    assert STEPS <= (tmp_path / "slow.py.steps").stat().st_size <= STEPS + 20


def test_a_run_that_is_stopped_saves_a_checkpoint_and_goes_on_from_exactly_there(slow, undisturbed, tmp_path):
    run = slow()
    begun(run)
    os.kill(run.job.pid, signal.SIGTERM)
    assert ended(run).state == "stopped"
    assert (run.folder / "checkpoints" / "last.pt").is_file()
    kept = len(run.metrics())
    run.resume()
    begun(run, kept)
    run.stop()
    assert ended(run).state == "stopped"
    run.resume()
    assert ended(run).state == "finished", run.log_tail()
    pd.testing.assert_frame_equal(curve(run), undisturbed, check_exact=True)
    assert (tmp_path / "slow.py.steps").stat().st_size == STEPS  # none was done twice


def test_a_run_that_waits_is_stopped_without_ever_having_started(pets, ws, monkeypatch):
    monkeypatch.setitem(settings.SLOTS, "run", 0)
    run = ws.launch(pets, "linear", epochs=1)
    run.stop()
    assert (run.state, run.log_tail(), list(run.follow()), len(run.metrics())) == ("stopped", "", [], 0)
    assert {verdict.verdict for verdict in run.verdicts()} == {"unsure"}


def test_an_active_run_cannot_be_deleted_and_a_stopped_one_goes_with_files_and_metrics(pets, ws, monkeypatch):
    monkeypatch.setitem(settings.SLOTS, "run", 0)
    run = ws.launch(pets, "linear", epochs=1)
    with MetricWriter(run.store, run.id) as writer:
        writer.record(0, {"val_loss": 1.0})
    with pytest.raises(Conflict, match="stop it before deleting it"):
        run.delete()
    assert run.folder.is_dir() and len(run.metrics()) == 1
    run.stop()
    run.delete()
    assert not run.folder.exists() and read_metrics(run.store, run.id).empty
    assert run.id not in {each.id for each in ws.runs("pets")}
    with pytest.raises(NotFound, match=f"no job {run.id}"):
        ws.run(run.id)


# Failed, in one sentence


def test_a_run_that_diverges_fails_and_names_step_and_layer(others):
    run, job = others["poisoned"]
    assert job.state == "failed"
    assert "not a finite number at step 5, first in layer 1 (Poison)" in job.error
    assert run.metrics()["train_loss"].dropna().index.tolist() == list(range(5))
    assert run.verdicts() and run.evaluation() is None


@pytest.mark.parametrize(
    "name, sentence",
    {
        "raising": "raising.py, line 3: ValueError in model(3): no such net.",
        "misshapen": "the model gives outputs of shape (2, 4); it should give (2, 3).",
    }.items(),
)
def test_a_model_file_that_cannot_be_used_fails_the_run_in_one_sentence(others, name, sentence):
    _, job = others[name]
    assert job.state == "failed" and job.error.endswith(sentence)


def test_a_dataset_that_changed_fails_the_run_in_one_sentence(workspace, tmp_path):
    pets = workspace.add_dataset("pets", make_pictures(tmp_path / "pets"))
    pets.scan()
    for number in range(2):
        (tmp_path / "pets" / "red" / f"{number}.png").unlink()
    run = workspace.launch(pets, "majority")
    job = ended(run)
    assert job.state == "failed" and len(job.error.splitlines()) == 1
    assert '"red/0.png", "red/1.png" have vanished' in job.error and "rescan the dataset" in job.error
    pets.scan()
    run.resume()  # its manifest still names what has vanished
    assert "launch a new run" in ended(run).error


def test_a_run_trains_on_the_manifest_of_its_launch_and_says_what_was_cleaned(workspace, tmp_path):
    pets = workspace.add_dataset("fishes", make_pictures(tmp_path / "fishes"))
    (tmp_path / "fishes" / "red" / "cut.png").write_bytes(b"")
    pets.scan()
    pets.decide("exclude", [f"red/{number}.png" for number in range(12)])
    pets.decide("relabel", ["blue/3.png", "blue/4.png", "blue/5.png"], label="green")
    run = workspace.launch(pets, "majority")
    pets.decide("exclude", pets.query("label = 'green'")["key"])  # too late for this run
    assert ended(run).state == "finished"
    assert run.cleaned == "trained on the cleaned manifest: 1 unreadable, 12 excluded, 3 relabelled"
    read = [*run.samples("train"), *run.samples("val")]
    assert len(read) == 48 and sum(key.startswith("green/") for key in read) == 20
    assert run.record["manifest"] != pets.manifest().hash
    assert run.classes == ("blue", "green", "red")


def test_a_run_from_before_manifests_were_frozen_says_so_when_it_is_resumed(workspace, tmp_path):
    pets = workspace.add_dataset("birds", make_pictures(tmp_path / "birds", 4))
    pets.scan()
    run = workspace.launch(pets, "majority")
    ended(run)
    spec = jobs.get(workspace.store, run.id).spec
    old = {name: value for name, value in spec["record"].items() if name not in ("size", "cleaned")}
    with workspace.store.engine.begin() as connection:
        row = update(table_of_jobs).where(table_of_jobs.c.id == run.id)
        connection.execute(row.values(spec=spec | {"record": old}, state="stopped"))
    run = workspace.run(run.id)
    assert run.cleaned == ""
    run.resume()
    assert "froze no manifests; launch a new run" in ended(run).error


# Refused before the start


def test_all_that_is_wrong_with_the_settings_is_said_at_once_and_nothing_is_queued(pets, ws):
    before = len(ws.runs())
    with pytest.raises(BadSettings) as problem:
        ws.launch(pets, "linear", epochs="many", learning_rat=1, batch_size=0)
    for part in ("epochs is a whole number", "'learning_rate'", "batch_size is from 1"):
        assert part in str(problem.value)
    with pytest.raises(BadSettings, match=r"no preset 'liner' \(did you mean 'linear'"):
        ws.launch(pets, "liner")
    assert len(ws.runs()) == before


@pytest.fixture(scope="module")
def unfit(tmp_path_factory):
    """A workspace with scanned datasets on which nothing can be trained, and one that was not scanned."""
    home = tmp_path_factory.mktemp("unfit")
    workspace = Workspace(home / "workspace")
    make_pictures(home / "one_class", 4, ["red"])
    make_pictures(home / "no_val", 4, splits=["train"])
    flat = make_pictures(home / "nested", 4, ["red"]) / "red"
    datasets = [workspace.add_dataset(name, home / name) for name in ("one_class", "no_val")]
    datasets.append(workspace.add_dataset("unlabelled", flat))
    for job in [dataset.launch_scan() for dataset in datasets]:
        *_, last = jobs.follow(workspace.store, job.id)
        assert last.state == "finished"
    workspace.add_dataset("unscanned", home / "one_class")
    return workspace


@pytest.mark.parametrize(
    "name, sentence",
    {
        "one_class": "have the label",
        "no_val": "no labelled, readable validation sample",
        "unlabelled": "has a label",
        "unscanned": "scan it to the end before training",
    }.items(),
)
def test_a_dataset_on_which_nothing_can_be_trained_is_refused_in_one_sentence(unfit, name, sentence):
    with pytest.raises(NotTrainable, match=sentence) as problem:
        unfit.launch(unfit.dataset(name), "linear")
    assert len(str(problem.value).splitlines()) == 1
    assert unfit.runs() == []


def test_a_scan_is_no_run(pets, ws):
    with pytest.raises(NotFound, match="is no run"):
        ws.run(pets.job.id)
