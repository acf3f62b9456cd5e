"""Bad input in the browser: each gets one clear sentence in the page, and nothing else stops."""

import http.client
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from conftest import ROOT
from playwright.sync_api import APIResponse, Page, expect
from steps import SLOW, enter, press, selected, settled, well_behaved
from world import SAMPLES, make_folder

from recipe_core import Workspace
from recipe_core.links import Signer, View


@dataclass(frozen=True)
class Dashboard:
    url: str
    folder: Path
    workspace: Path

    def browse(self, page: Page, query: str) -> None:
        page.goto(f"{self.url}/browse?{query}")
        expect(page.get_by_test_id("stTopNavLink").first).to_be_visible(timeout=SLOW)
        settled(page)


@pytest.fixture(scope="module")
def dashboard(served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("bad")
    workspace = Workspace(folder / "workspace")
    workspace.add_dataset("shades", make_folder(folder / "shades")).scan()
    with served(ROOT / "app.py", env={"RECIPE_WORKSPACE": str(workspace.folder)}) as server:
        yield Dashboard(server.url, folder, workspace.folder)
        assert "Traceback" not in server.log()


@pytest.fixture(autouse=True)
def _well_behaved(page: Page) -> Iterator[None]:
    with well_behaved(page):
        yield


def make_sources(folder: Path) -> dict[Path, str]:
    """Unusable sources, each with words of the sentence that is to be said of it."""
    (folder / "notes.txt").write_text("no table", "utf-8")
    (folder / "no paths.csv").write_text("weather,day\nsunny,1\nrainy,2\n", "utf-8")
    (folder / "empty.csv").write_text("", "utf-8")
    (folder / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    (folder / "broken.zip").write_bytes(b"PK\x03\x04 and then nothing")
    (folder / "nothing").mkdir()
    with zipfile.ZipFile(folder / "escape.zip", "w") as archive:
        archive.writestr("../../escaped.png", b"data")
    return {
        folder / "missing <b>": "does not exist",
        folder / "notes.txt": "is no folder, no table",
        folder / "no paths.csv": "no column",
        folder / "empty.csv": "is empty",
        folder / "broken.parquet": "is not a readable Parquet file",
        folder / "broken.zip": "is not a readable zip",
        folder / "escape.zip": "points outside the archive",
        folder / "nothing": "holds no images",
    }


def test_a_source_that_cannot_be_used_is_refused_in_one_sentence(page: Page, dashboard: Dashboard, tmp_path: Path):
    page.goto(dashboard.url)
    press(page, "Add dataset")
    for path, words in make_sources(tmp_path).items():
        enter(page, "Path", str(path))
        alert = page.get_by_role("dialog").get_by_test_id("stAlert")
        expect(alert).to_contain_text(words, timeout=SLOW)
        expect(alert).to_contain_text(path.name)
        assert alert.inner_text().strip().count("\n") == 0
        expect(page.get_by_role("button", name="Add and scan")).to_have_count(0)
    assert not list(tmp_path.parent.glob("**/escaped.png"))


def test_an_upload_that_is_no_zip_is_refused_and_leaves_nothing(page: Page, dashboard: Dashboard, tmp_path: Path):
    (tmp_path / "photos.zip").write_bytes(b"no zip at all")
    page.goto(dashboard.url)
    press(page, "Add dataset")
    page.get_by_role("radio", name="Upload a zip").click()
    page.locator("input[type=file]").set_input_files(tmp_path / "photos.zip")
    expect(page.get_by_role("dialog").get_by_test_id("stAlert")).to_contain_text("is not a readable zip", timeout=SLOW)
    assert not list((dashboard.workspace / "uploads").iterdir())


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("label = = 'cat'", "This is no SQL condition"),
        ("brightnes > 3", "did you mean brightness"),
        ("key IN (SELECT content FROM read_text('/etc/passwd'))", "cannot hold a query of its own"),
        ("read_text('/etc/passwd') IS NULL", "is not available"),
        ("sleep(60) IS NULL", "is not available"),
        ("1=1) OR (1=1; DROP TABLE x", "This is no SQL condition"),
        ("label::INTEGER = 1", "cannot be used"),
    ],
)
def test_a_condition_that_cannot_be_used_says_why(page: Page, dashboard: Dashboard, condition: str, words: str):
    dashboard.browse(page, f"dataset=shades&where={quote(condition)}")
    alert = page.get_by_test_id("stAlert")
    expect(alert).to_have_count(1)
    expect(alert).to_contain_text(words)
    assert alert.inner_text().strip().count("\n") == 0
    field = page.get_by_role("textbox", name="SQL condition")
    expect(field).to_have_value(condition)
    field.fill("NOT readable")
    field.press("Control+Enter")
    selected(page, f"1 of {SAMPLES}")
    expect(alert).to_have_count(0)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("page=99999", str(SAMPLES)),
        ("page=-3&size=7&axis=nonsense&group=", str(SAMPLES)),
        ("range.brightness=&range.width=abc", str(SAMPLES)),
        ("any.nope=1&any.label=1", str(SAMPLES)),
        ("is.label=doesnotexist", f"0 of {SAMPLES}"),
        ("range.brightness=9999..99999", f"0 of {SAMPLES}"),
    ],
)
def test_nonsense_in_the_address_is_passed_over(page: Page, dashboard: Dashboard, query: str, count: str):
    dashboard.browse(page, f"dataset=shades&{query}")
    selected(page, count)
    if count.startswith("0"):
        expect(page.get_by_text("No sample matches.", exact=False)).to_be_visible()
    else:
        expect(page.locator(".tile").first).to_be_visible()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("dataset=nope%20%3Cb%3E", "There is no dataset “nope <b>” here"),
        ("dataset=shades&sort=nonsense", 'no column "nonsense"'),
        ("dataset=shades&group=nonsense", 'no column "nonsense"'),
        ("dataset=shades&range.nope=1..2", 'no column "nope"'),
        ("dataset=shades&range.brightness=a..b", '"a" is no number'),
        ("dataset=shades&range.label=1..2", "holds no numbers or times"),
        ("dataset=shades&is.nope=1", 'no column "nope"'),
        ("dataset=shades&sample=nope", 'no sample "nope"'),
    ],
)
def test_an_address_that_names_what_is_not_there_says_so(page: Page, dashboard: Dashboard, query: str, words: str):
    dashboard.browse(page, query)
    expect(page.get_by_test_id("stAlert")).to_have_count(1)
    expect(page.get_by_test_id("stAlert")).to_contain_text(words)


