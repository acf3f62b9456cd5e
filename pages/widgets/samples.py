"""The gallery of the selected samples, page by page or group by group; what is decided on them and taken away."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import streamlit as st

from pages.widgets.author import known_author
from pages.widgets.chosen import chosen, decision_bar, ticked
from pages.widgets.decide import last_act_told
from pages.widgets.gallery import Group, Tile, gallery
from pages.widgets.shell import fragment, open_workspace, read_view, selection_of, show_view
from recipe_core.data.selection import Selection
from recipe_core.links import View
from recipe_core.workspace import Dataset

PER_GROUP = 24
GROUPS_A_PAGE = 20
# What a tile is made of; whole rows of a large catalog take five times as long.
TILE = ("key", "label", "_shard", "_offset", "_length", "error_kind", "decision", "new_label")
DECIDED = {"keep": "kept", "exclude": "excluded", "not-a-problem": "no problem"}


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
    fragment(_gallery)(dataset, view, matching, last_act_told())
    if pages > 1:
        page = min(view.page, pages)
        with st.container(horizontal_alignment="center"):
            # Keyed by its place: st.pagination cannot be given its value through the session's state.
            key = f"page-{page}-of-{pages}"
            st.pagination(pages, default=page, key=key, on_change=_turn, args=(key,))


def _gallery(dataset: Dataset, view: View, matching: int, act: object) -> None:
    """Apart from the rest of the page, so that a tick is quick."""
    if read_view() != view or last_act_told() != act:
        st.rerun()  # what was clicked or decided in here concerns the whole page
    page = min(view.page, _pages(dataset, view, matching))
    groups = (
        _groups(dataset, view, page)
        if view.group
        else [Group("", matching, tiles_of(dataset, _rows(dataset, view, page), view.sort))]
    )
    selection, shown = selection_of(view), [tile.id for group in groups for tile in group.tiles]
    now = chosen("gallery", (dataset.name, selection))

    def everything() -> list[str]:
        return dataset.catalog.choices("key", selection, limit=2**62)["value"].tolist()  # keys alone, not whole rows

    decision_bar(dataset, "gallery", now, shown, matching, everything)
    gallery(
        groups,
        size=view.size,
        key="gallery",
        selected=view.sample or None,
        choice=now.choice(shown),
        on_open=_open,
        on_group=_narrow,
        on_choose=lambda: ticked("gallery"),
    )
    dataset.looks.add(shown, by=known_author())


def _turn(key: str) -> None:
    show_view(replace(read_view(), page=st.session_state[key]))


def _pages(dataset: Dataset, view: View, matching: int) -> int:
    if not view.group:
        return -(-matching // view.page_samples)
    return -(-len(dataset.catalog.choices(view.group, selection_of(view), limit=100_000)) // GROUPS_A_PAGE)


def _rows(dataset: Dataset, view: View, page: int) -> pd.DataFrame:
    offset = (page - 1) * view.page_samples
    columns = (*TILE, view.sort.removeprefix("-"))
    return dataset.catalog.rows(selection_of(view), view.order_by, view.page_samples, offset, columns=columns)


def _groups(dataset: Dataset, view: View, page: int) -> list[Group]:
    offset = (page - 1) * GROUPS_A_PAGE
    found = dataset.catalog.grouped(
        view.group,
        selection_of(view),
        view.order_by,
        PER_GROUP,
        limit=GROUPS_A_PAGE,
        offset=offset,
        columns=(*TILE, view.sort.removeprefix("-")),
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


def tiles_of(dataset: Dataset, rows: pd.DataFrame, sort: str = "", told: Sequence[str] = ()) -> list[Tile]:
    """Rows of the catalog, with the columns TILE, as tiles; the column that they are sorted by is shown."""
    signer, column = open_workspace().signer, sort.removeprefix("-")
    shown = column if column in rows.columns and column not in ("key", "label") else None
    tiles = []
    for row in rows.to_dict("records"):
        has_picture = isinstance(row["_shard"], str)
        place = (row["_shard"], int(row["_offset"]), int(row["_length"])) if has_picture else None
        caption = [_text(row["label"]), *(_text(row[name]) for name in told), _short(row[shown]) if shown else ""]
        tiles.append(
            Tile(
                id=row["key"],
                src=signer.thumbnail(dataset.name, *place) if place else "",
                title=row["key"],
                caption=" · ".join(filter(None, caption)),
                badge=_badge(row),
                state=_text(row["decision"]),
            )
        )
    return tiles


def tiles_by_key(dataset: Dataset, keys: Sequence[str], told: Sequence[str] = ()) -> dict[str, Tile]:
    """The tiles of these samples, of those that are there, with these facts in their captions."""
    if not keys:
        return {}
    columns = (*TILE, *told, "width", "height")
    rows = dataset.catalog.rows(Selection(choices={"key": tuple(dict.fromkeys(keys))}), columns=columns)
    rows["size"] = (rows["width"].astype(str) + "×" + rows["height"].astype(str)).where(rows["width"].notna(), None)
    return {tile.id: tile for tile in tiles_of(dataset, rows, told=told)}


def with_reasons(dataset: Dataset, reasons: Mapping[str, str]) -> list[Tile]:
    """The tiles of these samples, in this order, each with its reason."""
    tiles = tiles_by_key(dataset, list(reasons))
    return [replace(tiles[key], reason=reason) for key, reason in reasons.items() if key in tiles]


def _badge(row: dict) -> str:
    """What was decided, else what is wrong with the file."""
    if label := _text(row["new_label"]) if row["decision"] == "relabel" else "":
        return f"→ {label}"
    ruled = _text(row["decision"])
    return DECIDED.get(ruled, "") or _text(row["error_kind"]).replace("_", " ")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


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
