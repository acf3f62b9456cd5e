"""One image at full size with all that is known of it, and the way to its neighbours in the selection."""

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from pages.widgets.shell import open_workspace, plain, read_view, selection_of, show_view
from pages.widgets.viewer import viewer
from recipe_core.data.facts import ABOUT
from recipe_core.errors import NotFound
from recipe_core.links import View
from recipe_core.workspace import Dataset


def detail(dataset: Dataset, view: View, matching: int) -> None:
    """Open the sample that the address names, if any."""
    if view.sample:
        st.dialog(" ", width="large", on_dismiss=_close)(_detail)(dataset, matching)


def _close() -> None:
    show_view(replace(read_view(), sample=""))


def _detail(dataset: Dataset, matching: int) -> None:
    view = read_view()
    try:
        sample = dataset.catalog.sample(view.sample)
    except NotFound as problem:
        st.error(plain(str(problem)))
        return
    position = dataset.catalog.position(view.sample, selection_of(view), view.order_by)
    where = f"{position + 1:,} of {matching:,}" if position is not None else "not in the selection"
    facts = " · ".join(str(part) for part in (sample["label"], sample["split"], where) if part)
    st.markdown(f"**{plain(view.sample)}**  \n:small[{plain(facts)}]")
    if sample["error"]:
        st.warning(plain(sample["error"]), icon=":material/broken_image:")
    left, right = st.columns([3, 2])
    with left:
        _picture(dataset, view, sample, position, matching)
    right.dataframe(_table(sample), hide_index=True, width="stretch", height=560)


def _picture(dataset: Dataset, view: View, sample: dict, position: int | None, matching: int) -> None:
    address = open_workspace().signer.image(dataset.name, view.sample, sample["byte_hash"] or "")
    viewer(
        address if sample["width"] else "",
        alt=view.sample,
        width=sample["width"],
        height=sample["height"],
        has_previous=bool(position),
        has_next=position is not None and position + 1 < matching,
        key="viewer",
        on_step=lambda: _step(dataset, view, position),
    )


def _step(dataset: Dataset, view: View, position: int | None) -> None:
    step = st.session_state["viewer"].step
    if position is None or not step:
        return
    rows = dataset.catalog.rows(selection_of(view), view.order_by, limit=1, offset=max(0, position + step))
    if not rows.empty:
        show_view(replace(view, sample=rows["key"].iloc[0]))


def _table(sample: dict) -> pd.DataFrame:
    """What was given, then what was measured."""
    shown = [
        (name, _text(value), ABOUT[name].unit if name in ABOUT else "")
        for name, value in sample.items()
        if value is not None and not name.startswith("_")
    ]
    return pd.DataFrame(shown, columns=["fact", "value", "unit"])


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, np.ndarray):
        return " ".join(map(str, value))
    return str(value)
