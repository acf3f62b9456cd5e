"""Browse: the gallery of one dataset, with filters, a chart, and every image at full size."""

import streamlit as st

from pages.widgets.chart import chart
from pages.widgets.detail import detail
from pages.widgets.filters import filters
from pages.widgets.samples import samples
from pages.widgets.shell import datasets, plain, read_view, selection_of
from pages.widgets.toolbar import headline, scan_notice, toolbar
from recipe_core.errors import BadQuery

view = read_view()
known = {dataset.name: dataset for dataset in datasets()}
dataset = known.get(view.dataset or next(iter(known), ""))

if dataset is None and not known:
    st.info("No dataset yet. Add one on the **Datasets** page.")
    st.page_link("pages/home.py", label="Datasets", icon=":material/home:")
elif dataset is None:
    st.error(f"There is no dataset “{plain(view.dataset)}” here; it was removed or renamed.")
    st.page_link("pages/home.py", label="Datasets", icon=":material/home:")
else:
    filters(dataset, view, list(known))
    headline(dataset)
    scan_notice(dataset)
    toolbar(dataset, view)
    try:
        matching = dataset.catalog.count(selection_of(view))
        chart(dataset, view)
        samples(dataset, view, matching)
        detail(dataset, view, matching)
    except BadQuery as problem:
        st.error(plain(str(problem)))
