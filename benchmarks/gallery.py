"""How long a page of 480 thumbnails takes, in a real browser.

    .venv/bin/python benchmarks/gallery.py [--workspace DIR]      # a workspace with the demo dataset scanned

Needs Chromium at /usr/bin/chromium. Hypothesis: a rerun that changes nothing (a filter is added but not set) is done in
under 500 ms, a rerun that brings 480 other thumbnails in about twice that; the first visit pays for Streamlit itself.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
PORT = 8799
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
IDLE = (
    """() => document.querySelector('[data-testid="stApp"]')?.getAttribute('data-test-script-state') === 'notRunning'"""
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", default="workspace")
    workspace = str(Path(parser.parse_args().workspace).resolve())
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(PORT)],
        cwd=ROOT,
        env=os.environ | {"RECIPE_WORKSPACE": workspace},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_server()
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            _measure(browser.new_page(viewport={"width": 1440, "height": 900}))
    finally:
        server.terminate()


def _wait_for_server() -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The server did not start.")


def _measure(page: Page) -> None:
    start = time.perf_counter()
    page.goto(f"http://localhost:{PORT}/browse?dataset=demo&size=64")
    page.locator(".gallery button").nth(479).wait_for(state="attached")
    page.wait_for_function(IDLE)
    print(f"first visit                       {1000 * (time.perf_counter() - start):6.0f} ms")
    turn = page.locator(".st-key-direction button:visible").last
    other = [_seconds(page, turn.click) for _ in range(7)]
    print(f"480 other thumbnails, median of 7 {1000 * statistics.median(other):6.0f} ms")
    search = page.locator(".st-key-search input")

    def same() -> None:
        search.press("End")
        search.type(" ")
        search.press("Enter")

    unchanged = [_seconds(page, same) for _ in range(7)]
    print(f"480 same thumbnails, median of 7  {1000 * statistics.median(unchanged):6.0f} ms")


def _seconds(page: Page, act) -> float:
    """From the action until the script has run and the page has drawn it."""
    page.evaluate(
        """() => { window.ran = false; const app = document.querySelector('[data-testid="stApp"]');
        window.watch?.disconnect(); window.watch = new MutationObserver(() => {
          if (app.getAttribute('data-test-script-state') === 'running') window.ran = true;
          else if (window.ran) requestAnimationFrame(() => setTimeout(() => { window.done = performance.now() }))
        }); window.done = 0; window.watch.observe(app, {attributes: true}); window.begun = performance.now() }"""
    )
    act()
    page.wait_for_function("() => window.done")
    return page.evaluate("() => window.done - window.begun") / 1000


if __name__ == "__main__":
    main()
