"""The gallery of the selected samples, page by page or group by group, and what can be taken away from it."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from pages.widgets.gallery import Group, Tile, gallery
from pages.widgets.shell import open_workspace, read_view, selection_of, show_view
from recipe_core.links import View
from recipe_core.workspace import Dataset

PER_GROUP = 24
GROUPS_A_PAGE = 20


def samples(dataset: Dataset, view: View, matching: int) -> None:
    """Draw the page of the gallery that the view asks for."""
    total = dataset.catalog.count()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        of_all = f" of {total:,}" if matching != total else ""
        st.markdown(f"**{matching:,}**{of_all} samples")
        if matching:
            st.link_button(
                "Download CSV",
                open_workspace().signer.table(replace(view, dataset=dataset.name)),
                icon=":material/download:",
            )
    if not matching:
        st.info(
            "No sample matches. Remove a filter, or clear all of them in the sidebar."
            if total
            else "Nothing has been measured yet."
        )
        return
    pages = _pages(dataset, view, matching)
    page = min(view.page, pages)
    groups = (
        _groups(dataset, view, page)
        if view.group
        else [Group("", matching, tiles_of(dataset, _rows(dataset, view, page), view.sort))]
    )
    gallery(groups, size=view.size, key="gallery", selected=view.sample or None, on_open=_open, on_group=_narrow)
    if pages > 1:
        with st.container(horizontal_alignment="center"):
            # Keyed by its place: st.pagination cannot be given its value through the session's state.
            key = f"page-{page}-of-{pages}"
            st.pagination(pages, default=page, key=key, on_change=_turn, args=(key,))


def _turn(key: str) -> None:
    show_view(replace(read_view(), page=st.session_state[key]))


def _pages(dataset: Dataset, view: View, matching: int) -> int:
    if not view.group:
        return -(-matching // view.page_samples)
    return -(-len(dataset.catalog.choices(view.group, selection_of(view), limit=100_000)) // GROUPS_A_PAGE)


def _rows(dataset: Dataset, view: View, page: int) -> pd.DataFrame:
    offset = (page - 1) * view.page_samples
    return dataset.catalog.rows(selection_of(view), view.order_by, view.page_samples, offset, internal=True)


def _groups(dataset: Dataset, view: View, page: int) -> list[Group]:
    offset = (page - 1) * GROUPS_A_PAGE
    found = dataset.catalog.grouped(
        view.group, selection_of(view), view.order_by, PER_GROUP, limit=GROUPS_A_PAGE, offset=offset
    )
    return [
        Group(
            title="(none)" if pd.isna(value) else str(value),
            count=int(rows["_group_samples"].iloc[0]),
            tiles=tiles_of(dataset, rows, view.sort),
            id="none" if pd.isna(value) else f"={value}",
        )
        for value, rows in found.groupby(view.group, sort=False, dropna=False)
    ]


def tiles_of(dataset: Dataset, rows: pd.DataFrame, sort: str = "") -> list[Tile]:
    """Rows of the catalog, with their internal columns, as tiles; the column that they are sorted by is shown."""
    signer, column = open_workspace().signer, sort.removeprefix("-")
    shown = column if column in rows.columns and column not in ("key", "label") else None
    tiles = []
    for row in rows.to_dict("records"):
        has_picture = isinstance(row["_shard"], str)
        place = (row["_shard"], int(row["_offset"]), int(row["_length"])) if has_picture else None
        caption = [row["label"] if isinstance(row["label"], str) else "", _short(row[shown]) if shown else ""]
        tiles.append(
            Tile(
                id=row["key"],
                src=signer.thumbnail(dataset.name, *place) if place else "",
                title=row["key"],
                caption=" · ".join(filter(None, caption)),
                badge=row["error_kind"].replace("_", " ") if isinstance(row["error_kind"], str) else "",
            )
        )
    return tiles


def _short(value: object) -> str:
    if value is None or value is pd.NaT or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _open() -> None:
    opened = st.session_state["gallery"].opened
    show_view(replace(read_view(), sample=opened))


def _narrow() -> None:
    group, view = st.session_state["gallery"].group, read_view()
    value = None if group == "none" else group[1:]
    show_view(replace(view.with_choices(view.group, [value]), group=""))
