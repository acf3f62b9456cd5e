"""The gallery and the viewer in a real browser, apart from any page of the app (harness/gallery_page.py)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from steps import heard, well_behaved

HARNESS = Path(__file__).parent / "harness"


@pytest.fixture(scope="module")
def url(served) -> Iterator[str]:
    with served(HARNESS / "gallery_server.py") as server:
        yield server.url
        assert "Traceback" not in server.log()


@pytest.fixture
def show(page: Page, url: str):
    """Opens a situation of the harness and returns its tiles, or the picture of its viewer."""

    def open_(situation: str, **query: object) -> Locator:
        page.goto(f"{url}/?show={situation}&" + "&".join(f"{name}={value}" for name, value in query.items()))
        things = page.locator(".stage img" if situation == "viewer" else ".tile")
        expect(things.first).to_be_visible(timeout=30_000)
        return things

    return open_


def said(page: Page, text: str) -> None:
    expect(page.get_by_text(text, exact=True)).to_be_visible()


# ---- gallery


def test_a_click_on_a_tile_reports_its_id_once(page: Page, show):
    tiles = show("plain")
    tiles.nth(5).click()
    said(page, "clicks=1 latest=0005")
    page.get_by_role("button", name="Rerun").click()
    said(page, "runs=3")
    said(page, "clicks=1 latest=0005")


def test_a_double_click_is_one_opening(page: Page, show):
    show("plain").nth(4).click()
    said(page, "clicks=1 latest=0004")
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    page.get_by_role("button", name="Rerun").click()
    said(page, "runs=3")
    said(page, "clicks=1 latest=0004")


def test_the_same_tile_can_be_opened_again(page: Page, show):
    tiles = show("plain")
    tiles.nth(5).click()
    said(page, "clicks=1 latest=0005")
    page.wait_for_timeout(600)  # longer than the time between the clicks of a double click
    tiles.nth(5).click()
    said(page, "clicks=2 latest=0005")


def test_arrow_keys_move_over_the_tiles_and_enter_opens(page: Page, show):
    tiles = show("groups", size=128)
    tiles.nth(0).focus()
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")  # the second row has one tile only
    expect(tiles.nth(9)).to_be_focused()
    page.keyboard.press("ArrowDown")  # on into the next group
    expect(tiles.nth(10)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(tiles.nth(9)).to_be_focused()
    page.keyboard.press("End")
    expect(tiles.last).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    said(page, "clicks=1 latest=cat0")
    expect(tiles.nth(0)).to_be_focused()


def test_the_gallery_is_one_stop_of_the_tab_key(page: Page, show):
    tiles = show("plain", selected="0006")
    assert tiles.evaluate_all("tiles => tiles.filter(tile => tile.tabIndex === 0).map(tile => tile.dataset.id)") == [
        "0006"
    ]


def test_a_rerun_with_the_same_tiles_touches_nothing(page: Page, show):
    tiles = show("plain")
    gallery = page.locator(".gallery")
    page.wait_for_load_state("networkidle")
    gallery.evaluate(
        """gallery => {
            window.changes = []
            const every = { subtree: true, childList: true, attributes: true, characterData: true }
            new MutationObserver(records => window.changes.push(...records)).observe(gallery, every)
        }"""
    )
    page.get_by_role("button", name="Rerun").click()
    said(page, "runs=2")
    assert page.evaluate("window.changes.length") == 0
    assert tiles.count() == 24


def test_tiles_that_stay_keep_their_nodes(page: Page, show):
    tiles = show("plain")
    kept = tiles.nth(10).element_handle()
    page.get_by_label("First").fill("5")
    page.get_by_label("First").press("Enter")
    expect(tiles.first).to_have_attribute("data-id", "0005")
    assert [tile.get_attribute("data-id") for tile in tiles.all()][4:] == [f"{n:04}" for n in range(9, 29)]
    assert tiles.nth(5).evaluate("(tile, kept) => tile === kept", kept)


def test_a_tile_without_a_picture_says_so(page: Page, show):
    tiles = show("plain")
    expect(tiles.nth(1)).to_have_text("unreadablecorrupt0001.jpg")
    expect(tiles.nth(1).locator(".nothing")).to_be_visible()
    expect(tiles.nth(1).locator("img")).to_be_hidden()
    expect(tiles.nth(2).get_by_text("no picture")).to_be_visible()
    expect(tiles.nth(3).locator(".badge")).to_have_text("excluded")
    expect(tiles.nth(3).locator(".nothing")).to_be_hidden()


def test_a_tile_whose_picture_comes_later_shows_it(page: Page, show):
    tiles = show("plain")
    expect(tiles.nth(2).get_by_text("no picture")).to_be_visible()
    page.get_by_text("Defects").click()
    expect(tiles.nth(1)).to_have_attribute("title", "0001")
    expect(tiles.nth(1).locator("img")).to_be_visible()
    assert page.locator(".nothing:visible").count() == 0


@pytest.mark.parametrize(("pixels", "size", "crisp"), [(32, 96, True), (96, 96, False), (32, 48, False)])
def test_tiny_pictures_are_enlarged_crisply(page: Page, show, pixels: int, size: int, crisp: bool):
    image = show("plain", pixels=pixels, size=size).first.locator("img")
    expect(image).to_have_js_property("naturalWidth", pixels)
    expect(image).to_have_css("image-rendering", "pixelated" if crisp else "auto")


@pytest.mark.parametrize(("size", "visible"), [(64, False), (72, True)])
def test_captions_need_room(page: Page, show, size: int, visible: bool):
    expect(show("plain", size=size).first.locator(".caption")).to_be_visible(visible=visible)


@pytest.mark.parametrize("size", [1, 48, 96, 256, 9999])
def test_tiles_fill_the_width_of_a_phone(page: Page, show, size: int):
    page.set_viewport_size({"width": 390, "height": 844})
    tiles = show("plain", size=size)
    boxes = tiles.evaluate_all("tiles => tiles.map(tile => tile.getBoundingClientRect())")
    room = page.locator(".gallery").bounding_box()
    assert room
    assert min(box["left"] for box in boxes) == pytest.approx(room["x"], abs=1)
    assert max(box["right"] for box in boxes) == pytest.approx(room["x"] + room["width"], abs=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_pictures_out_of_sight_are_not_fetched_and_their_place_is_kept(page: Page, show):
    asked: list[str] = []
    with heard(page, "request", lambda request: asked.append(request.url)):
        tiles = show("plain", count=480, size=256)
        page.wait_for_load_state("networkidle")
    assert 4 < len([url for url in asked if "/picture/" in url]) < 240
    last = tiles.last.locator(".picture").bounding_box()
    assert last
    assert last["height"] == pytest.approx(last["width"], abs=1) and last["height"] >= 256


def test_headings_count_and_open_their_group(page: Page, show):
    show("groups")
    expect(page.locator(".heading").first).to_have_text("cat1,234Show all")
    expect(page.locator(".heading").nth(2)).to_have_text("twice2")
    page.get_by_role("button", name="cat 1,234 Show all").click()
    said(page, "clicks=1 latest=label:cat")
    page.locator(".heading").nth(2).click()
    page.locator(".heading").last.click()
    said(page, "clicks=2 latest=hostile 0")


def test_a_sample_may_stand_twice_in_a_group(page: Page, show):
    tiles = show("groups")
    assert [tile.get_attribute("data-id") for tile in tiles.all()][13:15] == ["cat0", "cat0"]
    tiles.nth(14).click()
    said(page, "clicks=1 latest=cat0")
    expect(page.locator(".tile[aria-current=true]")).to_have_count(3)  # drawn anew, marked wherever it stands
    expect(tiles).to_have_count(16)


def test_hostile_names_are_shown_as_they_are_and_come_back_unchanged(page: Page, show):
    with well_behaved(page):
        _hostile_names_come_back(page, show("hostile", size=128))


def _hostile_names_come_back(page: Page, tiles: Locator) -> None:
    expect(tiles).to_have_count(8)
    assert page.locator(".gallery img").count() == 8
    assert page.locator(".gallery b").count() == 0
    expect(tiles.first.locator(".caption")).to_have_text("<img src=x onerror=alert(1)>")
    lines = tiles.evaluate_all("tiles => tiles.map(tile => tile.querySelector('.caption').clientHeight)")
    assert set(lines) == {16}
    for place in range(8):
        tiles.nth(place).click()
        said(page, f"clicks={place + 1} latest=hostile {place}")


# ---- viewer


def test_arrow_keys_step_without_a_click_into_the_viewer(page: Page, show):
    show("viewer")
    page.keyboard.press("ArrowLeft")  # nothing before the first
    page.keyboard.press("ArrowRight")
    said(page, "place=1 steps=1")
    expect(page.locator(".stage img")).to_have_attribute("alt", "picture 1")
    page.keyboard.press("ArrowLeft")
    said(page, "place=0 steps=2")


def test_the_arrows_on_the_screen_step_too(page: Page, show):
    show("viewer", last=1)
    page.get_by_role("button", name="Next image").click()
    said(page, "place=1 steps=1")
    expect(page.get_by_role("button", name="Next image")).to_have_attribute("aria-disabled", "true")
    page.get_by_role("button", name="Next image").click(force=True)
    page.get_by_role("button", name="Previous image").click()
    said(page, "place=0 steps=2")


def test_quick_presses_all_count(page: Page, show):
    show("viewer", delay=0.2)
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    said(page, "place=4 steps=4")


def test_presses_beyond_the_end_are_forgotten(page: Page, show):
    show("viewer", last=2)
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    said(page, "place=2 steps=2")
    expect(page.locator(".stage img")).to_have_attribute("alt", "picture 2")
    page.keyboard.press("ArrowLeft")
    said(page, "place=1 steps=3")


def test_a_held_key_waits_for_each_picture(page: Page, show):
    show("viewer", delay=1)
    for _ in range(20):  # all but the first are repeats
        page.keyboard.down("ArrowRight")
    said(page, "place=1 steps=1")
    for _ in range(5):  # the picture is still on its way
        page.keyboard.down("ArrowRight")
    expect(page.locator(".stage img")).to_have_attribute("alt", "picture 1")
    said(page, "place=1 steps=1")
    page.keyboard.down("ArrowRight")
    said(page, "place=2 steps=2")


@pytest.mark.parametrize("query", [{"same": 1}, {"none": 1}])
def test_neighbours_with_the_same_or_no_picture_can_be_passed(page: Page, url: str, query: dict):
    page.goto(f"{url}/?show=viewer&" + "&".join(f"{name}={value}" for name, value in query.items()))
    expect(page.locator(".stage > *")).to_be_visible(timeout=30_000)
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    said(page, "place=5 steps=5")


def test_arrow_keys_keep_their_meaning_in_inputs(page: Page, show):
    show("viewer")
    page.get_by_label("Note").fill("ab")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("slider")).to_have_value("6")
    page.get_by_text("Exclude").click()
    said(page, "place=0 steps=0")
    page.keyboard.press("ArrowRight")  # a checkbox has no use for it
    said(page, "place=1 steps=1")


def test_large_pictures_fit_and_a_click_shows_their_pixels(page: Page, show):
    picture = show("viewer")
    expect(page.locator(".readout")).to_have_text("1,600 × 1,200 px · 56 %")
    box = picture.bounding_box()
    assert box
    assert box["height"] == pytest.approx(0.75 * 900, abs=1) and box["width"] == pytest.approx(900, abs=1)
    picture.click(position={"x": 800, "y": 600})
    expect(page.locator(".readout")).to_have_text("1,600 × 1,200 px · 100 %")
    expect(picture).to_have_css("width", "1600px")
    assert page.locator(".stage").evaluate("stage => [stage.scrollLeft, stage.scrollTop].every(moved => moved > 200)")
    page.get_by_role("button", name="Fit").click()
    expect(picture).to_have_css("width", "900px")


def test_a_picture_that_arrives_leaves_the_zoom_as_it_was_chosen(page: Page, show):
    picture = show("viewer", delay=1)
    picture.click()
    expect(picture).to_have_js_property("naturalWidth", 1600)
    expect(page.locator(".viewer:not([data-loading])")).to_be_visible()
    expect(picture).to_have_css("width", "1600px")


def test_small_pictures_are_enlarged_by_whole_numbers(page: Page, show):
    picture = show("viewer")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".readout")).to_have_text("32 × 32 px · 1,200 %")
    expect(picture).to_have_css("width", "384px")
    expect(picture).to_have_css("image-rendering", "pixelated")
    picture.click()
    expect(picture).to_have_css("width", "32px")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".readout")).to_have_text("100 × 60 px · 1,100 %")


def test_unknown_sizes_are_read_from_the_picture(page: Page, show):
    show("viewer", known=0)
    expect(page.locator(".readout")).to_have_text("1,600 × 1,200 px · 56 %")


def test_the_viewer_works_in_a_dialog_and_is_silent_when_it_has_closed(page: Page, show):
    tiles = show("dialog")
    tiles.nth(2).click()
    expect(page.locator(".stage img")).to_have_attribute("alt", "picture 2")
    page.keyboard.press("ArrowRight")
    said(page, "place=3 steps=1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    tiles.nth(0).click()
    expect(page.locator(".stage img")).to_have_attribute("alt", "picture 0")
    said(page, "place=0 steps=1")
    page.keyboard.press("ArrowRight")  # neither twice nor from the viewer of before
    said(page, "place=1 steps=2")
