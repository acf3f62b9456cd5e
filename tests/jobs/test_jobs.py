"""The job system through its public door: real worker processes on a real database."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recipe_core import jobs, settings
from recipe_core.errors import Conflict, NotFound

HERE = Path(__file__).parent
PATIENCE_SECONDS = 30


def launch(store, work, folder="job", kind="test", **spec):
    return jobs.launch(store, kind=kind, subject="pets", work=f"work:{work}", spec=spec, folder=store.folder / folder)


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)])}


def until(condition):
    """What `condition()` gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return answer


def end_of(store, job):
    return list(jobs.follow(store, job.id))[-1]


def notes(job):
    path = job.folder / "notes.txt"
    return path.read_text().splitlines() if path.exists() else []


def waiting(job):
    """Waits until the job's work does."""
    until(lambda: f"{job.attempt} waits" in notes(job))
    return job


def waiting_or_queued(store, folder, kind):
    job = launch(store, "wait", folder, kind)
    return waiting(job) if job.state == "running" else job


def pid_of(store, job):
    return until(lambda: jobs.get(store, job.id).pid)


def state_becomes(store, job, state):
    def there():
        jobs.tend(store)
        return jobs.get(store, job.id).state == state

    until(there)


def is_dead(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_job_runs_to_its_end_and_tells_its_progress(store):
    job = launch(store, "count", to=40, pause=0.02)
    seen = list(jobs.follow(store, job.id))
    assert [seen[0].state, seen[-1].state] == ["running", "finished"]
    assert seen[-1].progress == {"done": 40, "total": 40}
    assert len({str(job.progress) for job in seen}) > 2, "progress is seen on the way"
    assert seen[-1].created <= seen[-1].started <= seen[-1].ended
    assert seen[-1].error is None and not seen[-1].active


def test_the_last_report_lands_though_it_comes_right_after_others(store):
    assert end_of(store, launch(store, "count", to=500)).progress["done"] == 500


def test_a_job_outlives_the_process_group_that_launched_it(store):
    script = (
        "import sys, time; from recipe_core import jobs; from recipe_core.store import Store; s = Store(sys.argv[1]);"
        "jobs.launch(s, kind='test', subject='pets', work='work:wait', spec={}, folder=sys.argv[1] + '/job');"
        "time.sleep(600)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", script, str(store.folder)], env=environment(), start_new_session=True
    )
    waiting(until(lambda: jobs.latest(store, "test", "pets")))
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait()
    job = jobs.latest(store, "test", "pets")
    (job.folder / "go").touch()
    assert end_of(store, job).state == "finished"


