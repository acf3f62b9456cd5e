"""Training in a real browser: launch runs, watch and stop them, lay them over each other, and see what they predict."""

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from steps import SLOW, press, sees, settled, well_behaved, widget

from recipe_core import Workspace
from recipe_core.runs import Run

LONG = 60_000  # ms, for a run to end
# It takes its time and leaves the cores to those who look on.
SLOW_NET = """
import time
from torch import nn
class Slow(nn.Sequential):
    def forward(self, x):
        time.sleep(0.02)
        return super().forward(x)
def model(classes):
    return Slow(nn.Flatten(), nn.Linear(3 * 16 * 16, classes))
"""
BADGE = ".stMarkdownBadge"


def make_images(folder: Path) -> Path:
    """Noise of three colours, 30 pictures of each to train on and 10 to validate; some are labelled wrong."""
    random = np.random.default_rng(0)
    for split, count in (("train", 30), ("val", 10)):
        for label in range(3):
            for number in range(count):
                colour = np.full(3, 70)
                colour[2 - (label if number % 10 else (label + 1) % 3)] = 180
                picture = (colour + random.integers(-60, 60, (16, 16, 3))).clip(0, 255).astype(np.uint8)
                path = folder / split / f"class {label}" / f"{number:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
    return folder


@dataclass(frozen=True)
class Dashboard:
    url: str
    workspace: Workspace

    def open(self, page: Page, query: str = "") -> None:
        page.goto(f"{self.url}/train?dataset=colours{query}")
        expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=SLOW)
        settled(page)

    def launch(self, preset: str, **settings: object) -> Run:
        return self.workspace.launch(self.workspace.dataset("colours"), preset, **settings)  # type: ignore[arg-type]

    def launch_slowly(self) -> Run:
        """A run that goes on until it is stopped."""
        net = self.workspace.folder.parent / "slow.py"
        net.write_text(SLOW_NET)
        return self.launch("linear", model_file=net, steps=1_000_000)


@pytest.fixture(scope="module")
def dashboard(served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("train")
    workspace = Workspace(folder / "workspace")
    workspace.add_dataset("colours", make_images(folder / "colours")).scan()
    with served(ROOT / "app.py", env={"RECIPE_WORKSPACE": str(workspace.folder)}) as server:
        yield Dashboard(server.url, workspace)
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def finished(dashboard: Dashboard) -> Run:
    """A run that has come to its end."""
    return ended(dashboard.launch("linear", epochs=4, learning_rate=1e-3, eval_every=2))


@pytest.fixture(autouse=True)
def _well_behaved(page: Page) -> Iterator[None]:
    with well_behaved(page):
        yield


@pytest.fixture(autouse=True)
def _none_left_running(dashboard: Dashboard) -> Iterator[None]:
    """A test that fails leaves no run behind, for which those of the tests to come would have to wait."""
    yield
    for run in dashboard.workspace.runs():
        if run.job.active:
            run.stop()
            ended(run)


def ended(run: Run) -> Run:
    for _ in run.follow():
        pass
    return run


def field(page: Page, label: str) -> Locator:
    return page.get_by_role("textbox", name=label, exact=True)


def state(page: Page, word: str) -> None:
    """Waits until the run that is open is in this state."""
    expect(page.get_by_test_id("stMain").locator(BADGE).first).to_have_text(word, timeout=LONG)


def stands_still(page: Page) -> None:
    """Waits until the paused charts have been drawn for the last time: one that is made anew forgets a drag."""
    progress, before = page.get_by_test_id("stProgress"), ""
    while before != (before := progress.inner_text()):
        page.wait_for_timeout(2000)
    expect(page.locator(".js-plotly-plot .nsewdrag")).to_have_count(2, timeout=SLOW)


def drag_across(page: Page, chart: Locator) -> None:
    area = chart.locator(".nsewdrag").first.bounding_box()
    assert area
    middle = area["y"] + area["height"] / 2
    page.mouse.move(area["x"] + area["width"] * 0.3, middle)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.7, middle, steps=5)
    page.mouse.up()


