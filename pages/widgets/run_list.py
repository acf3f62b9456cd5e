"""The runs of a dataset, in the sidebar: open one, or lay several over each other."""

from functools import partial

import streamlit as st

from pages.widgets.controls import train_bound, train_go
from pages.widgets.shell import fragment, open_workspace, read_train_view
from recipe_core.links import TrainView
from recipe_core.runs import Run
from recipe_core.workspace import Dataset

NEWEST = 25
STATES = {"queued": "gray", "running": "blue", "finished": "green", "failed": "red", "stopped": "orange", "lost": "red"}
VERDICTS = {"pass": ("green", "check"), "fail": ("red", "close"), "unsure": ("gray", "question_mark")}


def known_runs(dataset: Dataset) -> dict[int, Run]:
    """The dataset's runs by number, newest first."""
    return {run.id: run for run in open_workspace().runs(dataset.name)}


def run_list(dataset: Dataset, view: TrainView, names: list[str], runs: dict[int, Run]) -> None:
    """Draw the choice of dataset and the runs; while one is active the list renews itself."""
    with st.sidebar:
        train_bound(
            st.selectbox, "Dataset", names, key="dataset", value=dataset.name, change=lambda _, name: TrainView(name)
        )
        st.button(
            "New run",
            icon=":material/add:",
            key="new-run",
            type="primary" if view.runs else "secondary",
            width="stretch",
            on_click=train_go,
            args=(lambda view: view.form(),),
        )
        active = any(run.job.active for run in runs.values())
        fragment(_list, run_every=2.0 if active else None)(dataset, view, active)


def _list(dataset: Dataset, view: TrainView, was_active: bool) -> None:
    runs = known_runs(dataset)
    if read_train_view().runs != view.runs or any(run.job.active for run in runs.values()) != was_active:
        st.rerun()  # a click in here concerns the whole page
    if not runs:
        st.caption("No runs yet. `majority` and `zero_input` are the floor under every other run.")
        return
    st.subheader("Runs", anchor=False)
    if len(runs) > 1:
        st.caption("Click a name to open a run; tick several to lay them over each other.")
    everything = len(runs) <= NEWEST or st.session_state.get("all-runs", False)
    for run in list(runs.values())[: None if everything else NEWEST]:
        _entry(run, view)
    if len(runs) > NEWEST:
        st.toggle(f"Show all {len(runs)}", key="all-runs")


def _entry(run: Run, view: TrainView) -> None:
    with st.container(key=f"run-{run.id}", gap=None):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            train_bound(
                st.checkbox,
                f"Lay run {run.id} over the others",
                key=f"lay-{run.id}",
                value=run.id in view.runs,
                label_visibility="collapsed",
                width="content",
                change=partial(_laid, run.id),
            )
            name = f"{run.spec.preset} #{run.id}"
            st.button(
                f"**{name}**" if view.runs == (run.id,) else name,
                key=f"open-{run.id}",
                type="tertiary",
                on_click=train_go,
                args=(lambda view, id=run.id: view.opened(id),),
            )
        st.caption(summary(run))


def _laid(id: int, view: TrainView, ticked: bool) -> TrainView:
    return view.opened(*[each for each in view.runs if each != id], *([id] if ticked else []))


def summary(run: Run) -> str:
    """State, seed, final accuracy and verdicts of a run, as Markdown."""
    state = run.state
    accuracy = final(run, "val_accuracy")
    parts = [f":{STATES[state]}-badge[{state}]"]
    parts += [f"{accuracy:.1%}"] if accuracy is not None else []
    parts += [f"seed {run.spec.seed}"] if run.spec.seed else []
    return " · ".join(parts) + (f" {marks(run)}" if state == "finished" else "")


def marks(run: Run) -> str:
    """How many claims passed, failed or stayed unsure, as Markdown."""
    told = [verdict.verdict for verdict in run.verdicts()]
    return " ".join(
        f":{colour}-badge[:material/{icon}: {told.count(verdict)}]"
        for verdict, (colour, icon) in VERDICTS.items()
        if verdict in told
    )


def final(run: Run, metric: str) -> float | None:
    """The last value of a metric, if it was measured."""
    history = run.metrics([metric])
    return float(history[metric].dropna().iloc[-1]) if metric in history and history[metric].notna().any() else None
