"""Deciding on samples, wherever they are shown: the four rulings, who decides, and the way back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from pages.widgets.author import author, known_author
from pages.widgets.shell import plain
from recipe_core.errors import RecipeError
from recipe_core.workspace import Dataset

RULINGS = {
    "keep": ("Keep", ":material/check:", "It stays in training, whatever was found"),
    "exclude": ("Exclude", ":material/block:", "Training leaves it out; the file stays where it is"),
    "not-a-problem": ("Not a problem", ":material/thumb_up:", "What was found here is none"),
}
DONE = {"keep": "Kept", "exclude": "Excluded", "relabel": "Relabelled", "not-a-problem": "Not a problem:"}


@dataclass(frozen=True)
class Act:
    """What was done last in this session; `number` is None where there is nothing to undo."""

    dataset: str
    number: int | None
    sentence: str
    failed: bool = False


@dataclass
class _Memory:
    """The last act, changed in place: at each question to the session's state Streamlit may break a callback off, for
    a second key that was pressed meanwhile, and what is done has to be told."""

    act: Act | None = None


def rule(
    dataset: Dataset, ruling: str, keys: Sequence[str], *, label: str | None = None, kind: str = "", note: str = ""
) -> None:
    """Decide, and remember it as the last act, to be told and undone."""
    memory, by = _memory(), known_author()
    try:
        number = dataset.decisions.decide(ruling, keys, label=label, kind=kind, by=by, note=note)
    except RecipeError as problem:
        memory.act = Act(dataset.name, None, str(problem), failed=True)
    else:
        as_what = f" as {label}" if label else ""
        memory.act = Act(dataset.name, number, f"{DONE[ruling]} {samples(len(keys))}{as_what}.")


def undo(dataset: Dataset, act: int) -> None:
    """Take an act back."""
    _take_back(dataset, lambda by: dataset.decisions.undo(act, by=by))


def take_back(dataset: Dataset, ruling: str, key: str) -> None:
    """Take the latest such ruling on one sample back."""
    _take_back(dataset, lambda by: dataset.decisions.undo_samples(ruling, [key], by=by))


def _take_back(dataset: Dataset, undoing: Callable[[str], object]) -> None:
    memory, by = _memory(), known_author()
    try:
        undoing(by)
    except RecipeError as problem:
        memory.act = Act(dataset.name, None, str(problem), failed=True)
    else:
        memory.act = Act(dataset.name, None, "Undone.")


def last_act(dataset: Dataset, place: str) -> None:
    """Tell what was decided last, with the way back."""
    act = _memory().act
    if act is None or act.dataset != dataset.name:
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"last-act-{place}", gap="small"):
        icon = ":red[:material/error:]" if act.failed else ":green[:material/check_circle:]"
        st.markdown(f"{icon} {plain(act.sentence)}", width="content")
        if act.number is not None:
            st.button("Undo", key=f"undo-{place}", icon=":material/undo:", on_click=undo, args=(dataset, act.number))
        st.button("", key=f"forget-{place}", icon=":material/close:", type="tertiary", help="Close", on_click=_forget)


def last_act_told() -> Act | None:
    """What was decided last; a part of a page that ran before that has to be drawn anew."""
    return _memory().act


def ruling_buttons(
    dataset: Dataset,
    keys: Callable[[], Sequence[str]],
    place: str,
    kind: str = "",
    then: Callable[[], object] = lambda: None,
) -> None:
    """Draw the rulings over the samples that `keys` gives when one is pressed; `then` is called afterwards."""

    def decide(ruling: str, label: str | None = None) -> None:
        note = st.session_state.get(f"note-{place}") or ""
        spoken_of = kind if ruling == "not-a-problem" else ""
        rule(dataset, ruling, keys(), label=label, kind=spoken_of, note=note.strip())
        then()

    def relabel() -> None:
        decide("relabel", st.session_state[f"label-{place}"])

    for ruling, (name, icon, about) in RULINGS.items():
        st.button(name, key=f"{ruling}-{place}", icon=icon, help=about, on_click=decide, args=(ruling,))
    with st.popover("Relabel", icon=":material/label:"):
        st.selectbox(
            "The right label",
            _labels(dataset),
            index=None,
            key=f"label-{place}",
            accept_new_options=True,
            placeholder="choose or type one",
        )
        st.button("Relabel", key=f"relabel-{place}", type="primary", on_click=relabel)
    with st.popover("Note", icon=":material/edit_note:"):
        st.text_input("Why? It stays with the decision", key=f"note-{place}")
    author(place)


def samples(count: int) -> str:
    """ "1 sample", "1,200 samples"."""
    return f"{count:,} sample{'' if count == 1 else 's'}"


def _labels(dataset: Dataset) -> list[str]:
    return [value for value in dataset.catalog.choices("label")["value"] if isinstance(value, str)]


def _memory() -> _Memory:
    return st.session_state.setdefault("last-act", _Memory())


def _forget() -> None:
    _memory().act = None
