"""The filters of the Browse page, in the sidebar: ranges of numbers and times, choices with counts, a SQL condition."""

import math
from datetime import datetime, timedelta

import pandas as pd
import streamlit as st

from pages.widgets.controls import bound, go
from pages.widgets.shell import plain
from recipe_core.data.facts import ABOUT
from recipe_core.data.selection import is_number, is_time
from recipe_core.links import View
from recipe_core.workspace import Dataset

NONE = "(none)"
WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}


def filters(dataset: Dataset, view: View, names: list[str]) -> None:
    """Draw the choice of dataset, the filters that are set, a list of those that can be added, and the condition."""
    types = dataset.catalog.types()
    with st.sidebar:
        bound(st.selectbox, "Dataset", names, key="dataset", value=dataset.name, change=lambda _, name: View(name))
        _headline(view)
        for column in dict.fromkeys([*view.ranges, *view.choices]):
            if column in types:
                _filter(dataset, view, column, types[column])
        free = [name for name in types if name not in (*view.ranges, *view.choices) and "[]" not in types[name]]
        bound(
            st.selectbox,
            "Add a filter",
            free,
            key="add-filter",
            value=None,
            placeholder="choose a column",
            change=lambda view, column: _added(view, column, types[column]) if column else view,
            format_func=str,
        )
        bound(
            st.text_area,
            "SQL condition",
            key="where",
            value=view.where,
            height=90,
            placeholder="label = 'cat' and sharpness < 10",
            help="Any SQL expression over the columns of this dataset. Press Ctrl+Enter to apply it.",
            change=lambda view, where: view.narrowed(where=where.strip()),
        )


def _headline(view: View) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader("Filters", anchor=False, width="content")
        if view.ranges or view.choices or view.where or view.text:
            st.button(
                "Clear all",
                icon=":material/filter_alt_off:",
                type="tertiary",
                key="clear-filters",
                on_click=go,
                args=(lambda view: view.narrowed(ranges={}, choices={}, where="", text=""),),
            )


def _added(view: View, column: str, kind: str) -> View:
    """A new filter lets everything through until it is narrowed."""
    if is_number(kind) or is_time(kind):
        return view.with_range(column, None, None)
    return view.with_choices(column, ())


def _filter(dataset: Dataset, view: View, column: str, kind: str) -> None:
    with st.container(border=True, key=f"filter-{column}"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            about = ABOUT.get(column)
            st.markdown(f"**{plain(column)}**", help=f"{about.about} {about.unit}".strip() if about else None)
            st.button(
                "",
                help="Remove this filter",
                key=f"drop-{column}",
                icon=":material/close:",
                type="tertiary",
                on_click=go,
                args=(lambda view: view.without_filter(column),),
            )
        if column in view.choices:
            _choices(dataset, view, column)
        elif is_number(kind) or is_time(kind):
            _range(dataset, view, column, kind)
        else:
            st.caption("It holds no numbers or times, so it has no range.")


def _choices(dataset: Dataset, view: View, column: str) -> None:
    counted = dataset.catalog.choices(column)
    counts = {value if isinstance(value, str) else None: int(n) for value, n in counted.itertuples(index=False)}
    chosen = list(view.choices[column])
    bound(
        st.multiselect,
        column,
        [*counts, *[value for value in chosen if value not in counts]],
        key=f"is-{column}",
        value=chosen,
        label_visibility="collapsed",
        placeholder="any",
        format_func=lambda value: f"{NONE if value is None else value} ({counts.get(value, 0):,})",
        change=lambda view, values: view.with_choices(column, values),
    )


def _range(dataset: Dataset, view: View, column: str, kind: str) -> None:
    extent = dataset.catalog.extent(column)
    if extent is None or extent[0] == extent[1]:
        st.caption("No sample has a value here." if extent is None else f"All samples have {plain(extent[0])}.")
        return
    low, high, step = slider_scale(extent, kind)
    bounds = [_as_shown(bound, kind) for bound in view.ranges[column]]
    value = (
        low if bounds[0] is None else min(max(bounds[0], low), high),
        high if bounds[1] is None else min(max(bounds[1], low), high),
    )
    bound(
        st.slider,
        column,
        low,
        high,
        key=f"range-{column}",
        value=(min(value), max(value)),
        step=step,
        label_visibility="collapsed",
        format=None if is_time(kind) else "%.6g" if kind not in WHOLE else "%d",
        change=lambda view, chosen: view.with_range(
            column,
            None if chosen[0] <= low else _as_address(chosen[0]),
            None if chosen[1] >= high else _as_address(chosen[1]),
        ),
    )


def slider_scale(extent: tuple, kind: str) -> tuple:
    """Ends and step of a slider over an axis: round numbers that enclose all values, about a hundred steps or more."""
    low, high = extent
    if is_time(kind):
        low, high = (pd.Timestamp(edge).to_pydatetime() for edge in extent)
        return low, high, max((high - low) / 200, timedelta(seconds=1))
    if kind in WHOLE:
        return int(low), int(high), 1
    step = 10.0 ** math.floor(math.log10((high - low) / 100))
    return round(math.floor(low / step) * step, 10), round(math.ceil(high / step) * step, 10), step


def _as_shown(bound: float | str | None, kind: str):
    """A bound from the address as the slider takes it; None where it is open or makes no sense."""
    if bound is None:
        return None
    if is_time(kind):
        moment = pd.to_datetime(bound, errors="coerce")
        return None if pd.isna(moment) else moment.to_pydatetime()
    if isinstance(bound, str):
        return None
    return int(bound) if kind in WHOLE else float(bound)


def _as_address(value: float | datetime) -> float | str:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
