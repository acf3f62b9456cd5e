"""The chart above the gallery: how a column is distributed; what is brushed or clicked becomes a filter."""

import math
from dataclasses import replace

import pandas as pd
import streamlit as st

from pages.widgets.controls import bound
from pages.widgets.shell import read_view, selection_of, show_view
from recipe_core.data.facts import ABOUT
from recipe_core.data.selection import Selection, is_number, is_time
from recipe_core.links import View
from recipe_core.plots.distribution import bars, histogram
from recipe_core.workspace import Dataset

BARS = 60
CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}


def chart(dataset: Dataset, view: View) -> None:
    """Draw the distribution of the chosen column over all samples that the other filters let through."""
    types = dataset.catalog.types()
    columns = [*dataset.catalog.axes(), *dataset.catalog.categories()]
    if not columns:
        return  # nothing has been measured yet
    with st.container(border=True, key="chart"):
        left, right = st.columns([1, 5], vertical_alignment="center")
        with left:
            axis = bound(
                st.selectbox,
                "Distribution of",
                columns,
                key="axis",
                value=view.axis if view.axis in columns else _default_axis(dataset),
                change=lambda view, axis: replace(view, axis=axis),
            )
        with right:
            others = selection_of(view).without(axis)
            if is_number(types[axis]) or is_time(types[axis]):
                hint = _histogram(dataset, axis, types[axis], view, others)
            else:
                hint = _bars(dataset, axis, view, others)
        left.caption(hint)


def _default_axis(dataset: Dataset) -> str:
    labels = dataset.catalog.choices("label", limit=3)["value"]
    return "label" if sum(isinstance(label, str) for label in labels) > 1 else "brightness"


def _histogram(dataset: Dataset, axis: str, kind: str, view: View, others: Selection) -> str:
    table = dataset.catalog.histogram(axis, others)
    if table.empty:
        return "No selected sample has a value here."
    low, high = (_edge(edge, kind) for edge in view.ranges.get(axis, (None, None)))
    chosen = None if low is None and high is None else (low, high)
    unit = ABOUT[axis].unit if axis in ABOUT else ""

    def brushed() -> None:
        boxes = st.session_state[key].selection.box
        if boxes:
            low, high = sorted(boxes[0]["x"])
            show_view(read_view().with_range(axis, *(_address(edge, kind, table) for edge in (low, high))))

    key = f"chart-{axis}-{hash((view.ranges.get(axis), others.text, others.where))}"
    st.plotly_chart(
        histogram(table, chosen, unit),
        key=key,
        on_select=brushed,
        selection_mode="box",
        config=CONFIG,
        alt=f"Distribution of {axis}",
    )
    return "Drag across the bars to keep that range."


def _bars(dataset: Dataset, axis: str, view: View, others: Selection) -> str:
    table = dataset.catalog.choices(axis, others, limit=BARS)
    if table.empty:
        return "No sample is selected."
    chosen = view.choices.get(axis) or None

    def clicked() -> None:
        points = st.session_state[key].selection.points
        if points:
            value = table["value"].iloc[points[0]["point_index"]]
            show_view(_toggled(read_view(), axis, value if isinstance(value, str) else None))

    key = f"bars-{axis}-{hash((chosen, others.text, others.where))}"
    st.plotly_chart(
        bars(table, chosen),
        key=key,
        on_select=clicked,
        selection_mode="points",
        config=CONFIG,
        alt=f"Samples by {axis}",
    )
    return f"Click a bar to keep or drop it.{f' The {BARS} largest are shown.' if len(table) == BARS else ''}"


def _toggled(view: View, axis: str, value: str | None) -> View:
    chosen = view.choices.get(axis, ())
    return view.with_choices(axis, [v for v in chosen if v != value] if value in chosen else [*chosen, value])


def _edge(edge: float | str | None, kind: str) -> float | str | pd.Timestamp | None:
    return None if edge is None else pd.to_datetime(edge) if is_time(kind) else edge


def _address(edge: float | str, kind: str, table: pd.DataFrame) -> float | str:
    """An end of the brushed range, as fine as the hand can point."""
    if is_time(kind):
        return pd.Timestamp(edge).isoformat(timespec="seconds")
    bar = float(table["high"].iloc[0] - table["low"].iloc[0])
    return round(float(edge), 1 - math.floor(math.log10(bar)))
