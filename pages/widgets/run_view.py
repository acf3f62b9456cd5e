"""One run: its state, its charts as they grow, its verdicts, and what can be done with it."""

from dataclasses import replace

import streamlit as st

from pages.widgets.controls import train_bound, train_go
from pages.widgets.inputs import inputs
from pages.widgets.launch_form import expected
from pages.widgets.moment import moment
from pages.widgets.predictions import predictions
from pages.widgets.progress import stop_button
from pages.widgets.run_charts import chart_controls, charts
from pages.widgets.run_list import STATES, VERDICTS
from pages.widgets.shell import fragment, plain, show_view
from recipe_core.audits import launch_audit_of_run
from recipe_core.errors import RecipeError
from recipe_core.jobs import Job
from recipe_core.links import AuditView, TrainView
from recipe_core.progress import duration
from recipe_core.runs import Run
from recipe_core.training.expectation import Verdict
from recipe_core.training.spec import settings_of
from recipe_core.workspace import Dataset

TABS = {"": "Curves", "inputs": "Just before the net", "predictions": "What it predicts", "record": "Record"}


def run_view(dataset: Dataset, view: TrainView, run: Run) -> None:
    """Draw the run; while it is active its state and charts renew themselves every second."""
    job = moment(run).job
    _headline(run, job)
    _actions(run, job)
    _end(run, job)
    tab = train_bound(
        st.segmented_control,
        "Part of the run",
        list(TABS),
        key="tab",
        value=view.tab if view.tab in TABS else "",
        required=True,
        format_func=TABS.get,
        label_visibility="collapsed",
        change=lambda view, tab: replace(view, tab=tab, cell=None),
    )
    if tab == "inputs":
        fragment(_progress, run_every=1.0 if job.active else None)(run, job.state)
        inputs(dataset, run)
    elif tab == "predictions":
        fragment(_progress, run_every=1.0 if job.active else None)(run, job.state)
        predictions(dataset, view, run)
    elif tab == "record":
        _record(run)
    else:
        paused = chart_controls(view, live=job.active)
        fragment(_live, run_every=1.0 if job.active and not paused else None)(run, job.state)


def _live(run: Run, was: str) -> None:
    _progress(run, was)
    charts([run])
    _verdicts(run)


