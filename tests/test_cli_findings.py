"""`findings` on the terminal: the contract's JSON, kinds, exit status, waiting."""

import json
import signal
import subprocess
import sys

import pytest
from PIL import Image

from recipe_core import Workspace, jobs
from recipe_core.cli import main
from recipe_core.data.scan import scan

CONTRACT = {
    "id", "kind", "subkind", "severity", "samples", "pairs", "score", "suggested_label", "evidence", "message",
}  # fmt: skip


class InThisProcess:
    """What a scan's work sees of its job."""

    def __init__(self, dataset):
        self.spec = {"dataset": str(dataset.folder), "source": dataset.source, "columns": dataset.columns}
        self.job = type("Job", (), {"id": 1, "attempt": 1})
        self.report, self.check = (lambda **_: None), (lambda: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pets")
    picture = Image.effect_noise((40, 30), 60)
    for name in ("train/cat/a.png", "val/cat/b.png", "train/dog/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
    (folder / "train/dog/broken.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def scanned(tmp_path_factory, folder):
    workspace = Workspace(tmp_path_factory.mktemp("ws"))
    scan(InThisProcess(workspace.add_dataset("pets", folder)))
    return workspace


@pytest.fixture
def answer(scanned, capfd):
    """Run a command in this process: exit status, standard output, standard error."""

    def run(*arguments):
        status = main(["--workspace", str(scanned.folder), "findings", *arguments])
        return status, *capfd.readouterr()

    return run


def test_all_findings_as_json_keep_the_contract(answer):
    status, out, err = answer("pets", "--json")
    found = json.loads(out, parse_constant=pytest.fail)
    assert status == 0 and "Not examined yet" in err
    assert {finding["kind"] for finding in found} == {"split_leak", "label_conflict", "exact_duplicate", "corrupt"}
    assert all(set(finding) >= CONTRACT for finding in found)
    (leak,) = (finding for finding in found if finding["kind"] == "split_leak")
    assert leak["samples"] == ["train/cat/a.png", "train/dog/c.png", "val/cat/b.png"]
    assert leak["severity"] == "error" and leak["pairs"] == [["train/cat/a.png", "val/cat/b.png", 0.0]]


def test_one_kind_and_none(answer):
    found = json.loads(answer("pets", "--kind", "corrupt", "--json")[1])
    assert [(finding["samples"], finding["subkind"]) for finding in found] == [(["train/dog/broken.jpg"], "empty")]
    assert json.loads(answer("pets", "--kind", "blank", "--json")[1]) == []
    _, table, _ = answer("pets", "--kind", "corrupt")
    assert "The file is empty" in table and table.endswith("1 finding\n")


def test_without_a_kind_it_tells_how_much_there_is_most_harmful_first(answer):
    lines = answer("pets")[1].splitlines()
    assert lines[0] == "error    1 undecided: 1 picture stands in several splits (3 samples)"
    assert lines[-1].startswith("warning  1 undecided: 1 picture is there more than once")


def test_an_unknown_kind_is_one_line_that_suggests_what_was_meant(answer):
    status, out, err = answer("pets", "--kind", "near_duplicates")
    assert (status, out) == (2, "")
    assert err == 'There is no kind of findings "near_duplicates"; did you mean near_duplicate or exact_duplicate?\n'


def test_fail_on_speaks_of_undecided_findings_of_that_severity_or_worse(answer, scanned):
    pets = scanned.dataset("pets")
    assert [answer("pets", "--fail-on", severity)[0] for severity in ("error", "warning", "info")] == [1, 1, 1]
    assert answer("pets", "--fail-on", "info", "--kind", "blank")[0] == 0
    acts = [pets.decide("exclude", ["train/dog/broken.jpg", "train/dog/c.png", "val/cat/b.png"])]
    assert [answer("pets", "--fail-on", severity)[0] for severity in ("error", "info")] == [0, 0]
    pets.decisions.undo(acts[0])
    assert answer("pets", "--fail-on", "error", "--json")[0] == 1


def test_before_a_scan_it_says_what_to_do(tmp_path, folder, capfd):
    Workspace(tmp_path).add_dataset("pets", folder)
    assert main(["--workspace", str(tmp_path), "findings", "pets"]) == 2
    assert capfd.readouterr().err == '"pets" has no samples yet; scan it first, or add --wait.\n'


def test_waiting_scans_and_examines(tmp_path, folder, capfd):
    workspace = Workspace(tmp_path)
    pets = workspace.add_dataset("pets", folder)
    assert main(["--workspace", str(tmp_path), "findings", "pets", "--wait", "--json"]) == 0
    out, err = capfd.readouterr()
    assert err == "" and len(json.loads(out)) == 4
    assert pets.examination.state == "finished" and pets.found.pending() == []


def test_ctrl_c_leaves_the_job_to_itself_and_says_so(workspace, folder):
    workspace.add_dataset("pets", folder)
    command = [sys.executable, "-m", "recipe_core", "--workspace", workspace.folder, "findings", "pets", "--wait"]
    listening = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **listening)
    while (job := jobs.latest(workspace.store, "scan", "pets")) is None or job.state == "queued":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == "pets: the jobs go on by themselves; the same command waits for them again.\n"
    job = jobs.get(workspace.store, job.id)
    assert job.state in ("running", "finished") and not job.stop_requested
