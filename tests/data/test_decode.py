"""Decoding: real files of every format against Pillow's own reading, and bytes that are no picture."""

import base64
import io
import random
import struct
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pictures import (
    bmp_header,
    encoded,
    exif,
    gif_header,
    jpeg_header,
    noise,
    png_header,
    smooth,
    tiff_header,
)
from PIL import Image, ImageOps

from recipe_core.data.decode import Picture, Unreadable, decode, upright

PIXELS = smooth(60, 40)
IMAGE = Image.fromarray(PIXELS)
ALPHA = Image.fromarray(np.dstack([noise(30, 20), np.full((20, 30), 90, np.uint8)]))

LOSSLESS = {
    "PNG RGB": (encoded(IMAGE, "PNG"), "PNG", "RGB"),
    "PNG grey": (encoded(IMAGE.convert("L"), "PNG"), "PNG", "L"),
    "PNG black and white": (encoded(IMAGE.convert("1"), "PNG"), "PNG", "1"),
    "PNG palette": (encoded(IMAGE.quantize(17), "PNG"), "PNG", "P"),
    "PNG palette, transparent": (encoded(IMAGE.quantize(17), "PNG", transparency=3), "PNG", "P"),
    "PNG alpha": (encoded(ALPHA, "PNG"), "PNG", "RGBA"),
    "PNG grey and alpha": (encoded(ALPHA.convert("LA"), "PNG"), "PNG", "LA"),
    "WebP": (encoded(IMAGE, "WEBP"), "WEBP", "RGB"),
    "WebP, lossless": (encoded(IMAGE, "WEBP", lossless=True), "WEBP", "RGB"),
    "WebP alpha": (encoded(ALPHA, "WEBP", lossless=True), "WEBP", "RGBA"),
    "GIF": (encoded(IMAGE.quantize(32), "GIF"), "GIF", "P"),
    "BMP": (encoded(IMAGE, "BMP"), "BMP", "RGB"),
    "BMP grey": (encoded(IMAGE.convert("L"), "BMP"), "BMP", "L"),
    "TIFF": (encoded(IMAGE, "TIFF"), "TIFF", "RGB"),
    "TIFF, deflate": (encoded(IMAGE, "TIFF", compression="tiff_adobe_deflate"), "TIFF", "RGB"),
    "TIFF CMYK": (encoded(IMAGE.convert("CMYK"), "TIFF"), "TIFF", "CMYK"),
    "AVIF": (encoded(IMAGE, "AVIF"), "AVIF", "RGB"),
    "JPEG CMYK": (encoded(IMAGE.convert("CMYK"), "JPEG"), "JPEG", "CMYK"),
}


def by_pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_format_gives_the_pixels_that_pillow_gives(name):
    data, kind, mode = LOSSLESS[name]
    picture = decode(data)
    assert (picture.format, picture.mode, picture.error) == (kind, mode, None)
    assert (picture.height, picture.width) == picture.pixels.shape[:2]
    np.testing.assert_array_equal(picture.pixels, by_pillow(data))


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}, {"optimize": True}]
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_at_full_size_gives_pillows_pixels(mode, options):
    data = encoded(Image.fromarray(smooth(61, 47)).convert(mode), "JPEG", **options)
    picture = decode(data)
    assert (picture.format, picture.mode, picture.width, picture.height) == ("JPEG", mode, 61, 47)
    np.testing.assert_array_equal(picture.pixels, by_pillow(data))


# 32x16 px, red beside blue, written by cjpeg -sample 4x2, for which Pillow has no option
SAMPLED_4_1_0 = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxO"
    "UlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT0//wAARCAAQACADAUIAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAAAAQF/8QAFBABAAAAAAAAAAAAAAAAAAAA"
    "AP/EABQBAQAAAAAAAAAAAAAAAAAAAAT/xAAYEQACAwAAAAAAAAAAAAAAAAAABUOBwf/aAAwDAQACEQMRAD8AzRKKhKEJJK0Q+jvD"
    "/9k="
)