def _headline(run: Run, job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(f"{plain(run.spec.preset)} \\#{run.id}", anchor=False, width="content")
        st.badge(job.state, color=STATES[job.state])  # type: ignore[arg-type]
    st.caption(plain(described(run)))


def described(run: Run) -> str:
    """The seed and what differs from the preset's defaults, in words."""
    spec = run.spec
    changed = [
        f"{each.name.replace('_', ' ')} {f'{value:g}' if isinstance(value, float) else value}"
        for each in settings_of(spec.preset)
        if (value := getattr(spec, each.name)) != each.default and value is not None
    ]
    return " · ".join([f"seed {spec.seed}", *(changed or ["the preset's own settings"])])


def _actions(run: Run, job: Job) -> None:
    with st.container(horizontal=True, key="actions"):
        if job.active:
            stop_button(job, run.stop)
        if job.state in ("stopped", "lost", "failed") and st.button(
            "Resume", icon=":material/play_arrow:", key="resume", type="primary"
        ):
            try:
                run.resume()
            except RecipeError as problem:
                st.error(plain(str(problem)))
            else:
                st.rerun()
        if st.button("Audit", icon=":material/troubleshoot:", key="audit", help="Is something silently wrong with it?"):
            audit = launch_audit_of_run(run)
            st.switch_page("pages/audit.py", query_params=AuditView(audit.id).query())
        st.button(
            "Clone with changes",
            icon=":material/content_copy:",
            key="clone",
            on_click=train_go,
            args=(lambda view: view.form(like=run.id),),
        )
        if not job.active and st.button("Delete", icon=":material/delete:", key="delete", type="tertiary"):
            _confirm_deletion(run)


@st.dialog("Delete this run?")
def _confirm_deletion(run: Run) -> None:
    st.markdown(f"Run {run.id} is deleted with its curves, checkpoints and predictions. This cannot be undone.")
    if st.button("Delete it", type="primary", key="confirm-deletion"):
        try:
            run.delete()
        except RecipeError as problem:
            st.error(plain(str(problem)))
        else:
            show_view(TrainView(run.dataset))
            st.rerun()


def _end(run: Run, job: Job) -> None:
    """How it ended, where that was not as it should be."""
    if job.state == "failed":
        st.error(f"The run failed: {plain(job.error or 'its log says why.')}")
    elif job.state == "lost":
        st.warning("The run was killed. Resume it to go on from its last checkpoint. The last lines of its log:")
        st.code(run.log_tail(12) or "(nothing)", language=None)
    elif job.state == "stopped":
        st.info("The run was stopped and a checkpoint saved; resume it to go on from there.")


def _progress(run: Run, was: str) -> None:
    job = moment(run).job
    if job.state != was:
        st.rerun()
    if job.active:
        st.progress(*_so_far(job))


def _so_far(job: Job) -> tuple[float, str]:
    told = job.progress
    if job.state == "queued":
        return 0.0, "Queued: it starts when a slot is free."
    phase = told.get("phase", "starting")
    done, total = (told.get("done", 0), told.get("total")) if phase == "decoding" else (told.get("step", 0), None)
    total = total or told.get("total_steps") or 0
    parts = [f"{phase.capitalize()}: {done:,} of {total:,}" if total else f"{phase.capitalize()}…"]
    if told.get("samples_per_second"):
        parts.append(f"{told['samples_per_second']:,.0f} samples/s")
    if told.get("seconds_left") is not None:
        parts.append(f"{duration(told['seconds_left'])} left")
    return min(done / total, 1.0) if total else 0.0, ", ".join(parts)


def _verdicts(run: Run) -> None:
    with st.container(border=True, key="verdicts"):
        st.markdown("**Expected, and what came of it**")
        if moment(run).job.active:
            st.markdown("\n".join(f"- {plain(claim.sentence)}" for claim in run.expectation.claims))
            st.caption("Judged when the run has come to its end.")
        else:
            for verdict in run.verdicts():
                st.markdown(told(verdict))
        if run.spec.expect:
            st.markdown(f":material/person: Your own prediction: *{plain(run.spec.expect)}*")


def told(verdict: Verdict) -> str:
    """A verdict as Markdown: the claim, then what was measured."""
    colour, icon = VERDICTS[verdict.verdict]
    return (
        f":{colour}-badge[:material/{icon}: {verdict.verdict}] {plain(verdict.claim.sentence)}  \n"
        f":small[:gray[{plain(verdict.sentence)}]]"
    )


def _record(run: Run) -> None:
    """What was frozen at the launch."""
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Expected before it started", anchor=False)
        expected(run.expectation)
        if run.spec.expect:
            st.markdown(f":material/person: Your own prediction: *{plain(run.spec.expect)}*")
    with right:
        st.subheader("What it depends on", anchor=False)
        samples = run.record["samples"]
        facts = {
            "Dataset": run.dataset,
            "Samples": f"{samples['train']:,} to train on, {samples['val']:,} to validate",
            "Classes": f"{len(run.classes):,}",
            "Manifest": ", ".join(filter(None, (run.record["manifest"], run.cleaned))),
            "Device": run.device or "not started yet",
            "Versions": ", ".join(f"{name} {version}" for name, version in run.record["versions"].items()),
            "Folder": run.folder,
        }
        st.markdown("\n".join(f"- **{name}:** {plain(value)}" for name, value in facts.items()))
    with st.expander("All settings"):
        st.json(run.spec.to_dict())
    with st.expander("The last lines of its log"):
        st.code(run.log_tail(60) or "(nothing yet)", language=None)
