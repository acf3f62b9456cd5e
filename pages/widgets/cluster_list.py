"""Clusters of duplicates side by side: what each has in common, how its pictures differ, and what to do with it."""

import pandas as pd
import streamlit as st

from pages.widgets.author import known_author
from pages.widgets.cluster_card import chosen_in, cluster_card, let_go, shown_keys
from pages.widgets.decide import last_act, last_act_told, ruling_buttons
from pages.widgets.detail import Listed, detail
from pages.widgets.keep_best import ask_to_keep_the_best
from pages.widgets.kinds import undecided_choice
from pages.widgets.pages import page_choice, page_of
from pages.widgets.samples import tiles_by_key
from pages.widgets.shell import fragment, plain, read_findings_view
from recipe_core.data.findings import KINDS, Finding
from recipe_core.data.findings.best import keep_the_best
from recipe_core.data.findings.clusters import Clusters
from recipe_core.links import FindingsView
from recipe_core.workspace import Dataset

A_PAGE = 10


def cluster_list(dataset: Dataset, view: FindingsView, clusters: Clusters, kind: str, subkind: str | None) -> None:
    """Draw a page of the clusters of this kind ("" for all)."""
    which = (kind or None, subkind, view.undecided)
    total = clusters.count(*which)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(
            plain(KINDS[kind].advice)
            if kind
            else "Clusters that span splits and those whose labels disagree come first: they do their harm silently.",
            width="content",
        )
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            undecided_choice(view)
            if total and st.button(f"Keep the best of all {total:,}", key="keep-best-of-all", icon=":material/star:"):
                ask_to_keep_the_best(dataset, clusters.samples(*which))
    if not total:
        st.success("All of them are decided.", icon=":material/check:")
        return
    page = page_of(view.page, total, A_PAGE)
    shown = clusters.joined(*which, limit=A_PAGE, offset=(page - 1) * A_PAGE)
    fragment(_clusters)(dataset, view, shown, last_act_told())
    page_choice(page, total, A_PAGE)
    detail(dataset, Listed([key for finding in shown for key in shown_keys(finding)]), read_findings_view)


def _clusters(dataset: Dataset, view: FindingsView, shown: list[Finding], act: object) -> None:
    if read_findings_view() != view or last_act_told() != act:
        st.rerun()  # what was clicked or decided in here concerns the whole page
    with st.container(horizontal=True, vertical_alignment="center", key="decide-gallery-clusters", gap="small"):
        ticked = [key for finding in shown for key in chosen_in(dataset, finding)]
        if ticked:
            st.markdown(f"**{len(ticked):,}** chosen", width="content")
            ruling_buttons(dataset, lambda: ticked, "clusters", then=lambda: let_go(shown))
        else:
            last_act(dataset, "clusters")
            st.caption("Tick pictures to decide on them one by one, or settle a whole cluster.", width="content")
    keys = [key for finding in shown for key in shown_keys(finding)]
    tiles = tiles_by_key(dataset, keys, ("split", "size"))
    members = pd.DataFrame(
        [(key, place) for place, finding in enumerate(shown) for key in finding.samples], columns=["key", "cluster"]
    )
    best = set(keep_the_best(dataset.catalog, dataset.decisions, members).best)
    for finding in shown:
        cluster_card(dataset, finding, tiles, best)
    dataset.looks.add(keys, by=known_author())
