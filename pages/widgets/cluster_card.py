"""One cluster of duplicates: its pictures side by side, how they differ, and the ways to settle it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import streamlit as st

from pages.widgets.chosen import chosen, ticked, untick
from pages.widgets.decide import rule, samples
from pages.widgets.gallery import Group, Tile, gallery
from pages.widgets.keep_best import ask_to_keep_the_best
from pages.widgets.kinds import name_of
from pages.widgets.shell import plain, read_findings_view, show_view
from recipe_core.data.findings import KINDS, Finding
from recipe_core.data.findings.finding import Difference
from recipe_core.workspace import Dataset

SHOWN = 24  # pictures of a cluster
COLOURS = {"error": "red", "warning": "orange", "info": "blue"}


def shown_keys(finding: Finding) -> tuple[str, ...]:
    """The samples of a cluster that are drawn."""
    return finding.samples[:SHOWN]


def chosen_in(dataset: Dataset, finding: Finding) -> tuple[str, ...]:
    """The samples of a cluster that are ticked."""
    return chosen(_place(finding), dataset.name).keys


def let_go(findings: Sequence[Finding]) -> None:
    """Take the ticks in these clusters away."""
    for finding in findings:
        untick(_place(finding))


def cluster_card(dataset: Dataset, finding: Finding, tiles: Mapping[str, Tile], best: set[str]) -> None:
    """Draw a cluster; `tiles` has its samples' and `best` those that would be kept."""
    place = _place(finding)
    with st.container(border=True, key=f"cluster-{finding.id}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            for kind in finding.evidence.get("kinds", [finding.kind]):
                st.markdown(f":{COLOURS[KINDS[kind].severity]}-badge[{name_of(kind).lower()}]", width="content")
            if finding.decided:
                st.badge("decided", icon=":material/check:", color="green")
            st.markdown(plain(finding.message), width="content")
        drawn = [tiles[key] for key in shown_keys(finding) if key in tiles]
        stays = _staying(finding, drawn, best)
        differences = finding.differences_from(stays)
        drawn = [replace(tile, reason=_reason(tile, best, stays, differences)) for tile in drawn]
        drawn.sort(key=lambda tile: tile.id not in stays)
        now = chosen(place, dataset.name)
        gallery(
            [Group("", len(finding.samples), drawn)],
            size=144,
            key=place,
            choice=now.choice([tile.id for tile in drawn]),
            on_open=lambda: show_view(replace(read_findings_view(), sample=st.session_state[place].opened)),
            on_choose=lambda: ticked(place),
        )
        if len(finding.samples) > SHOWN:
            st.caption(f"and {len(finding.samples) - SHOWN:,} more")
        _settle(dataset, finding)


def _settle(dataset: Dataset, finding: Finding) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("Keep the best", key=f"best-{finding.id}", icon=":material/star:"):
            ask_to_keep_the_best(dataset, pd.DataFrame({"key": finding.samples, "cluster": 0}))
        st.button(
            "Not a duplicate",
            key=f"not-{finding.id}",
            icon=":material/thumb_up:",
            help=f"These {samples(len(finding.samples))} are different pictures; it is remembered over rescans.",
            on_click=rule,
            args=(dataset, "not-a-problem", finding.samples),
            kwargs={"kind": "exact_duplicate" if finding.kind == "exact_duplicate" else "near_duplicate"},
        )


def _staying(finding: Finding, drawn: Sequence[Tile], best: set[str]) -> set[str]:
    """Those that would be kept; where nothing would be excluded any more, those that were not."""
    would = {key for key in finding.samples if key in best}
    excluded = {tile.id for tile in drawn if tile.state == "exclude"}
    return would or ({tile.id for tile in drawn} - excluded if excluded else set())


def _reason(tile: Tile, best: set[str], stays: set[str], differences: Mapping[str, Difference]) -> str:
    if tile.id in stays:
        return "★ would be kept" if tile.id in best else "★ kept"
    if tile.id not in differences:
        return "an exact copy"
    difference = differences[tile.id]
    told = f"{name_of(difference.subkind).lower()}, {difference.similarity:.2f} alike"
    return told if difference.other in stays else f"{told} to another"


def _place(finding: Finding) -> str:
    return f"cluster-gallery-{finding.id}"
