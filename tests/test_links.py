"""Addresses: what is put in comes out, whatever it holds; what makes no sense is passed over; signatures hold."""

import math
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from recipe_core.links import MOST_CORNERS, FindingsView, MapView, Signer, View, browse

HOSTILE = "a&b=c?d#e/f%20+g ü漢\n\"'<b>;..\0"
VIEWS = [
    View(),
    View(
        dataset="pets",
        text="left eye",
        where="label = 'x' and width < 3",
        sort="-brightness",
        group="label",
        axis="age",
    ),
    View(dataset="ü", size=256, page=12, sample="folder/ä ö.png"),
    View(ranges={"age": (3, 9), "score": (None, 0.1), "a.b": (-2.5, None), "all": (None, None)}),
    View(ranges={"captured_at": ("2020-01-01 10:00:00", "2021-01-01")}),
    View(ranges={"third": (1 / 3, 1e300), "tiny": (5e-324, -1e-7), "id": (1234567890123, 2**53)}),
    View(choices={"label": ("cat", "dog"), "split": (None,), "both": (None, "x")}),
    View(
        dataset=HOSTILE, text=HOSTILE, where=HOSTILE, sort=HOSTILE, sample=HOSTILE, choices={HOSTILE: (HOSTILE, None)}
    ),
    View(ranges={HOSTILE: (1, 2), "..": (0, 1), "range.x": (0, 1), "is.x": (0, 1)}, choices={"range.y": ("1..2",)}),
]


def as_opened(address):
    return View.parse(parse_qs(urlsplit(address).query, keep_blank_values=True))


@pytest.mark.parametrize("view", VIEWS, ids=range(len(VIEWS)))
def test_a_view_survives_its_address(view):
    assert as_opened(browse(view)) == view
    assert browse(as_opened(browse(view))) == browse(view)


def test_the_address_of_everything_at_its_default_is_short():
    assert browse(View(dataset="pets")) == "/browse?dataset=pets"
    assert (
        browse(View(dataset="pets", ranges={"brightness": (10.0, 50)}))
        == "/browse?dataset=pets&range.brightness=10..50"
    )


@pytest.mark.parametrize(
    "query",
    [
        {"page": ["-1"]},
        {"page": ["0"]},
        {"page": ["9" * 40]},
        {"page": ["²"]},
        {"page": ["1.5"]},
        {"page": []},
        {"size": ["97"]},
        {"size": ["big"]},
        {"range.age": ["5"]},
        {"nonsense": ["x"]},
        {"is": ["x"]},
    ],
)
def test_what_makes_no_sense_is_passed_over(query):
    assert View.parse(query) == View()


@pytest.mark.parametrize("bound", ["nan", "inf", "-inf", "1e999"])
def test_a_bound_is_a_finite_number_or_open(bound):
    view = View.parse({"range.age": [f"{bound}..5"]})
    assert view.ranges == {"age": (None, 5)}
    assert math.isfinite(view.ranges["age"][1])


def test_the_order_is_written_so_that_the_catalog_can_read_any_name():
    assert View(sort="brightness").order_by == '"brightness" asc'
    assert View(sort="-brightness").order_by == '"brightness" desc'
    assert View(sort='-say "hi", you').order_by == '"say ""hi"", you" desc'
    assert View().order_by == ""


def test_another_filter_starts_at_the_first_page_with_nothing_open():
    view = View(dataset="pets", page=7, sample="x.png").with_range("age", 1, 2).with_choices("label", ["cat"])
    assert (view.page, view.sample, view.dataset) == (1, "", "pets")
    assert view.without_filter("age") == View(dataset="pets", choices={"label": ("cat",)})
    assert view.without_filter("label").ranges == {"age": (1, 2)}


# Signatures


@pytest.fixture
def signer(tmp_path):
    return Signer(tmp_path)


