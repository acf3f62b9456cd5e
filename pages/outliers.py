"""Outliers: the samples that stick out, and both ends of the ranking along any axis."""

from pages.widgets.kinds import kind_choice
from pages.widgets.progress import renewing
from pages.widgets.ranked import ranked
from pages.widgets.shell import chosen_dataset, read_findings_view
from pages.widgets.tails import tails
from pages.widgets.toolbar import dataset_choice, headline

view = read_findings_view()
dataset, names = chosen_dataset(view.dataset)
dataset_choice(dataset, names)
headline(dataset)
renewing(dataset)
tails(dataset, view)
chosen = kind_choice(dataset, view, dataset.found.summary(), ["outlier"])
if chosen:
    ranked(dataset, view, *chosen)
