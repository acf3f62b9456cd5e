"""Both ends of the ranking along one axis or several, with pictures, robust z-scores and the distribution."""

import math
from dataclasses import replace

import streamlit as st

from pages.widgets.author import known_author
from pages.widgets.chart import CONFIG
from pages.widgets.chosen import chosen, decision_bar, ticked
from pages.widgets.controls import findings_bound
from pages.widgets.gallery import Group, gallery
from pages.widgets.samples import with_reasons
from pages.widgets.shell import read_findings_view, show_view
from recipe_core.data.findings.outliers import written
from recipe_core.data.findings.spreads import Spread
from recipe_core.data.selection import is_time
from recipe_core.links import FindingsView, View
from recipe_core.plots.crossed import marked_histogram
from recipe_core.plots.distribution import histogram
from recipe_core.workspace import Dataset

A_TAIL = 12
ENDS = {"high": "Highest", "low": "Lowest"}


def tails(dataset: Dataset, view: FindingsView) -> None:
    """Draw the choice of axes, their distributions, and what stands at either end."""
    spreads = dataset.found.spreads()
    if not spreads:
        if dataset.catalog.count():
            st.info("Too few samples, or all of one kind: no axis has a spread that one could stick out of.")
        return
    axes = findings_bound(
        st.multiselect,
        "Along which axes",
        list(spreads),
        key="axes",
        value=[axis for axis in view.axes if axis in spreads] or _first(dataset, spreads),
        change=lambda view, axes: replace(view, axes=tuple(axes), sample=""),
        help="Of several axes the one counts along which a sample is furthest out.",
    )
    for axis in axes:
        _distribution(dataset, spreads[axis])
    for place, (end, title) in zip(st.columns(2, gap="large"), ENDS.items(), strict=True):
        with place:
            _tail(dataset, view, axes, spreads, end, title)


def _first(dataset: Dataset, spreads: dict[str, Spread]) -> list[str]:
    """The axis along which most samples stick out."""
    found = [line.subkind for line in dataset.found.summary() if line.kind == "outlier" and line.subkind in spreads]
    return [found[0] if found else "brightness" if "brightness" in spreads else next(iter(spreads))]


def _distribution(dataset: Dataset, spread: Spread) -> None:
    table = dataset.catalog.histogram(spread.name, bins=60)
    if table.empty:
        return
    cuts = [edge if math.isfinite(edge) and not is_time(spread.type) else None for edge in (spread.least, spread.most)]
    low, high = float(spread.z_of(spread.low)), float(spread.z_of(spread.high))
    st.caption(
        f"**{spread.name}**: median {written(spread, spread.median)}, the middle 95 % "
        f"{written(spread, spread.low)} to {written(spread, spread.high)} (z {low:.1f} to {high:.1f}); "
        "dotted: from there on a sample sticks out. Drag across bars to browse what is in them."
    )
    least, most = (None if time is None else time for time in cuts)
    if least is not None and least < float(table["low"].iloc[0]):
        least = None
    if most is not None and most > float(table["high"].iloc[-1]):
        most = None
    key = f"outlier-chart-{spread.name}"
    event = st.plotly_chart(
        marked_histogram(histogram(table), least, most),
        key=key,
        on_select="rerun",
        selection_mode=("box", "points"),
        config=CONFIG,
        alt=f"Distribution of {spread.name}",
    )
    if (points := event.selection.points) and not is_time(spread.type):
        bars = table.iloc[[point["point_index"] for point in points]]
        chosen_view = View(dataset.name, sort=f"-{spread.name}").with_range(
            spread.name, float(bars["low"].min()), float(bars["high"].max())
        )
        st.switch_page("pages/browse.py", query_params=chosen_view.query())


def _tail(
    dataset: Dataset, view: FindingsView, axes: list[str], spreads: dict[str, Spread], end: str, title: str
) -> None:
    rows = dataset.found.tail(axes, end, A_TAIL)
    reasons = {
        row.key: f"{row.axis.replace('_', ' ')} {written(spreads[row.axis], row.value)}, z {row.z:+.1f}"
        for row in rows.itertuples()
    }
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(title, anchor=False, width="content")
        if len(axes) == 1 and st.button("Browse all", key=f"browse-{end}", icon=":material/grid_view:"):
            order = f"{'-' if end == 'high' else ''}{axes[0]}"
            st.switch_page("pages/browse.py", query_params=View(dataset.name, sort=order).query())
    place = f"tail-{end}"
    tiles = with_reasons(dataset, reasons)
    shown = [tile.id for tile in tiles]
    now = chosen(place, (dataset.name, tuple(axes)))
    decision_bar(dataset, place, now, shown, len(shown), lambda: shown, "outlier")
    gallery(
        [Group("", len(tiles), tiles)],
        size=120,
        key=place,
        selected=view.sample or None,
        choice=now.choice(shown),
        on_open=lambda: show_view(replace(read_findings_view(), sample=st.session_state[place].opened)),
        on_choose=lambda: ticked(place),
    )
    dataset.looks.add(shown, by=known_author())
