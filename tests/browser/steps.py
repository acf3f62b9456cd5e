"""How a user acts on the dashboard's pages, and what they see there."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Dialog, Locator, Page, Request, expect

COUNT = re.compile(r"^[\d,]+( of [\d,]+)? samples?$")
SLOW = 60_000  # ms
expect.set_options(timeout=SLOW)  # a busy machine needs more than the usual 5 s


def widget(page: Page, key: str) -> Locator:
    """The element of the widget that has this key."""
    return page.locator(f".st-key-{key}")


def choose(page: Page, key: str, option: str) -> None:
    """Pick from a drop-down list, by the option's text; typing it brings it into the part of the list that is drawn."""
    settled(page)  # a script that ends with other options closes the list under the pointer
    widget(page, key).get_by_role("combobox").click()
    page.keyboard.type(option)
    page.get_by_role("option", name=option, exact=True).click()


def enter(page: Page, label: str, text: str) -> None:
    """Type into a text field and confirm it."""
    field = page.get_by_label(label, exact=True)
    field.fill(text)
    field.press("Enter")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def go_to(page: Page, stage: str, name: str) -> None:
    """Choose a page in the navigation, under its stage."""
    page.get_by_test_id("stTopNavSection").filter(has_text=stage).click()
    page.get_by_test_id("stTopNavDropdownLink").filter(has_text=name).click()


def sees(page: Page, text: str) -> None:
    """Waits until the page shows this whole text."""
    expect(page.get_by_text(text, exact=True).first).to_be_visible(timeout=SLOW)


def count(page: Page) -> Locator:
    """The line that says how many samples are selected."""
    return page.get_by_test_id("stMarkdown").get_by_text(COUNT)


def selected(page: Page, number: str) -> None:
    """Waits until Browse says that so many samples are selected: "12 of 125"."""
    expect(count(page)).to_have_text(re.compile(rf"^{number} samples?$"), timeout=SLOW)


def settled(page: Page) -> None:
    """Waits until the page's script has ended."""
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_attached(timeout=SLOW)


def names(page: Page) -> list[str]:
    """The keys of the tiles of the gallery, in their order."""
    return page.locator(".tile").evaluate_all("tiles => tiles.map(tile => tile.dataset.id)")


def state(page: Page) -> dict:
    """What a colleague who opens the same address has to see."""
    expect(page.locator(".tile").first).to_be_visible(timeout=SLOW)
    settled(page)
    return {
        "count": count(page).inner_text(),
        "tiles": names(page),
        "filters": page.get_by_test_id("stSidebar").inner_text(),
        "opened": page.get_by_role("dialog").all_inner_texts(),
        "navigation": page.get_by_test_id("stTopNav").inner_text().split("\n\n"),
    }


@contextmanager
def heard(page: Page, event: str, listener: Callable[[Any], None]) -> Iterator[None]:
    """Within the block the listener is told of each such event of the page."""
    page.on(event, listener)
    try:
        yield
    finally:
        page.remove_listener(event, listener)


@contextmanager
def well_behaved(page: Page) -> Iterator[None]:
    """Within the block no name runs as a script, nothing is asked of another host, and no traceback is shown."""
    elsewhere: list[str] = []
    dialogs: list[str] = []

    def asked(request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            elsewhere.append(request.url)

    def opened(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    with heard(page, "request", asked), heard(page, "dialog", opened):
        yield
    assert page.get_by_test_id("stException").count() == 0
    assert "Traceback" not in page.locator("body").inner_text()
    assert elsewhere == []
    assert dialogs == []
