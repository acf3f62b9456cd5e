"""The jobs that find things in a dataset: how far they are, and pages that fill meanwhile."""

from collections.abc import Callable

import streamlit as st

from pages.widgets.shell import fragment, plain
from recipe_core.errors import RecipeError
from recipe_core.jobs import Job
from recipe_core.progress import describe
from recipe_core.workspace import Dataset

TOTALS = {"scan": "to_measure", "examine": "total", "embed": "total"}
LAUNCH = {
    "Scan": Dataset.launch_scan,
    "Examination": Dataset.launch_examination,
    "Embedding": Dataset.launch_embedding,
}
ENDED = {
    "failed": "failed",
    "lost": "was killed; nothing that it found is lost",
    "stopped": "was stopped; what it found is kept",
}


def renewing(dataset: Dataset, draw: Callable[[], None] = lambda: None, seconds: float = 2.0) -> None:
    """Draw a part of a page, again every few seconds while a job is under way, with how far it is."""
    active = _active(dataset)
    fragment(_renewed, run_every=seconds if active else None)(dataset, draw, active)


def jobs_notice(dataset: Dataset) -> None:
    """How far the scan, the examination and the embedding are, or why they ended early."""
    for name, job in _jobs(dataset).items():
        _notice(dataset, name, job)


def stop_button(job: Job, stop: Callable[[], None]) -> None:
    """The way to end an active job."""
    stopping = job.stop_requested and job.state == "running"
    label = "Stopping…" if stopping else "Stop"
    st.button(label, icon=":material/stop_circle:", key="stop", disabled=stopping, on_click=stop)


def _renewed(dataset: Dataset, draw: Callable[[], None], was_active: bool) -> None:
    jobs_notice(dataset)
    draw()
    if _active(dataset) != was_active:  # last, as what was clicked meanwhile would be lost
        st.rerun()


def _jobs(dataset: Dataset) -> dict[str, Job]:
    found = {"Scan": dataset.job, "Examination": dataset.examination, "Embedding": dataset.embedding}
    return {name: job for name, job in found.items() if job}


def _active(dataset: Dataset) -> bool:
    return any(job.active for job in _jobs(dataset).values())


def _notice(dataset: Dataset, name: str, job: Job) -> None:
    if job.active:
        total, done = (job.progress.get(name) or 0 for name in (TOTALS[job.kind], "done"))
        st.progress(min(1.0, done / total) if total else 0.0, text=f"{name}: {plain(describe(job))}")
    elif job.state in ENDED:
        with st.container(horizontal=True, vertical_alignment="center", key=f"ended-{job.kind}"):
            why = f": {plain(job.error)}" if job.error else "."
            st.markdown(f":material/warning: The {name.lower()} {ENDED[job.state]}{why}", width="content")
            if st.button("Resume", key=f"resume-{job.kind}", icon=":material/play_arrow:"):
                _resume(dataset, name)


def _resume(dataset: Dataset, name: str) -> None:
    try:
        LAUNCH[name](dataset)
    except RecipeError as problem:
        st.error(plain(str(problem)))
    else:
        st.rerun()
