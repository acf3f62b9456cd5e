"""The dashboard of a workspace and a Chromium to look at it, for the benchmarks of pages."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

URL = "http://localhost:8799"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def looked_at(workspace: Path) -> Iterator[Browser]:
    """A browser, while the dashboard of the workspace is served at URL."""
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", URL.rpartition(":")[2]],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"RECIPE_WORKSPACE": str(workspace.resolve())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_server()
        with sync_playwright() as play:
            yield play.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
    finally:
        server.terminate()


def _wait_for_server() -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{URL}/_stcore/health", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The server did not start.")
