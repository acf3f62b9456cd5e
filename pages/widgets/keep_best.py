"""The question before all but the best of some clusters are excluded."""

import pandas as pd
import streamlit as st

from pages.widgets.author import author
from pages.widgets.decide import rule, samples
from recipe_core.data.findings.best import Plan, keep_the_best
from recipe_core.workspace import Dataset


@st.dialog("Keep the best of each cluster?")
def ask_to_keep_the_best(dataset: Dataset, clusters: pd.DataFrame) -> None:
    """Say what it comes to, and do it when told so; `clusters` has key and cluster of each sample."""
    plan = keep_the_best(dataset.catalog, dataset.decisions, clusters)
    for sentence in _sentences(plan):
        st.markdown(sentence)
    if not plan.exclude:
        return
    author("keep-best")
    if st.button(f"Exclude {samples(len(plan.exclude))}", type="primary", key="confirm-best"):
        rule(dataset, "exclude", plan.exclude, note="the best of the duplicates was kept")
        st.rerun()


def _sentences(plan: Plan):
    if plan.exclude:
        yield (
            f"**{samples(len(plan.exclude))} will be excluded**, and {samples(len(plan.best))} kept: what somebody has "
            "kept by hand, else the one with most pixels, then the least compressed, then the sharpest."
        )
    else:
        yield "There is nothing to exclude: of each cluster at most one is left, or all were kept by hand."
    if plan.across_splits:
        yield (
            f"{_clusters(plan.across_splits)} span{'s' if plan.across_splits == 1 else ''} splits: there the copy in "
            "test or validation stays, so that scores stay comparable and training no longer sees it."
        )
    if plan.conflicts:
        yield (
            f"{_clusters(plan.conflicts)} whose labels disagree {'is' if plan.conflicts == 1 else 'are'} left alone: "
            "relabel or exclude by hand what is wrong."
        )


def _clusters(count: int) -> str:
    return f"{count:,} cluster{'' if count == 1 else 's'}"
