"""The gate of stage 1, who waived what of it and why, and the manifest that training reads."""

import streamlit as st

from pages.widgets.author import author, known_author
from pages.widgets.shell import open_workspace, plain
from recipe_core.data.findings.verdict import Gate
from recipe_core.data.manifest import Manifest
from recipe_core.errors import NotTrainable, RecipeError
from recipe_core.workspace import Dataset

CHECKS = {"findings": "Errors that are undecided", "looked": "Samples that nobody looked at"}


def gate(dataset: Dataset, gate: Gate) -> None:
    """Draw whether the gate is open, and what is missing."""
    with st.container(border=True, key="gate", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader("Gate of stage 1", anchor=False, width="content")
            if gate.open:
                st.badge("open", icon=":material/lock_open:", color="green")
            else:
                st.badge("closed", icon=":material/lock:", color="orange")
        if gate.open:
            st.caption("The data was looked at, and every error was decided on or waived. Go on to the baselines.")
        for reason in gate.reasons:
            st.markdown(f":material/arrow_right: {plain(reason)}")
        st.progress(
            min(1.0, gate.looked_share / gate.wanted_share) if gate.wanted_share else 0.0,
            text=f"Looked at: {gate.looked_share:.1%} of the samples; {gate.wanted_share:.1%} are wanted",
        )
        for check, reason in gate.waived.items():
            st.caption(f":material/approval: Waived: {CHECKS[check].lower()}. {plain(reason)}")
        if not gate.open:
            with st.popover("Waive with a reason", icon=":material/approval:"):
                _waive(dataset)


def _waive(dataset: Dataset) -> None:
    st.radio("What is let pass", CHECKS, format_func=CHECKS.get, key="waive-check")
    st.text_area("Why? It stays with the gate", key="waive-reason", height=80)
    author("waive")
    st.button("Waive", type="primary", key="waive", on_click=_waived, args=(dataset,))
    if problem := st.session_state.pop("waive-problem", None):
        st.error(plain(problem))


def _waived(dataset: Dataset) -> None:
    state = st.session_state
    try:
        dataset.waivers.waive(state["waive-check"], state["waive-reason"].strip(), by=known_author())
    except RecipeError as problem:
        state["waive-problem"] = str(problem)


def manifest_card(dataset: Dataset) -> None:
    """Draw what training reads now: how much, what was cleaned away, its hash, and the way to take it along."""
    with st.container(border=True, key="manifest", gap="small"):
        st.subheader("Manifest", anchor=False)
        try:
            manifest = _manifest(dataset.name, dataset.catalog.version, dataset.decisions.version, dataset)
        except NotTrainable as problem:
            st.caption(plain(str(problem)))
            return
        st.markdown(f"**{len(manifest.frame):,}** samples of {dataset.catalog.count():,}")
        for count, what in ((manifest.cleaned.get(name, 0), name) for name in ("unreadable", "excluded", "relabelled")):
            if count:
                st.caption(f"{count:,} {what}")
        st.caption(f"`{manifest.hash}`", help="Names exactly this list of samples and labels; every run keeps it.")
        st.link_button("Download CSV", open_workspace().signer.manifest(dataset.name), icon=":material/download:")


@st.cache_resource(max_entries=4, ttl=600, show_spinner=False)
def _manifest(name: str, catalog: tuple, decisions: object, _dataset: Dataset) -> Manifest:
    # Kept for as long as neither catalog nor decisions change: of a million samples it takes seconds.
    return _dataset.manifest()
