"""What one class looks like: its average picture, its most and least typical samples."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from pages.widgets.controls import findings_bound
from pages.widgets.gallery import Group, gallery
from pages.widgets.inputs import as_url
from pages.widgets.samples import tiles_by_key
from pages.widgets.shell import datasets, plain, read_findings_view, show_view
from recipe_core.data.typical import SAMPLED, ClassLook, class_look
from recipe_core.links import FindingsView, View
from recipe_core.workspace import Dataset

AVERAGES = 12


def class_card(dataset: Dataset, view: FindingsView, classes: pd.DataFrame) -> None:
    """Draw the choice of class and what it looks like; above it the averages of the largest classes."""
    if classes.empty:
        return
    st.subheader("What the classes look like", anchor=False)
    names = [str(label) for label in classes.index]
    looks = {name: _look(dataset.name, name, dataset.catalog.version) for name in names[:AVERAGES]}
    with st.container(horizontal=True, gap="small"):
        for name, look in looks.items():
            if look:
                st.image(look.average, width=80, caption=plain(name))
    of_many = f", of the {AVERAGES} largest" if len(names) > AVERAGES else ""
    st.caption(f"The average of up to {SAMPLED} pictures of each{of_many}.")
    label = findings_bound(
        st.selectbox,
        "Class",
        names,
        key="label",
        value=view.label if view.label in names else names[0],
        format_func=lambda name: name or "(empty)",
        change=lambda view, label: replace(view, label=label, sample=""),
        width=320,
    )
    look = looks.get(label) or _look(dataset.name, label, dataset.catalog.version)
    if look is None:
        st.info("None of its pictures can be shown.")
        return
    left, middle, right = st.columns([1, 3, 3], gap="large")
    with left:
        st.markdown("**Average**")
        st.image(as_url(look.average), width=144)
        if st.button("Browse", key="browse-class", icon=":material/grid_view:"):
            st.switch_page("pages/browse.py", query_params=View(dataset.name).with_choices("label", [label]).query())
    for place, title, keys in ((middle, "Most typical", look.most), (right, "Least typical", look.least)):
        with place:
            st.markdown(f"**{title}** of {look.pictures:,} pictures, by their distance from the middle of the class")
            _pictures(dataset, title, keys)


def _pictures(dataset: Dataset, title: str, keys: tuple[str, ...]) -> None:
    if not keys:
        st.caption("The class has too few pictures to tell.")
        return
    tiles = tiles_by_key(dataset, keys)
    place = f"look-{title.split()[0].lower()}"
    gallery(
        [Group("", len(keys), [tiles[key] for key in keys if key in tiles])],
        size=88,
        key=place,
        on_open=lambda: show_view(replace(read_findings_view(), sample=st.session_state[place].opened)),
    )


@st.cache_data(max_entries=256, ttl=3600, show_spinner=False)
def _look(dataset: str, label: str, version: tuple) -> ClassLook | None:
    known = {one.name: one for one in datasets()}
    return class_look(known[dataset].catalog, label)
