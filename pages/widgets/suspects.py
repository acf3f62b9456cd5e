"""Labels that are likely wrong, one at a time: the picture, both labels with what speaks for each, and two keys."""

from collections.abc import Sequence

import streamlit as st

from pages.widgets.author import author, known_author
from pages.widgets.decide import last_act, rule
from pages.widgets.gallery import Group, gallery
from pages.widgets.samples import tiles_by_key
from pages.widgets.shell import open_workspace, plain
from recipe_core.data.embeddings.probe import Accuracy, probe
from recipe_core.data.findings import KINDS, Finding
from recipe_core.errors import RecipeError
from recipe_core.links import View
from recipe_core.workspace import Dataset

PLACE = "suspect"
BIG = 320  # px


def view_choice(dataset: Dataset, kind: str) -> str | None:
    """Draw how to look at them, and what is not known yet; None where there is nothing to look at."""
    waiting = [*dataset.found.pending(), *dataset.found.unembedded()]
    for sentence in waiting:
        st.caption(f":material/hourglass: {plain(sentence)}")
    _, total = dataset.found.page(kind, limit=0)
    if total:
        _, undecided = dataset.found.page(kind, undecided_only=True, limit=0)
        st.markdown(f"**{total:,}** labels are likely wrong, **{undecided:,}** undecided")
        return st.segmented_control("View", ["One by one", "List"], default="One by one", label_visibility="collapsed")
    if not dataset.catalog.choices("label")["value"].notna().any():
        st.info("The samples have no labels, so none can be wrong.", icon=":material/label_off:")
    elif not waiting:
        st.success("No label stands out as wrong.", icon=":material/check:")
    return None


def suspect(dataset: Dataset, kind: str) -> None:
    """Draw the surest one that is undecided and not skipped, and the keys to decide on it."""
    skipped: set[str] = st.session_state.setdefault(f"skipped-{dataset.name}", set())
    with st.container():  # always there, so that the buttons below keep their place and no key press is lost
        last_act(dataset, PLACE)
    found, undecided = dataset.found.page(kind, undecided_only=True, limit=len(skipped) + 1)
    now = next((finding for finding in found if finding.samples[0] not in skipped), None)
    if now is None:
        if undecided:
            st.info(f"{undecided:,} were skipped.", icon=":material/skip_next:")
            st.button("Look at them again", on_click=skipped.clear)
        else:
            st.success("All of them are decided.", icon=":material/check:")
        return
    st.caption(plain(KINDS[kind].advice))
    _buttons(dataset, now, skipped)
    _pictures(dataset, now)
    dataset.looks.add([now.samples[0]], by=known_author())


def _buttons(dataset: Dataset, now: Finding, skipped: set[str]) -> None:
    key = now.samples[0]
    acts = (
        ("take", f"It is {plain(now.suggested_label)}", "s", "relabel", now.suggested_label),
        ("right", f"{plain(now.evidence['given_label'])} is right", "n", "not-a-problem", None),
        ("exclude", "Exclude", "x", "exclude", None),
    )
    st.session_state[f"shown-{PLACE}"] = now.id
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"decide-{PLACE}"):
        for name, told, shortcut, ruling, label in acts:
            st.button(
                told,
                key=f"{name}-{PLACE}-{now.id}",
                type="primary" if ruling == "relabel" else "secondary",
                shortcut=shortcut,
                on_click=_decide,
                args=(dataset, now, ruling, label),
            )
        st.button(
            "Skip",
            key=f"skip-{PLACE}-{now.id}",
            shortcut="k",
            type="tertiary",
            on_click=skipped.add,
            args=(key,),
        )
        author(PLACE)


def _decide(dataset: Dataset, seen: Finding, ruling: str, label: str | None) -> None:
    """Decide on the one that was seen, once: keys pressed before the next one is shown are not meant for it."""
    if st.session_state.pop(f"shown-{PLACE}", None) == seen.id:
        rule(dataset, ruling, seen.samples, label=label, kind=seen.kind if ruling == "not-a-problem" else "")


def _pictures(dataset: Dataset, now: Finding) -> None:
    key, given, other = now.samples[0], now.evidence["for_given"], now.evidence["for_suggested"]
    sample = dataset.catalog.sample(key)
    left, right = st.columns([2, 3])
    with left:
        address = open_workspace().signer.image(dataset.name, key, sample["byte_hash"] or "")
        st.html(f'<img class="suspect" src="{address}" alt="" width="{BIG}">')
        st.markdown(f":small[{plain(key)}]")
    with right:
        st.markdown(f"Given: **{plain(now.evidence['given_label'])}** ({1 - now.score:.0%})")
        _near(dataset, "given", given)
        st.markdown(f"Suggested: **{plain(now.suggested_label)}**")
        _near(dataset, "suggested", other)


def _near(dataset: Dataset, name: str, keys: Sequence[str]) -> None:
    """The nearest pictures that speak for a label."""
    tiles = tiles_by_key(dataset, keys)
    shown = [tiles[key] for key in keys if key in tiles]
    if not shown:
        st.caption("No other picture speaks for it.")
        return
    opened = gallery([Group("", len(shown), shown)], size=96, key=f"near-{name}").opened
    if opened:
        st.switch_page("pages/browse.py", query_params=View(dataset.name, sample=opened).query())


def probe_button(dataset: Dataset) -> None:
    """Offer to measure what the decisions changed."""
    st.divider()
    if not st.button("What did the decisions change?", icon=":material/science:", key="probe"):
        return
    try:
        with st.spinner("Fitting a linear model before and after"):
            before, after = probe(dataset.embeddings(), dataset.decisions)
    except RecipeError as problem:
        st.info(plain(str(problem)))
        return
    st.markdown(
        f"A linear model on the embeddings, held out by fifths: **{_told(before)}** before the decisions, "
        f"**{_told(after)}** after them, on the same samples, their labels as decided."
    )


def _told(accuracy: Accuracy) -> str:
    return f"{accuracy.value:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%})"
