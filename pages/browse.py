"""Browse: the gallery of one dataset, with filters, a chart, and every image at full size."""

import streamlit as st

from pages.widgets.chart import chart
from pages.widgets.detail import Selected, detail
from pages.widgets.filters import filters
from pages.widgets.samples import samples
from pages.widgets.shell import chosen_dataset, plain, read_view, selection_of
from pages.widgets.toolbar import headline, scan_notice, toolbar
from recipe_core.errors import BadQuery

view = read_view()
dataset, names = chosen_dataset(view.dataset)
filters(dataset, view, names)
headline(dataset)
scan_notice(dataset)
toolbar(dataset, view)
try:
    matching = dataset.catalog.count(selection_of(view))
    chart(dataset, view)
    samples(dataset, view, matching)
    detail(dataset, Selected(dataset, view, matching))
except BadQuery as problem:
    st.error(plain(str(problem)))
