"""What one picture shows by itself: planted defects are found, healthy pictures are not accused."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from planted import findings_in, jpeg, keys_of, photos, saved
from sklearn.datasets import load_digits

from recipe_core.errors import BadQuery

HEALTHY = 60
BLURRED = ImageFilter.GaussianBlur(4)


def healthy(count: int = HEALTHY, side: int = 96) -> dict[str, bytes]:
    return {f"train/cat/{number:03}.jpg": jpeg(photo) for number, photo in enumerate(photos(count, side))}


def flat(level: int, noise: float = 0, side: int = 96) -> Image.Image:
    chance = np.random.default_rng(1)
    return Image.fromarray(np.clip(chance.normal(level, noise, (side, side, 3)), 0, 255).astype(np.uint8))


def planted() -> dict[tuple[str, str], dict[str, bytes]]:
    """(kind, subkind) -> key -> file."""
    photo = photos(HEALTHY + 9)[HEALTHY:]
    whole = jpeg(photo[0])
    middle = len(whole) // 2
    return {
        ("corrupt", "truncated"): {"cut.jpg": whole[: len(whole) // 2]},
        ("corrupt", "empty"): {"empty.jpg": b""},
        ("corrupt", "not_an_image"): {"page.jpg": b"<!doctype html><p>404", "zero.png": bytes(999)},
        ("damaged", ""): {"twice.jpg": whole[:middle] + whole[middle - 100 :]},  # the decoder finds data left over
        ("wrong_extension", ""): {"really_png.jpg": saved(photo[1])},
        ("blank", ""): {
            "white.png": saved(flat(255)),
            "grey.jpg": jpeg(flat(130)),
            "noisy.png": saved(flat(200, 3)),
            "compressed.jpg": jpeg(flat(90, 5), 60),
        },
        ("quality", "dark"): {
            "dark.jpg": jpeg(ImageEnhance.Brightness(photo[2]).enhance(0.12)),
            "darker.jpg": jpeg(ImageEnhance.Brightness(photo[3]).enhance(0.06)),
        },
        ("quality", "bright"): {"bright.jpg": jpeg(Image.blend(photo[4], flat(255), 0.85))},
        ("quality", "blurred"): {
            "blurred.jpg": jpeg(photo[5].filter(BLURRED)),
            "blurred.png": saved(photo[6].filter(BLURRED)),
        },
        ("quality", "tiny"): {"tiny.png": saved(photo[7].resize((12, 12)))},
        ("quality", "odd_shape"): {"strip.png": saved(photo[8].resize((400, 40)))},
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    files = healthy()
    for defects in planted().values():
        files |= {f"train/cat/{name}": data for name, data in defects.items()}
    return findings_in(tmp_path_factory.mktemp("planted"), files)


@pytest.mark.parametrize("defect", planted(), ids=" ".join)
def test_every_planted_defect_is_found_and_nothing_else_is(found, defect):
    assert keys_of(found, *defect) == {f"train/cat/{name}" for name in planted()[defect]}


def test_the_summary_counts_what_the_pages_show(found):
    counted = {(line.kind, line.subkind): line.findings for line in found.summary()}
    assert counted == {defect: len(files) for defect, files in planted().items()}
    for kind in {kind for kind, _ in counted}:
        findings, total = found.page(kind, limit=2)
        assert total == sum(count for (of, _), count in counted.items() if of == kind)
        assert len(findings) == min(2, total)


def test_a_page_is_worst_first_and_pages_follow_each_other(found):
    everything = found.page("quality")[0]
    scores = [finding.score for finding in everything]
    assert scores == sorted(scores, reverse=True) and 0 <= min(scores) <= max(scores) <= 1
    pages = [found.page("quality", limit=2, offset=offset)[0] for offset in range(0, len(everything), 2)]
    assert [finding for page in pages for finding in page] == everything
    assert everything[0].id == found.page("quality")[0][0].id


def test_every_finding_says_why(found):
    told = {finding.samples[0].split("/")[-1]: finding.message for finding in found.all()}
    assert "web page" in told["page.jpg"]
    assert "0 bytes" in told["empty.jpg"]
    assert "cut off" in told["cut.jpg"]
    assert told["really_png.jpg"] == "The name ends in .jpg, but the file is in the format PNG."
    assert "400 x 40" in told["strip.png"]


def test_small_and_faint_things_on_even_ground_are_not_blank(tmp_path):
    dot, line, faint = flat(255), flat(255, side=400), photos(1)[0]
    ImageDraw.Draw(dot).rectangle((40, 40, 42, 42), (0, 0, 0))
    ImageDraw.Draw(line).line((100, 100, 130, 100), (60, 60, 60))
    files = {"dot.png": saved(dot), "dot.jpg": jpeg(dot, 60), "line.png": saved(line)}
    files["faint.png"] = saved(ImageEnhance.Contrast(faint).enhance(0.12))
    coloured = np.full((64, 64, 3), (120, 60, 60), np.uint8)
    coloured[:, 32:] = (30, 106, 60)  # as bright, in another colour
    files["halves.png"] = saved(Image.fromarray(coloured))
    assert keys_of(findings_in(tmp_path, files), "blank") == set()


def test_what_is_usual_in_a_dataset_is_not_poor(tmp_path):
    night = {f"{at}.jpg": jpeg(ImageEnhance.Brightness(photo).enhance(0.25)) for at, photo in enumerate(photos(40))}
    assert findings_in(tmp_path / "night", night).summary() == []
    small = {f"{at}.png": saved(photo) for at, photo in enumerate(photos(40, side=16))}
    assert findings_in(tmp_path / "small", small).summary() == []
    paper = [Image.fromarray(np.uint8(255 - 15 * digit)).resize((32, 32)) for digit in load_digits().images[:200]]
    digits = {f"{at}.png": saved(digit) for at, digit in enumerate(paper)}
    assert findings_in(tmp_path / "digits", digits).summary() == []
    wide = {f"{at}.jpg": jpeg(photo.resize((400, 100))) for at, photo in enumerate(photos(40))}
    assert findings_in(tmp_path / "wide", wide).summary() == []


def test_fog_is_not_called_blur(tmp_path):
    foggy = {f"fog{at}.jpg": jpeg(ImageEnhance.Contrast(photo).enhance(0.15)) for at, photo in enumerate(photos(10))}
    assert keys_of(findings_in(tmp_path, healthy() | foggy), "quality", "blurred") == set()


# Decisions


def test_a_finding_is_decided_once_its_sample_is_ruled_on(tmp_path):
    found = findings_in(
        tmp_path, {name: saved(flat(level)) for name, level in zip("abcd", (0, 80, 160, 255), strict=True)}
    )
    found.decisions.decide("exclude", ["a"])
    found.decisions.decide("not-a-problem", ["b"], kind="blank")
    act = found.decisions.decide("not-a-problem", ["c"], kind="quality")
    assert {finding.samples[0]: finding.decided for finding in found.page("blank")[0]} == {
        "a": True, "b": True, "c": False, "d": False,
    }  # fmt: skip
    assert keys_of(found, "blank", undecided_only=True) == {"c", "d"}
    assert found.page("blank", undecided_only=True, limit=1)[1] == 2
    assert [line.undecided for line in found.summary() if line.kind == "blank"] == [2]
    found.decisions.undo(act)
    found.decisions.decide("not-a-problem", ["c", "d"])
    assert [line.undecided for line in found.summary() if line.kind == "blank"] == [0]


# Bad input


def test_without_a_catalog_nothing_is_found_and_that_is_said(tmp_path):
    found = findings_in(tmp_path)
    assert (found.summary(), found.page("corrupt"), list(found.all())) == ([], ([], 0), [])
    assert found.clusters().count() == 0 and found.frame().empty
    assert "scanned" in found.pending()[0]


def test_a_growing_catalog_has_findings_already(tmp_path):
    found = findings_in(tmp_path, {"train/cat/a.jpg": b"", "train/cat/b.png": saved(flat(3))}, growing=True)
    assert {line.kind for line in found.summary()} == {"corrupt", "blank"}
    assert "has not finished" in found.pending()[0]


def test_a_dataset_of_nothing_but_broken_files(tmp_path):
    found = findings_in(tmp_path, {f"{at}.jpg": b"" for at in range(30)})
    assert [(line.kind, line.findings) for line in found.summary()] == [("corrupt", 30)]


def test_one_picture_is_a_dataset_too(tmp_path):
    assert findings_in(tmp_path, {"only.jpg": jpeg(photos(1)[0])}).summary() == []


def test_an_unknown_kind_is_answered_with_what_was_meant(tmp_path):
    found = findings_in(tmp_path, {"a.png": saved(flat(3))})
    for ask in (found.page, found.frame):
        with pytest.raises(BadQuery, match="did you mean corrupt"):
            ask("corupt")
