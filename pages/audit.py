"""Audit: what silently ruins the training of a pipeline, verdict by verdict."""

import streamlit as st

from pages.widgets.audit_form import audit_form
from pages.widgets.audit_list import audit_list, known_audits
from pages.widgets.audit_view import audit_view
from pages.widgets.shell import read_audit_view

view = read_audit_view()
audits = known_audits()
audit_list(view, audits)
if view.audit in audits:
    audit_view(audits[view.audit])
else:
    if view.audit:
        st.warning(f"There is no audit {view.audit} in this workspace.")
    audit_form(view)
