"""What an audit has found: failures and doubts with their evidence, what passed in a line each, then the rest."""

import streamlit as st

from pages.widgets.shell import plain
from recipe_core.checks.page import evidence_block
from recipe_core.checks.result import AuditReport, Result

STAGES = (
    "become one with the data",
    "skeleton and dumb baselines",
    "overfit",
    "regularize",
    "tune",
    "squeeze out the juice",
)
LOOKS = {"fail": ("red", "close"), "unsure": ("orange", "question_mark")}
SHORT = {
    "pass": ("Passed", ":green[:material/check:]"),
    "error": ("Could not be done", ":orange[:material/error:]"),
    "skipped": ("Skipped", ":gray[:material/skip_next:]"),
}


def audit_results(report: AuditReport, complete: bool) -> None:
    """Draw them, most harmful first; `complete` once no more will come."""
    for place, result in enumerate([*report.failures, *report.of("unsure")]):
        _card(place, result)
    if complete and report.passed:
        st.success(f"Nothing failed: {plain(report.summary)}.", icon=":material/verified:")
    elif complete and not report.failures:
        st.warning(f"Nothing could be checked: {plain(report.summary)}. Give it more seconds.")
    for verdict, (title, icon) in SHORT.items():
        if results := report.of(verdict):
            st.subheader(f"{title} ({len(results)})", anchor=False)
            st.markdown("  \n".join(f"{icon} {_line(result)}" for result in results))


def _card(place: int, result: Result) -> None:
    colour, icon = LOOKS[result.verdict]
    with st.container(border=True, key=f"card-{place}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(result.verdict, icon=f":material/{icon}:", color=colour)  # type: ignore[arg-type]
            st.badge(f"harm {result.harm:.1f}", color="gray", help="How much worse the model is likely to be, 0 to 1.")
            st.badge(f"stage {result.stage}: {STAGES[result.stage - 1]}", color="gray")
            st.caption(f"`{result.cause}`", width="content")
        st.markdown(f"**{plain(result.message)}**")
        if result.evidence:
            st.html(f'<div class="evidence">{evidence_block(result.evidence)}</div>')
        st.markdown(f":material/science: **Expected:** {plain(result.hypothesis)}")
        st.markdown(f":material/trending_down: **What it does:** {plain(result.about)}")
        st.markdown(f":material/build: **Fix:** {plain(result.fix)}")


def _line(result: Result) -> str:
    return f"{plain(result.tried)} :small[:gray[{plain(result.message)}]]"
