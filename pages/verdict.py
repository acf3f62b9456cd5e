"""Verdict: what matters most in a dataset, the gate of stage 1, what training will read, and what was decided."""

import streamlit as st

from pages.widgets.acts import acts
from pages.widgets.gate import gate, manifest_card
from pages.widgets.progress import renewing
from pages.widgets.shell import chosen_dataset, read_findings_view
from pages.widgets.toolbar import dataset_choice, headline
from pages.widgets.verdict_lines import verdict_lines

view = read_findings_view()
dataset, names = chosen_dataset(view.dataset)
dataset_choice(dataset, names)
headline(dataset)


def whole() -> None:
    judged = dataset.verdict()
    left, right = st.columns([5, 2], gap="large")
    with left:
        verdict_lines(dataset, judged)
    with right:
        gate(dataset, judged.gate)
        manifest_card(dataset)
    acts(dataset)


renewing(dataset, whole)
