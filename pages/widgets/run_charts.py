"""The charts of one or several runs, and the controls that they share."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from pages.widgets.controls import train_bound, train_go
from pages.widgets.moment import Moment, moment
from pages.widgets.shell import open_workspace, read_train_view
from recipe_core.links import MOST_SMOOTHING, TrainView
from recipe_core.plots.curves import Level, curves
from recipe_core.runs import Run

MAX_POINTS = 800
CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
FURTHER = {
    "learning_rate": ("Learning rate", False),
    "grad_norm": ("Norm of the gradient", True),
    "update_ratio": ("Size of the updates over the size of the weights", True),
    "samples_per_second": ("Samples per second", False),
}


def chart_controls(view: TrainView, live: bool) -> bool:
    """Draw smoothing, log scale and further charts; return whether the user has paused the charts."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="chart-controls"):
        train_bound(
            st.slider,
            "Smoothing",
            0.0,
            MOST_SMOOTHING,
            step=0.01,
            key="smoothing",
            value=view.smoothing,
            width=200,
            help="Exponential moving average; the curve as it was measured stays visible behind it.",
            change=lambda view, smoothing: replace(view, smoothing=smoothing),
        )
        train_bound(
            st.toggle,
            "Log scale",
            key="log",
            value=view.log,
            change=lambda view, log: replace(view, log=log),
        )
        train_bound(
            st.toggle,
            "More charts",
            key="more",
            value=view.more,
            help="Learning rate, norm of the gradient, size of the updates, samples per second.",
            change=lambda view, more: replace(view, more=more),
        )
        if live:
            return st.toggle("Pause", key="pause", help="Charts stand still, to be read and dragged over at leisure.")
    return False


def charts(runs: list[Run]) -> None:
    """Draw loss and accuracy, and what else is asked for, with what was expected; to be called in a fragment."""
    view = read_train_view()  # dragging over a chart changes it, and renews the fragment only
    _zoom(view)
    seen = [moment(run) for run in runs]
    losses = [level for run in runs for level in _loss_levels(run)]
    guesses = [Level(run.expectation.constant_guess_accuracy, "constant guess") for run in runs]
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Loss**")
        _draw(seen, {"train_loss": "training", "val_loss": "validation"}, "loss", view, losses)
    with right:
        st.markdown("**Accuracy**")
        accuracies = {"train_accuracy": "training", "val_accuracy": "validation"}
        _draw(seen, accuracies, "accuracy", view, guesses, percent=True)
    if view.more:
        columns = st.columns(2, gap="medium")
        for number, (metric, (title, logs)) in enumerate(FURTHER.items()):
            with columns[number % 2]:
                st.markdown(f"**{title}**")
                _draw(seen, {metric: ""}, metric, replace(view, log=view.log and logs))


def _draw(
    seen: list[Moment],
    metrics: dict[str, str],
    key: str,
    view: TrainView,
    levels: list[Level] | None = None,
    percent: bool = False,
) -> None:
    log = view.log and not percent
    versions = tuple((each.run.id, each.version) for each in seen)
    key = f"chart-{key}-{view.runs}-{view.steps}"

    def brushed() -> None:
        boxes = st.session_state[key].selection.box
        if boxes:
            first, last = sorted(max(0, round(edge)) for edge in boxes[0]["x"])
            train_go(lambda view: replace(view, steps=(first, max(last, first + 1))))

    # Plotly's own zoom would be lost with every new point: the chart is made anew. In the address it stays.
    st.plotly_chart(
        _curves(versions, tuple(metrics), view.smoothing, log, percent, view.steps, seen, metrics, levels or ()),
        key=key,
        on_select=brushed,
        selection_mode="box",
        config=CONFIG,
        alt=", ".join(metrics),
    )


# A resource: a copy for each viewer would take half as long as a new figure. Nothing changes it: Streamlit copies it.
@st.cache_resource(max_entries=64, ttl=600, show_spinner=False)
def _curves(versions: tuple, names: tuple, smoothing: float, log: bool, percent: bool, steps, _seen, _shown, _levels):
    """The figure, made once for all who look at these runs in this way: `versions` tells their points apart."""
    histories = {f"{each.run.spec.preset} #{each.run.id}": _history(each, steps) for each in _seen}
    return curves(histories, _shown, _levels, smoothing, log, percent, steps)


def _zoom(view: TrainView) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="zoom"):
        if view.steps:
            st.button(
                "Steps {:,} to {:,}".format(*view.steps),
                icon=":material/zoom_out:",
                key="whole",
                type="tertiary",
                help="Show the whole run again",
                on_click=train_go,
                args=(lambda view: replace(view, steps=None),),
            )
        else:
            st.caption("Drag across a chart to zoom in; the zoom stays while new points arrive.")


def _loss_levels(run: Run) -> list[Level]:
    told = run.expectation
    return [Level(told.initial_loss, "expected at step 0"), Level(told.constant_guess_loss, "constant guess")]


def _history(seen: Moment, steps: tuple[int, int] | None) -> pd.DataFrame:
    """The metrics of a run, thinned for charts, of all steps or of those zoomed in on; read once for all charts."""
    return _metrics(str(open_workspace().folder), seen.run.id, seen.version, steps, seen.run)


@st.cache_resource(max_entries=64, ttl=600, show_spinner=False)  # nothing changes it
def _metrics(
    workspace: str, id: int, version: tuple[float | str, ...], steps: tuple[int, int] | None, _run: Run
) -> pd.DataFrame:
    return _run.metrics(max_points=MAX_POINTS, steps=steps)
