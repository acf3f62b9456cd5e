"""Integrity: files that cannot be read, pictures that are broken, blank or poor; each kind as a ranked view."""

from pages.widgets.kinds import kind_choice
from pages.widgets.progress import renewing
from pages.widgets.ranked import ranked
from pages.widgets.shell import chosen_dataset, read_findings_view
from pages.widgets.toolbar import dataset_choice, headline
from recipe_core.data.findings import ALONE

view = read_findings_view()
dataset, names = chosen_dataset(view.dataset)
dataset_choice(dataset, names)
headline(dataset)
renewing(dataset)
chosen = kind_choice(dataset, view, dataset.found.summary(), ALONE)
if chosen:
    ranked(dataset, view, *chosen)
