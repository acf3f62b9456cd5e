"""The choice of which findings a page shows: a kind, of some kinds a subkind, and whether only undecided ones."""

from collections.abc import Sequence

import streamlit as st

from pages.widgets.controls import findings_bound
from pages.widgets.shell import plain
from recipe_core.data.findings import KINDS, Summary
from recipe_core.links import FindingsView
from recipe_core.workspace import Dataset

NAMES = {
    "corrupt": "Unreadable",
    "damaged": "Damaged",
    "wrong_extension": "Wrong extension",
    "blank": "Blank",
    "dark": "Very dark",
    "bright": "Very bright",
    "blurred": "Blurred",
    "tiny": "Tiny",
    "odd_shape": "Odd shape",
    "split_leak": "Across splits",
    "label_conflict": "Labels disagree",
    "exact_duplicate": "Exact copies",
    "near_duplicate": "Nearly the same",
    "label_error": "Label errors",
    "outlier": "Outliers",
    "unlike_anything": "Unlike anything else",
    "unlike_class": "Unlike their class",
    "spurious_correlation": "Gives labels away",
    "split_drift": "Splits differ",
    "imbalance": "Imbalance",
}
EXAMINED = ("damaged", "near_duplicate", "spurious_correlation", "split_drift")  # found by the examination only
EMBEDDED = ("outlier",)  # some of them by the embedding only
SPLIT_UP = "quality"  # its subkinds stand beside the other kinds


def name_of(word: str) -> str:
    """A kind or subkind as the pages call it."""
    return NAMES.get(word, word.replace("_", " ").capitalize())


def kind_choice(
    dataset: Dataset, view: FindingsView, summaries: Sequence[Summary], kinds: Sequence[str], everything: bool = False
) -> tuple[str, str | None] | None:
    """Draw the kinds that were found, with how many; returns the chosen kind ("" for all) and subkind, None for none.

    Args:
        everything: whether all kinds can be shown together.
    """
    found: dict[tuple[str, str], list[Summary]] = {("", ""): []} if everything else {}
    for line in summaries:
        if line.kind in kinds:
            found.setdefault((line.kind, line.subkind if line.kind == SPLIT_UP else ""), []).append(line)
    _not_found(dataset, kinds, found)
    if not any(found.values()):
        return None
    asked = (view.kind, view.subkind if view.kind == SPLIT_UP else "")
    now = asked if asked in found else next(iter(found))
    findings_bound(
        st.pills,
        "Kind",
        list(found),
        key="kind",
        value=now,
        required=True,
        label_visibility="collapsed",
        format_func=lambda one: _told(one, found[one]),
        change=lambda view, one: view.narrowed(kind=one[0], subkind=one[1]),
    )
    kind, subkind = now
    return kind, subkind or _subkind(view, kind, found[now])


def undecided_choice(view: FindingsView) -> None:
    """Draw the switch to the findings that wait for a decision."""
    findings_bound(
        st.toggle,
        "Undecided only",
        key="undecided",
        value=view.undecided,
        change=lambda view, on: view.narrowed(undecided=on),
    )


def _told(one: tuple[str, str], lines: list[Summary]) -> str:
    kind, subkind = one
    return f"{name_of(subkind or kind)} {sum(line.findings for line in lines):,}" if kind else "All"


def _subkind(view: FindingsView, kind: str, lines: list[Summary]) -> str | None:
    """The choice among the reasons of one kind, where there are several."""
    if not kind or len(lines) < 2:
        return None
    counts = {line.subkind: line.findings for line in lines}
    now = view.subkind if view.kind == kind and view.subkind in counts else None
    findings_bound(
        st.pills,
        "Reason",
        list(counts),
        key=f"subkind-{kind}",
        value=now,
        label_visibility="collapsed",
        format_func=lambda word: f"{name_of(word)} {counts[word]:,}",
        change=lambda view, word: view.narrowed(kind=kind, subkind=word or ""),
    )
    return now


def _not_found(dataset: Dataset, kinds: Sequence[str], found: dict) -> None:
    """Say what was looked for and is not there."""
    words = [word for kind in kinds for word in (KINDS[kind].subkinds if kind == SPLIT_UP else [kind])]
    there = {subkind or kind for kind, subkind in found}
    pending = dataset.found.pending()
    unembedded = dataset.found.unembedded()
    unknown = (*(EXAMINED if pending else ()), *(EMBEDDED if unembedded else ()))
    missing = [name_of(word).lower() for word in words if word not in (*there, *unknown)]
    samples = dataset.catalog.count()
    for sentence in (*pending, *(unembedded if {*EMBEDDED}.intersection(kinds) else ())):
        st.caption(f":material/hourglass: {plain(sentence)}")
    if missing and samples:
        st.caption(f":material/check: Looked for in {samples:,} samples and not found: {', '.join(missing)}.")
