"""The runs of a dataset, in the sidebar: open one, or lay several over each other."""

from functools import partial

import streamlit as st

from pages.widgets.controls import train_bound, train_go
from pages.widgets.moment import Moment, moments
from pages.widgets.shell import fragment, open_workspace, read_train_view
from recipe_core.links import TrainView
from recipe_core.runs import Run
from recipe_core.workspace import Dataset

NEWEST = 25
STATES = {"queued": "gray", "running": "blue", "finished": "green", "failed": "red", "stopped": "orange", "lost": "red"}
VERDICTS = {"pass": ("green", "check"), "fail": ("red", "close"), "unsure": ("gray", "question_mark")}


def run_list(dataset: Dataset, view: TrainView, names: list[str]) -> None:
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
        active = _any_active(moments(dataset.name))
        fragment(_list, run_every=2.0 if active else None)(dataset, view, active)


def _list(dataset: Dataset, view: TrainView, was_active: bool) -> None:
    runs = moments(dataset.name)
    if read_train_view().runs != view.runs or _any_active(runs) != was_active:
        st.rerun()  # a click in here concerns the whole page
    if not runs:
        st.caption("No runs yet. `majority` and `zero_input` are the floor under every other run.")
        return
    st.subheader("Runs", anchor=False)
    if len(runs) > 1:
        st.caption("Click a name to open a run; tick several to lay them over each other.")
    everything = len(runs) <= NEWEST or st.session_state.get("all-runs", False)
    for seen in list(runs.values())[: None if everything else NEWEST]:
        _entry(seen, view)
    if len(runs) > NEWEST:
        st.toggle(f"Show all {len(runs)}", key="all-runs")


def _any_active(runs: dict[int, Moment]) -> bool:
    return any(seen.job.active for seen in runs.values())


def _entry(seen: Moment, view: TrainView) -> None:
    run = seen.run
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
        st.caption(_summary(str(open_workspace().folder), run.id, seen.version, seen))


def _laid(id: int, view: TrainView, ticked: bool) -> TrainView:
    return view.opened(*[each for each in view.runs if each != id], *([id] if ticked else []))


# Once for all who look, and of a run that has ended once at all: a hundred runs would be read anew every two seconds.
@st.cache_data(max_entries=1024, ttl=3600, show_spinner=False)
def _summary(workspace: str, id: int, version: tuple[float | str, ...], _seen: Moment) -> str:
    """State, seed, final accuracy and verdicts of a run, as Markdown."""
    run, state = _seen.run, _seen.job.state
    accuracy = final(_seen).get("val_accuracy")
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


def final(seen: Moment) -> dict[str, float]:
    """The last values of what was measured on the validation set."""
    return _final(str(open_workspace().folder), seen.run.id, seen.version, seen.run)


@st.cache_data(max_entries=1024, ttl=3600, show_spinner=False)
def _final(workspace: str, id: int, version: tuple[float | str, ...], _run: Run) -> dict[str, float]:
    history = _run.metrics(["val_accuracy", "val_loss"])
    return {metric: float(values.dropna().iloc[-1]) for metric, values in history.items() if values.notna().any()}
