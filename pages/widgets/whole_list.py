"""Findings on the whole dataset: biases, drift between the splits, imbalance; each with its chart and its pictures."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from pages.widgets.chart import CONFIG
from pages.widgets.decide import last_act, rule
from pages.widgets.gallery import Group, gallery
from pages.widgets.kinds import name_of, undecided_choice
from pages.widgets.samples import tiles_by_key
from pages.widgets.shell import plain, read_findings_view, show_view
from recipe_core.data.findings import KINDS, WHOLE, Finding
from recipe_core.data.selection import is_time
from recipe_core.links import FindingsView, View
from recipe_core.plots.crossed import heatmap
from recipe_core.workspace import Dataset

SHOWN = 20  # findings of a kind
ROWS = 16  # classes in a chart
TITLES = {"spurious_correlation": "Biases", "split_drift": "Splits", "imbalance": "Imbalance"}
COLOURS = {"colour", "border_colour"}
NOTHING = {
    "spurious_correlation": "No single fact, camera, format, time, name or metadata gives labels away.",
    "split_drift": "The splits do not differ more than chance explains, in labels or in any fact.",
    "imbalance": "No class is rare, and none makes up most of the samples.",
}


def whole_list(dataset: Dataset, view: FindingsView, classes: pd.DataFrame) -> None:
    """Draw all of them, kind by kind."""
    pending = dataset.found.pending()
    undecided_choice(view)
    last_act(dataset, "whole")
    for sentence in pending:
        st.caption(f":material/hourglass: {plain(sentence)}")
    for kind in WHOLE:
        if view.kind in WHOLE and view.kind != kind:
            continue
        st.subheader(TITLES[kind], anchor=False)
        findings, total = dataset.found.page(kind, undecided_only=view.undecided, limit=SHOWN)
        if findings:
            st.caption(plain(KINDS[kind].advice))
        elif dataset.catalog.count() and not (pending and kind != "imbalance"):
            st.caption(f":material/check: {'All of them are decided.' if view.undecided else NOTHING[kind]}")
        for finding in findings:
            _card(dataset, finding, classes)
        if total > len(findings):
            st.caption(f"and {total - len(findings):,} more; `python -m recipe_core findings` lists all")
    if view.kind in WHOLE:
        st.button("Show all kinds", key="all-kinds", on_click=lambda: show_view(read_findings_view().narrowed(kind="")))


def _card(dataset: Dataset, finding: Finding, classes: pd.DataFrame) -> None:
    with st.container(border=True, key=f"whole-{finding.id}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":orange-badge[{name_of(finding.kind).lower()}]", width="content")
            if finding.decided:
                st.badge("decided", icon=":material/check:", color="green")
            st.markdown(plain(finding.message))
        _chart(dataset, finding, classes)
        tiles = tiles_by_key(dataset, finding.samples)
        place = f"whole-gallery-{finding.id}"
        gallery(
            [Group("", len(tiles), list(tiles.values()))],
            size=64,
            key=place,
            on_open=lambda: show_view(replace(read_findings_view(), sample=st.session_state[place].opened)),
        )
        st.button(
            "Not a problem",
            key=f"whole-not-{finding.id}",
            icon=":material/thumb_up:",
            help="It is meant, or harmless; this is remembered over rescans.",
            disabled=finding.decided,
            on_click=rule,
            args=(dataset, "not-a-problem", finding.samples),
            kwargs={"kind": finding.topic},
        )


def _chart(dataset: Dataset, finding: Finding, classes: pd.DataFrame) -> None:
    """The fact beside the labels, or beside the splits; a click leads to the samples."""
    told = finding.evidence
    if finding.kind == "spurious_correlation":
        by, groups = "label", [str(label) for label in classes.index[:ROWS]]
        if (label := told.get("label")) and label not in groups:
            groups = [label, *groups[:-1]]
    elif finding.kind == "split_drift" and told.get("fact") not in (None, "label"):
        by, groups = "split", [told["reference"], told["split"]]
    else:
        return
    table = dataset.found.crossed(told["fact"], by, groups)
    if table.empty:
        return
    event = st.plotly_chart(
        heatmap(table, groups),
        key=f"crossed-{finding.id}",
        on_select="rerun",
        selection_mode="points",
        config=CONFIG,
        alt=f"{told['fact']} by {by}",
    )
    fact = plain(told["fact"].replace("_", " "))
    st.caption(f"Of each {by} the share with each **{fact}**; click a cell to browse its samples.")
    if points := event.selection.points:
        places = table.drop_duplicates("place").sort_values("place").reset_index(drop=True)
        cell = places.iloc[int(points[0]["x"])]
        chosen = View(dataset.name).with_choices(by, [groups[int(points[0]["y"])]])
        st.switch_page("pages/browse.py", query_params=_narrowed(dataset, chosen, told["fact"], cell).query())


def _narrowed(dataset: Dataset, view: View, fact: str, cell: pd.Series) -> View:
    """The view with the cell's values, where a column of the catalog holds them."""
    types = dataset.catalog.types()
    if fact not in types or fact in COLOURS or cell["name"] == "any other":
        return view
    if "low" not in cell:
        return view.with_choices(fact, [None if pd.isna(cell["value"]) else str(cell["value"])])
    if cell["name"] == "none":
        return view
    ends = float(cell["low"]), float(cell["high"])
    if is_time(types[fact]):
        return view.with_range(fact, *(pd.Timestamp(end, unit="s").isoformat(timespec="seconds") for end in ends))
    return view.with_range(fact, *ends)
