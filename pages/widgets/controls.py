"""Widgets that show a part of the address and change it: the address is the only state of a page."""

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from pages.widgets.shell import (
    read_audit_view,
    read_findings_view,
    read_map_view,
    read_train_view,
    read_view,
    show_view,
)


def bound(
    widget: Callable,
    label: str,
    *args: Any,
    key: str,
    value: Any,
    change: Callable[[Any, Any], Any],
    read: Callable[[], Any] = read_view,
    **options,
):
    """Draw a widget with this value; when the user changes it, the address becomes `change(view, new value)`."""

    def apply() -> None:
        show_view(change(read(), st.session_state[key]))

    st.session_state[key] = value
    return widget(label, *args, key=key, on_change=apply, **options)


def go(change: Callable[[Any], Any], read: Callable[[], Any] = read_view) -> None:
    """Change the address; for the callbacks of buttons."""
    show_view(change(read()))


train_bound = partial(bound, read=read_train_view)
train_go = partial(go, read=read_train_view)
audit_bound = partial(bound, read=read_audit_view)
findings_bound = partial(bound, read=read_findings_view)
findings_go = partial(go, read=read_findings_view)
map_bound = partial(bound, read=read_map_view)
