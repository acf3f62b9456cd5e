"""How many samples each class has in each split, and what a constant guess reaches."""

import pandas as pd
import streamlit as st

from pages.widgets.chart import CONFIG
from pages.widgets.controls import findings_bound
from pages.widgets.shell import plain
from recipe_core.links import FindingsView, View
from recipe_core.plots.crossed import class_bars
from recipe_core.workspace import Dataset

BARS = 40


def counts(dataset: Dataset, view: FindingsView, classes: pd.DataFrame) -> None:
    """Draw them; of many classes the largest, and any that a search finds."""
    if classes.empty:
        return
    st.subheader("Classes", anchor=False)
    _guess(classes)
    found = classes[[view.find.casefold() in str(label).casefold() for label in classes.index]]
    if len(classes) > BARS:
        findings_bound(
            st.text_input,
            f"Find among {len(classes):,} classes",
            key="find",
            value=view.find,
            type="search",
            change=lambda view, text: view.narrowed(find=text.strip()),
        )
        if found.empty:
            st.info("No class has a name like that.")
            return
    shown = found.head(BARS)
    event = st.plotly_chart(
        class_bars(shown),
        key=f"classes-{hash(view.find)}",
        on_select="rerun",
        selection_mode="points",
        config=CONFIG,
        alt="Samples by class and split",
    )
    more = f"The {BARS} largest of {len(found):,} are shown. " if len(found) > BARS else ""
    st.caption(f"{more}Click a bar to browse its samples.")
    if points := event.selection.points:
        point = points[0]
        split = str(shown.columns[point["curve_number"]]) or None
        chosen = View(dataset.name).with_choices("label", [str(shown.index[point["point_index"]])])
        st.switch_page("pages/browse.py", query_params=chosen.with_choices("split", [split]).query())


def _guess(classes: pd.DataFrame) -> None:
    if len(classes) == 1:
        st.info(f"All labelled samples are of one class, “{plain(classes.index[0])}”: there is nothing to tell apart.")
        return
    parts = []
    for split in classes.columns:
        total, most = int(classes[split].sum()), int(classes[split].max())
        if total:
            named = plain(classes[split].idxmax())
            of = f"in {plain(split)} " if split else ""
            parts.append(f"{of}“{named}” is right for **{most / total:.2%}** of {total:,}")
    smallest, largest = classes.sum(axis=1).min(), classes.sum(axis=1).max()
    sizes = f"{smallest:,} to {largest:,}" if smallest < largest else f"{smallest:,}"
    st.markdown(
        f"**{len(classes):,} classes**, of {sizes} samples. Who always guesses the same: "
        + "; ".join(parts)
        + f". Chance is {1 / len(classes):.2%}."
    )
