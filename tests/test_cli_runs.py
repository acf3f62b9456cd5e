"""The terminal's commands for runs."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from toy_dataset import make_pictures

from recipe_core import settings
from recipe_core.cli import main
from recipe_core.cli_runs import LISTED
from recipe_core.errors import NotFound
from recipe_core.jobs import Job
from recipe_core.progress import describe
from recipe_core.workspace import Workspace

ROOT = Path(__file__).parents[1]
BROKEN = "import nothing_that_exists"
SETTINGS = ["--set", "epochs=3", "--set", "batch_size=16"]


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    home = tmp_path_factory.mktemp("cli_runs")
    workspace = Workspace(home / "workspace")
    assert workspace.add_dataset("pets", make_pictures(home / "pets")).scan().state == "finished"
    return workspace


@pytest.fixture(scope="module")
def trained(ws):
    """What a `train --follow` on a terminal gave: its process, and what the terminal showed of the progress."""
    mine, theirs = pty.openpty()
    train = ["train", "pets", "--preset", "linear", "--seed", "3", "--expect", "beats 40 %", "--follow", "--json"]
    outcome = subprocess.run(
        [sys.executable, "-m", "recipe_core", "--workspace", str(ws.folder), *train, *SETTINGS],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    return outcome, os.read(mine, 100_000).decode()


@pytest.fixture
def command(ws, capfd):
    """`command(*arguments)` runs a command in this process and gives its status, output and lines of errors."""

    def run_here(*arguments):
        try:
            status = main(["--workspace", str(ws.folder), *map(str, arguments)])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        return status, out, err

    return run_here


@pytest.fixture
def refusal(command):
    """`refusal(*arguments)` gives the one line that refuses a command."""

    def refuse(*arguments):
        status, out, err = command(*arguments)
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        return err

    return refuse


@pytest.fixture
def waiting(ws, command, monkeypatch):
    """A run that was launched while no slot is free, and what its launch printed."""
    monkeypatch.setitem(settings.SLOTS, "run", 0)
    status, out, err = command("train", "pets", "--preset", "majority", "--json")
    assert (status, err) == (0, "")
    run = ws.run(json.loads(out)["id"])
    yield run, json.loads(out)
    with suppress(NotFound):
        run.stop()


def test_a_run_followed_on_a_terminal_shows_progress_and_tells_its_verdicts(trained):
    outcome, shown = trained
    told = json.loads(outcome.stdout)
    assert (outcome.returncode, told["state"], told["error"]) == (0, "finished", None)
    assert (told["verdicts"][0]["claim"], told["verdicts"][0]["verdict"]) == ("initial_loss", "pass")
    assert "\rpets: finished" in shown and shown.endswith("\n")


def test_a_run_as_json_is_all_that_is_known_and_its_metrics_are_a_list_of_steps(trained, command):
    id = json.loads(trained[0].stdout)["id"]
    told = json.loads(command("run", id, "--json")[1])
    assert (told["id"], told["dataset"], told["state"], told["last"]["step"]) == (id, "pets", "finished", 9)
    assert (told["spec"]["seed"], told["spec"]["epochs"], told["spec"]["expect"]) == (3, 3, "beats 40 %")
    assert told["classes"] == ["blue", "green", "red"] and told["evaluation"]["samples"] == 12
    assert "metrics" not in told
    status, out, err = command("run", id, "--metrics", "--json")
    points = json.loads(out, parse_constant=pytest.fail)["metrics"]
    assert (status, err) == (0, "")
    assert [point["step"] for point in points] == list(range(10))
    assert {"train_loss", "val_loss"} <= set(points[0]) and "train_loss" not in points[-1]


def test_a_run_is_told_in_words(trained, command):
    id = json.loads(trained[0].stdout)["id"]
    status, out, _ = command("run", id)
    assert status == 0 and f"Run {id}:" in out and "linear on pets, seed 3: finished" in out
    for part in ("epochs=3 batch_size=16", "beats 40 %", "train 48, val 12, 3 classes", "step 9", "pass:"):
        assert part in out
    lines = command("run", id, "--metrics")[1].splitlines()
    assert lines[-10].startswith("0 ") and lines[-1].startswith("9 ") and lines[-11].startswith("step  ")


def test_runs_are_listed_newest_first(trained, waiting, command):
    id = json.loads(trained[0].stdout)["id"]
    rows = json.loads(command("runs", "--json")[1])
    assert [row["id"] for row in rows] == sorted([row["id"] for row in rows], reverse=True)
    first = next(row for row in rows if row["id"] == id)
    assert (first["state"], sum(first["verdicts"].values()), first["expect"]) == ("finished", 3, "beats 40 %")
    assert rows[0]["state"] == "queued" and rows[0]["val_loss"] is None
    table = command("runs", "pets")[1].splitlines()
    assert table[0].split() == LISTED
    assert len(table) == len(rows) + 1


def test_without_follow_a_run_is_answered_at_once_and_stopped_resumed_and_deleted_by_its_id(waiting, command, refusal):
    run, told = waiting
    assert told == {"id": run.id, "state": "queued"}
    assert "is queued; stop it before deleting it" in refusal("delete", run.id)
    assert command("stop", run.id) == (0, f"Run {run.id} is stopped.\n", "")
    assert command("resume", run.id)[1].startswith(f"Run {run.id} is queued again; see: python -m recipe_core run ")
    assert "nothing to resume" in refusal("resume", run.id)
    command("stop", run.id)
    assert command("delete", run.id) == (0, f"Run {run.id} was deleted.\n", "")
    assert f"no job {run.id}" in refusal("run", run.id)


def test_a_run_that_fails_is_a_bad_answer(ws, command, tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    train = ["train", "pets", "--preset", "linear", "--set", "model_file=net.py", "--follow", "--json"]
    status, out, err = command(*train)
    told = json.loads(out)
    assert (status, told["state"]) == (1, "failed")
    assert told["error"].startswith(f"{tmp_path / 'net.py'}, line 1: ModuleNotFoundError")
    assert err == f"Run {told['id']} failed: {told['error']}\n"


def test_bad_settings_are_told_all_at_once_in_one_line(refusal, ws):
    before = len(ws.runs())
    bad = ["--set", "epochs=0", "--set", "seed=3", "--set", "optimizer=sdg", "--set", "preset=mlp", "--seed", "x"]
    line = refusal("train", "pets", "--preset", "linear", *bad)
    for part in ("epochs is from 1", "no setting 'seed'", "no setting 'preset'", "optimizer is one of", "the seed is"):
        assert part in line
    assert "did you mean 'majority'" in refusal("train", "pets", "--preset", "majorty")
    assert "epochs is no KEY=VALUE" in refusal("train", "pets", "--preset", "linear", "--set", "epochs")
    assert "--preset" in refusal("train", "pets")
    assert "pets" in refusal("train", "pest", "--preset", "linear")
    assert len(ws.runs()) == before


def test_what_cannot_be_trained_is_refused_in_one_line(ws, refusal):
    ws.add_dataset("unscanned", ws.dataset("pets").source)
    assert "scan it to the end" in refusal("train", "unscanned", "--preset", "linear")


@pytest.mark.parametrize("name", ["run", "stop", "resume", "delete"])
def test_the_id_of_a_scan_or_of_nothing_is_refused_in_one_line(ws, refusal, name):
    assert "is no run" in refusal(name, ws.dataset("pets").job.id)
    assert "There is no job 999" in refusal(name, 999)
    assert "whole number" in refusal(name, "x")


def test_an_export_without_its_package_says_what_to_install(trained, refusal, monkeypatch, tmp_path):
    id = json.loads(trained[0].stdout)["id"]
    for package, option in {"tensorboard": tmp_path, "mlflow": "sqlite://"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        assert f"install it with: pip install {package}" in refusal("export", id, f"--{package}", option)
    assert "--tensorboard --mlflow is required" in refusal("export", id)


def test_progress_is_a_line_for_each_phase():
    def said(**progress):
        return describe(Job(1, "run", "pets", "", {}, Path(), "running", 1, progress, None, False, 0, *[None] * 5))

    training = {"phase": "training", "step": 1024, "total_steps": 5000, "samples_per_second": 811.6}
    assert said(**training, seconds_left=170) == "training step 1,024 of 5,000, 812 samples/s, 3 min left"
    assert said(**training, seconds_left=None) == "training step 1,024 of 5,000, 812 samples/s"
    assert said(phase="decoding", done=1024, total=60000) == "decoding 1,024 of 60,000"
    assert said(phase="evaluating", step=5, total_steps=5) == "evaluating"
    assert said() == "running"


def test_the_terminal_starts_without_torch():
    code = "import sys, recipe_core.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode == 0