def test_a_run_is_launched_watched_and_judged(page: Page, dashboard: Dashboard):
    dashboard.open(page, "&preset=zero_input")
    sees(page, "What is expected, before it starts")
    field(page, "Epochs").fill("3")
    field(page, "Epochs").press("Enter")
    field(page, "Your own prediction").fill("a third is right")
    field(page, "Your own prediction").press("Control+Enter")
    settled(page)
    press(page, "Launch")
    page.wait_for_url("**run=*", timeout=SLOW)
    state(page, "finished")  # without a reload
    expect(widget(page, "verdicts").locator(BADGE)).to_have_count(3, timeout=SLOW)
    expect(widget(page, "verdicts")).to_contain_text("a third is right")
    assert dashboard.workspace.runs("colours")[0].spec.epochs == 3


def test_a_run_grows_before_the_eyes_is_stopped_and_resumed(page: Page, dashboard: Dashboard):
    run = dashboard.launch_slowly()
    dashboard.open(page, f"&run={run.id}")
    state(page, "running")
    progress = page.get_by_test_id("stProgress")
    expect(progress).to_contain_text(re.compile(r"Training: [\d,]+ of 1,000,000, .* left"), timeout=LONG)
    before = progress.inner_text()
    expect(progress).not_to_have_text(before, timeout=SLOW)
    page.reload()
    state(page, "running")
    press(page, "Stop")
    state(page, "stopped")
    press(page, "Resume")
    state(page, "running")
    press(page, "Stop")
    state(page, "stopped")


def test_a_zoom_stays_while_points_arrive_and_stands_in_the_address(page: Page, dashboard: Dashboard):
    run = dashboard.launch_slowly()
    dashboard.open(page, f"&run={run.id}")
    expect(page.get_by_test_id("stProgress")).to_contain_text("Training", timeout=LONG)
    widget(page, "pause").locator("label").click()
    stands_still(page)
    drag_across(page, page.locator(".js-plotly-plot").first)
    page.wait_for_url("**steps=*", timeout=SLOW)
    zoomed = page.url
    widget(page, "pause").locator("label").click()
    progress = page.get_by_test_id("stProgress")
    before = progress.inner_text()
    expect(progress).not_to_have_text(before, timeout=SLOW)
    expect(widget(page, "whole")).to_be_visible()
    assert page.url == zoomed
    widget(page, "whole").get_by_role("button").click()
    page.wait_for_url(lambda url: "steps" not in url, timeout=SLOW)
    run.stop()
    state(page, "stopped")


def test_a_run_that_was_killed_shows_its_last_lines_and_can_be_resumed(page: Page, dashboard: Dashboard):
    run = dashboard.launch_slowly()
    dashboard.open(page, f"&run={run.id}")
    expect(page.get_by_test_id("stProgress")).to_contain_text("Training", timeout=LONG)
    pid = run.job.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    state(page, "lost")
    expect(page.get_by_test_id("stCode")).to_contain_text("linear on", timeout=SLOW)
    expect(widget(page, "resume")).to_be_visible()


def test_a_run_goes_on_while_its_server_is_killed_and_another_server_shows_it(page: Page, dashboard: Dashboard, served):
    environment = {"RECIPE_WORKSPACE": str(dashboard.workspace.folder)}
    like = dashboard.launch_slowly()
    like.stop()
    with served(ROOT / "app.py", env=environment) as first:
        page.goto(f"{first.url}/train?dataset=colours&like={like.id}")
        expect(field(page, "Steps")).to_have_value("1000000")
        press(page, "Launch")
        page.wait_for_url("**run=*", timeout=SLOW)
        expect(page.get_by_test_id("stProgress")).to_contain_text("Training", timeout=LONG)
        _kill_server(first.url)
    run = dashboard.workspace.runs("colours")[0]
    points = len(run.metrics())
    with served(ROOT / "app.py", env=environment) as second:
        page.goto(f"{second.url}/train?dataset=colours&run={run.id}")
        state(page, "running")
        assert len(run.metrics()) > points
        press(page, "Stop")
        state(page, "stopped")


def _kill_server(url: str) -> None:
    option = f"--server.port={url.rpartition(':')[2]}"
    for process in psutil.process_iter(["cmdline"]):
        if option in (process.info["cmdline"] or []):
            process.kill()


