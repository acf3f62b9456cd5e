"""The dialog that adds a dataset: a path on the server or an uploaded zip, what was understood of it, and its name."""

import re
from pathlib import Path

import streamlit as st

from pages.widgets.shell import open_workspace, plain
from recipe_core.data.sources import Understanding, open_source, understand
from recipe_core.data.sources.rows import is_table
from recipe_core.errors import RecipeError

ROLES = {"path": "Path of the image", "label": "Label", "split": "Split"}
NONE = "(none)"


def add_dataset() -> None:
    """The button that opens the dialog, which stays open when the page is drawn anew, as at the end of a scan."""
    if st.button("Add dataset", icon=":material/add:", type="primary", key="add-dataset"):
        st.session_state["adding"] = True
    if st.session_state.get("adding"):
        _dialog()


def _close() -> None:
    st.session_state["adding"] = False


@st.dialog("Add dataset", width="large", on_dismiss=_close)
def _dialog() -> None:
    """Ask for the source, show what was understood, ask for a name, start the scan."""
    way = st.segmented_control(
        "Where are the images?", ["On this server", "Upload a zip"], default="On this server", key="add-way"
    )
    if way == "Upload a zip":
        _from_upload()
    else:
        _from_path()


def _from_path() -> None:
    st.text_input(
        "Path",
        key="add-path",
        placeholder="/data/pets, labels.csv, photos.zip",
        help="A folder of class folders, of split folders or of images; a CSV or Parquet table with a column of paths; "
        "or a zip of any of these.",
    )
    typed = st.session_state["add-path"].strip()
    _picker(Path(typed or "~").expanduser())
    if typed:
        _understand_and_name(typed)


def _picker(here: Path) -> None:
    """A list of what can be opened at the typed path; choosing one types it."""
    folder = here if here.is_dir() else here.parent
    try:
        inside = sorted(
            path
            for path in folder.iterdir()
            if not path.name.startswith(".") and (path.is_dir() or is_table(path.name) or path.suffix.lower() == ".zip")
        )
    except OSError:
        return
    st.selectbox(
        f"Pick from {plain(folder)}",
        [folder.resolve().parent, *inside[:1000]],
        index=None,
        format_func=lambda path: "↑ up" if path == folder.resolve().parent else path.name + "/" * path.is_dir(),
        placeholder="a folder, table or zip",
        key="add-pick",
        on_change=_type_picked,
    )


def _type_picked() -> None:
    st.session_state["add-path"] = str(st.session_state["add-pick"] or "")
    st.session_state["add-pick"] = None


def _from_upload() -> None:
    upload = st.file_uploader("A zip of images, of class folders, or of a table with images", type="zip", key="add-zip")
    if upload is None:
        return
    id, stored = st.session_state.get("add-stored", (None, None))
    if upload.file_id != id or not stored.exists():
        try:
            stored = open_workspace().keep_upload(upload.name, upload)
        except RecipeError as problem:
            st.error(plain(str(problem)))
            return
        st.session_state["add-stored"] = upload.file_id, stored
    if not _understand_and_name(str(stored)):
        open_workspace().uploads.discard(stored)


def _understand_and_name(location: str) -> bool:
    """Show what is at the location and ask for its name; False where nothing can be made of it."""
    try:
        with st.spinner("Looking at what is there…"):
            understood = _understood(location, None)
        columns = _columns(understood) if understood.columns else None
        if columns and columns != understood.columns:
            understood = _understood(location, tuple(columns.items()))
    except RecipeError as problem:
        st.error(plain(str(problem)))
        return False
    _show(understood)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name", value=_name_for(location), key=f"add-name-{location}")
        add = st.button("Add and scan", type="primary", key="add-scan", icon=":material/play_arrow:")
    if add:
        try:
            _add(name, location, columns)
        except RecipeError as problem:
            st.error(plain(str(problem)))
    return True


@st.cache_data(max_entries=32, ttl=60, show_spinner=False)
def _understood(location: str, columns: tuple[tuple[str, str | None], ...] | None) -> Understanding:
    return understand(open_source(location, dict(columns) if columns else None))


def _columns(understood: Understanding) -> dict[str, str | None]:
    """Which column of a table is what, as guessed or as corrected here."""
    chosen: dict[str, str | None] = {}
    for place, (role, label) in zip(st.columns(3), ROLES.items(), strict=True):
        options = list(understood.available) if role == "path" else [NONE, *understood.available]
        guess = (understood.columns or {}).get(role)
        pick = place.selectbox(label, options, index=options.index(guess or NONE), key=f"add-column-{role}")
        chosen[role] = None if pick == NONE else pick
    return chosen


def _show(understood: Understanding) -> None:
    st.success(plain(understood.sentence), icon=":material/check_circle:")
    if understood.class_counts:
        shown = list(understood.class_counts.items())[:12]
        more = f" and {understood.classes - len(shown):,} more" if understood.classes > len(shown) else ""
        st.caption(plain(", ".join(f"{label} ({count:,})" for label, count in shown) + more))
    if understood.problems:
        with st.expander(f"{len(understood.problems)} problems; these rows or files are left out", expanded=True):
            for problem in understood.problems:
                st.text(problem)


def _add(name: str, location: str, columns: dict[str, str | None] | None) -> None:
    dataset = open_workspace().add_dataset(name.strip(), location, columns)
    job = dataset.job
    if job is None or not job.active:
        dataset.launch_scan()
    _close()
    st.rerun()


def _name_for(location: str) -> str:
    stem = Path(location).expanduser().resolve().name.rsplit(".", 1)[0]
    return re.sub(r"[^\w.-]+", "-", stem).strip("-._")[:64] or "images"
