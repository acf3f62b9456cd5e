"""The rows above the gallery: which dataset, free text, order, groups, size of the tiles."""

from dataclasses import replace

import streamlit as st

from pages.widgets.controls import bound, findings_bound, go
from pages.widgets.shell import fragment, plain
from recipe_core.links import SIZES, FindingsView, View
from recipe_core.progress import describe
from recipe_core.workspace import Dataset

SIZE_NAMES = dict(zip(SIZES, ("XS", "S", "M", "L", "XL"), strict=True))
HIDDEN = {"phash_turned", "dhash_turned"}


def dataset_choice(dataset: Dataset, names: list[str]) -> None:
    """The choice of dataset, in the sidebar of the pages on findings."""
    with st.sidebar:
        findings_bound(
            st.selectbox,
            "Dataset",
            names,
            key="dataset",
            value=dataset.name,
            change=lambda _, name: FindingsView(name),
        )


def headline(dataset: Dataset) -> None:
    """The dataset's name, and whether it is a demo."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(dataset.name), anchor=False, width="content")
        if dataset.note:
            st.badge("demo with planted defects", icon=":material/science:", color="orange", help=dataset.note)


def scan_notice(dataset: Dataset) -> None:
    """While a scan runs: how far it is, and a button that shows what has come in."""
    job = dataset.job
    if job and job.active:
        fragment(_notice, run_every=1.0)(dataset)


def _notice(dataset: Dataset) -> None:
    job = dataset.job
    if job is None or not job.active:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f":material/hourglass: The scan is still running: {describe(job)}.")
        if st.button("Show what came in", icon=":material/refresh:", type="tertiary", key="refresh-samples"):
            st.rerun()


def toolbar(dataset: Dataset, view: View) -> None:
    """Free text, order, groups and size."""
    types = dataset.catalog.types()
    columns = [name for name in types if name not in HIDDEN]
    with st.container(horizontal=True, vertical_alignment="bottom", key="toolbar"):
        bound(
            st.text_input,
            "Search",
            key="search",
            value=view.text,
            width=260,
            placeholder="key, label or metadata",
            type="search",
            change=lambda view, text: view.narrowed(text=text.strip()),
        )
        column = view.sort.removeprefix("-")
        bound(
            st.selectbox,
            "Sort by",
            ["key", *[name for name in columns if name != "key"]],
            key="sort",
            value=column if column in columns else "key",
            width=180,
            change=lambda view, name: view.narrowed(sort=name),
        )
        descending = view.sort.startswith("-")
        st.button(
            "",
            key="direction",
            icon=":material/arrow_downward:" if descending else ":material/arrow_upward:",
            on_click=go,
            args=(_turned,),
            help=f"{'Descending' if descending else 'Ascending'}; click to turn the order round",
        )
        groupable = ["", *[name for name in columns if types[name] in ("VARCHAR", "BOOLEAN")]]
        bound(
            st.selectbox,
            "Group by",
            groupable,
            key="group",
            value=view.group if view.group in groupable else "",
            format_func=lambda name: name or "nothing",
            width=160,
            change=lambda view, name: view.narrowed(group=name),
        )
        bound(
            st.segmented_control,
            "Size",
            SIZES,
            key="size",
            value=view.size,
            format_func=SIZE_NAMES.get,
            change=lambda view, size: replace(view, size=size or view.size, page=1),
        )


def _turned(view: View) -> View:
    column = view.sort.removeprefix("-") or "key"
    return view.narrowed(sort=column if view.sort.startswith("-") else f"-{column}")