# ---- what is served beside the pages


def test_only_addresses_that_the_dashboard_signed_are_served(page: Page, dashboard: Dashboard):
    signer = Signer(dashboard.workspace)

    def get(address: str) -> APIResponse:
        return page.request.get(f"{dashboard.url}/{address}")

    picture = signer.image("shades", "train/dark/000.png", "x")
    rows = Workspace(dashboard.workspace).dataset("shades").catalog.rows(limit=1, internal=True).iloc[0]
    thumbnail = signer.thumbnail("shades", rows["_shard"], int(rows["_offset"]), int(rows["_length"]))
    table = signer.table(View(dataset="shades", where="readable"))
    for address, kind in ((picture, "image/png"), (thumbnail, "image/"), (table, "text/csv")):
        answer = get(address)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
    for address in (
        picture.partition("&s=")[0],
        picture.replace("000.png", "001.jpg"),
        picture.replace("shades", "other"),
        thumbnail.partition("?")[0],
        thumbnail.replace("/0-", "/1-"),
        table.partition("&s=")[0],
        table.replace("readable", "true"),
        table.replace("table/shades", "table/other"),
        table + "&text=x",
    ):
        assert get(address).status == 403, address


def test_a_signed_address_leads_to_no_file_outside(page: Page, dashboard: Dashboard):
    signer = Signer(dashboard.workspace)
    for key in ("../workspace/secret", "/etc/passwd", "train/../../workspace/recipe.db", "nope.png", ""):
        answer = page.request.get(f"{dashboard.url}/{signer.image('shades', key, '')}")
        assert answer.status in (404, 422), key
        assert answer.headers["content-type"].startswith("text/plain")
    thumbnail = signer.thumbnail("shades", "..", 0, 10)
    unsigned = thumbnail.partition("?")[0]
    for path in (thumbnail, unsigned, "picture/../image?key=secret&version=", "picture/shades/image?key=a&s=%C3%A9"):
        assert status_of(dashboard.url, path) in (400, 403, 404), path  # 400: Streamlit itself refuses dots


def status_of(url: str, path: str) -> int:
    """Asks for a path as it is; a browser would resolve its dots first."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("GET", f"/{path}")
    status = connection.getresponse().status
    connection.close()
    return status
