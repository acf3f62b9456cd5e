"""The terminal's door, through real processes: python -m recipe_core ..."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from recipe_core import Workspace, jobs
from recipe_core.cli import BASICS, main
from recipe_core.data.catalog import GIVEN

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 60
MANY = 4 * 512  # samples in `many`: four shards
HOSTILE = "new\nline\x1b[31m<b>.png"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "RECIPE_WORKSPACE"} | {
    "PYTHONPATH": str(ROOT)
}
# Rows of a table over four images, one of them cut off and one missing.
TABLE = """path,animal,subset,score,taken,"odd name"
cat/naïve 猫.png,cat,train,1.5,2024-05-06,a
dog/cut.jpg,dog,train,inf,,b
dog/gone.jpg,dog,val,nan,,c
dog/plain.png,dog,val,2,0000-01-01,d
"""
BAD_QUERIES = {
    "no SQL": ("--where", "label = = 'cat'", "This is no SQL condition"),
    "an open bracket": ("--where", "(label = 'cat'", "This is no SQL condition"),
    "another statement": ("--where", "true; drop table catalog", "This is no SQL condition"),
    "a file": ("--where", "label in (select content from read_text('README.md'))", "cannot hold a query of its own"),
    "an unknown column": ("--where", "brigthness > 3", "did you mean brightness"),
    "an unknown order": ("--order-by", "brigthness", "did you mean brightness"),
    "sleeping": ("--where", "sleep_ms(60000) is null", "not available"),
    "a huge string": ("--where", "length(repeat('x', 1000000000000)) > 1", "not available"),
    "a cast that fails": ("--where", "cast(label as integer) = 3", "The condition cannot be used"),
    "a limit that is no number": ("--limit", "-3", "-3 is no whole number"),
}


def start(workspace, *arguments, **how):
    command = [sys.executable, "-m", "recipe_core", "--workspace", str(workspace), *map(str, arguments)]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT} | how
    return subprocess.Popen(command, **settings)


def run(workspace, *arguments, **how):
    process = start(workspace, *arguments, **how)
    stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_all(workspace, commands):
    """Outcomes by name; two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(commands, pool.map(lambda command: run(workspace, *command), commands.values()), strict=True))


