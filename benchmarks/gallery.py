"""How long a page of 480 thumbnails takes, in a real browser.

    .venv/bin/python -m benchmarks.gallery [--workspace DIR]      # a workspace with the demo dataset scanned

Needs Chromium at /usr/bin/chromium. Hypothesis: a rerun that changes nothing (a filter is added but not set) is done in
under 500 ms, a rerun that brings 480 other thumbnails in about twice that; the first visit pays for Streamlit itself.
"""

import argparse
import statistics
import time
from pathlib import Path

from playwright.sync_api import Page

from benchmarks.dashboard import URL, looked_at

IDLE = (
    """() => document.querySelector('[data-testid="stApp"]')?.getAttribute('data-test-script-state') === 'notRunning'"""
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", default="workspace")
    with looked_at(Path(parser.parse_args().workspace)) as browser:
        _measure(browser.new_page(viewport={"width": 1440, "height": 900}))


def _measure(page: Page) -> None:
    start = time.perf_counter()
    page.goto(f"{URL}/browse?dataset=demo&size=64")
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
