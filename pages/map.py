"""Map: the dataset in two dimensions, alike beside alike, and the pictures of any part of it."""

from pages.widgets.dataset_map import dataset_map, embedding_state
from pages.widgets.progress import renewing
from pages.widgets.shell import chosen_dataset, read_map_view
from pages.widgets.toolbar import dataset_choice, headline

view = read_map_view()
dataset, names = chosen_dataset(view.dataset)
dataset_choice(dataset, names)
headline(dataset)
renewing(dataset, lambda: embedding_state(dataset))
dataset_map(dataset, view)
