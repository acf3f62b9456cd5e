"""What every page starts with: the workspace, and the words for an empty one."""

import functools
import logging
import re
from collections.abc import Callable

import streamlit as st

from recipe_core import settings
from recipe_core.data.selection import Selection
from recipe_core.errors import RecipeError
from recipe_core.links import AuditView, FindingsView, MapView, TrainView, View
from recipe_core.workspace import Dataset, Workspace


@st.cache_resource(max_entries=1, show_spinner=False)
def open_workspace() -> Workspace:
    """The workspace that this server shows, opened once for all its users."""
    return Workspace(settings.WORKSPACE)


@st.cache_resource(max_entries=64, ttl=3600, show_spinner=False)
def _dataset(name: str, source: str) -> Dataset:
    # Kept, so that its catalog keeps its connection; a dataset of the same name with another source is another one.
    return open_workspace().dataset(name)


def datasets() -> list[Dataset]:
    """All datasets of the workspace, each with a catalog that stays open."""
    return [_dataset(dataset.name, dataset.source) for dataset in open_workspace().datasets()]


def chosen_dataset(name: str) -> tuple[Dataset, list[str]]:
    """The dataset that the address names, else the oldest one, and the names of all.

    Where there is none the page says so and ends here.
    """
    known = {dataset.name: dataset for dataset in datasets()}
    dataset = known.get(name or next(iter(known), ""))
    if dataset is None:
        if known:
            st.error(f"There is no dataset “{plain(name)}” here; it was removed or renamed.")
        else:
            st.info("No dataset yet. Add one on the **Datasets** page.")
        st.page_link("pages/home.py", label="Datasets", icon=":material/home:")
        st.stop()
    return dataset, list(known)


def keep_dataset(page: str) -> None:
    """Go on with the dataset seen last where one came to a page by the navigation, whose addresses name none.

    The address then names it, so that it can be sent to a colleague.
    """
    names = [dataset.name for dataset in open_workspace().datasets()]
    came_back = st.session_state.get("last-page") == page  # by the browser's Back: a new address would trap one here
    last = st.session_state.get("last-dataset")
    if "dataset" not in st.query_params and names and not came_back:
        st.query_params["dataset"] = last if last in names else names[0]
    st.session_state["last-page"] = page
    st.session_state["last-dataset"] = st.query_params.get("dataset", last)


def apology(problem: Exception) -> bool:
    """Show an uncaught error as one sentence; an unexpected one goes to the server's log with its traceback."""
    if isinstance(problem, RecipeError):
        st.error(plain(str(problem)))
    else:
        logging.getLogger("recipe").error("A page failed.", exc_info=problem)
        st.error("Something went wrong on the server; its log says what. Reload the page, and report it if it stays.")
    return True


def fragment(draw: Callable[..., None], run_every: float | None = None) -> Callable[..., None]:
    """As st.fragment; an error in it is told as any of the page is, which Streamlit does not do for fragments."""

    @functools.wraps(draw)
    def guarded(*args: object) -> None:
        try:
            draw(*args)
        except Exception as problem:  # noqa: BLE001  what it was goes to the log or to the user
            apology(problem)

    return st.fragment(guarded, run_every=run_every)


def read_view() -> View:
    """What the address asks of the Browse page."""
    return View.parse(_query())


def read_train_view() -> TrainView:
    """What the address asks of the Train page."""
    return TrainView.parse(_query())


def read_findings_view() -> FindingsView:
    """What the address asks of the pages Verdict, Integrity and Duplicates."""
    return FindingsView.parse(_query())


def read_audit_view() -> AuditView:
    """What the address asks of the Audit page."""
    return AuditView.parse(_query())


def read_map_view() -> MapView:
    """What the address asks of the Map page."""
    return MapView.parse(_query())


def _query() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def show_view(view: View | TrainView | FindingsView | MapView | AuditView) -> None:
    """Change the address to this view; the script then runs anew and shows it."""
    st.query_params.from_dict(view.query())


def selection_of(view: View) -> Selection:
    """The samples that a view selects; a filter that was added but not set yet lets everything through."""
    ranges = {column: bounds for column, bounds in view.ranges.items() if bounds != (None, None)}
    choices = {column: values for column, values in view.choices.items() if values}
    return Selection(ranges, choices, view.text, view.where)


def plain(text: object) -> str:
    """Text from a user's files as Streamlit's Markdown shows it literally."""
    literal = re.sub(r"([\\`*_{}\[\]()<>#|~:$&])", r"\\\1", " ".join(str(text).split()))
    # A dash or "1." at the start would begin a list.
    return re.sub(r"^([-+]|\d+\.)", lambda start: f"{start[0][:-1]}\\{start[0][-1]}", literal)
