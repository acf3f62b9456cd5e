"""Which samples of a gallery are ticked, and the bar that decides on all of them at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import streamlit as st

from pages.widgets.decide import last_act, ruling_buttons
from pages.widgets.gallery import Choice
from recipe_core.workspace import Dataset

_revisions = count(1)  # a gallery takes what is chosen anew at another revision


@dataclass(frozen=True)
class Chosen:
    """Ticked samples. `of` is what they were chosen from: where that changes nothing is chosen any more."""

    of: object
    keys: tuple[str, ...] = ()
    everything: bool = False
    revision: int = 0

    def choice(self, shown: Sequence[str]) -> Choice:
        """As the gallery that shows these samples takes it."""
        return Choice(shown if self.everything else self.keys, self.revision)


def chosen(place: str, of: object) -> Chosen:
    """What is chosen in the gallery of that key."""
    now = st.session_state.get(f"chosen-{place}")
    return now if now and now.of == of else _choose(place, of)


def _choose(place: str, of: object, keys: Sequence[str] = (), everything: bool = False) -> Chosen:
    now = Chosen(of, tuple(keys), everything, next(_revisions))
    st.session_state[f"chosen-{place}"] = now
    return now


def untick(place: str) -> None:
    """Let go of what is chosen."""
    _choose(place, st.session_state[f"chosen-{place}"].of)


def ticked(place: str) -> None:
    """Take over what was ticked; the gallery's callback."""
    now = st.session_state[f"chosen-{place}"]
    keys = tuple(st.session_state[place].chosen or ())
    st.session_state[f"chosen-{place}"] = replace(now, keys=keys, everything=False)


def decision_bar(
    dataset: Dataset,
    place: str,
    now: Chosen,
    shown: Sequence[str],
    total: int,
    everything: Callable[[], Sequence[str]],
    kind: str = "",
) -> None:
    """Draw what can be decided on the chosen samples, or how to choose some.

    Args:
        shown: the samples on this page; `total` and `everything` say how many and which there are on all pages.
        kind: of the findings that a "not a problem" speaks of.
    """
    chosen_count = total if now.everything else len(now.keys)
    with st.container(horizontal=True, vertical_alignment="center", key=f"decide-{place}", gap="small"):
        if not chosen_count:
            last_act(dataset, place)
            st.caption("Tick pictures to decide on them; Shift and a click tick a range.", width="content")
            _button(place, f"Choose these {len(shown):,}", "page", now.of, shown)
            if total > len(shown):
                _button(place, f"Choose all {total:,}", "all", now.of, (), True)
            return
        st.markdown(f"**{chosen_count:,}** chosen", width="content")
        if total > len(shown) and not now.everything:
            _button(place, f"All {total:,}", "all", now.of, (), True)
        _button(place, "None", "none", now.of)
        keys = everything if now.everything else lambda: now.keys
        ruling_buttons(dataset, keys, place, kind, then=lambda: untick(place))


def _button(place: str, label: str, name: str, *choice: Any) -> None:
    def choose() -> None:
        _choose(place, *choice)

    st.button(label, key=f"choose-{name}-{place}", type="tertiary", on_click=choose)
