"""Duplicates: clusters of samples with (nearly) the same picture side by side, the harmful ones first."""

from pages.widgets.cluster_list import cluster_list
from pages.widgets.kinds import kind_choice
from pages.widgets.progress import renewing
from pages.widgets.shell import chosen_dataset, read_findings_view
from pages.widgets.threshold import precision, threshold
from pages.widgets.toolbar import dataset_choice, headline
from recipe_core.data.findings import CLUSTERED

view = read_findings_view()
dataset, names = chosen_dataset(view.dataset)
dataset_choice(dataset, names)
headline(dataset)
renewing(dataset)
clusters = dataset.found.clusters(view.threshold)
threshold(dataset, view, clusters)
precision(dataset, view)
chosen = kind_choice(dataset, view, clusters.summaries(), CLUSTERED, everything=True)
if chosen:
    cluster_list(dataset, view, clusters, *chosen)
