"""How alike two pictures must be to count as the same, how many clusters that makes, and how often it is right."""

import math

import pandas as pd
import streamlit as st

from pages.widgets.author import author, known_author
from pages.widgets.controls import findings_bound
from pages.widgets.decide import rule
from pages.widgets.gallery import Group, gallery
from pages.widgets.samples import tiles_by_key
from pages.widgets.shell import fragment, plain
from recipe_core.data.findings.clusters import Clusters
from recipe_core.data.findings.precision import Answers, estimate, most_telling
from recipe_core.links import FindingsView
from recipe_core.workspace import Dataset

STEP = 0.005


def threshold(dataset: Dataset, view: FindingsView, clusters: Clusters) -> None:
    """Draw the slider, where there are near duplicates."""
    similarity = dataset.found.clusters().edges["similarity"]
    if similarity.empty:
        return
    lowest = math.floor(float(similarity.min()) / STEP) * STEP
    if lowest > 1 - STEP:
        return  # all are equally alike
    left, right = st.columns([3, 2], vertical_alignment="bottom", gap="large")
    with left:
        findings_bound(
            st.slider,
            "How alike pictures must be to count as nearly the same",
            round(lowest, 3),
            1.0,
            key="threshold",
            value=min(max(view.threshold or 0.0, round(lowest, 3)), 1.0),
            step=STEP,
            format="%.3f",
            change=lambda view, value: view.narrowed(threshold=None if value <= lowest + STEP / 2 else value),
        )
    near, count = len(clusters.edges), clusters.count()
    right.markdown(f"**{count:,}** cluster{'' if count == 1 else 's'} · {near:,} near pair{'' if near == 1 else 's'}")


def precision(dataset: Dataset, view: FindingsView) -> None:
    """Say how many of the near pairs are the same picture, by the answers given, and ask for more of them."""
    pairs = dataset.found.clusters().pairs()
    if pairs.empty:
        return
    fragment(_precision)(dataset, view)


def _precision(dataset: Dataset, view: FindingsView) -> None:
    answers = Answers(dataset.workspace.store, dataset.name)
    pairs, given = dataset.found.clusters().pairs(), answers.all()
    at = view.threshold or 0.0
    similarity = pairs["similarity"].to_numpy(float)
    told = estimate(similarity, given, at)
    if told is None:
        return
    sentence = (
        f"About **{told.value:.0%}** of the near pairs above it are the same picture "
        f"({told.low:.0%} to {told.high:.0%}, from {len(given)} answer{'' if len(given) == 1 else 's'})."
        if len(given)
        else "How often is it right at this threshold? A few answers give an estimate."
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":material/fact_check: {sentence}", width="content")
        asking = st.toggle("Ask me", key="asking")
    if asking:
        known = pd.MultiIndex.from_frame(given[["a", "b"]])
        _ask(dataset, answers, pairs[~pd.MultiIndex.from_frame(pairs[["a", "b"]]).isin(known)], given, at)


def _ask(dataset: Dataset, answers: Answers, pairs: pd.DataFrame, given: pd.DataFrame, at: float) -> None:
    """One pair, side by side, and the question; the pair is the one whose answer tells most."""
    wanted = most_telling(pairs["similarity"].to_numpy(float), given, at)
    if wanted is None:
        st.caption("All pairs above the threshold were asked about.")
        return
    pair = pairs.loc[(pairs["similarity"] - wanted).abs().idxmin()]

    def answer(same: bool) -> None:
        answers.add(pair["a"], pair["b"], float(pair["similarity"]), same, by=known_author())
        if not same:
            rule(dataset, "not-a-problem", [pair["a"], pair["b"]], kind="near_duplicate", note="not the same picture")

    with st.container(border=True, key="question", gap="small"):
        st.markdown("**Is this the same picture?**")
        tiles = tiles_by_key(dataset, [pair["a"], pair["b"]])
        gallery([Group("", len(tiles), list(tiles.values()))], size=192, key="asked")
        st.caption(f"Taken for {plain(pair['subkind'])}, similarity {pair['similarity']:.3f}")
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.button("Yes, the same", key="same", icon=":material/check:", on_click=answer, args=(True,))
            st.button("No, another", key="another", icon=":material/close:", on_click=answer, args=(False,))
            author("question")