def test_a_run_that_fails_says_why_in_one_sentence(page: Page, dashboard: Dashboard, tmp_path: Path):
    (tmp_path / "net.py").write_text("def model(classes):\n    raise ValueError('no such net')\n")
    run = ended(dashboard.launch("linear", model_file=tmp_path / "net.py"))
    dashboard.open(page, f"&run={run.id}")
    state(page, "failed")
    expect(page.get_by_test_id("stAlert")).to_contain_text("no such net")
    expect(page.get_by_test_id("stMain")).not_to_contain_text("Traceback")


def test_runs_are_laid_over_each_other_and_the_address_reopens_them(page: Page, dashboard: Dashboard, finished: Run):
    other = ended(dashboard.launch("majority"))
    dashboard.open(page, f"&run={finished.id}")
    widget(page, f"lay-{other.id}").locator("label").click()
    sees(page, "2 runs of colours")
    widget(page, "log").locator("label").click()
    page.wait_for_url("**log=1**", timeout=SLOW)
    settled(page)
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    sees(page, "2 runs of colours")
    expect(page.locator(".js-plotly-plot").first).to_contain_text(f"majority #{other.id}", timeout=SLOW)
    expect(page.get_by_role("switch", name="Log scale")).to_be_checked()


def test_a_cell_of_the_confusion_matrix_shows_its_images(page: Page, dashboard: Dashboard, finished: Run):
    evaluation = finished.evaluation()
    assert evaluation
    dashboard.open(page, f"&run={finished.id}&tab=predictions")
    matrix = page.locator(".js-plotly-plot").first
    expect(matrix).to_be_visible(timeout=SLOW)
    area = matrix.locator(".nsewdrag").first.bounding_box()
    assert area
    page.mouse.click(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    page.wait_for_url("**cell=1-1**", timeout=SLOW)
    sees(page, f"“class 1” told as “class 1”: {evaluation.confusion[1, 1]}")


def test_a_mistake_opens_in_browse(page: Page, dashboard: Dashboard, finished: Run):
    evaluation = finished.evaluation()
    assert evaluation
    worst = finished.samples("val")[evaluation.mistakes["row"].iloc[0]]
    dashboard.open(page, f"&run={finished.id}&tab=predictions")
    tile = page.locator(".tile").first
    expect(tile).to_have_attribute("data-id", worst, timeout=SLOW)
    tile.click()
    page.wait_for_url("**/browse?**", timeout=SLOW)
    expect(page.get_by_role("dialog")).to_contain_text("val/class", timeout=SLOW)


def test_just_before_the_net_stand_the_pictures_of_both_loaders(page: Page, dashboard: Dashboard, finished: Run):
    dashboard.open(page, f"&run={finished.id}&tab=inputs")
    expect(page.locator(".tile")).to_have_count(32, timeout=SLOW)
    shown = page.locator(".tile img").evaluate_all("images => images.every(image => image.naturalWidth === 16)")
    assert shown


def test_a_clone_takes_the_settings_over_and_a_deletion_asks_first(page: Page, dashboard: Dashboard):
    run = ended(dashboard.launch("majority", epochs=2, seed=5))
    dashboard.open(page, f"&run={run.id}")
    press(page, "Clone with changes")
    sees(page, "New run")
    expect(field(page, "Epochs")).to_have_value("2")
    expect(field(page, "Seed")).to_have_value("5")
    dashboard.open(page, f"&run={run.id}")
    press(page, "Delete")
    expect(page.get_by_role("dialog")).to_contain_text("cannot be undone")
    press(page, "Delete it")
    page.wait_for_url(lambda url: "run=" not in url, timeout=SLOW)
    assert run.id not in [each.id for each in dashboard.workspace.runs()]


def test_on_a_phone_nothing_hangs_over_the_edge(page: Page, dashboard: Dashboard, finished: Run):
    page.set_viewport_size({"width": 390, "height": 844})
    for query in ("", f"&run={finished.id}", f"&run={finished.id}&tab=predictions", f"&run={finished.id}&tab=inputs"):
        dashboard.open(page, query)
        main = page.get_by_test_id("stMain")
        assert main.evaluate("main => main.scrollWidth <= main.clientWidth")
