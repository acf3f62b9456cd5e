"""The one job system: heavy work in a process of its own, recorded in the store.

    job = launch(store, kind="scan", subject="pets", work="recipe_core.data.scan:work", spec={...}, folder=folder)
    for job in follow(store, job.id):
        print(job.state, job.progress)

    def work(context: JobContext) -> None:      # in recipe_core/data/scan.py, run by the worker process
        for done, shard in enumerate(shards):
            rows = measure(shard)
            context.check()                     # raises Stopped; right before anything is put in its final place
            write(rows)
            context.report(done=done, total=len(shards))

States:  queued -> running -> finished | failed | stopped | lost;  failed, stopped, lost -> resume -> queued.

What holds:
- A job outlives page, terminal and server that launched it: its worker leads a session of its own.
- An attempt of a job starts once, whoever tends at the same time: queued -> running is one conditional update.
- A kind never runs more jobs than `settings.SLOTS` grants it (one where not named); the others wait, oldest first.
- In one folder at most one job is active; `launch` and `resume` raise Conflict for a second one.
- A worker killed is `lost` at the next `tend`; on another host, or hung, after `settings.LOST_AFTER_SECONDS` without a
  heartbeat. Hosts that share a workspace need synchronised clocks.
- A worker that was given up or replaced but still lives (paused, swapped out) can write nothing to the store, is told
  so by its next `check`, and ends itself at its next heartbeat.
- Nothing runs in the background to see to the queue: every page view, every command and every ending worker calls
  `tend`.

What the work must do:
- Call `check` every second or so and right before it puts a file in its final place: while `check` returns, no other
  attempt has been started. Wait for a pool with a timeout, so that `check` gets its turn.
- Resume by itself: the next attempt gets the same spec and folder and continues from the files that stand there.
- Leave the store to its own process, and start child processes with `initializer=die_with_parent`, best by "forkserver"
  or "spawn" (the worker has threads). On an exception leave a pool by `shutdown(wait=False, cancel_futures=True)`:
  the children end with the worker, be it stopped or killed.
"""

from recipe_core.jobs.context import REPORT_SECONDS, JobContext, die_with_parent
from recipe_core.jobs.queue import (
    Job,
    current,
    delete,
    follow,
    get,
    latest,
    launch,
    listing,
    resume,
    stop,
    stop_all,
    tend,
    under_way,
)

__all__ = [
    "REPORT_SECONDS",
    "Job",
    "JobContext",
    "current",
    "delete",
    "die_with_parent",
    "follow",
    "get",
    "latest",
    "launch",
    "listing",
    "resume",
    "stop",
    "stop_all",
    "tend",
    "under_way",
]
