"""The map in a real browser: drawn around, decided on, coloured by another column, clicked."""

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
from playwright.sync_api import Page, expect
from steps import SLOW, choose, press, sees, settled, well_behaved, widget

from recipe_core import Workspace, jobs

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
        yield Dashboard(server.url)
        assert "Traceback" not in server.log()


@pytest.fixture(autouse=True)
def _well_behaved(page: Page) -> Iterator[None]:
    with well_behaved(page):
        yield


def told(page: Page, sentence: str) -> None:
    expect(page.locator('[class*="st-key-last-act-"]').first).to_contain_text(sentence, timeout=SLOW)


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
