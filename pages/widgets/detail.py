"""One image at full size with all that is known of it, what is decided on it, and the way to its neighbours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
import streamlit as st

from pages.widgets.rulings import rulings
from pages.widgets.shell import open_workspace, plain, read_view, selection_of, show_view
from pages.widgets.viewer import viewer
from recipe_core.data.facts import ABOUT
from recipe_core.errors import NotFound
from recipe_core.links import View
from recipe_core.workspace import Dataset


class Neighbours(Protocol):
    """The samples that the arrow keys walk through, in their order."""

    @property
    def total(self) -> int: ...

    def position(self, key: str) -> int | None: ...
    def at(self, position: int) -> str | None: ...


@dataclass(frozen=True)
class Selected:
    """All samples that Browse selects."""

    dataset: Dataset
    view: View
    total: int

    def position(self, key: str) -> int | None:
        return self.dataset.catalog.position(key, selection_of(self.view), self.view.order_by)

    def at(self, position: int) -> str | None:
        rows = self.dataset.catalog.rows(selection_of(self.view), self.view.order_by, 1, position)
        return None if rows.empty else rows["key"].iloc[0]


class Listed:
    """The samples that stand on a page."""

    def __init__(self, keys: Sequence[str]):
        self.keys = list(dict.fromkeys(keys))
        self.total = len(self.keys)

    def position(self, key: str) -> int | None:
        return self.keys.index(key) if key in self.keys else None

    def at(self, position: int) -> str | None:
        return self.keys[position] if position < self.total else None


def detail(dataset: Dataset, neighbours: Neighbours, read: Callable[[], Any] = read_view) -> None:
    """Open the sample that the address names, if any; `read` reads the address."""

    def close() -> None:
        show_view(replace(read(), sample=""))

    if read().sample:
        st.dialog(" ", width="large", on_dismiss=close)(_detail)(dataset, neighbours, read)


def _detail(dataset: Dataset, neighbours: Neighbours, read: Callable[[], Any]) -> None:
    key = read().sample
    try:
        sample = dataset.catalog.sample(key)
    except NotFound as problem:
        st.error(plain(str(problem)))
        return
    position = neighbours.position(key)
    where = f"{position + 1:,} of {neighbours.total:,}" if position is not None else "not in the selection"
    facts = " · ".join(str(part) for part in (sample["label"], sample["split"], where) if part)
    st.markdown(f"**{plain(key)}**  \n:small[{plain(facts)}]")
    if sample["error"]:
        st.warning(plain(sample["error"]), icon=":material/broken_image:")
    left, right = st.columns([3, 2])
    with left:
        _picture(dataset, sample, neighbours, position, read)
    with right:
        rulings(dataset, sample)
        st.dataframe(_table(sample), hide_index=True, width="stretch", height=420)


def _picture(
    dataset: Dataset, sample: dict, neighbours: Neighbours, position: int | None, read: Callable[[], Any]
) -> None:
    def step() -> None:
        asked = st.session_state["viewer"].step
        if position is not None and asked and (key := neighbours.at(max(0, position + asked))):
            show_view(replace(read(), sample=key))

    address = open_workspace().signer.image(dataset.name, sample["key"], sample["byte_hash"] or "")
    viewer(
        address if sample["width"] else "",
        alt=sample["key"],
        width=sample["width"],
        height=sample["height"],
        has_previous=bool(position),
        has_next=position is not None and position + 1 < neighbours.total,
        key="viewer",
        on_step=step,
    )


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