def test_a_worker_is_found_from_another_folder_even_one_with_a_module_named_like_the_librarys(
    store, tmp_path, monkeypatch
):
    (tmp_path / "queue.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    assert end_of(store, launch(store, "count", to=1)).state == "finished"


def test_a_killed_job_is_lost_and_resumes_where_it_was(store):
    job = launch(store, "count", to=60, pause=0.03)
    until(lambda: len(notes(job)) > 5)
    os.kill(pid_of(store, job), signal.SIGKILL)
    settings.LOST_AFTER_SECONDS = 600  # the dead process is noticed, not the silence
    lost = end_of(store, job)
    assert lost.state == "lost" and lost.ended

    resumed = jobs.resume(store, job.id)
    assert (resumed.state, resumed.attempt, resumed.spec) == ("running", 2, job.spec)
    assert end_of(store, job).state == "finished"
    assert [line.split()[1] for line in notes(job)] == [str(number) for number in range(60)]
    assert {line.split()[0] for line in notes(job)} == {"1", "2"}


def test_a_running_job_stops_at_its_next_check_and_resumes(store):
    job = waiting(launch(store, "wait"))
    assert jobs.stop(store, job.id).stop_requested
    stopped = end_of(store, job)
    assert (stopped.state, stopped.error) == ("stopped", None) and "Traceback" not in stopped.log_tail()
    assert jobs.stop(store, job.id) == jobs.get(store, job.id), "stopping what has ended changes nothing"

    assert not jobs.resume(store, job.id).stop_requested
    (job.folder / "go").touch()
    assert end_of(store, job).state == "finished"


def test_a_job_told_to_stop_before_its_worker_is_up_does_no_work(store):
    job = launch(store, "wait")
    os.kill(job.pid, signal.SIGSTOP)  # while it still imports
    jobs.stop(store, job.id)
    os.kill(job.pid, signal.SIGCONT)
    assert end_of(store, job).state == "stopped"
    assert notes(job) == []


def test_sigterm_stops_a_job(store):
    job = waiting(launch(store, "wait"))
    os.kill(pid_of(store, job), signal.SIGTERM)
    assert end_of(store, job).state == "stopped"


def test_an_error_of_ours_fails_the_job_with_its_own_sentence(store):
    failed = end_of(store, launch(store, "refuse"))
    assert failed.state == "failed"
    assert failed.error == "The table x.csv has no column of paths; name it with --path-column."


def test_any_other_error_fails_the_job_with_one_line_and_a_traceback_in_the_log(store):
    failed = end_of(store, launch(store, "crash"))
    assert (failed.state, failed.error) == ("failed", "ValueError: bad value; the log says more")
    assert "about to crash" in failed.log_tail() and "Traceback" in failed.log_tail()
    assert failed.log_tail(lines=1) == "in two lines"


def test_a_full_disk_is_told_in_one_sentence(store):
    failed = end_of(store, launch(store, "fill_the_disk"))
    assert (failed.state, failed.error) == (
        "failed",
        "The disk is full; free some space and resume: what was saved until then is kept.",
    )


@pytest.mark.parametrize("work", ["leave", "missing", "no_such_module:f"])
def test_work_that_exits_or_cannot_be_imported_fails_the_job(store, work):
    failed = end_of(store, launch(store, work))
    assert failed.state == "failed" and failed.error.endswith("; the log says more")


def test_a_worker_that_cannot_start_fails_the_job(store):
    (store.folder / "job" / "log.txt").mkdir(parents=True)
    failed = launch(store, "wait")
    assert failed.state == "failed" and "could not be started" in failed.error


def test_jobs_of_a_kind_wait_for_their_slots_and_follow_each_other(store):
    first, second, third = (waiting_or_queued(store, f"job{i}", kind="pair") for i in range(3))
    other = launch(store, "count", "other", to=1)
    assert end_of(store, other).state == "finished", "another kind does not wait"
    assert [job.state for job in jobs.listing(store, kind="pair")] == ["queued", "running", "running"]
    (first.folder / "go").touch()
    # Nobody tends now but the worker that ends.
    until(lambda: jobs.get(store, third.id).state == "running")
    for job in (second, third):
        (job.folder / "go").touch()
        assert end_of(store, job).state == "finished"


def test_a_slot_taken_between_the_look_at_the_queue_and_the_claim_is_not_given_twice(store):
    settings.SLOTS["test"] = 0
    old, young = launch(store, "wait", "old"), launch(store, "wait", "young")
    jobs.stop(store, old.id)

    class SlotsWhileAnotherProcessIsQuicker(dict):
        def get(self, kind, default):
            settings.SLOTS = {"test": 0}
            jobs.resume(store, old.id)
            settings.SLOTS = {}
            jobs.tend(store)
            return default

    settings.SLOTS = SlotsWhileAnotherProcessIsQuicker()
    jobs.tend(store)
    assert [job.state for job in jobs.listing(store)] == ["queued", "running"]
    assert jobs.latest(store, "test", "pets").id == young.id


def test_a_queue_goes_on_after_the_worker_ahead_was_killed(store):
    settings.LOST_AFTER_SECONDS = 600  # the dead process is noticed, not the silence
    first, second = (waiting_or_queued(store, f"job{i}", kind="test") for i in range(2))
    os.kill(pid_of(store, first), signal.SIGKILL)
    (second.folder / "go").touch()
    assert end_of(store, second).state == "finished"
    assert jobs.get(store, first.id).state == "lost"


def test_a_queued_job_is_stopped_at_once(store):
    first, second = (waiting_or_queued(store, f"job{i}", kind="test") for i in range(2))
    assert (second.state, second.log_tail()) == ("queued", "")
    assert jobs.stop(store, second.id).state == "stopped"
    (first.folder / "go").touch()
    assert end_of(store, first).state == "finished"
    assert jobs.get(store, second.id).state == "stopped" and notes(second) == []


def test_many_that_tend_at_once_start_a_job_once_and_keep_to_the_slots(store, monkeypatch):
    settings.SLOTS["pair"] = 0
    queued = [launch(store, "wait", f"job{i}", kind="pair") for i in range(4)]
    script = (
        "import sys; from recipe_core import jobs, settings; from recipe_core.store import Store;"
        "settings.SLOTS['pair'] = 2; s = Store(sys.argv[1]); print('ready', flush=True); input();"
        "[jobs.tend(s) for _ in range(5)]"
    )
    pipes = {"text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", script, str(store.folder)]
    tenders = [subprocess.Popen(command, env=environment(), **pipes) for _ in range(4)]
    for tender in tenders:
        assert tender.stdout.readline() == "ready\n"
    for tender in tenders:
        tender.stdin.write("\n")
        tender.stdin.flush()
    for tender in tenders:
        tender.communicate(timeout=PATIENCE_SECONDS)
        assert tender.returncode == 0
    assert [jobs.get(store, job.id).state for job in queued] == ["running", "running", "queued", "queued"]
    for job in queued[:2]:
        waiting(job)
        assert notes(job) == ["1 waits"] and job.log_tail().count("attempt 1") == 1
    settings.SLOTS["pair"] = 2
    for job in queued:
        (job.folder / "go").touch()
    for job in queued:
        assert end_of(store, job).state == "finished"
        assert notes(job) == ["1 waits", "1 went on"]


def test_a_paused_worker_is_lost_and_writes_nothing_once_it_was_replaced(store):
    job = waiting(launch(store, "wait_unchecked"))
    old = pid_of(store, job)
    os.kill(old, signal.SIGSTOP)
    state_becomes(store, job, "lost")

    again = waiting(jobs.resume(store, job.id))
    (job.folder / "go").touch()
    assert end_of(store, again).state == "finished"
    before = jobs.get(store, job.id)
    os.kill(old, signal.SIGCONT)
    until(lambda: is_dead(old))
    assert jobs.get(store, job.id) == before
    assert notes(job) == ["1 waits", "2 waits", "2 went on"]


def test_a_replaced_worker_whose_heart_does_not_beat_is_told_by_its_check(store):
    job = waiting(launch(store, "wait_unchecked", silent=1))
    old = pid_of(store, job)
    state_becomes(store, job, "lost")
    again = waiting(jobs.resume(store, job.id))
    (job.folder / "go").touch()
    assert end_of(store, again).state == "finished"
    until(lambda: is_dead(old))
    assert notes(job) == ["1 waits", "2 waits", "2 went on"]


def test_a_replaced_worker_ends_even_if_its_work_never_checks(store):
    job = waiting(launch(store, "wait_unchecked"))
    old = pid_of(store, job)
    os.kill(old, signal.SIGSTOP)
    state_becomes(store, job, "lost")
    os.kill(old, signal.SIGCONT)
    until(lambda: is_dead(old))
    assert jobs.get(store, job.id).state == "lost" and "given up or replaced" in job.log_tail()


def test_a_worker_started_by_hand_for_a_running_job_does_nothing(store):
    job = waiting(launch(store, "wait"))
    second = [sys.executable, "-m", "recipe_core.jobs.worker", str(store.folder), str(job.id), "1"]
    subprocess.run(second, env=environment(), check=True, timeout=PATIENCE_SECONDS)
    (job.folder / "go").touch()
    assert end_of(store, job).state == "finished"
    assert notes(job) == ["1 waits", "1 went on"]


@pytest.mark.parametrize("pid", [None, os.getpid()], ids=["no pid", "the pid of a younger process"])
def test_a_running_job_whose_worker_never_came_or_whose_pid_was_given_away_is_lost(store, pid):
    job = launch(store, "count", to=0)
    end_of(store, job)
    with store.engine.begin() as connection:  # as a reboot leaves it behind
        old = {"pid": pid, "beat": psutil.Process().create_time() - 10}
        if pid is not None:
            settings.LOST_AFTER_SECONDS = time.time() - old["beat"] + 100
        connection.exec_driver_sql("UPDATE jobs SET state='running', ended=NULL, pid=:pid, heartbeat=:beat", old)
    jobs.tend(store)
    assert jobs.get(store, job.id).state == "lost"


@pytest.mark.parametrize("checking", [True, False], ids=["that goes on", "that ends meanwhile"])
def test_a_locked_database_does_not_end_work(store, checking):
    job = waiting(launch(store, "wait_impatiently", checking=checking))
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE jobs SET subject = subject")  # takes the write lock
        if not checking:
            (job.folder / "go").touch()
        time.sleep(1.5)
    released = time.time()
    until(lambda: (now := jobs.get(store, job.id)).heartbeat > released or not now.active)
    (job.folder / "go").touch()
    assert end_of(store, job).state == "finished"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_children_of_a_job_end_with_it(store, end):
    job = waiting(launch(store, "wait_in_children"))
    children = [child.pid for child in psutil.Process(pid_of(store, job)).children(recursive=True)]
    assert len(children) > 2, "two in the pool and those that multiprocessing needs"
    if end == "stop":
        jobs.stop(store, job.id)
    else:
        os.kill(pid_of(store, job), signal.SIGKILL)
    end_of(store, job)
    until(lambda: all(is_dead(pid) for pid in children))


def test_in_one_folder_one_job_is_active_at_a_time(store):
    first = waiting(launch(store, "wait"))
    with pytest.raises(Conflict, match=f"Job {first.id}, a test of pets, is running"):
        launch(store, "wait")
    jobs.stop(store, first.id)
    end_of(store, first)
    second = launch(store, "wait")
    with pytest.raises(Conflict, match=f"Job {second.id}, a test of pets"):
        jobs.resume(store, first.id)


def test_only_what_ended_without_finishing_can_be_resumed(store):
    job = waiting(launch(store, "wait"))
    with pytest.raises(Conflict, match="running already"):
        jobs.resume(store, job.id)
    (job.folder / "go").touch()
    end_of(store, job)
    with pytest.raises(Conflict, match="has finished"):
        jobs.resume(store, job.id)


def test_a_job_is_deleted_once_it_has_ended_and_its_number_is_never_given_again(store):
    job = waiting(launch(store, "wait"))
    with pytest.raises(Conflict, match="stop it"):
        jobs.delete(store, job.id)
    jobs.stop(store, job.id)
    end_of(store, job)
    jobs.delete(store, job.id)
    for call in (jobs.get, jobs.stop, jobs.resume, jobs.delete):
        with pytest.raises(NotFound, match=f"no job {job.id}"):
            call(store, job.id)
    assert launch(store, "wait").id > job.id
    assert job.log.exists(), "the folder is the caller's"


def test_jobs_are_listed_newest_first_by_kind_and_subject(store):
    settings.SLOTS.update(x=0, y=0)
    a, b, c = (launch(store, "count", folder, kind, to=0).id for folder, kind in [("a", "x"), ("b", "y"), ("c", "x")])
    assert [job.id for job in jobs.listing(store)] == [c, b, a]
    assert [job.id for job in jobs.listing(store, kind="x", subject="pets")] == [c, a]
    assert jobs.listing(store, subject="cars") == []
    assert jobs.latest(store, "y", "pets").id == b and jobs.latest(store, "y", "cars") is None
