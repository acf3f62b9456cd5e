"""What the runs of a dataset do at the moment, read once for all who look: ten viewers ask the store as often as one.

The script of a page reads afresh, as one has just clicked; fragments that renew themselves share what is read.
"""

from dataclasses import dataclass

import streamlit as st

from pages.widgets.shell import open_workspace
from recipe_core.errors import NotFound
from recipe_core.jobs import Job
from recipe_core.metrics import newest_point
from recipe_core.runs import Run, list_run_jobs

SHARED_SECONDS = 0.25  # a quarter of what passes between two renewals of a chart


@dataclass(frozen=True)
class Moment:
    """A run as it was a moment ago."""

    run: Run
    job: Job
    version: tuple[float | str, ...]  # tells apart what its metrics, state and verdicts were at two moments


def moments(dataset: str) -> dict[int, Moment]:
    """The dataset's runs by number, newest first."""
    return _moments(str(open_workspace().folder), dataset)


def moment(run: Run) -> Moment:
    """One of them.

    Raises:
        NotFound: it was deleted.
    """
    found = moments(run.dataset).get(run.id)
    if found is None:
        raise NotFound(f"There is no run {run.id} any more; it was deleted.")
    return found


def read_afresh() -> None:
    """Let what follows see what has just been done."""
    _moments.clear()


@st.cache_resource(max_entries=64, ttl=SHARED_SECONDS, show_spinner=False)
def _moments(workspace: str, dataset: str) -> dict[int, Moment]:
    return {run.id: _moment(run, job) for run, job in list_run_jobs(open_workspace().store, dataset)}


def _moment(run: Run, job: Job) -> Moment:
    changed = newest_point(run.store, run.id) if job.active else job.ended or 0
    return Moment(run, job, (job.created, job.attempt, job.state, changed))
