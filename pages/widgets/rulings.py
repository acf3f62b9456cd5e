"""What is decided on one sample: what stands, the buttons, and all that was ruled before."""

import time

import pandas as pd
import streamlit as st

from pages.widgets.decide import last_act_told, ruling_buttons, take_back
from pages.widgets.shell import plain
from recipe_core.workspace import Dataset

STANDS = {
    "keep": (":material/check:", "green", "kept"),
    "exclude": (":material/block:", "red", "excluded"),
    "relabel": (":material/label:", "blue", "relabelled"),
    "not-a-problem": (":material/thumb_up:", "green", "not a problem"),
}


def rulings(dataset: Dataset, sample: dict) -> None:
    """Draw them for the sample, a row of the catalog."""
    key = sample["key"]
    acts = dataset.decisions.of(key)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="stands"):
        if ruled := sample["decision"]:
            icon, colour, word = STANDS[ruled]
            stands = f"{word} as {plain(sample['new_label'])}" if ruled == "relabel" else word
            st.markdown(f":{colour}-badge[{icon} {stands}]", width="content")
            st.button(
                "Take back",
                key="take-back",
                icon=":material/undo:",
                type="tertiary",
                on_click=take_back,
                args=(dataset, ruled, key),
            )
        else:
            st.badge("undecided", icon=":material/help:", color="gray")
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="decide-detail"):
        ruling_buttons(dataset, lambda: [key], "detail")
    act = last_act_told()
    if act and act.failed:
        st.error(plain(act.sentence))
    if not acts.empty:
        with st.expander(f"History ({len(acts)})"):
            for act in acts.itertuples():
                st.caption(told(act))


def told(act) -> str:
    """An act as Markdown: "~~exclude~~ by ann, 5 minutes ago: too dark"."""
    what = f"relabel as {plain(act.label)}" if act.ruling == "relabel" else act.ruling.replace("-", " ")
    what = f"~~{what}~~ (undone)" if act.undone else f"**{what}**"
    return f"{what} by {plain(act.by or 'somebody')}, {ago(act.at)}" + (f": {plain(act.note)}" if act.note else "")


def ago(at: float) -> str:
    """ "just now", "5 minutes ago", "3 hours ago", else the day."""
    seconds = time.time() - at
    for unit, size, most in (("minute", 60, 3600), ("hour", 3600, 86400)):
        if seconds < most:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'} ago" if count else "just now"
    return f"{pd.Timestamp(at, unit='s'):%Y-%m-%d}"
