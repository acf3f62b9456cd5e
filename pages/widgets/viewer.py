"""One image at full size, with the way to its neighbours: a custom component.

step = viewer("/image/a.png", alt="a.png", width=1600, height=1200, has_previous=False, has_next=True, key="viewer")
"""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_HTML = """
<div class="viewer">
  <div class="bar">
    <button type="button" class="previous" aria-label="Previous image" title="Previous image (left arrow key)"></button>
    <button type="button" class="next" aria-label="Next image" title="Next image (right arrow key)"></button>
    <span class="readout"></span>
    <button type="button" class="zoom"></button>
  </div>
  <div class="stage"></div>
</div>
"""
_component = st.components.v2.component(
    "recipe_viewer",
    html=_HTML,
    css=(_HERE / "viewer.css").read_text("utf-8"),
    js=(_HERE / "viewer.js").read_text("utf-8"),
)


def viewer(
    src: str,
    *,
    alt: str,
    width: int | None,
    height: int | None,
    has_previous: bool,
    has_next: bool,
    key: str,
    on_step: Callable[[], None] | None = None,
) -> int | None:
    """Show the image at URL `src` ("" = there is none) and return -1 or 1 when the user asks for its neighbour.

    `width` and `height` are the image's own, in pixels as it is seen (EXIF rotation applied), so that its place is
    kept before it arrives; None if unknown. The left and right arrow keys work anywhere on the page except where
    they already mean something. `on_step` runs before the script does; there the step stands in
    `st.session_state[key].step`.
    """
    data = {
        "src": src,
        "alt": alt,
        "width": width,
        "height": height,
        "hasPrevious": has_previous,
        "hasNext": has_next,
    }
    return _component(key=key, data=data, on_step_change=on_step or _nothing).step


def _nothing() -> None:
    """Without a callback Streamlit would not return the trigger."""
