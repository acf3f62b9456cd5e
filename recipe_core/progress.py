"""A job's progress as one line of text."""

import shutil
import sys
from typing import TextIO

from recipe_core.jobs import Job, follow
from recipe_core.store import Store

# phase: how it reads, the keys of what was done and of how much, what is counted per second
COUNTED = {
    "measuring": ("measuring", "done", "to_measure", "images"),
    "decoding": ("decoding", "done", "total", "images"),
    "examining": ("looking for damage in", "done", "total", "images"),
    "comparing": ("comparing pictures, part", "done", "total", "parts"),
    "embedding": ("embedding", "done", "total", "images"),
    "analysing": ("analysing the embeddings, part", "done", "total", "parts"),
    "checking": ("checking", "done", "total", "checks"),
    "training": ("training step", "step", "total_steps", "samples"),
}


def describe(job: Job) -> str:
    """ "measuring 1,024 of 60,000, 3,512 images/s, 17 s left", "training step 8 of 900, ...", or the job's state."""
    progress = job.progress
    if job.state != "running" or not progress:
        return job.state
    phase = str(progress.get("phase"))
    if phase not in COUNTED:
        return phase
    text, done, total, unit = COUNTED[phase]
    parts = [f"{text} {progress[done]:,} of {progress[total]:,}"]
    if pace := progress.get(f"{unit}_per_second"):
        parts.append(f"{pace:,.0f} {unit}/s")
    if progress.get("seconds_left") is not None:
        parts.append(f"{duration(progress['seconds_left'])} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """ "42 s", "3 min", "2 h 5 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Line:
    """A line that renews itself on a terminal or in a notebook, and is silent in a pipe."""

    def __init__(self, out: TextIO):
        self.out = out
        self.visible = out.isatty() or "ipykernel" in sys.modules
        self.width = 0

    def show(self, job: Job) -> None:
        if self.visible:
            text = f"{job.subject}: {describe(job)}"[: shutil.get_terminal_size().columns - 1]  # what wraps stays
            self.out.write("\r" + text.ljust(self.width))
            self.out.flush()
            self.width = len(text)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.visible and self.width:
            self.out.write("\n")


def followed(store: Store, job: Job) -> Job:
    """The job at its end, its progress on the terminal meanwhile."""
    with Line(sys.stderr) as line:
        for change in follow(store, job.id):
            job = change
            line.show(job)
    return job
