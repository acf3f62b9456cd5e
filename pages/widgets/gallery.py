"""A gallery of thumbnails, optionally in titled groups: one custom component for any number of tiles.

opened = gallery([Group("", 2, [Tile("a.png", "/thumb/a"), Tile("b.png", "/thumb/b")])], size=96, key="samples").opened

With a `Choice` every tile has a box to tick; Shift and a click tick a range, x on the keyboard the focused tile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

SMALLEST, LARGEST = 48, 256  # tile sizes in CSS pixels


@dataclass(frozen=True)
class Tile:
    """One thumbnail. `id` comes back when it is opened; `src` is its URL, or "" if there is no picture to show."""

    id: str
    src: str
    title: str = ""
    """Shown as the tooltip and read aloud."""
    caption: str = ""
    """One line below the picture, cut with an ellipsis; hidden on small tiles."""
    badge: str = ""
    """A short word in the tile's corner, e.g. "corrupt"."""
    reason: str = ""
    """Why it is shown, in a few words below the caption; on small tiles it is only read aloud."""
    state: str = ""
    """What was decided on it: keep, exclude, relabel, not-a-problem or ""; it colours the badge."""


@dataclass(frozen=True)
class Group:
    """Tiles under one heading: `title` ("" = no heading), `count` of all its samples, not only of those shown here."""

    title: str
    count: int
    tiles: Sequence[Tile]
    id: str = ""
    """Not "": the heading is a button that reports this id."""


@dataclass(frozen=True)
class Choice:
    """The ids that are ticked. What the user ticks comes back; the gallery takes `ids` anew at another `revision`."""

    ids: Sequence[str]
    revision: int


@dataclass(frozen=True)
class GalleryResult:
    """What the user has just done; each is None in all other script runs."""

    opened: str | None
    """`Tile.id` of the tile that was clicked."""
    group: str | None
    """`Group.id` of the heading that was clicked."""


_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "recipe_gallery",
    html='<div class="gallery"></div>',
    css=(_HERE / "gallery.css").read_text("utf-8"),
    js=(_HERE / "gallery.js").read_text("utf-8"),
)


def gallery(
    groups: Sequence[Group],
    *,
    size: int,
    key: str,
    selected: str | None = None,
    choice: Choice | None = None,
    on_open: Callable[[], None] | None = None,
    on_group: Callable[[], None] | None = None,
    on_choose: Callable[[], None] | None = None,
) -> GalleryResult:
    """Draw the groups and say what was clicked.

    `size` is the least width of a tile in CSS pixels, brought within 48..256; tiles grow to fill the row evenly.
    `selected` is the id of the tile to mark. The callbacks run before the script does; there the id stands in
    `st.session_state[key].opened` or `.group`, and the list of all ticked ids in `.chosen`.
    """
    data = {
        "size": min(max(size, SMALLEST), LARGEST),
        "selected": selected,
        "choice": choice and {"ids": list(choice.ids), "revision": choice.revision},
        "groups": [
            {"id": group.id, "title": group.title, "count": group.count, "tiles": [vars(tile) for tile in group.tiles]}
            for group in groups
        ],
    }
    result = _component(
        key=key,
        data=data,
        on_opened_change=on_open or _nothing,
        on_group_change=on_group or _nothing,
        on_chosen_change=on_choose or _nothing,
    )
    return GalleryResult(opened=result.opened, group=result.group)


def _nothing() -> None:
    """Without a callback Streamlit would not return the trigger."""
