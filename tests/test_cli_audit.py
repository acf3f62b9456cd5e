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
