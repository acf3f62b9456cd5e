"""Which page of a long list is shown."""

from dataclasses import replace

import streamlit as st

from pages.widgets.shell import read_findings_view, show_view


def page_of(asked: int, total: int, a_page: int) -> int:
    """The page that the address asks for, or the last one."""
    return min(asked, max(1, -(-total // a_page)))


def page_choice(page: int, total: int, a_page: int) -> None:
    """Draw the choice of page, where there are several."""
    pages = -(-total // a_page)
    if pages > 1:
        with st.container(horizontal_alignment="center"):
            # Keyed by its place: st.pagination cannot be given its value through the session's state.
            key = f"page-{page}-of-{pages}"
            st.pagination(pages, default=page, key=key, on_change=_turn, args=(key,))


def _turn(key: str) -> None:
    show_view(replace(read_findings_view(), page=st.session_state[key]))
