"""The form that launches an audit."""

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from recipe_core import Workspace, settings
from recipe_core.audits import EXAMPLE, list_audits, pipelines_folder

APP = str(Path(__file__).parents[2] / "app.py")


def test_a_file_that_is_gone_meanwhile_is_named_and_no_other_is_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = Workspace(tmp_path / "workspace").store
    folder = pipelines_folder(store)
    folder.mkdir(parents=True)
    for name in ("mine.py", "another.py"):
        (folder / name).write_text(EXAMPLE)
    monkeypatch.setattr(settings, "WORKSPACE", tmp_path / "workspace")
    st.cache_resource.clear()
    seen = AppTest.from_file(APP, default_timeout=60)
    seen.query_params["file"] = "mine.py"
    seen.switch_page("pages/audit.py")
    seen.run()
    (folder / "mine.py").unlink()
    seen.button(key="audit").click().run()
    st.cache_resource.clear()
    assert not seen.exception
    assert 'no file "mine.py"' in seen.error[0].value
    assert list_audits(store) == []
