"""The Audit page in a real browser: what is silently wrong in files and in runs, as it comes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT
from playwright.sync_api import Page, expect
from steps import SLOW, choose, press, sees, settled, well_behaved, widget
from world import make_folder

from recipe_core import Workspace, settings
from tests.pipeline_files import CAUSES, put_files

LONG = 120_000  # ms, for an audit
BADGE = ".stMarkdownBadge"


@dataclass(frozen=True)
class Dashboard:
    url: str
    workspace: Workspace

    def open(self, page: Page, path: str = "audit") -> None:
        page.goto(f"{self.url}/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=SLOW)
        settled(page)


@pytest.fixture(scope="module")
def dashboard(served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("audit")
    workspace = Workspace(folder / "workspace")
    put_files(workspace)
    with served(ROOT / "app.py", env={"RECIPE_WORKSPACE": str(workspace.folder)}) as server:
        yield Dashboard(server.url, workspace)
        assert "Traceback" not in server.log()


@pytest.fixture(autouse=True)
def _well_behaved(page: Page) -> Iterator[None]:
    with well_behaved(page):
        yield


def audit(page: Page, file: str, seconds: int = 60) -> None:
    """Pick a file and press Audit."""
    choose(page, "file", file)
    settled(page)
    page.get_by_label("Seconds", exact=True).fill(str(seconds))
    page.get_by_label("Seconds", exact=True).press("Enter")
    settled(page)
    widget(page, "audit").get_by_role("button").click()
    page.wait_for_url("**audit=*", timeout=SLOW)


def ends(page: Page, state: str) -> None:
    """Waits until the audit that is open has ended so."""
    expect(page.get_by_test_id("stMain").locator(BADGE).first).to_have_text(state, timeout=LONG)


def test_three_bugs_of_a_file_are_shown_as_they_are_found_and_can_be_kept(
    page: Page, dashboard: Dashboard, tmp_path: Path
):
    dashboard.open(page)
    audit(page, "three_bugs.py")
    for cause in CAUSES:
        expect(page.get_by_test_id("stMain").get_by_text(cause, exact=True)).to_be_visible(timeout=LONG)
    press(page, "Stop")
    expect(widget(page, "again")).to_be_visible(timeout=LONG)
    card = widget(page, "card-0")
    for part in ("fail", "harm", "stage", "Expected:", "What it does:", "Fix:"):
        expect(card).to_contain_text(part)
    expect(page.locator(".evidence table").first).to_be_visible()
    with page.expect_download() as kept:
        press(page, "Download as HTML")
    kept.value.save_as(tmp_path / "audit.html")
    assert all(cause in (tmp_path / "audit.html").read_text("utf-8") for cause in CAUSES)
    page.reload()
    sees(page, "optimizer-misses-parameters")


def test_a_healthy_file_has_no_failure_and_its_checks_are_listed(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    audit(page, "healthy.py", 40)  # of which a busy machine leaves enough for all its checks
    ends(page, "finished")
    expect(page.get_by_test_id("stMain")).to_contain_text("Nothing failed: ", timeout=SLOW)
    expect(page.get_by_test_id("stMain")).to_contain_text("In evaluation mode the model gives the same outputs")


def test_a_broken_file_gets_one_sentence(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    audit(page, "broken.py")
    ends(page, "failed")
    expect(page.get_by_test_id("stAlert")).to_contain_text("line 2: ZeroDivisionError in pipeline(): division by zero.")


def test_a_run_is_audited_by_its_button(
    page: Page, dashboard: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(settings.SLOTS, "run", 0)
    shades = dashboard.workspace.add_dataset("shades", make_folder(tmp_path / "shades"))
    shades.scan()
    run = dashboard.workspace.launch(shades, "linear")
    run.stop()
    dashboard.open(page, f"train?dataset=shades&run={run.id}")
    press(page, "Audit")
    page.wait_for_url("**audit=*", timeout=SLOW)
    expect(page.get_by_test_id("stMain")).to_contain_text(
        "The model has as many outputs as there are classes", timeout=LONG
    )
    page.get_by_test_id("stPageLink").get_by_text(f"Run {run.id}").click()
    page.wait_for_url(f"**run={run.id}*", timeout=SLOW)
    dashboard.open(page)
    page.get_by_role("button", name=f"run {run.id} #").click()  # in the list of old audits
    page.wait_for_url("**audit=*", timeout=SLOW)
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"run {run.id}")
