"""Whole or not: files of every format cut off anywhere, checksums that do not hold, and odd files that are healthy."""

import struct
import zlib

import pytest
from pictures import encoded, exif, noise, smooth
from PIL import Image, PngImagePlugin

from recipe_core.data.decode import Unreadable, decode

IMAGE = Image.fromarray(smooth(70, 50))
OTHER = Image.fromarray(noise(70, 50))


def with_text():
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "made for a test")
    return text


def with_thumbnail(data):
    """The JPEG with EXIF that holds another whole JPEG."""
    segment = b"Exif\0\0II*\0" + bytes(20) + encoded(OTHER.resize((16, 12)), "JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


FILES = {
    "JPEG": encoded(IMAGE, "JPEG"),
    "JPEG, progressive": encoded(IMAGE, "JPEG", progressive=True),
    "JPEG, restarts": encoded(IMAGE, "JPEG", restart_marker_rows=1),
    "JPEG, grey": encoded(IMAGE.convert("L"), "JPEG"),
    "JPEG, CMYK": encoded(IMAGE.convert("CMYK"), "JPEG"),
    "JPEG, EXIF": encoded(IMAGE, "JPEG", exif=exif(6, make="Canon")),
    "JPEG, thumbnail": with_thumbnail(encoded(IMAGE, "JPEG")),
    "PNG": encoded(IMAGE, "PNG"),
    "PNG, text": encoded(IMAGE, "PNG", pnginfo=with_text()),
    "PNG, palette": encoded(IMAGE.quantize(9), "PNG"),
    "PNG, animated": encoded(IMAGE, "PNG", save_all=True, append_images=[OTHER]),
    "GIF": encoded(IMAGE, "GIF"),
    "GIF, animated": encoded(IMAGE, "GIF", save_all=True, append_images=[OTHER]),
    "BMP": encoded(IMAGE, "BMP"),
    "BMP, black and white": encoded(IMAGE.convert("1"), "BMP"),
    "TIFF": encoded(IMAGE, "TIFF"),
    "TIFF, LZW": encoded(IMAGE, "TIFF", compression="tiff_lzw"),
    "TIFF, deflate": encoded(IMAGE, "TIFF", compression="tiff_adobe_deflate"),
    "WebP": encoded(IMAGE, "WEBP"),
    "WebP, lossless": encoded(IMAGE, "WEBP", lossless=True),
    "AVIF": encoded(IMAGE, "AVIF"),
}


def flaw(data):
    """(kind, sentence) of what decode finds wrong, or (None, None)."""
    try:
        picture = decode(data, 384)
    except Unreadable as problem:
        return problem.kind, str(problem)
    return picture.error_kind, picture.error


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_has_no_flaw_and_without_its_last_bytes_it_is_cut_off(name):
    data = FILES[name]
    assert flaw(data) == (None, None)
    for lost in (1, 2, 3, 5, 9, 13, 40, len(data) // 3, len(data) // 2):
        kind, sentence = flaw(data[:-lost])
        assert kind == "truncated", (lost, sentence)
        assert "cut off" in sentence


@pytest.mark.parametrize("name", [name for name in FILES if "TIFF" not in name and "GIF" not in name])
def test_bytes_behind_the_end_are_healthy(name):
    assert flaw(FILES[name] + bytes(33)) == (None, None)
    if "JPEG" in name:
        assert flaw(FILES[name] + b"\xff\xd9 SEFT \xff\xd8\xff\xda and more") == (None, None)


def test_padding_before_a_jpegs_end_and_a_second_picture_in_it_are_healthy():
    whole = FILES["JPEG"]
    assert flaw(whole[:-2] + bytes(9) + whole[-2:]) == (None, None)
    assert flaw(encoded(IMAGE, "MPO", save_all=True, append_images=[OTHER])) == (None, None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_a_file_that_is_cut_off_says_how_much_of_the_picture_is_there(kind):
    pixels = noise(64, 400)
    whole = encoded(pixels, kind, **({"quality": 90} if kind == "JPEG" else {}))
    for share in (0.25, 0.62, 0.9):
        sentence = flaw(whole[: int(len(whole) * share)])[1]
        claimed = int(sentence.split(" at ")[1].split()[0]) / 100
        assert claimed == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("kind", ["IHDR", "IDAT", "tEXt", "IEND"])
def test_a_wrong_checksum_of_any_png_chunk_is_named(kind):
    data = FILES["PNG, text"]
    at = data.index(kind.encode())
    end = at + 4 + int.from_bytes(data[at - 4 : at])
    broken = data[:end] + struct.pack(">I", zlib.crc32(data[at:end]) ^ 1) + data[end + 4 :]
    assert flaw(broken)[0] == "checksum"
    assert kind in flaw(broken)[1]


def test_a_later_page_or_frame_that_is_cut_off_counts():
    for kind in ("TIFF", "GIF"):
        pages = [IMAGE.copy(), OTHER.copy()]  # saving leaves its options on an image
        whole = encoded(pages[0], kind, save_all=True, append_images=pages[1:])
        assert flaw(whole)[0] is None
        assert flaw(whole[: int(len(whole) * 0.8)])[0] == "truncated"


def test_a_jpeg_that_lost_bytes_in_its_middle_is_damaged_and_not_cut_off():
    whole = encoded(noise(200, 200), "JPEG")
    middle = len(whole) // 2
    picture = decode(whole[:middle] + whole[middle + 500 :])
    assert picture.error_kind == "damaged"
    assert picture.pixels.shape == (200, 200, 3)
    assert "middle" in picture.error


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\x1f\x8b\x08" + bytes(range(99)), "gzip"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\0\0\0\x18ftypheic" + bytes(range(99)), "HEIC"),
        (b"\0\0\0\x18ftypmp42" + bytes(range(99)), "video"),
        (b"\xff" * 999, "same byte"),
        (b"\xef\xbb\xbf<html>not found</html>", "web page"),
        ('{"name": "café"}'.encode(), "text"),
        ("name".encode("utf-16"), "text"),
        (bytes(999) + FILES["PNG"][999:], "zero bytes"),
    ],
)
def test_what_is_no_image_that_is_read_is_called_what_it_is(data, word):
    kind, sentence = flaw(data)
    assert kind == "not_an_image"
    assert word in sentence
