"""Several runs laid over each other: their curves, what differs between them, and how they ended."""

import pandas as pd
import streamlit as st

from pages.widgets.controls import train_go
from pages.widgets.moment import moment
from pages.widgets.run_charts import chart_controls, charts
from pages.widgets.run_list import STATES, final, marks
from pages.widgets.run_view import described
from pages.widgets.shell import fragment, plain
from recipe_core.links import TrainView
from recipe_core.plots.curves import colour_of
from recipe_core.runs import Run
from recipe_core.workspace import Dataset

DOT = '<span style="display:block;width:12px;height:12px;border-radius:50%;background:{}"></span>'


def comparison(dataset: Dataset, view: TrainView, runs: list[Run]) -> None:
    """Draw the runs; while one of them is active the charts renew themselves every second."""
    st.title(f"{len(runs)} runs of {plain(dataset.name)}", anchor=False)
    states = [moment(run).job.state for run in runs]
    active = any(moment(run).job.active for run in runs)
    paused = chart_controls(view, live=active)
    fragment(_live, run_every=1.0 if active and not paused else None)(runs, states)
    _differences(runs)


def _live(runs: list[Run], were: list[str]) -> None:
    st.caption("Strong lines are validation, pale ones training.")
    charts(runs)
    for place, run in enumerate(runs):
        _row(place, run)
    if [moment(run).job.state for run in runs] != were:  # last, as what was clicked meanwhile would be lost
        st.rerun()


def _row(place: int, run: Run) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"compared-{run.id}"):
        st.html(DOT.format(colour_of(place)), width="content")
        if st.button(f"**{run.spec.preset} #{run.id}**", key=f"see-{run.id}", type="tertiary"):
            train_go(lambda view: view.opened(run.id))
            st.rerun()
        seen = moment(run)
        state, measured = seen.job.state, final(seen)
        st.markdown(f":{STATES[state]}-badge[{state}]", width="content")
        if len(measured) == 2:
            told = "validation accuracy **{val_accuracy:.1%}**, loss **{val_loss:.3f}**".format(**measured)
            st.markdown(told, width="content")
        if state == "finished":
            st.markdown(marks(run), width="content")
        st.caption(plain(described(run)))


def _differences(runs: list[Run]) -> None:
    table = pd.DataFrame({f"{run.spec.preset} #{run.id}": run.spec.to_dict() for run in runs}).drop(index="expect")
    differing = table[table.astype(str).nunique(axis=1) > 1].astype(str).replace("None", "")
    if not differing.empty:
        with st.expander("Settings in which they differ", expanded=True):
            st.dataframe(differing.rename_axis("setting"), width="stretch")
