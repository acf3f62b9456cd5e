"""The dashboard: which pages there are, in the order of the recipe.

    streamlit run app.py

Streamlit runs this file for every visitor, and its server imports it once before the first one.
"""

import logging
from pathlib import Path

import streamlit as st

from pages.widgets.routes import ROUTES
from pages.widgets.shell import apology, keep_dataset

ASSETS = Path(__file__).parent / "pages" / "widgets" / "assets"
WITHOUT_DATASET = ("", "audit")  # pages that are not of one dataset

if __name__ != "__main__":  # on import nobody looks yet, of which Streamlit would warn a dozen times
    logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context").setLevel(logging.ERROR)

# Called on import too: from then on Streamlit runs no file in pages/ by its name alone, past this list.
page = st.navigation(
    {
        "": [
            st.Page("pages/home.py", title="Datasets", default=True),
        ],
        "1 · Become one with the data": [
            st.Page("pages/verdict.py", title="Verdict", url_path="verdict"),
            st.Page("pages/browse.py", title="Browse", url_path="browse"),
            st.Page("pages/integrity.py", title="Integrity", url_path="integrity"),
            st.Page("pages/duplicates.py", title="Duplicates", url_path="duplicates"),
            st.Page("pages/outliers.py", title="Outliers", url_path="outliers"),
            st.Page("pages/labels.py", title="Labels", url_path="labels"),
            st.Page("pages/label_errors.py", title="Label errors", url_path="label-errors"),
            st.Page("pages/map.py", title="Map", url_path="map"),
        ],
        "2–3 · Baselines and overfit": [
            st.Page("pages/train.py", title="Train", url_path="train"),
        ],
        "Any pipeline": [
            st.Page("pages/audit.py", title="Audit", url_path="audit"),
        ],
    },
    position="top",
)

if __name__ == "__main__":
    st.set_page_config(page_title=f"{page.title} · Recipe", page_icon=str(ASSETS / "icon.png"), layout="wide")
    st.html(ASSETS / "page.css")
    st.logo(str(ASSETS / "logo.svg"), size="large")
    if page.url_path not in WITHOUT_DATASET:
        keep_dataset(page.url_path)
    page.run()
else:
    app = st.App(__file__, routes=ROUTES, on_script_error=apology)
