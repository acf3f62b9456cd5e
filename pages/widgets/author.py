"""Who is deciding: a name that is asked once and then remembered by the browser."""

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_HTML = """
<label class="author"><span>Decided by</span><input type="text" placeholder="your name" maxlength="60"></label>
"""
_component = st.components.v2.component(
    "recipe_author",
    html=_HTML,
    css=(_HERE / "author.css").read_text("utf-8"),
    js=(_HERE / "author.js").read_text("utf-8"),
)


def author(place: str) -> str:
    """Draw the field and return the name, "" where none was given yet; `place` tells the fields of a page apart."""
    key = f"author-{place}"

    def renamed() -> None:
        st.session_state["author"] = (st.session_state[key].name or "").strip()

    _component(key=key, data={"name": known_author()}, width="content", on_name_change=renamed)
    return known_author()


def known_author() -> str:
    """The name that was given in this session or remembered by its browser."""
    return st.session_state.get("author", "")
