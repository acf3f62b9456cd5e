"""The terminal's audit: what it prints, its exit status, and what it says of files that it cannot use."""

import json
import sys

import pytest

from recipe_core.checks import audit as engine
from recipe_core.checks.registry import checks
from recipe_core.cli import main

HEALTHY = """
from tests.checks.world import healthy

def pipeline():
    print("this is no part of the report")
    return healthy()

def on_training_data():
    from recipe_core.training.pipeline import default_evaluate
    made = healthy()
    made.evaluate = lambda model, loader: default_evaluate(model, made.train_loader)
    return made

def nothing():
    return None
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of pipelines; of all checks two are used, to be quick."""
    names = {"evaluation_sees_all_validation_data", "evaluation_is_in_eval_mode"}
    monkeypatch.setattr(engine, "checks", lambda: [each for each in checks() if each.name in names])
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "my_training.py"
    path.write_text(HEALTHY)
    return path


def test_a_healthy_pipeline_exits_0_and_its_own_prints_stay_out_of_the_json(file, capsys):
    assert main(["audit", str(file), "--json"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out)
    assert report["passed"] and len(report["results"]) == 2
    assert "no part of the report" not in out


def test_a_pipeline_with_a_bug_exits_1_and_says_what_and_how_to_fix_it(file, capsys):
    assert main(["audit", f"{file}:on_training_data"]) == 1
    out = capsys.readouterr().out
    assert "evaluates-training-data" in out and "Fix:" in out


def test_a_waived_cause_fails_nothing(file, capsys):
    assert main(["audit", f"{file}:on_training_data", "--waive", "evaluates-training-data"]) == 0
    assert "On purpose" in capsys.readouterr().out


LOADERS = """
import time
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from recipe_core import Pipeline

class Images(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, row):
        raise OSError(f"image {row} is broken")

class Waits:
    def __iter__(self):
        while True:
            try:
                time.sleep(0.1)
            except Exception:
                pass
        yield

def over(loader):
    return Pipeline(lambda: nn.Linear(3, 2), loader, loader, 2)

def broken():
    return over(DataLoader(Images(), 4, num_workers=1))

def waits():
    return over(Waits())

def whole():
    return over([{"image": torch.rand(4, 3), "label": torch.zeros(4).long()}] * 3)

def number():
    return over([(torch.rand(1, 3), torch.tensor(1))] * 3)

def empty():
    return over([])

def never():
    while True:
        pass
"""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("broken", "The training loader gave no batch (x, y): OSError: image 0 is broken."),
        ("waits", "The training loader gave no batch within the 1 s given."),
        ("whole", "no batch (x, y): TypeError: it gave a dict of 2; let a collate_fn make a pair of it."),
        ("number", "no batch (x, y): TypeError: its y is a single number; give one for each sample, of shape (n,)."),
        ("empty", "The training loader is empty"),
        ("never", "it has not made a pipeline within 1 s."),
    ],
)
def test_what_gives_nothing_or_never_ends_is_told_in_one_line_with_status_2(function, said, file, capsys):
    file.write_text(LOADERS)
    budget = "30" if function == "broken" else "1"  # a worker takes a while to start
    assert main(["audit", f"{file}:{function}", "--budget", budget]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told and "\n" not in told


def test_no_file_is_left_beside_the_users(file):
    before = sorted(file.parent.rglob("*"))
    main(["audit", str(file)])
    assert sorted(each for each in file.parent.rglob("*") if each.name != "workspace") == before


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (None, "missing.py", "There is no file"),
        ("def pipeline(:", "bad.py", "line 1"),
        ("import nowhere_to_be_found", "bad.py", "line 1: ModuleNotFoundError"),
        ("def pipeline():\n    return 1 / 0", "bad.py", "line 2: ZeroDivisionError in pipeline()"),
        ("x = 1", "bad.py", "has no function pipeline()"),
        ("def pipeline():\n    return None", "bad.py", "returned NoneType"),
        (
            "from recipe_core import Pipeline\ndef pipeline():\n    return Pipeline(None, None, [], -1)",
            "bad.py",
            "model_fn is NoneType, not a function; train_loader is NoneType, which gives no batches; num_classes is -1",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line_with_status_2(text, name, said, tmp_path, capsys):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    assert main(["audit", str(path)]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told and "\n" not in told
