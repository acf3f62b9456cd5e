"""The form that launches an audit: a file that the server's owner put into the workspace, and its function."""

from dataclasses import replace

import streamlit as st

from pages.widgets.controls import audit_bound
from pages.widgets.shell import open_workspace, plain, show_view
from recipe_core.audits import BUDGET_SECONDS, EXAMPLE, launch_audit, pipeline_files, pipelines_folder
from recipe_core.errors import RecipeError
from recipe_core.links import AuditView

LONGEST_SECONDS = 3600


def audit_form(view: AuditView) -> None:
    """Draw the choice of file and function, or what to put where there is none."""
    st.title("New audit", anchor=False)
    st.caption(
        "Training fails silently: nothing crashes, and the model is quietly worse. An audit finds out by experiments "
        "on the pipeline itself: data, model, optimisation and evaluation. A run has an **Audit** button of its own."
    )
    store = open_workspace().store
    files = {each.name: each.functions for each in pipeline_files(store)}
    if files:
        _form(view, files)
    else:
        st.info(f"No pipeline yet. Add a Python file like this one to {plain(pipelines_folder(store))} on the server.")
    with st.expander("How such a file looks", expanded=not files, icon=":material/code:"):
        st.markdown(f"A Python file in {plain(pipelines_folder(store))} with a function that returns a `Pipeline`:")
        st.code(EXAMPLE, language="python")


def _form(view: AuditView, files: dict[str, tuple[str, ...]]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="new-audit"):
        file = audit_bound(
            st.selectbox,
            "File",
            list(files),
            key="file",
            value=view.file if view.file in files else next(iter(files)),
            width=320,
            change=lambda _, name: AuditView(file=name),
        )
        function = audit_bound(
            st.selectbox,
            "Function",
            files[file],
            key="function",
            value=view.function if view.function in files[file] else files[file][0],
            width=200,
            change=lambda view, name: replace(view, function=name),
        )
        st.number_input(
            "Seconds",
            5,
            LONGEST_SECONDS,
            BUDGET_SECONDS,
            key="seconds",
            width=140,
            help="Checks that do not fit are skipped and say so. A minute is plenty for small models.",
        )
        st.button(
            "Audit",
            type="primary",
            icon=":material/troubleshoot:",
            key="audit",
            on_click=_launch,
            args=(file, function),  # those that were shown: the file may be gone since, and another be chosen instead
        )


def _launch(file: str, function: str) -> None:
    try:
        audit = launch_audit(open_workspace().store, file, function, st.session_state["seconds"])
    except RecipeError as problem:
        st.error(plain(str(problem)))
    else:
        show_view(AuditView(audit.id))
