"""A walk through the Datasets page in a real browser: adding sources of every kind and ruling their scans."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from conftest import ROOT
from playwright.sync_api import Browser, Page, expect
from steps import SLOW, choose, enter, press, selected, settled, well_behaved, widget
from world import DARK, make_folder, make_many, make_table, make_zip, picture, standing_still

from recipe_core import Workspace
from recipe_core.workspace import Dataset


@dataclass(frozen=True)
class Dashboard:
    url: str
    folder: Path
    """Where the sources stand."""

    def dataset(self, name: str) -> Dataset:
        return Workspace(self.folder / "workspace").dataset(name)


@pytest.fixture(scope="module")
def dashboard(served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("datasets")
    make_folder(folder / "shades")
    make_table(folder / "table")
    make_zip(folder / "pets.zip")
    with served(ROOT / "app.py", env={"RECIPE_WORKSPACE": str(folder / "workspace")}) as server:
        yield Dashboard(server.url, folder)
        assert "Traceback" not in server.log()


@pytest.fixture(autouse=True)
def _home(page: Page, dashboard: Dashboard) -> Iterator[None]:
    page.goto(dashboard.url)
    expect(page.get_by_role("button", name="Add dataset")).to_be_visible(timeout=SLOW)
    with well_behaved(page):
        yield


def look_at(page: Page, path: Path) -> None:
    """Opens the dialog and types a path."""
    press(page, "Add dataset")
    enter(page, "Path", str(path))


def understood(page: Page, sentence: str) -> None:
    expect(page.get_by_role("dialog").get_by_test_id("stAlert")).to_have_text(
        re.compile(re.escape(sentence)), timeout=SLOW
    )


def scanned(page: Page, name: str) -> None:
    """Waits until a dataset's card offers another scan."""
    expect(widget(page, f"card-{name}").get_by_role("button", name="Rescan")).to_be_visible(timeout=2 * SLOW)


def test_a_folder_is_added_by_its_path_and_browsed(page: Page, dashboard: Dashboard):
    look_at(page, dashboard.folder / "shades")
    understood(page, "splits and classes: train 97, val 28, 3 classes")
    expect(page.get_by_role("dialog").get_by_text("dark (47)", exact=False)).to_be_visible()
    enter(page, "Name", "grey shades")
    press(page, "Add and scan")
    expect(page.get_by_role("dialog").get_by_text("cannot name a dataset", exact=False)).to_be_visible()
    enter(page, "Name", "greys")
    press(page, "Add and scan")
    expect(page.get_by_role("dialog")).to_be_hidden()
    scanned(page, "greys")
    card = widget(page, "card-greys")
    expect(card.get_by_text("125 samples, 3 classes, train 97, val 28", exact=False)).to_be_visible()
    card.get_by_role("button", name="1 picture stands in several splits (2 samples)").click()
    expect(page.locator(".tile")).to_have_count(2, timeout=SLOW)
    assert {tile.get_attribute("data-id") for tile in page.locator(".tile").all()} == {
        f"train/{DARK}/000.png",
        f"val/{DARK}/copy.png",
    }


def test_a_table_is_picked_from_the_list_and_its_columns_are_corrected(page: Page, dashboard: Dashboard):
    look_at(page, dashboard.folder)
    choose(page, "add-pick", "table/")
    expect(page.get_by_label("Path", exact=True)).to_have_value(str(dashboard.folder / "table"))
    choose(page, "add-pick", "animals.csv")
    understood(page, "table: 8 samples, 8 classes")
    choose(page, "add-column-label", "species")
    understood(page, "table: 8 samples, 2 classes")
    press(page, "Add and scan")
    expect(page.get_by_role("dialog")).to_be_hidden()
    scanned(page, "animals")
    page.goto(f"{dashboard.url}/browse?dataset=animals&is.label=cat")
    selected(page, "4 of 8")


