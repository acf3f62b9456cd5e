"""Measuring: one row per sample whatever its file holds, and a thumbnail that is the right picture."""

import io

import numpy as np
import pyarrow as pa
import pytest
from pictures import encoded, exif, gif_header, jpeg_header, noise, png_header, smooth
from PIL import Image, ImageOps

from recipe_core import settings
from recipe_core.data import measure as module
from recipe_core.data.measure import measure
from recipe_core.data.pictures import for_browser
from recipe_core.data.shards import MEASURED
from recipe_core.errors import BadSource

FILES = {
    "photo.jpg": encoded(smooth(900, 700), "JPEG"),
    "turned.jpg": encoded(smooth(500, 300), "JPEG", exif=exif(6)),
    "small.png": encoded(noise(32, 32), "PNG"),
    "other.png": encoded(noise(32, 32, 5), "PNG"),
    "turned.png": encoded(smooth(40, 20), "PNG", exif=exif(5)),
    "wide.png": encoded(smooth(1500, 3), "PNG"),
    "dot.bmp": encoded(noise(1, 1), "BMP"),
    "line.gif": encoded(Image.fromarray(noise(1, 60)).quantize(8), "GIF"),
    "deep.tif": encoded(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100), "TIFF"),
    "clear.webp": encoded(smooth(300, 200), "WEBP"),
    "new.avif": encoded(smooth(64, 64), "AVIF"),
    "cmyk.jpg": encoded(Image.fromarray(smooth(50, 50)).convert("CMYK"), "JPEG"),
}


def read(files):
    def reading(key):
        content = files[key]
        if isinstance(content, Exception):
            raise content
        return content

    return reading


def measured(files):
    return dict(zip(files, measure(list(files), read(files)), strict=True))


def opened(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(int)


def test_every_format_gives_all_facts_and_a_thumbnail():
    for key, sample in measured(FILES).items():
        facts = sample.facts
        assert facts["readable"] is True, key
        needed = {fact for fact in MEASURED.names if fact[0] != "_"} - {"error", "error_kind"}
        assert needed <= set(facts)
        assert len(facts["phash_turned"]) == len(facts["dhash_turned"]) == 8
        assert sample.thumbnail
    pa.Table.from_pylist([sample.facts for sample in measured(FILES).values()], MEASURED)


@pytest.mark.parametrize("key", FILES)
def test_the_thumbnail_is_the_upright_picture_no_larger_than_promised(key):
    thumbnail = opened(measured(FILES)[key].thumbnail)
    whole = Image.fromarray(opened(for_browser(FILES[key])[0]).astype(np.uint8))
    assert max(thumbnail.shape[:2]) <= 1.5 * settings.THUMBNAIL_SIDE
    expected = np.asarray(whole.resize(thumbnail.shape[1::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(thumbnail - expected).mean() < 6
    if max(whole.size) <= settings.THUMBNAIL_SIDE:
        assert thumbnail.shape == opened(for_browser(FILES[key])[0]).shape


def test_measured_together_or_alone_the_facts_are_the_same(monkeypatch):
    monkeypatch.setattr(module, "BATCH_BYTES", 200_000)
    monkeypatch.setattr(module, "CHUNK_BYTES", 5_000)
    many = {f"{number}.png": encoded(noise(16 + number % 3, 20, number), "PNG") for number in range(40)}
    together = measured(many | FILES)
    for key, data in (many | FILES).items():
        alone = measured({key: data})[key]
        for name, value in alone.facts.items():
            expected = pytest.approx(value, rel=1e-4, abs=1e-4) if isinstance(value, float) else value
            assert together[key].facts[name] == expected, (key, name)
        assert together[key].thumbnail == alone.thumbnail


def test_what_cannot_be_read_is_a_row_that_says_why():
    whole = encoded(noise(64, 64), "JPEG")
    bad = {
        "empty.jpg": b"",
        "text.png": b"404 not found",
        "cut.png": encoded(noise(64, 64), "PNG")[:3000],
        "huge.png": png_header(60_000, 60_000),
        "huge.jpg": jpeg_header(60_000, 60_000),
        "huge.gif": gif_header(60_000, 60_000, 2),
        "gone.jpg": FileNotFoundError("x"),
        "locked.jpg": PermissionError(13, "Permission denied"),
        "strange.jpg": OSError("cannot identify"),
        "damaged.jpg": BadSource("The member is damaged."),
        "greedy.jpg": MemoryError(),
    }
    rows = measured({"first.png": FILES["small.png"]} | bad | {"last.jpg": whole})
    assert rows["first.png"].facts["readable"]
    assert rows["last.jpg"].facts["readable"]
    kinds = {key: rows[key].facts["error_kind"] for key in bad}
    assert kinds == {
        "empty.jpg": "empty",
        "text.png": "not_an_image",
        "cut.png": "truncated",
        "huge.png": "too_large",
        "huge.jpg": "too_large",
        "huge.gif": "too_large",
        "gone.jpg": "missing",
        "locked.jpg": "unreadable",
        "strange.jpg": "unreadable",
        "damaged.jpg": "unreadable",
        "greedy.jpg": "too_large",
    }
    for key in bad:
        assert rows[key].facts["readable"] is False
        assert rows[key].facts["error"].endswith(".")
        assert rows[key].thumbnail == b""
    assert rows["text.png"].facts["file_bytes"] == 13
    assert rows["text.png"].facts["byte_hash"]


def test_a_cut_off_jpeg_has_facts_a_thumbnail_and_its_flaw():
    data = encoded(noise(64, 64), "JPEG")
    sample = measured({"cut.jpg": data[: len(data) * 2 // 3]})["cut.jpg"]
    assert sample.facts["readable"] is False
    assert sample.facts["error_kind"] == "truncated"
    assert sample.facts["width"] == 64
    assert sample.facts["brightness"] > 0
    assert opened(sample.thumbnail).shape == (64, 64, 3)


def test_a_wrong_extension_shows_in_the_facts():
    facts = measured({"really.jpg": encoded(noise(8, 8), "PNG")})["really.jpg"].facts
    assert (facts["extension"], facts["format"]) == ("jpg", "PNG")


def test_each_file_is_read_once():
    reads = []

    def counting(key):
        reads.append(key)
        return FILES[key]

    measure(list(FILES), counting)
    assert reads == list(FILES)


def test_nothing_measured_of_nothing():
    assert measure([], read({})) == []


@pytest.mark.parametrize(
    ("key", "kind"), [("photo.jpg", "image/jpeg"), ("deep.tif", "image/png"), ("new.avif", "image/png")]
)
def test_a_browser_gets_every_picture_in_a_format_that_it_shows(key, kind):
    data, media = for_browser(FILES[key])
    assert media == kind
    assert Image.open(io.BytesIO(data)).get_format_mimetype() == kind
