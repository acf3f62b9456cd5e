"""Datasets: what there is, what was found so far, and what to do next."""

import streamlit as st

from pages.widgets.add_dataset import add_dataset
from pages.widgets.dataset_card import dataset_card
from pages.widgets.shell import datasets

with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    st.title("Datasets", anchor=False)
    add_dataset()
st.caption(
    "Step 1 of the recipe: become one with the data. Scan a folder of images, look at hundreds of them, "
    "and find what is wrong before any network does."
)
known = datasets()
for dataset in known:
    dataset_card(dataset)
if not known:
    st.info("No dataset yet. Press **Add dataset**, or run `python -m recipe_core demo` for one to try.")
