"""One dataset on the home page: its numbers, its scan, what deserves a look, and what can be done with it."""

import streamlit as st

from pages.widgets.gallery import Group, gallery
from pages.widgets.samples import TILE, tiles_of
from pages.widgets.shell import fragment, open_workspace, plain
from pages.widgets.verdict_lines import open_findings
from recipe_core.data.overview import overview
from recipe_core.errors import RecipeError
from recipe_core.jobs import Job
from recipe_core.links import FindingsView, View
from recipe_core.progress import describe
from recipe_core.workspace import Dataset

GLIMPSE = 12
MATTERS = 5  # lines of the verdict


def dataset_card(dataset: Dataset) -> None:
    """Draw the card; while a scan runs it renews itself every two seconds."""
    job = dataset.job
    fragment(_card, run_every=2.0 if job and job.active else None)(dataset, bool(job and job.active))


def _card(dataset: Dataset, was_active: bool) -> None:
    job = dataset.job
    active = bool(job and job.active)
    with st.container(border=True, key=f"card-{dataset.name}"):
        seen = overview(dataset.catalog)
        st.subheader(plain(dataset.name), anchor=False)
        st.caption(plain(f"{seen.sentence} · {dataset.origin}" if seen.samples else dataset.origin))
        if dataset.note:
            st.caption(f":material/science: {plain(dataset.note)}")
        if job:
            _scan_state(job)
        _glimpse(dataset)
        _matters(dataset)
        _problems(dataset)
        _actions(dataset, job, bool(seen.samples))
    if active != was_active:  # last, as what was clicked meanwhile would be lost
        st.rerun()


def _matters(dataset: Dataset) -> None:
    """The first lines of the verdict, each leading to its pictures."""
    with st.container(gap=None):
        for line in dataset.verdict().lines[:MATTERS]:
            key = f"matters-{dataset.name}-{line.kind}-{line.subkind or ''}"
            if st.button(plain(line.sentence), key=key, type="tertiary", icon=":material/search:", wrap=True):
                open_findings(dataset, line.kind, line.subkind or "")


def _glimpse(dataset: Dataset) -> None:
    """A few samples, always the same ones; a click opens one."""
    some = dataset.catalog.rows(order_by="byte_hash", limit=GLIMPSE, columns=TILE)
    if some.empty:
        return
    opened = gallery([Group("", len(some), tiles_of(dataset, some))], size=64, key=f"glimpse-{dataset.name}").opened
    if opened:
        _browse(View(dataset=dataset.name, sample=opened))


def _scan_state(job: Job) -> None:
    if job.active:
        total, done = job.progress.get("to_measure") or 0, job.progress.get("done") or 0
        st.progress(done / total if total else 0.0, text=f"Scan: {describe(job)}")
    elif job.state == "failed":
        st.error(f"The scan failed: {plain(job.error or 'its log says why.')}")
    elif job.state == "lost":
        st.warning("The scan was killed. Nothing that it measured is lost; resume it to go on from there.")
    elif job.state == "stopped":
        st.info("The scan was cancelled. What it measured is kept; resume it to go on from there.")


def _problems(dataset: Dataset) -> None:
    problems = dataset.problems()
    if problems:
        with st.expander(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in the source itself"):
            for problem in problems:
                st.text(problem)


def _actions(dataset: Dataset, job: Job | None, browsable: bool) -> None:
    name = dataset.name
    with st.container(horizontal=True):
        if browsable:
            if st.button("Verdict", icon=":material/gavel:", key=f"verdict-{name}", type="primary"):
                st.switch_page("pages/verdict.py", query_params=FindingsView(name).query())
            label = "Browse the first images" if job and job.active else "Browse"
            if st.button(label, icon=":material/photo_library:", key=f"browse-{name}"):
                _browse(View(dataset=name))
        if job and job.active:
            st.button("Cancel scan", icon=":material/stop_circle:", key=f"cancel-{name}", on_click=dataset.stop_scan)
        else:
            resumes = bool(job and job.state in ("stopped", "lost", "failed"))
            label, icon = ("Resume scan", "play_arrow") if resumes else ("Rescan", "refresh")
            if st.button(label, icon=f":material/{icon}:", key=f"scan-{name}"):
                _launch(dataset)
            if st.button("Remove", icon=":material/delete:", key=f"remove-{name}", type="tertiary"):
                _confirm_removal(name)


def _launch(dataset: Dataset) -> None:
    try:
        dataset.launch_scan()
    except RecipeError as problem:
        st.error(plain(str(problem)))
    else:
        st.rerun()


@st.dialog("Remove this dataset?")
def _confirm_removal(name: str) -> None:
    st.markdown(f"**{plain(name)}** is forgotten with all that was measured of it. Its images stay where they are.")
    if st.button("Remove it", type="primary", key="confirm-removal"):
        try:
            open_workspace().remove_dataset(name)
        except RecipeError as problem:
            st.error(plain(str(problem)))
        else:
            st.rerun()


def _browse(view: View) -> None:
    st.switch_page("pages/browse.py", query_params=view.query())