def test_a_jpeg_whose_colour_is_sampled_in_an_unusual_way_is_read_and_its_cut_noticed():
    picture = decode(SAMPLED_4_1_0)
    assert picture.error is None
    assert np.allclose(picture.pixels[8, [4, 28]], [(200, 60, 30), (20, 90, 200)], atol=40)
    with pytest.raises(Unreadable) as problem:
        decode(SAMPLED_4_1_0[:-9])
    assert problem.value.kind == "truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_come_upright_as_pillow_turns_them(kind, orientation):
    data = encoded(smooth(23, 14, seed=2), kind, exif=exif(orientation))
    picture = decode(data)
    expected = by_pillow(data)
    np.testing.assert_array_equal(picture.pixels, expected)
    assert (picture.height, picture.width) == expected.shape[:2]


def test_turning_works_on_grey_pixels_too():
    grey = noise(5, 3)[..., 0]
    turned = upright(grey, 6)
    np.testing.assert_array_equal(turned, np.rot90(grey, -1))


def test_sizes_are_of_the_whole_upright_picture_even_where_it_is_reduced():
    data = encoded(smooth(1601, 1201), "JPEG", exif=exif(6))
    picture = decode(data, side=384)
    assert (picture.width, picture.height) == (1201, 1601)
    assert 384 <= max(picture.pixels.shape) < 800
    assert picture.pixels.shape[0] > picture.pixels.shape[1]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (383, 10), (767, 10), (768, 700), (900, 2), (2, 5000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_reduced_picture_keeps_the_side_that_was_asked_for(kind, size):
    picture = decode(encoded(smooth(*size), kind), side=384)
    assert (picture.width, picture.height) == size
    assert min(384, max(size)) <= max(picture.pixels.shape[:2]) <= 767
    assert min(picture.pixels.shape) >= 1


def test_a_reduced_picture_looks_like_the_whole_one():
    pixels = smooth(1600, 1200)
    for mode, kind in (("RGB", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG")):
        small = decode(encoded(Image.fromarray(pixels).convert(mode), kind), side=384).pixels
        expected = np.asarray(Image.fromarray(pixels).resize(small.shape[1::-1], Image.Resampling.BOX))
        assert np.abs(small.astype(int) - expected).max() <= 6


def test_an_animation_gives_its_first_frame():
    frames = [Image.fromarray(smooth(30, 20, seed)) for seed in range(3)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        np.testing.assert_array_equal(decode(data).pixels, by_pillow(data))


def test_a_tiff_of_many_pages_gives_its_first():
    data = encoded(PIXELS, "TIFF", save_all=True, append_images=[Image.fromarray(noise(9, 9))])
    np.testing.assert_array_equal(decode(data).pixels, PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight_not_cut(kind):
    deep = (np.arange(600, dtype=np.uint32) * 109).astype(np.uint16).reshape(20, 30)
    picture = decode(encoded(Image.fromarray(deep), kind))
    np.testing.assert_array_equal(picture.pixels, np.repeat((deep // 256).astype(np.uint8)[..., None], 3, axis=2))


def test_a_tiff_with_sixteen_bits_of_rgb_is_read():
    deep = (smooth(12, 8).astype(np.uint16) * 257).tobytes()
    entries = [(256, 4, 1, 12), (257, 4, 1, 8), (258, 3, 3, 180), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 200)]
    entries += [(277, 3, 1, 3), (278, 4, 1, 8), (279, 4, 1, len(deep))]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    head = (b"II*\0" + struct.pack("<I", 8) + directory).ljust(180, b"\0") + struct.pack("<HHH", 16, 16, 16)
    picture = decode(head.ljust(200, b"\0") + deep)
    np.testing.assert_array_equal(picture.pixels, smooth(12, 8))


def test_float_pixels_are_stretched_and_nan_and_infinity_do_no_harm():
    values = np.linspace(-3, 5, 600, dtype=np.float32).reshape(20, 30)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, np.inf, -np.inf
    picture = decode(encoded(Image.fromarray(values), "TIFF"))
    assert picture.mode == "F"
    assert picture.pixels[-1, -1, 0] == 255
    assert (np.diff(picture.pixels[1:, :, 0].ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("value", [np.nan, 0.0, 3e38])
def test_float_pixels_that_are_all_alike_are_read(value):
    picture = decode(encoded(Image.fromarray(np.full((4, 5), value, np.float32)), "TIFF"))
    assert len(np.unique(picture.pixels)) == 1


# What the file says of itself


def test_camera_and_capture_time_are_read_from_exif():
    tags = exif(
        make="Canon\0\0",
        model=" EOS 5D ",
        date_time="2021:01:01 00:00:00",
        date_time_original="2020:05:06 07:08:09",
    )
    picture = decode(encoded(PIXELS, "JPEG", exif=tags))
    assert (picture.camera_make, picture.camera_model) == ("Canon", "EOS 5D")
    assert picture.captured_at == datetime(2020, 5, 6, 7, 8, 9)


@pytest.mark.parametrize("moment", ["0000:00:00 00:00:00", "yesterday", "2020:13:40 99:00:00", "", "\0", "x" * 60_000])
def test_a_senseless_capture_time_is_none(moment):
    assert decode(encoded(PIXELS, "JPEG", exif=exif(make="m", date_time=moment))).captured_at is None


def test_hostile_exif_texts_lose_their_nul_bytes_and_stay_text():
    picture = decode(encoded(PIXELS, "JPEG", exif=exif(make="\0\0", model="<b>\0é" + "x" * 30_000)))
    assert picture.camera_make is None
    assert "\0" not in picture.camera_model
    picture.camera_model.encode()


@pytest.mark.parametrize("orientation", [0, 9, 300, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    picture = decode(encoded(PIXELS, "PNG", exif=exif(orientation)))
    assert picture.orientation == 1
    np.testing.assert_array_equal(picture.pixels, PIXELS)


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHII", 274, 5, 1, 180),
        struct.pack("<HHIf", 274, 11, 1, 6.0),
        struct.pack("<HHI4s", 274, 2, 2, b"6"),
    ],
    ids=["a fraction", "a float", "a text"],
)
def test_an_orientation_of_the_wrong_type_is_a_whole_number_or_nothing(entry):
    picture = decode(tiff_header(4, 3, entry))
    assert type(picture.orientation) is int
    assert (picture.height, picture.width) == picture.pixels.shape[:2]


@pytest.mark.parametrize("at", range(6, 40, 2))
def test_broken_exif_never_costs_the_picture(at):
    data = encoded(PIXELS, "JPEG", exif=exif(6, make="Canon", date_time_original="2020:05:06 07:08:09"))
    start = data.index(b"Exif\0\0")
    broken = data[: start + at] + b"\xff\xff" + data[start + at + 2 :]
    assert decode(broken).pixels.size == PIXELS.size


# What is no picture


def refusal(data, side=384):
    with pytest.raises(Unreadable) as caught:
        decode(data, side)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("data", "kind", "word"),
    [
        (b"", "empty", "empty"),
        (bytes(5000), "not_an_image", "zero bytes"),
        (b"\n <!DOCTYPE html><html><body>404</body></html>", "not_an_image", "web page"),
        (b"Not found\n", "not_an_image", "text"),
        (b"%PDF-1.7\n%\xe2\xe3", "not_an_image", "PDF"),
        (b"PK\x03\x04" + bytes(range(200)), "not_an_image", "zip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "not_an_image", "git lfs pull"),
        (bytes(range(256)) * 4, "not_an_image", "no image"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(data, kind, word):
    problem = refusal(data)
    assert problem.kind == kind
    assert word in str(problem)


@pytest.mark.parametrize("header", [png_header, jpeg_header, bmp_header, tiff_header, gif_header])
def test_sixty_thousand_pixels_square_are_refused_from_the_header(header):
    problem = refusal(header(60_000, 60_000))
    assert problem.kind == "too_large"
    assert "178 million" in str(problem)


def test_no_header_makes_the_reader_take_gigabytes():
    # Pillow lays out the first frame of such a GIF before anybody can ask for its size.
    script = (
        "import re, resource, sys; sys.path.insert(0, sys.argv[1]); from pictures import *; "
        "from recipe_core.data.decode import decode, Unreadable\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\n"
        "for header in (png_header, jpeg_header, bmp_header, tiff_header, lambda w, h: gif_header(w, h, 2)):\n"
        "    try: decode(header(60_000, 60_000))\n"
        "    except Unreadable as problem: assert problem.kind == 'too_large', problem\n"
        # Not ru_maxrss, which a child inherits from the process that forked it.
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", script, here], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 500e6


def test_a_large_picture_that_is_reduced_is_in_memory_once(tmp_path):
    Image.new("RGB", (8000, 5000)).save(tmp_path / "large.png", compress_level=1)  # 160 MB, as Pillow lays it out
    script = (
        "import re, sys; from recipe_core.data.decode import decode\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
        "data, before = open(sys.argv[1], 'rb').read(), peak(); decode(data, side=384); print(peak() - before)"
    )
    command = [sys.executable, "-c", script, tmp_path / "large.png"]
    assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) * 1024 < 240e6


@pytest.mark.parametrize("header", [png_header, jpeg_header, bmp_header, tiff_header, gif_header])
@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_an_extent_is_refused(header, size):
    try:
        picture = decode(header(*size))
    except Unreadable:
        return
    assert picture.pixels.size > 0
    assert picture.width * picture.height > 0


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_that_is_cut_off_shows_what_is_there_and_says_so(share):
    whole = encoded(noise(64, 48), "JPEG", quality=90)
    whole_picture = decode(whole).pixels
    cut = whole[: 700 + int((len(whole) - 700) * share)]
    picture = decode(cut)
    assert picture.error_kind == "truncated"
    assert "cut off" in picture.error
    np.testing.assert_array_equal(picture.pixels[:8, :16], whole_picture[:8, :16])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_file_cut_off_anywhere_is_never_taken_for_whole(kind):
    data = encoded(noise(40, 30), kind)
    for length in range(1, len(data) - 20, max(1, len(data) // 40)):
        try:
            picture = decode(data[:length])
        except Unreadable as problem:
            assert problem.kind in ("truncated", "broken", "not_an_image", "checksum")
        else:
            assert picture.error is not None, length


def test_random_damage_gives_a_picture_or_a_reason_and_nothing_else():
    files = [encoded(smooth(24, 18), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")]
    files += [encoded(PIXELS, "JPEG", exif=exif(6, make="a", date_time_original="2020:05:06 07:08:09"))]
    files += [encoded(IMAGE.quantize(9), "PNG"), encoded(IMAGE, "TIFF", compression="tiff_lzw"), tiff_header(4, 3)]
    files += [encoded(IMAGE.convert("CMYK"), "JPEG"), encoded(IMAGE, "JPEG", progressive=True)]
    chance = random.Random(1)
    for _ in range(600):
        data = bytearray(chance.choice(files))
        for _ in range(chance.choice((1, 2, 8, 40))):
            # Headers are where the traps are.
            at = chance.randrange(min(len(data), chance.choice((30, 200, 10**6))))
            data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if chance.random() < 0.2:
            at = chance.randrange(len(data))
            data[at:at] = bytes(data[at : at + 50])
        try:
            picture = decode(bytes(data), chance.choice((None, 8, 384)))
        except Unreadable as problem:
            assert problem.kind
            assert str(problem)
        else:
            assert isinstance(picture, Picture)
            assert picture.pixels.dtype == np.uint8
            assert picture.pixels.ndim == 3
            assert picture.pixels.size > 0
            assert picture.orientation in range(1, 9)
            assert "\0" not in f"{picture.camera_make}{picture.camera_model}"


def test_bytes_without_any_sense_are_refused():
    chance = random.Random(2)
    magics = [
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"RIFF\x40\0\0\0WEBPVP8 ",
    ]
    for number in range(200):
        data = magics[number % len(magics)] + chance.randbytes(chance.randrange(1, 400))
        with pytest.raises(Unreadable):
            decode(data)


def test_a_wrong_extension_does_not_matter_to_what_is_read():
    # The name is not even known here; the format is what the bytes are.
    assert decode(encoded(PIXELS, "PNG")).format == "PNG"


def test_decoding_gives_the_same_every_time():
    data = encoded(smooth(900, 700), "JPEG")
    np.testing.assert_array_equal(decode(data, 384).pixels, decode(data, 384).pixels)
