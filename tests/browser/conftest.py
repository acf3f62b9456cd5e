"""What browser tests share: a Chromium, a page that notices errors, and a Streamlit server on a free port."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from steps import heard

ROOT = Path(__file__).parents[2]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On two busy cores a browser is late now and then: what fails here is tried once more, and has to fail twice."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.flaky(reruns=1))


@dataclass(frozen=True)
class Server:
    url: str
    log_file: Path

    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, else Playwright's own."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        if not chromium and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium here: install it with `playwright install chromium`")
        running = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """One tab for all tests of a file: a new one would read the dashboard's scripts anew, 2.5 s of CPU each time."""
    context = browser.new_context()
    tab = context.new_page()
    tab.set_default_timeout(60_000)  # ms; two test processes share the machine
    yield tab
    context.close()


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """An empty page of 1440x900 that remembers nothing; the test fails if a script in it raised an error."""
    tab.set_viewport_size({"width": 1440, "height": 900})
    errors: list[str] = []
    with heard(tab, "pageerror", lambda error: errors.append(str(error))):
        yield tab
        if tab.url.startswith("http"):
            tab.evaluate("() => { localStorage.clear(); sessionStorage.clear() }")
        tab.context.clear_cookies()
        tab.goto("about:blank")
    assert errors == []


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Server]]:
    """`with served(script, env={...}, args=[...]) as server:` is `streamlit run script -- args` within the block."""

    @contextmanager
    def serve(script: Path, env: Mapping[str, str] | None = None, args: Sequence[str] = ()) -> Iterator[Server]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Server(f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("server") / "log.txt")
        command = [sys.executable, "-m", "streamlit", "run", str(script), f"--server.port={port}"]
        command += ["--server.address=127.0.0.1", "--server.headless=true", "--server.fileWatcherType=none"]
        command += ["--", *args]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        with server.log_file.open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_healthy(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    return serve


def _wait_until_healthy(server: Server, process: subprocess.Popen, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{server.log()}")
