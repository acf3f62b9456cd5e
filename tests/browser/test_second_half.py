"""Outliers, Labels, Label errors and Map in a real browser: their controls pressed, by mouse and by key."""

import csv
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from steps import SLOW, choose, names, press, sees, settled, well_behaved, widget

from recipe_core import Workspace, jobs
from recipe_core.workspace import Dataset

SCRIPT = "<img src=x onerror=alert(1)>"
BLUE, RED = "blue", f"red {SCRIPT}"
EACH, WRONG, OLD = 60, ("red/03.png", "red/05.png", "red/07.png"), "blue/11.png"
# A backbone that costs nothing: the mean colours of 16 squares.
MEANS = """
import torch
SIDE = 16
class Means(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
def backbone():
    return Means()
"""


@dataclass(frozen=True)
class Dashboard:
    url: str
    dataset: Dataset

    def decided(self) -> list[int]:
        """How often each of the wrong labels was decided on."""
        return [len(self.dataset.decisions.of(key)) for key in WRONG]

    def open(self, page: Page, address: str) -> None:
        page.goto(f"{self.url}/{address}")
        expect(page.get_by_role("heading", name="tints", exact=True)).to_be_visible(timeout=SLOW)
        settled(page)


def make_tints(folder: Path) -> Path:
    """A table of red and blue pictures: three red ones are labelled blue, one is from long ago."""
    folder.mkdir(parents=True)
    chance, rows = np.random.default_rng(0), []
    for colour, tint in (("blue", (60, 90, 190)), ("red", (190, 90, 60))):
        (folder / colour).mkdir()
        for number in range(EACH):
            key = f"{colour}/{number:02}.png"
            patches = (chance.integers(-45, 46, (6, 6, 3)) + tint).clip(0, 255).astype(np.uint8)
            Image.fromarray(patches).resize((40, 40)).save(folder / key)
            label = BLUE if colour == "blue" or key in WRONG else RED
            year = 1900 if key == OLD else 2000 + number % 20
            rows.append((key, label, "val" if number % 4 == 0 else "train", year, f"camera {colour}"))
    with (folder / "tints.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split", "year", "device"), *rows])
    return folder / "tints.csv"


