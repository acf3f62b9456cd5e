"""The map of a dataset with the pictures of what was clicked or drawn around beside it."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from pages.widgets.author import known_author
from pages.widgets.chosen import chosen, decision_bar, ticked
from pages.widgets.controls import map_bound
from pages.widgets.decide import last_act_told
from pages.widgets.detail import Listed, detail
from pages.widgets.gallery import Group, gallery
from pages.widgets.kinds import name_of
from pages.widgets.samples import tiles_by_key
from pages.widgets.shell import read_map_view, show_view
from recipe_core.data.embeddings.places import DISTANCES, Places
from recipe_core.errors import BadQuery
from recipe_core.links import MapView
from recipe_core.plots.map import scatter
from recipe_core.workspace import Dataset

MOST_POINTS = 20_000  # that are drawn
A_PAGE = 60
PLACE = "gallery-map"
FINDING = "finding."  # before the kind of the findings that a colour stands for
CONFIG = {"displayModeBar": True, "modeBarButtons": [["pan2d", "lasso2d", "select2d", "resetScale2d"]]}
CONFIG |= {"displaylogo": False, "scrollZoom": True}


def embedding_state(dataset: Dataset) -> None:
    """How to start or stop the embedding, drawn anew with its progress; the page is, once there is another map."""
    about = Places(dataset.catalog).about
    if st.session_state.setdefault("map-shown", about) != about:
        st.session_state["map-shown"] = about
        st.rerun()
    job = dataset.embedding
    if job and job.active:
        st.button("Stop the embedding", icon=":material/stop_circle:", type="tertiary", on_click=dataset.stop_embedding)
    elif not about and not job and dataset.catalog.is_finished:
        st.info("The pictures are not embedded yet: a network that knows pictures turns each into a point, here on it.")
        if st.button("Embed the pictures", type="primary", icon=":material/play_arrow:", key="embed"):
            dataset.launch_embedding()
            st.rerun()


def dataset_map(dataset: Dataset, view: MapView) -> None:
    """Draw the map, or say why there is none."""
    there = Places(dataset.catalog)
    about, count = there.about, there.count()
    if not dataset.catalog.count():
        st.info("Nothing is scanned yet. Start the scan on the **Datasets** page.")
        st.page_link("pages/home.py", label="Datasets", icon=":material/home:")
        return
    if not about:
        st.caption("The map shows here as soon as a first part of the pictures is embedded and laid out.")
        return
    if count < 2:
        few = "One picture alone makes" if count else "No picture that can be seen makes"
        st.info(f"{few} no map: there is nothing for it to be near to.")
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        _chart(dataset, view, there, count, about)
    with right:
        keys = there.inside(view.area) if view.area else there.around(view.near) if view.near else []
        _pictures(dataset, view, keys)
        detail(dataset, Listed(keys), read_map_view)


def _chart(dataset: Dataset, view: MapView, there: Places, count: int, about: dict) -> None:
    columns = _columns(dataset)
    colour = view.colour if view.colour in columns else _default(dataset, columns)
    map_bound(
        st.selectbox,
        "Colour by",
        columns,
        key="colour",
        value=colour,
        format_func=_named,
        width=260,
        change=lambda view, colour: replace(view, colour=colour),
    )
    points = _points(dataset, there, colour)

    def selected() -> None:
        show_view(_asked(read_map_view(), points, st.session_state[key].selection))

    key = f"map-{dataset.name}-{colour}-{hash((view.area, view.near))}"
    ringed = frozenset(filter(None, (view.near, view.sample)))
    st.plotly_chart(
        scatter(points, _named(colour), ringed, view.area),
        key=key,
        on_select=selected,
        selection_mode=("points", "box", "lasso"),
        config=CONFIG,
        alt=f"Map of {len(points):,} pictures by {_named(colour)}",
    )
    drawn = f"{len(points):,} of {count:,} samples" if len(points) < count else f"{count:,} samples"
    partly = f" So far {about['pictures']:,} of {about['total']:,} pictures are laid out." if _is_partly(about) else ""
    st.caption(
        f"{drawn}. What lies together looks alike to a network trained on photographs; the axes and large distances "
        f"mean nothing.{partly}"
    )


def _is_partly(about: dict) -> bool:
    return about["pictures"] < about["total"]


def _columns(dataset: Dataset) -> list[str]:
    """All that points can be coloured by: label and split, what was found, then every other column."""
    catalog = dataset.catalog
    found = [f"{FINDING}{kind}" for kind in dict.fromkeys(line.kind for line in dataset.found.summary())]
    given = [name for name in ("label", "split") if name in catalog.types()]
    others = [name for name in (*catalog.categories(), *catalog.axes()) if name not in given]
    return [*given, *DISTANCES, *found, *others]


def _default(dataset: Dataset, columns: list[str]) -> str:
    labels = dataset.catalog.choices("label", limit=2)["value"]
    return "label" if any(isinstance(label, str) for label in labels) else DISTANCES[0]


def _named(column: str) -> str:
    return f"Finding: {name_of(column[len(FINDING) :])}" if column.startswith(FINDING) else column.replace("_", " ")


def _points(dataset: Dataset, there: Places, colour: str) -> pd.DataFrame:
    try:
        if not colour.startswith(FINDING):
            return there.points(colour, MOST_POINTS)
    except BadQuery:  # a column that a rescan has just taken away
        return there.points(most=MOST_POINTS)
    findings, _ = dataset.found.page(colour[len(FINDING) :], limit=MOST_POINTS)
    found = {key for finding in findings for key in finding.samples}
    points = there.points(most=MOST_POINTS)
    return points.assign(value=points["key"].isin(found).map({True: "found", False: None}).astype(object))


def _asked(view: MapView, points: pd.DataFrame, selection) -> MapView:
    """What was clicked or drawn around, as an address."""
    for shape in (*selection.get("lasso", ()), *selection.get("box", ())):
        xs, ys = shape["x"], shape["y"]
        if len(xs) == 2:  # of a box two corners
            xs, ys = [xs[0], xs[1], xs[1], xs[0]], [ys[0], ys[0], ys[1], ys[1]]
        return view.around(list(zip(xs, ys, strict=True)))
    clicked = [point["customdata"] for point in selection.get("points", ()) if point.get("customdata") is not None]
    if not clicked:
        return view.around(())
    row = clicked[0][0] if isinstance(clicked[0], list) else clicked[0]
    return replace(view.around(()), near=points["key"].iloc[int(row)])


def _pictures(dataset: Dataset, view: MapView, keys: list[str]) -> None:
    if not keys:
        empty = "No sample lies in there." if view.area or view.near else ""
        st.info(empty or "Draw around a part of the map, or click a point, to see its pictures here.")
        return
    what = "nearest on the map to what was clicked" if view.near else "samples in what was drawn around"
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{len(keys):,}** {what}")
        st.button("Clear", key="clear-area", icon=":material/close:", type="tertiary", on_click=_clear)
    st.fragment(_gallery)(dataset, view, keys, last_act_told())


def _gallery(dataset: Dataset, view: MapView, keys: list[str], act: object) -> None:
    """Apart from the rest of the page, so that a tick is quick."""
    if read_map_view() != view or last_act_told() != act:
        st.rerun()  # what was clicked or decided in here concerns the whole page
    pages = -(-len(keys) // A_PAGE)
    page = min(view.page, pages)
    tiles = tiles_by_key(dataset, keys[(page - 1) * A_PAGE : page * A_PAGE])
    shown = [key for key in keys[(page - 1) * A_PAGE : page * A_PAGE] if key in tiles]
    now = chosen(PLACE, (dataset.name, view.area, view.near))
    decision_bar(dataset, PLACE, now, shown, len(keys), lambda: keys)
    gallery(
        [Group("", len(keys), [tiles[key] for key in shown])],
        size=96,
        key=PLACE,
        selected=view.sample or None,
        choice=now.choice(shown),
        on_open=_open,
        on_choose=lambda: ticked(PLACE),
    )
    dataset.looks.add(shown, by=known_author())
    if pages > 1:
        key = f"map-page-{page}-of-{pages}"
        st.pagination(pages, default=page, key=key, on_change=_turn, args=(key,))


def _turn(key: str) -> None:
    show_view(replace(read_map_view(), page=st.session_state[key]))


def _open() -> None:
    show_view(replace(read_map_view(), sample=st.session_state[PLACE].opened))


def _clear() -> None:
    show_view(read_map_view().around(()))