def test_an_uploaded_zip_is_scanned_and_its_tiff_is_shown(page: Page, dashboard: Dashboard):
    press(page, "Add dataset")
    page.get_by_role("radio", name="Upload a zip").click()
    page.locator("input[type=file]").set_input_files(dashboard.folder / "pets.zip")
    understood(page, "zip: folder of classes: ")
    press(page, "Add and scan")
    expect(page.get_by_role("dialog")).to_be_hidden(timeout=SLOW)
    scanned(page, "pets")
    page.goto(f"{dashboard.url}/browse?dataset=pets&sample=cat/deep.tiff")
    picture = page.locator(".stage img")
    expect(picture).to_have_js_property("naturalWidth", 40, timeout=SLOW)
    answer = page.request.get(picture.evaluate("image => image.src"))
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_scan_is_browsed_left_cancelled_resumed_and_repeated(page: Page, dashboard: Dashboard):
    image = make_many(dashboard.folder / "many", 800, (2048, 1536))  # more than anybody waits for
    look_at(page, dashboard.folder / "many")
    understood(page, "flat folder: 800 samples")
    press(page, "Add and scan")
    card = widget(page, "card-many")
    expect(card.get_by_text(re.compile(r"Scan: measuring [\d,]+ of 800"))).to_be_visible(timeout=SLOW)
    with standing_still(dashboard.dataset("many")):
        card.get_by_role("button", name="Browse the first images").click(timeout=60_000)
        expect(page.locator(".tile").first).to_be_visible(timeout=SLOW)
        expect(page.get_by_text("The scan is still running", exact=False)).to_be_visible()
        page.goto("about:blank")
        page.goto(dashboard.url)
        card.get_by_role("button", name="Cancel scan").click(timeout=SLOW)
        expect(card.get_by_text("The scan was cancelled.", exact=False)).to_be_visible(timeout=SLOW)
    picture(100, 0, (16, 16)).save(image, "JPEG")  # all that are left are quick to read now
    card.get_by_role("button", name="Resume scan").click()
    scanned(page, "many")
    expect(card.get_by_text("800 samples, ", exact=False)).to_be_visible()
    picture(100, 1, (64, 48)).save(image, "JPEG")  # all have changed, so the second scan takes seconds, too
    card.get_by_role("button", name="Rescan").click()
    expect(card.get_by_role("button", name="Cancel scan")).to_be_visible(timeout=SLOW)
    scanned(page, "many")


def test_a_scan_that_ends_does_not_close_the_dialog_in_which_the_next_dataset_is_named(
    page: Page, dashboard: Dashboard
):
    make_many(dashboard.folder / "scanning", 800, (2048, 1536))  # more than anybody waits for
    look_at(page, dashboard.folder / "scanning")
    press(page, "Add and scan")
    card = widget(page, "card-scanning")
    expect(card.get_by_text("Scan: ", exact=False)).to_be_visible()
    look_at(page, dashboard.folder / "table")
    expect(page.get_by_label("Name", exact=True)).to_have_value("table")
    enter(page, "Name", "second")
    Workspace(dashboard.folder / "workspace").dataset("scanning").stop_scan()
    expect(card.get_by_text("The scan was cancelled.", exact=False)).to_be_visible()
    settled(page)
    expect(page.get_by_label("Name", exact=True)).to_have_value("second")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.reload()
    settled(page)
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_what_is_pressed_while_a_scan_ends_is_not_lost(browser: Browser, dashboard: Dashboard):
    make_many(dashboard.folder / "long", 800, (2048, 1536))
    long = Workspace(dashboard.folder / "workspace").add_dataset("long", dashboard.folder / "long")
    long.launch_scan()
    with standing_still(long), browser.new_context() as context:  # a clock stays with its context
        page = context.new_page()
        page.clock.install()
        page.goto(dashboard.url)
        button = widget(page, "card-long").get_by_role("button", name="Browse the first images")
        expect(button).to_be_visible(timeout=SLOW)
        page.clock.pause_at(datetime.now() + timedelta(seconds=5))  # so that the card does not renew itself first
        long.stop_scan()
        while long.job.active:
            time.sleep(0.05)
        button.dispatch_event("click")
        page.clock.resume()
        page.wait_for_url("**/browse?dataset=long")


def test_a_dataset_is_removed_after_a_question(page: Page, dashboard: Dashboard):
    look_at(page, dashboard.folder / "table")
    press(page, "Add and scan")
    scanned(page, "table")
    widget(page, "remove-table").get_by_role("button").click()
    expect(page.get_by_role("dialog").get_by_text("Its images stay where they are.", exact=False)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(widget(page, "card-table")).to_be_visible()
    widget(page, "remove-table").get_by_role("button").click()
    press(page, "Remove it")
    expect(widget(page, "card-table")).to_have_count(0)
    settled(page)
    assert (dashboard.folder / "table" / "0.png").exists()