def test_a_signature_is_good_for_what_it_was_made_and_nothing_else(signer):
    signature = signer.sign("image", "pets", "a/b.png", "v1")
    assert signer.is_valid(signature, "image", "pets", "a/b.png", "v1")
    for other in [
        ("image", "pets", "a/c.png", "v1"),
        ("image", "other", "a/b.png", "v1"),
        ("thumbnail", "pets", "a/b.png", "v1"),
        ("image", "pets", "a/b.png"),
        ("image", "pets", "a/b.pngv", "1"),
        ("image", "pets", "a/b.png", "v1", ""),
    ]:
        assert not signer.is_valid(signature, *other)
    for forged in ["", signature[:-1], signature + "A", signature.swapcase(), "ü" * 20, "\0"]:
        assert not signer.is_valid(forged, "image", "pets", "a/b.png", "v1")


def test_the_secret_is_kept_and_belongs_to_one_workspace(tmp_path, signer):
    assert Signer(tmp_path).sign("x") == signer.sign("x")
    (tmp_path / "other").mkdir()
    assert Signer(tmp_path / "other").sign("x") != signer.sign("x")
    secret = tmp_path / "secret"
    assert secret.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["secret"]


@pytest.mark.parametrize("key", ["a.png", HOSTILE.replace("\0", ""), "../../x", "https://x/y"])
def test_addresses_of_pictures_carry_what_was_signed(signer, key):
    address = urlsplit(signer.image("pets ü", key, "v"))
    query = parse_qs(address.query, keep_blank_values=True)
    assert query["key"] == [key]
    assert signer.is_valid(query["s"][0], "image", "pets ü", key, "v")
    assert not address.scheme
    assert not address.netloc
    assert not address.path.startswith("/")


def test_the_address_of_a_table_is_signed_for_its_view(signer):
    view = VIEWS[3]
    query = parse_qs(urlsplit(signer.table(view)).query, keep_blank_values=True)
    (signature,) = query.pop("s")
    assert signer.is_valid(signature, "table", browse(View.parse(query)))
    widened = View.parse(parse_qs(urlencode(query | {"range.age": ["0..99"]}, doseq=True)))
    assert not signer.is_valid(signature, "table", browse(widened))


# The pages on findings

FINDINGS_VIEWS = [
    FindingsView(),
    FindingsView("pets", "near_duplicate", "mirrored", undecided=True, threshold=0.935, page=3, sample=HOSTILE),
    FindingsView(HOSTILE, HOSTILE, HOSTILE, threshold=0.0),
]


@pytest.mark.parametrize("view", FINDINGS_VIEWS, ids=range(len(FINDINGS_VIEWS)))
def test_a_view_of_findings_survives_its_address(view):
    assert FindingsView.parse(parse_qs(urlencode(view.query()), keep_blank_values=True)) == view


@pytest.mark.parametrize(("asked", "read"), [("nan", None), ("x", None), ("7", 1.0), ("-1", 0.0)])
def test_a_threshold_is_a_share_or_passed_over(asked, read):
    assert FindingsView.parse({"threshold": [asked]}).threshold == read


def test_other_findings_start_at_their_first_page_with_no_image_open():
    view = FindingsView("pets", "blank", page=4, sample="a.png").narrowed(kind="corrupt")
    assert view == FindingsView("pets", "corrupt")
    assert FindingsView("pets", page=4).narrowed(page=2).page == 2


def test_the_address_of_a_manifest_is_signed_for_its_dataset(signer):
    address = urlsplit(signer.manifest("pets ü"))
    (signature,) = parse_qs(address.query)["s"]
    assert signer.is_valid(signature, "manifest", "pets ü")
    assert not signer.is_valid(signature, "manifest", "others")


# The map


def test_what_was_drawn_around_on_the_map_comes_back_from_its_address():
    view = MapView("pets", "finding.blank", ((0.125, -1.0), (0.5, 0.0), (0.25, 0.75)), page=2, sample="a.png")
    assert MapView.parse({name: [value] for name, value in view.query().items()}) == view
    many = [(number / 1000, 0.5) for number in range(1000)]
    assert 3 <= len(MapView("pets").around(many).area) <= MOST_CORNERS


@pytest.mark.parametrize("area", ["", "1,2", "1,2;3,4", "1,2;3,4;x,5", "1,2;3,4;5", "1,nan;3,4;5,6", "1,2;" * 99])
def test_an_area_that_makes_no_sense_is_passed_over(area):
    assert MapView.parse({"area": [area]}) == MapView()