@pytest.fixture(scope="module")
def dashboard(served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Scanned, examined and embedded."""
    folder = tmp_path_factory.mktemp("second half")
    (folder / "means.py").write_text(MEANS)
    workspace = Workspace(folder / "workspace")
    dataset = workspace.add_dataset("tints", make_tints(folder / "tints"))
    dataset.scan()
    for job in (dataset.launch_examination(), dataset.launch_embedding(folder / "means.py")):
        assert job is None or list(jobs.follow(workspace.store, job.id))[-1].state == "finished"
    while dataset.found.pending():
        time.sleep(0.1)
    with served(ROOT / "app.py", env={"RECIPE_WORKSPACE": str(workspace.folder)}) as server:
        yield Dashboard(server.url, dataset)
        assert "Traceback" not in server.log()


@pytest.fixture(autouse=True)
def _well_behaved(page: Page) -> Iterator[None]:
    with well_behaved(page):
        yield


def told(page: Page, sentence: str) -> None:
    expect(page.locator('[class*="st-key-last-act-"]').first).to_contain_text(sentence, timeout=SLOW)


def click_middle(page: Page, mark: Locator) -> None:
    expect(mark).to_be_visible(timeout=SLOW)
    settled(page)
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_both_ends_along_chosen_axes_are_shown_and_decided_on(page: Page, dashboard: Dashboard):
    dashboard.open(page, "outliers?dataset=tints&axis=year")
    lowest = page.get_by_test_id("stColumn").filter(has=page.get_by_role("heading", name="Lowest"))
    expect(lowest.locator(".tile").first).to_have_attribute("data-id", OLD, timeout=SLOW)
    expect(lowest.locator(".reason").first).to_contain_text("year 1,900")
    expect(page.get_by_text("dotted: from there on a sample sticks out", exact=False)).to_be_visible()
    choose(page, "axes", "brightness")
    page.wait_for_url(re.compile("axis=year&axis=brightness"))
    expect(page.locator(".js-plotly-plot")).to_have_count(2, timeout=SLOW)
    page.keyboard.press("Escape")
    settled(page)
    lowest.locator(".check").first.click()
    sees(page, "1 chosen")
    widget(page, "exclude-tail-low").get_by_role("button").click()
    told(page, "Excluded 1 sample.")
    page.locator('[class*="st-key-last-act-"]').first.get_by_role("button", name="Undo").click()
    told(page, "Undone.")


def test_a_bar_of_a_class_and_a_cell_of_a_bias_lead_to_their_samples(page: Page, dashboard: Dashboard):
    dashboard.open(page, "labels?dataset=tints")
    expect(page.get_by_text("2 classes")).to_be_visible()
    click_middle(page, page.locator(".js-plotly-plot .barlayer .point path").first)
    page.wait_for_url(re.compile(r"/browse\?.*is\.label="))
    dashboard.open(page, "labels?dataset=tints")
    card = page.locator('[class*="st-key-whole-"]:has(.js-plotly-plot)').filter(has_text="“device”")
    chart = card.locator(".js-plotly-plot .nsewdrag").first
    chart.scroll_into_view_if_needed()
    settled(page)
    area = chart.bounding_box()
    assert area
    page.mouse.click(area["x"] + area["width"] / 4, area["y"] + area["height"] / 4)
    page.wait_for_url(re.compile(r"/browse\?.*is\.device=camera"))
    expect(page.locator(".tile").first).to_be_visible(timeout=SLOW)


def test_a_label_error_is_decided_by_key_and_taken_back(page: Page, dashboard: Dashboard):
    dashboard.open(page, "label-errors?dataset=tints")
    sees(page, "3 labels are likely wrong, 3 undecided")
    page.keyboard.press("s")
    told(page, f"Relabelled 1 sample as {RED}.")
    sees(page, "3 labels are likely wrong, 2 undecided")
    settled(page)
    page.keyboard.press("n")
    told(page, "Not a problem: 1 sample.")
    sees(page, "3 labels are likely wrong, 1 undecided")
    press(page, "Undo")
    sees(page, "3 labels are likely wrong, 2 undecided")
    press(page, "What did the decisions change?")
    expect(page.get_by_text("before the decisions", exact=False)).to_be_visible(timeout=SLOW)
    page.get_by_text("List", exact=True).click()
    expect(page.locator(".tile")).to_have_count(3, timeout=SLOW)
    assert set(names(page)) == set(WRONG)


def test_keys_pressed_in_a_hurry_decide_once_on_what_was_seen(page: Page, dashboard: Dashboard):
    dashboard.open(page, "label-errors?dataset=tints")
    shown = page.locator("img.suspect").get_attribute("src")
    before = dashboard.decided()
    for key in "sn":
        page.keyboard.press(key)
        page.wait_for_timeout(60)  # long enough for the first to be decided on, too short to see the next
    expect(page.locator("img.suspect")).not_to_have_attribute("src", shown or "", timeout=SLOW)
    settled(page)
    more = [after - old for after, old in zip(dashboard.decided(), before, strict=True)]
    assert max(more) == 1, "one key of two in a hurry was taken for a second ruling on the same picture"
    assert page.locator('[class*="st-key-last-act-"]').count() == 1


def test_a_part_of_the_map_is_drawn_around_and_decided_on_and_a_point_clicked(page: Page, dashboard: Dashboard):
    dashboard.open(page, "map?dataset=tints")
    area = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    assert area
    left, top, right, low = area["x"] + 2, area["y"] + 2, area["x"] + area["width"] - 2, area["y"] + area["height"] - 2
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, low), (left, low), (left, top)):
        page.mouse.move(x, y, steps=6)
    page.mouse.up()
    page.wait_for_url(re.compile("area="))
    expect(page.get_by_text(re.compile(rf"^{2 * EACH} samples in what was drawn around"))).to_be_visible(timeout=SLOW)
    page.locator(".check").first.click()
    sees(page, "1 chosen")
    widget(page, "exclude-gallery-map").get_by_role("button").click()
    told(page, "Excluded 1 sample.")
    page.locator('[class*="st-key-last-act-"]').first.get_by_role("button", name="Undo").click()
    told(page, "Undone.")
    press(page, "Clear")
    expect(page.get_by_text("Draw around a part of the map", exact=False)).to_be_visible(timeout=SLOW)
    choose(page, "colour", "device")
    page.wait_for_url(re.compile("colour=device"))
    expect(page.locator(".js-plotly-plot .legendtext").first).to_contain_text("camera", timeout=SLOW)
    dashboard.open(page, f"map?dataset=tints&near={OLD}")
    expect(page.locator(".tile").first).to_have_attribute("data-id", OLD, timeout=SLOW)
    page.locator(".tile").first.click()
    expect(page.get_by_role("dialog")).to_contain_text(OLD, timeout=SLOW)
