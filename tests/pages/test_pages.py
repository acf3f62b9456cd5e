"""Every page starts without an exception, on an empty workspace and on a filled one."""

from pathlib import Path

import numpy as np
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


# ---- findings


def texts(seen: AppTest) -> str:
    """All that a page says in words."""
    return "\n".join(element.value for element in [*seen.markdown, *seen.caption, *seen.info, *seen.success])


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets with nothing wrong, with one image, and with nothing but broken files."""
    folder = tmp_path_factory.mktemp("odd")
    workspace = Workspace(folder / "workspace")
    noise = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), np.uint8)
    for name, count in (("fine", 6), ("one", 1)):
        (folder / name).mkdir()
        for number in range(count):
            Image.fromarray(noise[number]).save(folder / name / f"{number}.png")
        workspace.add_dataset(name, folder / name).scan()
    (folder / "broken").mkdir()
    for number in range(4):
        (folder / "broken" / f"<b>{number}.jpg").write_bytes(b"")
    workspace.add_dataset("broken", folder / "broken").scan()
    return workspace.folder


@pytest.mark.parametrize("page", ["verdict", "integrity", "duplicates"])
@pytest.mark.parametrize("dataset", ["fine", "one", "broken"])
def test_the_pages_on_findings_are_clear_on_odd_datasets(visit, odd: Path, page: str, dataset: str):
    seen = visit(f"pages/{page}.py", odd, dataset=dataset)
    assert not seen.exception
    assert not seen.error


def test_where_nothing_is_found_it_is_said_what_was_looked_for(visit, odd: Path):
    assert "found" in texts(visit("pages/verdict.py", odd, dataset="fine"))
    seen = texts(visit("pages/integrity.py", odd, dataset="fine"))
    assert "Looked for in 6 samples and not found: " in seen  # damaged too, once that was examined
    assert "unreadable, wrong extension, blank" in seen
    assert "exact copies" in texts(visit("pages/duplicates.py", odd, dataset="one"))


def test_where_nothing_is_scanned_the_way_to_the_scan_is_shown(visit, filled: Path):
    for page in ("verdict", "integrity", "duplicates"):
        seen = texts(visit(f"pages/{page}.py", filled, dataset="unscanned"))
        assert "Nothing is scanned yet" in seen


def test_an_address_of_findings_that_are_not_there_shows_those_that_are(visit, odd: Path):
    for query in ({"kind": "nonsense"}, {"kind": "corrupt", "subkind": "nonsense"}, {"threshold": "9"}):
        for page in ("integrity", "duplicates"):
            seen = visit(f"pages/{page}.py", odd, dataset="broken", **query)
            assert not seen.exception
            assert not seen.error
