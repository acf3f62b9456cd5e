"""The history of decisions on a dataset, newest first, each with the way back."""

import streamlit as st

from pages.widgets.decide import samples, undo
from pages.widgets.rulings import ago
from pages.widgets.shell import plain
from recipe_core.workspace import Dataset

AT_ONCE = 10


def acts(dataset: Dataset) -> None:
    """Draw the last acts; more of them on demand."""
    shown = st.session_state.get("acts-shown", AT_ONCE)
    history = dataset.decisions.history(limit=shown + 1)
    st.subheader("Decisions", anchor=False)
    if history.empty:
        st.caption("Nothing was decided yet. Every decision will stand here, with who made it, when and why.")
        return
    with st.container(border=True, key="acts", gap="small"):
        for act in history[:shown].itertuples():
            _act(dataset, act)
    if len(history) > shown:
        st.button("Show more", key="more-acts", on_click=_more, args=(shown,))


def _act(dataset: Dataset, act) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"act-{act.act}"):
        struck = "~~" if act.undone else ""
        about = f" (of {plain(act.kind.replace('_', ' '))})" if act.kind else ""
        what = f"relabel as {plain(act.label)}" if act.ruling == "relabel" else act.ruling.replace("-", " ")
        first = f": {plain(act.first_key)}" + (", …" if act.samples > 1 else "") if act.first_key else ""
        st.markdown(f"{struck}**{what}**{about} {samples(int(act.samples))}{struck}{first}", width="content")
        st.caption(
            f"{plain(act.by or 'somebody')}, {ago(act.at)}" + (f": {plain(act.note)}" if act.note else ""),
            width="content",
        )
        if act.ruling != "undo" and not act.undone:
            label = f"Undo {act.act}"
            st.button(
                "Undo",
                key=f"undo-act-{act.act}",
                icon=":material/undo:",
                type="tertiary",
                help=label,
                on_click=undo,
                args=(dataset, act.act),
            )
        elif act.undone:
            st.caption("undone", width="content")


def _more(shown: int) -> None:
    st.session_state["acts-shown"] = shown + 5 * AT_ONCE
