"""Label errors: labels that the other pictures speak against, one after the other or as a list, each to be decided."""

from pages.widgets.progress import renewing
from pages.widgets.ranked import ranked
from pages.widgets.shell import chosen_dataset, read_findings_view
from pages.widgets.suspects import probe_button, suspect, view_choice
from pages.widgets.toolbar import dataset_choice, headline

KIND = "label_error"

view = read_findings_view()
dataset, names = chosen_dataset(view.dataset)
dataset_choice(dataset, names)
headline(dataset)
renewing(dataset)
how = view_choice(dataset, KIND)
if how == "List":
    ranked(dataset, view, KIND, None)
elif how:
    suspect(dataset, KIND)
if how:
    probe_button(dataset)
