"""Widgets that show a part of the address and change it: the address is the only state of the Browse page."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from pages.widgets.shell import read_view, show_view
from recipe_core.links import View


def bound(
    widget: Callable, label: str, *args: Any, key: str, value: Any, change: Callable[[View, Any], View], **options
):
    """Draw a widget with this value; when the user changes it, the address becomes `change(view, new value)`."""

    def apply() -> None:
        show_view(change(read_view(), st.session_state[key]))

    st.session_state[key] = value
    return widget(label, *args, key=key, on_change=apply, **options)


def go(change: Callable[[View], View]) -> None:
    """Change the address; for the callbacks of buttons."""
    show_view(change(read_view()))
