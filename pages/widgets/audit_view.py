"""One audit: how far it is, what it has found until now, and what can be done with it."""

import streamlit as st

from pages.widgets.audit_list import badge, found
from pages.widgets.audit_results import audit_results
from pages.widgets.progress import stop_button
from pages.widgets.shell import fragment, plain, show_view
from recipe_core.audits import Audit
from recipe_core.jobs import Job
from recipe_core.links import AuditView, TrainView
from recipe_core.progress import describe


def audit_view(audit: Audit) -> None:
    """Draw the audit; while it is active its results renew themselves every second."""
    job = audit.job
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(f"{plain(job.subject)} \\#{audit.id}", anchor=False, width="content")
        st.markdown(badge(job) + found(job), width="content")
    _actions(audit, job)
    if job.state == "failed":
        st.error(f"It could not be audited: {plain(job.error or 'its log says why.')}")
    elif job.state == "lost":
        st.warning("The audit was killed, by the pipeline's own code or from outside. The last lines of its log:")
        st.code(job.log_tail(12) or "(nothing)", language=None)
    elif job.state == "stopped":
        st.info("The audit was stopped; these are the checks that it came to.")
    fragment(_live, run_every=1.0 if job.active else None)(audit, job.state)


def _actions(audit: Audit, job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="actions"):
        if job.active:
            stop_button(job, audit.stop)
        else:
            st.button("Audit again", icon=":material/replay:", key="again", on_click=_again, args=(audit,))
        if not job.active and audit.results():
            st.download_button(
                "Download as HTML",
                audit.report().to_html(),
                f"audit-{audit.id}.html",
                "text/html",
                key="download",
                icon=":material/download:",
                on_click="ignore",
            )
        if run := job.spec.get("run"):
            query = TrainView(job.spec["record"]["dataset"], (run,)).query()
            st.page_link("pages/train.py", label=f"Run {run}", icon=":material/arrow_back:", query_params=query)


def _again(audit: Audit) -> None:
    show_view(AuditView(audit.again().id))


def _live(audit: Audit, was: str) -> None:
    job = audit.job
    if job.state != was:
        st.rerun()
    if job.active:
        done, total = job.progress.get("done", 0), job.progress.get("total")
        queued = "Queued: it starts when the audits before it have ended."
        st.progress(done / total if total else 0.0, queued if job.state == "queued" else describe(job).capitalize())
    audit_results(audit.report(), job.state == "finished")
