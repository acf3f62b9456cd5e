"""Train: launch runs, watch them, lay them over each other, and see what they predict."""

import streamlit as st

from pages.widgets.comparison import comparison
from pages.widgets.launch_form import launch_form
from pages.widgets.run_list import known_runs, run_list
from pages.widgets.run_view import run_view
from pages.widgets.shell import datasets, plain, read_train_view

view = read_train_view()
known = {dataset.name: dataset for dataset in datasets()}
dataset = known.get(view.dataset or next(iter(known), ""))

if dataset is None and not known:
    st.info("No dataset yet. Add one on the **Datasets** page.")
    st.page_link("pages/home.py", label="Datasets", icon=":material/home:")
elif dataset is None:
    st.error(f"There is no dataset “{plain(view.dataset)}” here; it was removed or renamed.")
    st.page_link("pages/home.py", label="Datasets", icon=":material/home:")
else:
    runs = known_runs(dataset)
    run_list(dataset, view, list(known), runs)
    opened = [runs[id] for id in view.runs if id in runs]
    gone = [id for id in view.runs if id not in runs]
    if gone:
        st.warning(f"Of “{plain(dataset.name)}” there is no run {', '.join(map(str, gone))}; it was deleted.")
    if len(opened) > 1:
        comparison(dataset, view, opened)
    elif opened:
        run_view(dataset, view, opened[0])
    else:
        launch_form(dataset, view, runs.get(view.like))
