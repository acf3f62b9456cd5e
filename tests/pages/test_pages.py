"""Every page starts without an exception, on an empty workspace and on a filled one."""

from pathlib import Path

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from recipe_core import Workspace, settings

APP = Path(__file__).parents[2] / "app.py"
PAGES = sorted(f"pages/{path.name}" for path in (APP.parent / "pages").glob("*.py") if path.name != "__init__.py")


def make_images(folder: Path) -> Path:
    for label, level in (("cat", 60), ("dog", 180)):
        (folder / label).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (32, 24), (level + number,) * 3).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    workspace = Workspace(folder / "workspace")
    workspace.add_dataset("pets", make_images(folder / "pets")).scan()
    workspace.add_dataset("unscanned", folder / "pets")
    return workspace.folder


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch):
    """Opens a page of the app as its very first visitor."""

    def open_(page: str, workspace: Path, **query: str) -> AppTest:
        monkeypatch.setattr(settings, "WORKSPACE", workspace)
        st.cache_resource.clear()
        test = AppTest.from_file(APP, default_timeout=30)
        test.query_params.update(query)
        test.switch_page(page)
        return test.run()

    yield open_
    st.cache_resource.clear()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_starts_on_an_empty_workspace_and_says_what_to_do(visit, tmp_path: Path, page: str):
    seen = visit(page, tmp_path / "workspace")
    assert not seen.exception
    assert not seen.error
    assert any("Add" in message.value for message in seen.info)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("dataset", ["pets", "unscanned"])
def test_a_page_starts_on_a_filled_workspace(visit, filled: Path, page: str, dataset: str):
    seen = visit(page, filled, dataset=dataset)
    assert not seen.exception
    assert not seen.error
    assert seen.title


def test_browse_opens_the_oldest_dataset_where_the_address_names_none(visit, filled: Path):
    assert visit("pages/browse.py", filled).title[0].value == "pets"


def test_browse_counts_what_the_address_selects(visit, filled: Path):
    seen = visit("pages/browse.py", filled, dataset="pets", where="label = 'cat'")
    assert "**3** of 6 samples" in [text.value for text in seen.markdown]


def test_browse_names_a_dataset_that_is_gone(visit, filled: Path):
    seen = visit("pages/browse.py", filled, dataset="gone")
    assert not seen.exception
    assert "gone" in seen.error[0].value
