"""All findings of one kind that speak of one sample each, worst first, with their pictures, to be decided on."""

from dataclasses import replace

import streamlit as st

from pages.widgets.author import known_author
from pages.widgets.chosen import chosen, decision_bar, ticked
from pages.widgets.decide import last_act_told
from pages.widgets.detail import Listed, detail
from pages.widgets.gallery import Group, gallery
from pages.widgets.kinds import undecided_choice
from pages.widgets.pages import page_choice, page_of
from pages.widgets.samples import with_reasons
from pages.widgets.shell import fragment, plain, read_findings_view, show_view
from recipe_core.data.findings import KINDS
from recipe_core.links import FindingsView
from recipe_core.workspace import Dataset

A_PAGE = 60
PLACE = "gallery-findings"


def ranked(dataset: Dataset, view: FindingsView, kind: str, subkind: str | None) -> None:
    """Draw a page of them."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(plain(KINDS[kind].advice), width="content")
        undecided_choice(view)
    _, total = dataset.found.page(kind, subkind, view.undecided, limit=0)
    if not total:
        st.success("All of them are decided.", icon=":material/check:")
        return
    page = page_of(view.page, total, A_PAGE)
    fragment(_findings)(dataset, view, kind, subkind, page, total, last_act_told())
    page_choice(page, total, A_PAGE)
    findings, _ = dataset.found.page(kind, subkind, view.undecided, A_PAGE, (page - 1) * A_PAGE)
    detail(dataset, Listed([finding.samples[0] for finding in findings]), read_findings_view)


def _findings(
    dataset: Dataset, view: FindingsView, kind: str, subkind: str | None, page: int, total: int, act: object
) -> None:
    if read_findings_view() != view or last_act_told() != act:
        st.rerun()  # what was clicked or decided in here concerns the whole page

    def everything() -> list[str]:
        return [finding.samples[0] for finding in dataset.found.page(kind, subkind, view.undecided)[0]]

    findings, _ = dataset.found.page(kind, subkind, view.undecided, A_PAGE, (page - 1) * A_PAGE)
    tiles = with_reasons(dataset, {finding.samples[0]: finding.message for finding in findings})
    shown = [tile.id for tile in tiles]
    now = chosen(PLACE, (dataset.name, kind, subkind, view.undecided))
    decision_bar(dataset, PLACE, now, shown, total, everything, kind)
    gallery(
        [Group("", total, tiles)],
        size=160,
        key=PLACE,
        selected=view.sample or None,
        choice=now.choice(shown),
        on_open=open_sample,
        on_choose=lambda: ticked(PLACE),
    )
    dataset.looks.add(shown, by=known_author())


def open_sample() -> None:
    """Show the sample whose tile was clicked at full size."""
    show_view(replace(read_findings_view(), sample=st.session_state[PLACE].opened))
