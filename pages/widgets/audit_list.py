"""The audits of the workspace, in the sidebar."""

import streamlit as st

from pages.widgets.run_list import STATES
from pages.widgets.shell import fragment, open_workspace, plain, read_audit_view, show_view
from recipe_core.audits import Audit, list_audits
from recipe_core.jobs import Job
from recipe_core.links import AuditView

NEWEST = 25


def known_audits() -> dict[int, Audit]:
    """All audits by number, newest first."""
    return {audit.id: audit for audit in list_audits(open_workspace().store)}


def audit_list(view: AuditView, audits: dict[int, Audit]) -> None:
    """Draw the way to a new audit and to the old ones; while one is active the list renews itself."""
    with st.sidebar:
        st.button(
            "New audit",
            icon=":material/add:",
            key="new",
            type="primary" if view.audit else "secondary",
            width="stretch",
            on_click=show_view,
            args=(AuditView(),),
        )
        everything = len(audits) <= NEWEST or st.session_state.get("all-audits", False)
        shown = list(audits.values())[: None if everything else NEWEST]
        active = any(audit.job.active for audit in shown)
        fragment(_list, run_every=2.0 if active else None)(view, shown, active)
        if len(audits) > NEWEST:
            st.toggle(f"Show all {len(audits)}", key="all-audits")


def _list(view: AuditView, audits: list[Audit], was_active: bool) -> None:
    if read_audit_view() != view or any(audit.job.active for audit in audits) != was_active:
        st.rerun()  # a click in here concerns the whole page
    if not audits:
        st.caption("No audits yet.")
        return
    st.subheader("Audits", anchor=False)
    for audit in audits:
        job = audit.job
        with st.container(key=f"audit-{audit.id}", gap=None):
            name = f"{plain(job.subject)} \\#{audit.id}"
            st.button(
                f"**{name}**" if view.audit == audit.id else name,
                key=f"open-audit-{audit.id}",
                type="tertiary",
                on_click=show_view,
                args=(AuditView(audit.id),),
            )
            st.caption(f"{badge(job)}{found(job)}")


def badge(job: Job) -> str:
    """The state of an audit, as Markdown."""
    return f":{STATES[job.state]}-badge[{job.state}]"


def found(job: Job) -> str:
    """How many failures it has found until now, as Markdown."""
    failed = job.progress.get("failed", 0)
    if failed:
        return f" :red-badge[:material/close: {failed} failed]"
    return " :green-badge[:material/check: nothing failed]" if job.state == "finished" else ""
