"""Train: launch runs, watch them, lay them over each other, and see what they predict."""

import streamlit as st

from pages.widgets.comparison import comparison
from pages.widgets.launch_form import launch_form
from pages.widgets.moment import moments, read_afresh
from pages.widgets.run_list import run_list
from pages.widgets.run_view import run_view
from pages.widgets.shell import chosen_dataset, plain, read_train_view

view = read_train_view()
dataset, names = chosen_dataset(view.dataset)
read_afresh()
runs = {id: seen.run for id, seen in moments(dataset.name).items()}
run_list(dataset, view, names)
opened = [runs[id] for id in view.runs if id in runs]
gone = [id for id in view.runs if id not in runs]
if gone:
    numbers = ", ".join(map(str, gone))
    st.warning(f"Of “{plain(dataset.name)}” there is no run {numbers}: deleted, or of another dataset.")
if len(opened) > 1:
    comparison(dataset, view, opened)
elif opened:
    run_view(dataset, view, opened[0])
else:
    launch_form(dataset, view, runs.get(view.like))
