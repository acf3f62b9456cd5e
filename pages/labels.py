"""Labels: how many of each class and split, what gives labels away, in what splits differ, what a class looks like."""

import streamlit as st

from pages.widgets.class_card import class_card
from pages.widgets.class_counts import counts
from pages.widgets.detail import Listed, detail
from pages.widgets.progress import renewing
from pages.widgets.shell import chosen_dataset, read_findings_view
from pages.widgets.toolbar import dataset_choice, headline
from pages.widgets.whole_list import whole_list

view = read_findings_view()
dataset, names = chosen_dataset(view.dataset)
dataset_choice(dataset, names)
headline(dataset)
renewing(dataset)
classes = dataset.found.class_counts()
if classes.empty and dataset.catalog.count():
    st.info(
        "No readable sample of this dataset has a label, so there is nothing to weigh here; **Outliers** needs none."
    )
else:
    counts(dataset, view, classes)
whole_list(dataset, view, classes)
class_card(dataset, view, classes)
detail(dataset, Listed([view.sample]), read_findings_view)
