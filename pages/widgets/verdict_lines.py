"""What matters most in a dataset, a line each, with a few pictures and the way to all of them."""

from collections.abc import Iterable

import streamlit as st

from pages.widgets.decide import samples
from pages.widgets.gallery import Group, gallery
from pages.widgets.samples import tiles_by_key
from pages.widgets.shell import plain
from recipe_core.data.findings import CLUSTERED, WHOLE
from recipe_core.data.findings.verdict import Line, Verdict
from recipe_core.links import FindingsView, View
from recipe_core.workspace import Dataset

GLIMPSE = 8
PAGES = {"label_error": "pages/label_errors.py", "outlier": "pages/outliers.py"}
SEVERITIES = {"error": ("red", "error"), "warning": ("orange", "warning"), "info": ("blue", "info")}


def verdict_lines(dataset: Dataset, verdict: Verdict) -> None:
    """Draw the lines, most harmful first."""
    st.subheader("What matters most", anchor=False)
    for sentence in (*verdict.pending, *dataset.found.unembedded()):
        st.caption(f":material/hourglass: {plain(sentence)}")
    if not verdict.lines:
        _nothing(dataset, verdict)
        return
    some = {place: list(_some(dataset, line)) for place, line in enumerate(verdict.lines)}
    tiles = tiles_by_key(dataset, [key for keys in some.values() for key in keys])
    for place, line in enumerate(verdict.lines):
        _line(dataset, line, [tiles[key] for key in some[place] if key in tiles])


def open_findings(dataset: Dataset, kind: str, subkind: str = "") -> None:
    """Go to the page that shows all findings of a kind."""
    st.switch_page(_page_of(kind), query_params=FindingsView(dataset.name, kind, subkind).query())


def _page_of(kind: str) -> str:
    if kind in CLUSTERED:
        return "pages/duplicates.py"
    return PAGES.get(kind, "pages/labels.py" if kind in WHOLE else "pages/integrity.py")


def _line(dataset: Dataset, line: Line, tiles: list) -> None:
    name = f"{line.kind}-{line.subkind or ''}"
    colour, icon = SEVERITIES[line.severity]
    left = (
        f":gray-badge[{line.undecided:,} undecided]" if line.undecided else ":green-badge[:material/check: all decided]"
    )
    with st.container(border=True, key=f"line-{name}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f":{colour}-badge[:material/{icon}: {line.severity}] {left}", width="content")
            if st.button(f"**{plain(line.sentence)}**", key=f"open-{name}", type="tertiary", wrap=True):
                open_findings(dataset, line.kind, line.subkind or "")
        st.caption(plain(line.advice))
        if tiles:
            opened = gallery([Group("", len(tiles), tiles)], size=64, key=f"glimpse-{name}").opened
            if opened:
                st.switch_page("pages/browse.py", query_params=View(dataset.name, sample=opened).query())


def _some(dataset: Dataset, line: Line) -> Iterable[str]:
    """Samples of the worst findings of a line; of a cluster two, so that one sees what is the same."""
    findings, _ = dataset.found.page(line.kind, line.subkind, limit=GLIMPSE)
    each = 2 if line.kind in CLUSTERED else 1
    return [key for finding in findings for key in finding.samples[:each]][:GLIMPSE]


def _nothing(dataset: Dataset, verdict: Verdict) -> None:
    count = dataset.catalog.count()
    if count and not verdict.pending:
        st.success(
            f"Nothing suspicious was found in {samples(count)}: every file can be read and is what its name says, "
            "no picture is damaged, blank, of poor quality or there twice.",
            icon=":material/verified:",
        )
    elif not count and not (dataset.job and dataset.job.active):
        st.info("Nothing is scanned yet. Start the scan on the **Datasets** page.")
        st.page_link("pages/home.py", label="Datasets", icon=":material/home:")
    elif count:
        st.info(f"Nothing suspicious was found so far, in {samples(count)}.", icon=":material/search:")
