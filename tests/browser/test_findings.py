"""What was found in a dataset, seen and decided on in a real browser: Verdict, Integrity, Duplicates, Browse."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from playwright.sync_api import Browser, Locator, Page, expect
from steps import SLOW, names, press, sees, selected, settled, well_behaved, widget
from world import BRIGHT, DARK, SAMPLES, make_folder

from recipe_core import Workspace
from recipe_core.data.findings.tables import PAIRS
from recipe_core.workspace import Dataset

DEEP = "duplicates?dataset=shades&kind=near_duplicate&threshold=0.95"
NEAR = {
    (f"train/{DARK}/002.png", f"train/{DARK}/004.png"): 0.98,
    (f"train/{DARK}/006.png", f"train/{DARK}/008.png"): 0.9,
}


@dataclass(frozen=True)
class Dashboard:
    url: str
    first: str
    """What the very first visitor of the server saw, who came by a deep link."""

    def open(self, page: Page, address: str) -> None:
        page.goto(f"{self.url}/{address}")
        expect(page.get_by_role("heading", name="shades")).to_be_visible(timeout=SLOW)
        settled(page)


def examined(dataset: Dataset) -> None:
    """As if exactly these near duplicates had been found."""
    hashes = dict(dataset.query()[["key", "pixel_hash"]].itertuples(index=False))
    rows = [(hashes[a], hashes[b], "brightness", similar, 4.0, "{}") for (a, b), similar in NEAR.items()]
    path = dataset.folder / "examined" / "pairs.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(list(map(list, zip(*rows, strict=True))), schema=PAIRS), path)


@pytest.fixture(scope="module")
def dashboard(served, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("findings")
    dataset = Workspace(folder / "workspace").add_dataset("shades", make_folder(folder / "shades"))
    dataset.scan()
    examined(dataset)
    with served(ROOT / "app.py", env={"RECIPE_WORKSPACE": str(folder / "workspace")}) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{server.url}/{DEEP}")
        expect(page.locator(".tile")).to_have_count(2, timeout=SLOW)
        first = page.locator("body").inner_text()
        context.close()
        yield Dashboard(server.url, first)
        assert "Traceback" not in server.log()


@pytest.fixture(autouse=True)
def _well_behaved(page: Page) -> Iterator[None]:
    with well_behaved(page):
        yield


def cluster(page: Page, key: str) -> Locator:
    """The card of the cluster that has this sample."""
    tile = page.locator(f'.tile[data-id="{key}"]')
    return page.locator('[class*="st-key-cluster-"]:has([data-testid="stMarkdown"])').filter(has=tile).last


def told(page: Page, sentence: str) -> None:
    """Waits until the page says what was done."""
    expect(page.locator('[class*="st-key-last-act-"]')).to_contain_text(sentence, timeout=SLOW)


def in_manifest(page: Page, dashboard: Dashboard, samples: int) -> None:
    """Opens the Verdict and waits until it counts so many samples that training reads."""
    dashboard.open(page, "verdict?dataset=shades")
    expect(widget(page, "manifest")).to_contain_text(f"{samples} samples of {SAMPLES}", timeout=SLOW)


def test_a_deep_link_as_the_first_request_shows_the_clusters_above_its_threshold(dashboard: Dashboard):
    assert "1 near pair" in dashboard.first
    assert "Become one with the data" in dashboard.first  # the navigation


def test_a_line_of_the_verdict_leads_to_pictures_and_what_is_excluded_leaves_the_manifest(
    page: Page, dashboard: Dashboard
):
    page.goto(dashboard.url)
    press(page, "Verdict")
    expect(widget(page, "manifest")).to_contain_text(f"{SAMPLES - 1} samples of {SAMPLES}", timeout=SLOW)
    press(page, "1 file cannot be read: truncated")
    expect(page.locator(".reason", has_text="cut off")).to_have_count(1, timeout=SLOW)
    dashboard.open(page, "verdict?dataset=shades")
    press(page, "1 picture stands in several splits (2 samples)")
    expect(page.locator(".tile")).to_have_count(2, timeout=SLOW)
    page.locator(f'.cell:has([data-id="train/{DARK}/000.png"]) .check').click()
    sees(page, "1 chosen")
    widget(page, "exclude-clusters").get_by_role("button").click()
    told(page, "Excluded 1 sample.")
    in_manifest(page, dashboard, SAMPLES - 2)
    expect(widget(page, "line-split_leak-")).to_contain_text("all decided")
    answer = page.request.get(page.get_by_role("link", name="Download CSV").evaluate("link => link.href"))
    rows = list(csv.DictReader(io.StringIO(answer.text())))
    assert len(rows) == SAMPLES - 2
    assert f"train/{DARK}/000.png" not in {row["sample"] for row in rows}
    widget(page, "acts").get_by_role("button", name="Undo").first.click()
    expect(widget(page, "manifest")).to_contain_text(f"{SAMPLES - 1} samples of {SAMPLES}", timeout=SLOW)


def test_a_threshold_is_moved_and_clusters_are_settled(page: Page, dashboard: Dashboard):
    dashboard.open(page, "duplicates?dataset=shades")
    sees(page, "3 clusters · 2 near pairs")
    settled(page)  # a script that ends draws the slider anew, under the keys
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    sees(page, "2 clusters · 1 near pair")
    page.wait_for_url(re.compile(r"threshold=0\.91"))
    similar, others = NEAR
    cluster(page, similar[0]).get_by_role("button", name="Keep the best").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 sample will be excluded")
    press(page, "Exclude 1 sample")
    told(page, "Excluded 1 sample.")
    expect(cluster(page, similar[0])).to_contain_text("decided")
    expect(cluster(page, similar[0]).locator(".tile").first).to_contain_text("★ kept")
    press(page, "Undo")
    told(page, "Undone.")
    dashboard.open(page, "duplicates?dataset=shades&kind=near_duplicate")
    cluster(page, others[0]).get_by_role("button", name="Not a duplicate").click()
    expect(cluster(page, others[0])).to_contain_text("decided", timeout=SLOW)
    page.get_by_text("Ask me").click()
    press(page, "Yes, the same")
    expect(page.get_by_text("from 1 answer", exact=False)).to_be_visible(timeout=SLOW)


def test_an_image_is_relabelled_where_it_is_seen(page: Page, dashboard: Dashboard):
    key = f"train/{DARK}/010.png"
    dashboard.open(page, f"browse?dataset=shades&text=010&sample={key}")
    dialog = page.get_by_role("dialog")
    field = page.get_by_placeholder("your name").last
    field.fill("ann <b>")
    field.press("Tab")
    settled(page)
    dialog.get_by_role("button", name="Relabel").click()
    page.get_by_role("combobox", name="The right label").click()
    page.get_by_role("option", name=BRIGHT, exact=True).click()
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="Relabel").click()
    expect(widget(page, "stands")).to_contain_text(f"relabelled as {BRIGHT}", timeout=SLOW)
    page.keyboard.press("Escape")  # the popover
    dialog.get_by_text("History (1)").click()
    expect(dialog.get_by_text(re.compile("by ann <b>, just now"))).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator(f'.tile[data-id="{key}"] .badge')).to_have_text(f"→ {BRIGHT}", timeout=SLOW)


def test_a_range_is_ticked_excluded_found_by_its_decision_and_taken_back(page: Page, dashboard: Dashboard):
    dashboard.open(page, "browse?dataset=shades&sort=-brightness")
    expect(page.locator(".tile").first).to_be_visible(timeout=SLOW)
    page.locator(".check").nth(2).click()
    page.locator(".check").nth(6).click(modifiers=["Shift"])
    sees(page, "5 chosen")
    five = names(page)[2:7]
    widget(page, "exclude-gallery").get_by_role("button").click()
    told(page, "Excluded 5 samples.")
    expect(page.locator('.tile[data-state="exclude"]')).to_have_count(5)
    condition = page.get_by_role("textbox", name="SQL condition")
    condition.fill("decision = 'exclude'")
    condition.press("Control+Enter")
    selected(page, f"5 of {SAMPLES}")
    expect(page.locator(".tile")).to_have_count(5)
    assert names(page) == five
    press(page, "Undo")
    selected(page, f"0 of {SAMPLES}")
