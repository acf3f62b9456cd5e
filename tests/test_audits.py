"""Audits as jobs, of files and of runs, by real worker processes."""

import psutil
import pytest
from pipeline_files import CAUSES, put_files
from toy_dataset import ended, make_pictures, until

from recipe_core import jobs, settings
from recipe_core.audits import launch_audit, launch_audit_of_run, list_audits, pipeline_files
from recipe_core.errors import NotFound
from recipe_core.training.presets import ON_PURPOSE
from recipe_core.workspace import Workspace

BUDGET_SECONDS = 6


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    """A workspace with pipelines; what still runs at the end is killed."""
    workspace = Workspace(tmp_path_factory.mktemp("audits") / "workspace")
    put_files(workspace)
    yield workspace
    for job in jobs.listing(workspace.store):
        if jobs.stop(workspace.store, job.id).active and job.pid and psutil.pid_exists(job.pid):
            psutil.Process(job.pid).kill()


@pytest.fixture(scope="module")
def untrained(ws, tmp_path_factory):
    """A run that was stopped before it started."""
    pets = ws.add_dataset("pets", make_pictures(tmp_path_factory.mktemp("pets") / "pets"))
    pets.scan()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(settings.SLOTS, "run", 0)
        run = ws.launch(pets, "zero_input")
        run.stop()
    return run


@pytest.fixture(scope="module")
def audits(ws, untrained):
    """Audits by what is audited, at their ends; two at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(settings.SLOTS, "audit", 2)
        found = {
            "broken": launch_audit(ws.store, "broken.py", budget_seconds=BUDGET_SECONDS),
            "run": launch_audit_of_run(untrained, BUDGET_SECONDS),
        }
        for each in found.values():
            ended(each)
    return found


def causes(audit):
    return {each.cause for each in audit.results() if each.verdict == "fail"}


def test_planted_bugs_come_one_by_one_while_the_audit_goes_on_and_stay_when_it_is_stopped(ws):
    audit = launch_audit(ws.store, "three_bugs.py", budget_seconds=600)
    until(lambda: causes(audit) or not audit.job.active)
    assert audit.job.state == "running", audit.job.error
    seen = causes(audit)
    until(lambda: causes(audit) >= CAUSES or not audit.job.active)
    audit.stop()
    assert ended(audit).state in ("stopped", "finished")
    assert seen < CAUSES <= causes(audit)
    report = audit.report()
    assert not report.passed
    assert all(each.about and each.fix for each in report.failures)
    assert audit.job.progress["failed"] == len(report.failures)


def test_a_broken_file_says_in_one_sentence_where_and_why(audits):
    job = audits["broken"].job
    assert job.state == "failed"
    assert job.error.endswith("broken.py, line 2: ZeroDivisionError in pipeline(): division by zero.")
    assert audits["broken"].results() == []


def test_a_runs_pipeline_is_audited_from_what_was_frozen_and_what_it_does_on_purpose_is_no_failure(audits, untrained):
    audit = audits["run"]
    assert audit.job.state == "finished", audit.job.error
    assert audit.job.subject == f"run {untrained.id}"
    told = {each.check: each for each in audit.results()}
    assert "3 outputs for 3 classes" in told["one_output_per_class"].message
    assert any(each.cause == "inputs-constant" and each.verdict == "skipped" for each in told.values())
    assert causes(audit).isdisjoint(ON_PURPOSE["zero_input"])
    progress = audit.job.progress
    assert progress["done"] == progress["total"] == len(told)


def test_an_audit_is_repeated_as_a_job_of_its_own(ws, audits, monkeypatch):
    monkeypatch.setitem(settings.SLOTS, "audit", 0)
    audit = audits["broken"]
    again = audit.again()
    again.stop()
    assert list_audits(ws.store)[0] == again != audit
    assert (again.job.subject, again.job.spec) == (audit.job.subject, audit.job.spec)


def test_only_files_of_the_folder_can_be_audited(ws, tmp_path):
    (ws.folder / "outside.py").write_text("")
    before = len(list_audits(ws.store))
    for name in ("../outside.py", str(ws.folder / "outside.py"), "gone.py", "", "healthy"):
        with pytest.raises(NotFound, match="There is no file"):
            launch_audit(ws.store, name)
    with pytest.raises(NotFound, match="name of a function"):
        launch_audit(ws.store, "healthy.py", "os.system")
    assert len(list_audits(ws.store)) == before


def test_a_files_functions_are_listed_without_running_it(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    assert pipeline_files(workspace.store) == []
    folder = put_files(workspace)
    code = "raise SystemExit\ndef needs(x): ...\ndef _own(): ...\ndef helper(): ...\n"
    (folder / "several.py").write_text(code + "def small(depth=2) -> 'Pipeline': ...\n")
    (folder / "notes.txt").write_text("")
    (folder / "_helpers.py").write_text("")
    listed = {each.name: each.functions for each in pipeline_files(workspace.store)}
    assert list(listed) == ["broken.py", "healthy.py", "several.py", "three_bugs.py", "typo.py"]
    assert listed["several.py"] == ("small", "helper")
    assert listed["healthy.py"] == ("pipeline", "net")
    assert listed["typo.py"] == ("pipeline",)
