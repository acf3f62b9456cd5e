"""A walk through the dashboard in a real browser: look at a dataset from all sides, and send what is seen."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from conftest import ROOT
from playwright.sync_api import Browser, Page, expect
from steps import SLOW, choose, enter, go_to, names, press, sees, selected, settled, state, well_behaved, widget
from world import BRIGHT, DARK, HOSTILE, MIDDLE, SAMPLES, SCRIPT, make_folder

from recipe_core import Workspace

DATA_STAGE = "1 · Become one with the data"
DEEP = f"dataset=shades&range.brightness=20..200&is.label={DARK}&sort=-sharpness&sample=train%2Fdark%2F004.png"


@dataclass(frozen=True)
class Dashboard:
    url: str
    first: dict
    """What the very first visitor of the server saw, who came by a deep link."""

    def open(self, page: Page, query: str = "") -> None:
        page.goto(f"{self.url}/browse?dataset=shades&{query}")
        expect(page.locator(".tile").first).to_be_visible(timeout=SLOW)
        settled(page)


@pytest.fixture(scope="module")
def dashboard(served, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("walk")
    workspace = Workspace(folder / "workspace")
    workspace.add_dataset("older", make_folder(folder / "shades"))
    workspace.add_dataset("shades", folder / "shades").scan()
    with served(ROOT / "app.py", env={"RECIPE_WORKSPACE": str(folder / "workspace")}) as server:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(f"{server.url}/browse?{DEEP}")
        expect(page.get_by_role("dialog")).to_be_visible(timeout=SLOW)
        first = state(page)
        context.close()
        yield Dashboard(server.url, first)
        assert "Traceback" not in server.log()
        assert "ScriptRunContext" not in server.log()


@pytest.fixture(autouse=True)
def _well_behaved(page: Page) -> Iterator[None]:
    with well_behaved(page):
        yield


# ---- the address


def test_a_deep_link_as_the_first_request_of_a_server_shows_what_it_shows_later(page: Page, dashboard: Dashboard):
    dashboard.open(page, DEEP)
    expect(page.get_by_role("dialog")).to_be_visible()
    assert state(page) == dashboard.first
    assert dashboard.first["navigation"][:2] == ["Datasets", DATA_STAGE]
    assert "train/dark/004.png" in dashboard.first["opened"][0]
    assert page.get_by_test_id("stSidebarNav").count() == 0


def test_the_navigation_stays_with_the_dataset_and_back_leads_back(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    go_to(page, DATA_STAGE, "Integrity")
    page.wait_for_url("**/integrity?dataset=shades")
    settled(page)
    page.get_by_test_id("stTopNavLink").filter(has_text="Datasets").click()
    page.wait_for_url(lambda url: url.endswith("/"))
    sees(page, "Datasets")
    settled(page)
    go_to(page, DATA_STAGE, "Browse")
    page.wait_for_url("**/browse?dataset=shades")
    selected(page, str(SAMPLES))
    for _ in range(2):  # an address that was completed may stand twice in the history
        page.go_back()
        settled(page)
        if "/browse" not in page.url:
            break
    assert "/browse" not in page.url


def test_a_colleague_who_opens_the_address_sees_the_same(page: Page, browser: Browser, dashboard: Dashboard):
    dashboard.open(page)
    enter(page, "Search", "train")
    selected(page, f"97 of {SAMPLES}")
    choose(page, "sort", "brightness")
    widget(page, "direction").get_by_role("button").click()
    page.wait_for_url("**sort=-brightness**")
    choose(page, "add-filter", "format")
    page.wait_for_url("**any.format**")
    choose(page, "add-filter", "entropy")
    page.wait_for_url("**range.entropy**")
    settled(page)
    page.locator(".tile").nth(3).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.wait_for_url("**sample=**")
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    colleague = context.new_page()
    colleague.goto(page.url)
    expect(colleague.get_by_role("dialog")).to_be_visible(timeout=SLOW)
    settled(colleague)
    settled(page)
    assert state(colleague) == state(page)
    context.close()


def test_back_and_forward_go_through_what_was_seen(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    enter(page, "Search", "val")
    selected(page, f"28 of {SAMPLES}")
    choose(page, "sort", "brightness")
    page.wait_for_url("**sort=brightness**")
    expect(page.locator(".tile").first.locator(".caption")).to_contain_text("dark · ")  # sorted by now
    brightest_last = names(page)
    page.go_back()
    page.wait_for_url(lambda url: "sort=" not in url)
    expect(page.locator(".tile").first).not_to_have_attribute("data-id", brightest_last[0])
    page.go_back()
    selected(page, str(SAMPLES))
    expect(page.get_by_label("Search", exact=True)).to_have_value("")
    page.go_forward()
    selected(page, f"28 of {SAMPLES}")
    expect(page.get_by_label("Search", exact=True)).to_have_value("val")


# ---- order, groups, size, pages


def test_sort_direction_and_size_change_the_gallery(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    choose(page, "sort", "brightness")
    page.wait_for_url("**sort=brightness**")
    expect(page.locator(".tile").first.locator(".caption")).to_contain_text("dark · ")
    widget(page, "direction").get_by_role("button").click()
    expect(page.locator(".tile").first.locator(".caption")).to_contain_text("bright")
    small = page.locator(".tile").first.bounding_box()
    page.get_by_role("radio", name="XL", exact=True).click()
    page.wait_for_url("**size=256**")
    settled(page)
    large = page.locator(".tile").first.bounding_box()
    assert small and large and large["width"] > 2 * small["width"]


def test_a_heading_of_a_group_narrows_to_it(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    choose(page, "group", "label")
    expect(page.locator(".heading")).to_have_count(3)
    assert page.locator(".heading").all_inner_texts()[0].startswith(f"{DARK}")
    page.locator(".heading", has_text=SCRIPT).click()
    selected(page, f"39 of {SAMPLES}")
    expect(page.locator(".heading:visible")).to_have_count(0)
    assert "group=" not in page.url


def test_pages_are_turned_and_stand_in_the_address(page: Page, dashboard: Dashboard):
    dashboard.open(page, "size=256")
    first = names(page)
    assert len(first) == 24
    press(page, "Page 2")
    page.wait_for_url("**page=2**")
    expect(page.locator(".tile").first).not_to_have_attribute("data-id", first[0])
    settled(page)
    assert not set(names(page)) & set(first)
    choose(page, "sort", "width")
    page.wait_for_url(lambda url: "page=" not in url)


# ---- filters


def test_a_range_filter_follows_its_slider(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    choose(page, "add-filter", "brightness")
    thumb = widget(page, "range-brightness").get_by_role("slider").first
    expect(thumb).to_be_visible()
    selected(page, str(SAMPLES))
    thumb.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile(r"range\.brightness=\d+\.\."))
    expect(page.get_by_text(re.compile(rf"^\d+ of {SAMPLES} samples$"))).to_be_visible()
    widget(page, "drop-brightness").get_by_role("button").click()
    selected(page, str(SAMPLES))


def test_choices_narrow_and_all_filters_can_be_cleared(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    choose(page, "add-filter", "label")
    choose(page, "is-label", f"{MIDDLE} (39)")
    selected(page, f"39 of {SAMPLES}")
    page.keyboard.press("Escape")
    choose(page, "is-label", f"{BRIGHT} (39)")
    selected(page, f"78 of {SAMPLES}")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")  # the list takes less room without the focus, and the button moves up
    widget(page, "clear-filters").get_by_role("button").click()
    selected(page, str(SAMPLES))
    assert "label" not in page.url


def test_a_condition_in_sql_selects(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    condition = page.get_by_role("textbox", name="SQL condition")
    condition.fill("label = 'dark' and NOT readable")
    condition.press("Control+Enter")
    selected(page, f"1 of {SAMPLES}")
    expect(page.locator(".tile")).to_have_count(1)
    expect(page.locator(".badge")).to_have_text("truncated")
    page.locator(".tile").click()
    expect(page.get_by_role("dialog").get_by_text("cut off", exact=False).first).to_be_visible()


# ---- the chart


def test_a_range_brushed_in_the_histogram_becomes_a_filter(page: Page, dashboard: Dashboard):
    dashboard.open(page)
    choose(page, "axis", "brightness")
    expect(page.get_by_text("Drag across the bars to keep that range.")).to_be_visible()
    settled(page)
    area = page.locator(".js-plotly-plot .nsewdrag").bounding_box()
    assert area
    middle = area["y"] + area["height"] / 2
    page.mouse.move(area["x"] + area["width"] * 0.02, middle)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.3, middle + 5, steps=8)
    page.mouse.move(area["x"] + area["width"] * 0.5, middle + 5, steps=8)
    page.mouse.up()
    page.wait_for_url(re.compile(r"range\.brightness=[\d.]+\.\.[\d.]+"))
    expect(page.get_by_text(re.compile(rf"^\d+ of {SAMPLES} samples$"))).to_be_visible(timeout=SLOW)
    expect(widget(page, "range-brightness").get_by_role("slider")).to_have_count(2)
    settled(page)
    assert {name.split("/")[1] for name in names(page)} == {DARK, MIDDLE}


def test_a_clicked_bar_is_kept_and_clicked_again_dropped(page: Page, dashboard: Dashboard):
    dashboard.open(page, "axis=label")
    for count in (f"47 of {SAMPLES}", str(SAMPLES)):
        bar = page.locator(".js-plotly-plot .barlayer .point path").first
        expect(bar).to_be_visible()
        settled(page)
        box = bar.bounding_box()
        assert box
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        selected(page, count)


# ---- one image


def test_an_image_opens_steps_by_arrow_keys_and_closes_by_escape(page: Page, dashboard: Dashboard):
    dashboard.open(page, "sort=-brightness")
    tiles = names(page)
    page.locator(".tile").nth(1).click()
    picture = page.locator(".stage img")
    expect(picture).to_have_attribute("alt", tiles[1], timeout=SLOW)
    expect(page.get_by_role("dialog").get_by_text(f"2 of {SAMPLES}", exact=False)).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(picture).to_have_attribute("alt", tiles[2])
    page.wait_for_url("**sample=**")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(picture).to_have_attribute("alt", tiles[0])
    settled(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.wait_for_url(lambda url: "sample=" not in url)
    assert names(page) == tiles


def test_hostile_names_are_shown_as_they_are(page: Page, dashboard: Dashboard):
    dashboard.open(page, "text=png&is.label=dark&sort=sharpness&axis=label&group=label")
    for name in HOSTILE:
        page.locator(".tile").nth(names(page).index(f"train/{DARK}/{name}")).click()
        dialog = page.get_by_role("dialog")
        expect(dialog.locator("strong")).to_have_text(f"train/dark/{name}".replace("\n", " "), timeout=SLOW)
        expect(page.locator(".stage img")).to_have_js_property("naturalWidth", 48)
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
    page.get_by_test_id("stTopNavLink").first.click()
    expect(page.get_by_role("button", name="Add dataset")).to_be_visible()


# ---- what is taken away


def test_the_selection_downloads_as_a_table_that_runs_no_formula(page: Page, dashboard: Dashboard):
    dashboard.open(page, f"is.label={DARK}&sort=-brightness&where=format%3D'PNG'")
    answer = page.request.get(page.get_by_role("link", name="Download CSV").evaluate("link => link.href"))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text())))
    assert [row["key"] for row in rows] == names(page)
    assert {row["label"] for row in rows} == {DARK}


# ---- on a phone


def test_a_phone_shows_gallery_and_filters_without_scrolling_sideways(page: Page, dashboard: Dashboard):
    page.set_viewport_size({"width": 390, "height": 844})
    for address in ("/", "/browse?dataset=shades&range.brightness=20..200&group=label", f"/browse?{DEEP}"):
        page.goto(dashboard.url + address)
        expect(page.locator(".tile").first).to_be_visible(timeout=SLOW)
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    page.keyboard.press("Escape")
    page.get_by_test_id("stExpandSidebarButton").click()
    expect(widget(page, "drop-brightness")).to_be_in_viewport()
    condition = page.get_by_role("textbox", name="SQL condition")
    condition.scroll_into_view_if_needed()
    expect(condition).to_be_in_viewport()