def until(condition):
    """What `condition()` gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return answer


def job_of(workspace, name):
    """The newest scan, read without tending to it."""
    return jobs.latest(Workspace(workspace).store, "scan", name)


def parts(workspace):
    return list(Path(workspace).glob("datasets/many/scan/*/parts/*.parquet"))


def start_and_wait_for_a_part(workspace, many, **how):
    process = start(workspace, "scan", "many", many, **how)
    until(lambda: parts(workspace))
    return process


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("animals")
    for name in ("cat/naïve 猫.png", "dog/plain.png", f"dog/{HOSTILE}", "dog/cut.jpg"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        Image.linear_gradient("L").resize((40, 30)).save(path)
    (folder / "dog/cut.jpg").write_bytes((folder / "dog/cut.jpg").read_bytes()[:-60])
    (folder / "animals.csv").write_text(TABLE, "utf-8")
    (folder / "no_paths.csv").write_text("a,b\n1,2\n", "utf-8")
    (folder / "corrupt.zip").write_bytes(b"PK\3\4 no archive")
    (folder / "notes.doc").write_text("no table")
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, folder):
    """A workspace with the table scanned as "animals" and the folder as "all"; `scans` are the two outcomes."""
    workspace = Workspace(tmp_path_factory.mktemp("ws")).folder
    table = ["scan", "animals", folder / "animals.csv", "--path-column", "path"]
    commands = {"animals": [*table, "--label-column", "animal"], "all": ["scan", "all", folder, "--json"]}
    scans = run_all(workspace, commands)
    assert [scan.returncode for scan in scans.values()] == [0, 0], scans
    return workspace, scans


@pytest.fixture
def answer(workspace, capfd):
    """`answer(*arguments)` runs a command in this process, where it costs no start of Python, and gives its output."""

    def run_here(*arguments):
        assert main(["--workspace", str(workspace[0]), *arguments]) == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out

    return run_here


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    picture = tmp_path_factory.mktemp("picture") / "one.jpg"
    Image.linear_gradient("L").resize((128, 128)).convert("RGB").save(picture, quality=95)
    return picture


@pytest.fixture
def many(tmp_path, pictures):
    """A folder with `MANY` samples, enough to be caught in mid-scan."""
    folder = tmp_path / "many"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number in range(MANY // 2):
            os.link(pictures, folder / label / f"{number}.jpg")
    return folder


# scan


def test_a_scan_ends_with_a_summary_and_what_is_wrong_with_the_source(workspace):
    outcome = workspace[1]["animals"]
    summary, *problems = outcome.stdout.splitlines()
    assert summary.startswith("animals: 4 samples, table: train 2, val 2, 2 classes, 2 unreadable (")
    assert "1 truncated" in summary and "1 missing" in summary and "make run" in summary
    assert [problem.strip() for problem in problems] == [
        "line 4 of animals.csv points to dog/gone.jpg, which does not exist."
    ]


def test_a_scan_in_a_pipe_shows_no_progress(workspace):
    assert [scan.stderr for scan in workspace[1].values()] == ["", ""]


def test_a_scan_as_json_is_one_object(workspace):
    told = json.loads(workspace[1]["all"].stdout)
    assert (told["dataset"], told["state"], told["samples"], told["unreadable"]) == ("all", "finished", 4, 1)
    assert (told["problems"], told["error"]) == ([], None)


def test_a_scan_on_a_terminal_shows_progress_and_a_rescan_needs_no_columns(workspace, folder):
    mine, theirs = pty.openpty()
    outcome = run(workspace[0], "scan", "animals", folder / "animals.csv", stderr=theirs)
    os.close(theirs)
    shown = os.read(mine, 100_000).decode()
    assert outcome.returncode == 0 and outcome.stdout.startswith("animals: 4 samples")
    assert "\ranimals: finished" in shown and shown.endswith("\n")


def test_a_second_scan_at_once_follows_the_first_which_outlives_its_killed_terminal(tmp_path, many):
    workspace = tmp_path / "ws"
    first = start_and_wait_for_a_part(workspace, many)
    job = job_of(workspace, "many")
    os.killpg(job.pid, signal.SIGSTOP)  # holds the scan until the second one is there
    second = start(workspace, "scan", "many", many, "--json")
    assert second.stderr.readline() == f"many is being scanned already (job {job.id}); following that scan.\n"
    first.kill()
    first.communicate()
    os.killpg(job.pid, signal.SIGCONT)
    stdout, _ = second.communicate(timeout=PATIENCE_SECONDS)
    told = json.loads(stdout)
    assert (second.returncode, told["state"], told["samples"], told["job"]) == (0, "finished", MANY, job.id)


def test_ctrl_c_stops_a_scan_and_the_same_command_goes_on(tmp_path, many):
    workspace = tmp_path / "ws"
    # Python notices Ctrl-C unless whoever started it had it ignored.
    listening = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = start_and_wait_for_a_part(workspace, many, **listening)
    process.send_signal(signal.SIGINT)
    stdout, line = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, stdout, line) == (1, "", "many: stopped; the same command goes on from there\n")
    again = json.loads(run(workspace, "scan", "many", many, "--json").stdout)
    assert (again["state"], again["samples"], again["unreadable"]) == ("finished", MANY, 0)


def test_a_scan_killed_half_way_goes_on_with_nothing_lost_and_nothing_done_twice(tmp_path, many):
    workspace = tmp_path / "ws"
    watched = start_and_wait_for_a_part(workspace, many)
    job = job_of(workspace, "many")
    os.killpg(job.pid, signal.SIGKILL)  # the worker and its children: it leads a group of its own
    _, line = watched.communicate(timeout=PATIENCE_SECONDS)
    assert (watched.returncode, "killed; the same command goes on from there" in line) == (1, True)
    measured = [key for part in parts(workspace) for key in pq.read_table(part, columns=["key"])["key"].to_pylist()]
    assert 0 < len(measured) < MANY
    for key in measured:
        spoil_unnoticed(many / key)  # measured again, it would be unreadable
    again = run(workspace, "scan", "many", many, "--json")
    told = json.loads(again.stdout)
    assert (again.returncode, told["job"], told["samples"], told["unreadable"]) == (0, job.id, MANY, 0)
    assert Workspace(workspace).dataset("many").query()["key"].nunique() == MANY


def spoil_unnoticed(path):
    before = path.stat()
    path.unlink()  # all of them are links to one file
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_scan_that_fails_is_a_bad_answer(tmp_path, folder):
    workspace = tmp_path / "ws"
    Workspace(workspace).add_dataset("pets", folder)
    catalog = workspace / "datasets" / "pets" / "thumbnails"
    catalog.parent.mkdir(parents=True)
    catalog.write_text("a file where a folder should be")
    outcome = run(workspace, "scan", "pets", folder, "--json")
    assert (outcome.returncode, json.loads(outcome.stdout)["state"]) == (1, "failed")
    assert len(outcome.stderr.splitlines()) == 1


# query


def test_a_query_as_json_is_a_list_of_all_columns_with_plain_values(workspace):
    outcome = run(workspace[0], "query", "animals", "--where", "true", "--order-by", "key desc", "--json")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    rows = json.loads(outcome.stdout, parse_constant=pytest.fail)
    assert [row["key"] for row in rows] == ["dog/plain.png", "dog/gone.jpg", "dog/cut.jpg", "cat/naïve 猫.png"]
    plain, gone, cut, unicode = rows
    assert [row["score"] for row in rows] == [2.0, None, None, 1.5]
    assert (unicode["taken"], plain["taken"], gone["taken"]) == ("2024-05-06T00:00:00", "0000-01-01T00:00:00", None)
    assert (plain["width"], gone["width"], plain["readable"], cut["readable"]) == (40, None, True, False)
    assert len(plain["phash_turned"]) == 8
    assert plain["odd name"] == "d"


def test_a_query_keeps_order_and_limit(answer):
    rows = json.loads(answer("query", "animals", "--order-by", "score", "--limit", "2", "--json"))
    assert [row["score"] for row in rows] == [1.5, 2.0]
    assert json.loads(answer("query", "all", "--where", "width > 1000000", "--json")) == []


def test_a_query_shows_the_columns_it_speaks_of(answer):
    table = answer("query", "animals", "--where", "score > 1", "--order-by", "sharpness desc")
    header, *rows, total = table.splitlines()
    assert header.split() == [*GIVEN, "score", "sharpness", *BASICS]
    assert {row.split("  ")[0] for row in rows} == {"cat/naïve 猫.png", "dog/cut.jpg", "dog/plain.png"}
    assert total == f"{len(rows)} samples"


def test_control_characters_in_names_are_shown_escaped(answer):
    shown = answer("query", "all")
    assert r"dog/new\nline\x1b[31m<b>.png" in shown
    assert len(shown.splitlines()) == 1 + 4 + 1


def test_a_table_fits_a_terminal(workspace):
    mine, theirs = pty.openpty()
    outcome = run(workspace[0], "query", "all", stdout=theirs, env=ENVIRONMENT | {"COLUMNS": "30"})
    os.close(theirs)
    lines = os.read(mine, 100_000).decode().splitlines()
    assert outcome.returncode == 0 and len(lines) == 6
    assert max(map(len, lines)) <= 30


def test_a_reader_that_leaves_early_costs_no_traceback(workspace):
    process = start(workspace[0], "query", "all", "--json")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait() == 1


# The other commands


def test_datasets_are_listed(answer, folder):
    rows = json.loads(answer("datasets", "--json"))
    assert sorted((row["name"], row["samples"], row["state"]) for row in rows) == [
        ("all", 4, "finished"),
        ("animals", 4, "finished"),
    ]
    assert {row["source"] for row in rows} == {str(folder), str(folder / "animals.csv")}


def test_open_names_a_source_once_and_remove_forgets_it(tmp_path, folder):
    other = tmp_path / folder.name
    other.mkdir()
    Image.new("L", (8, 8)).save(other / "one.png")
    Workspace(tmp_path / "ws").add_dataset(folder.name, folder)
    for source in (other, f"{other}/"):
        opened = run(tmp_path / "ws", "open", source)
        assert (opened.returncode, opened.stderr) == (0, "")
        assert opened.stdout.startswith(f"{folder.name}-2: ") and opened.stdout.count("\n") == 1
    until(lambda: job_of(tmp_path / "ws", f"{folder.name}-2").state == "finished")
    removed = run(tmp_path / "ws", "remove", f"{folder.name}-2")
    assert (removed.returncode, (other / "one.png").exists()) == (0, True)
    assert [dataset.name for dataset in Workspace(tmp_path / "ws").datasets()] == [folder.name]


def test_the_demo_is_made_scanned_and_says_where_its_truth_stands(tmp_path):
    outcome = run(tmp_path / "unused", "demo", "--workspace", tmp_path / "ws")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith("demo: 1,8")
    truth = tmp_path / "ws" / "demo" / "truth.csv"
    assert str(truth) in outcome.stdout and truth.is_file()
    assert not (tmp_path / "unused").exists()


# Refusals; most of them in this process, where a command costs no start of Python


@pytest.fixture
def refusal(workspace, capfd):
    """`refusal(*arguments)` runs a command that must be refused and gives the one line that says why."""

    def refuse(*arguments):
        try:
            status = main(["--workspace", str(workspace[0]), *map(str, arguments)])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        return err

    return refuse


@pytest.mark.parametrize("name", BAD_QUERIES)
def test_a_bad_query_gets_one_line(refusal, name):
    option, text, sentence = BAD_QUERIES[name]
    assert sentence in refusal("query", "animals", option, text)


@pytest.mark.parametrize(
    "source, sentence",
    {
        "gone": "gone does not exist; check the path.",
        "notes.doc": "notes.doc is no folder, no table",
        "no_paths.csv": "no_paths.csv has no column with paths",
        "corrupt.zip": "corrupt.zip",
    }.items(),
)
def test_a_bad_source_gets_one_line_and_is_not_registered(refusal, workspace, folder, source, sentence):
    assert sentence in refusal("scan", "new", folder / source)
    assert sentence in refusal("open", folder / source)
    assert {dataset.name for dataset in Workspace(workspace[0]).datasets()} == {"animals", "all"}


def test_a_column_or_name_that_cannot_be_gets_one_line(refusal, folder):
    assert "did you mean animal?" in refusal("scan", "new", folder / "animals.csv", "--label-column", "anmal")
    assert "with other columns" in refusal("scan", "animals", folder / "animals.csv", "--label-column", "score")
    assert 'The name "animals" is taken by' in refusal("scan", "animals", folder)
    assert r'"a\nb" cannot name a dataset' in refusal("scan", "a\nb", folder)
    assert "did you mean animals?" in refusal("query", "animls")
    assert "UTF-8" in refusal("query", "animals", "--where", "label = '\udcff'")


def test_an_unusable_workspace_gets_one_line(refusal, folder):
    assert "cannot be used as a workspace" in refusal("datasets", "--workspace", folder / "notes.doc")
    (folder / "recipe.db").write_text("no database, though it is long enough to be taken for one" * 100)
    assert "cannot be used as a workspace" in refusal("datasets", "--workspace", folder)


def test_a_dataset_without_samples_cannot_be_queried(refusal, tmp_path, folder):
    Workspace(tmp_path / "ws").add_dataset("new", folder)
    assert '"new" has no samples yet' in refusal("query", "new", "--workspace", tmp_path / "ws")


def test_wrong_usage_gets_one_line(refusal):
    assert "required: COMMAND" in refusal()
    assert "invalid choice: 'scam'" in refusal("scam")
    assert "--were" in refusal("query", "animals", "--were", "true")


def test_a_refusal_ends_the_process_with_2_and_no_traceback(workspace):
    for outcome in run_all(workspace[0], {"usage": ["scam"], "input": ["scan", "new", "gone"]}).values():
        assert (outcome.returncode, outcome.stdout, len(outcome.stderr.splitlines())) == (2, "", 1)
