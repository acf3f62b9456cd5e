"""Perceptual hashes against imagehash itself, bit for bit; hashes of bytes and pixels by what they must tell apart."""

import hashlib

import imagehash
import numpy as np
import pytest
from pictures import encoded, noise, smooth
from PIL import Image

from recipe_core.data.decode import decode
from recipe_core.data.fingerprints import HASHED_SIDE, TURNS, byte_hash, perceptual_hashes, pixel_hash, shrink


def grey(pixels):
    return Image.fromarray(pixels).convert("L")


GREYS = {
    **{
        f"noise {width}x{height}": grey(noise(width, height, width))
        for width, height in [(32, 32), (33, 17), (200, 120)]
    },
    **{f"smooth {seed}": grey(smooth(120, 90, seed)) for seed in range(6)},
    **{f"flat {value}": Image.new("L", (40, 30), value) for value in (0, 1, 128, 255)},
    **{f"tiny {size}": grey(noise(*size)) for size in [(1, 1), (1, 2), (2, 1), (3, 3), (1, 40), (40, 1), (8, 9)]},
    "ramp": Image.fromarray(np.tile(np.arange(96, dtype=np.uint8), (96, 1))),
    "symmetric": Image.fromarray((np.add.outer(np.arange(64), np.arange(64)) * 2).astype(np.uint8)),
    "checker": Image.fromarray(np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 * 255),
    "just below": grey(smooth(HASHED_SIDE - 1, 100)),
}


def by_imagehash(image):
    turned = [image if turn is None else image.transpose(turn) for turn in TURNS]
    return [str(imagehash.phash(one)) for one in turned], [str(imagehash.dhash(one)) for one in turned]


@pytest.mark.parametrize("name", GREYS)
def test_phash_and_dhash_of_all_eight_turns_equal_imagehash(name):
    (phashes,), (dhashes,) = perceptual_hashes([shrink(GREYS[name])])
    assert (phashes, dhashes) == by_imagehash(GREYS[name])


def test_many_at_once_equal_each_alone():
    greys = list(GREYS.values())
    phashes, dhashes = perceptual_hashes([shrink(image) for image in greys])
    for image, phash, dhash in zip(greys, phashes, dhashes, strict=True):
        assert (phash, dhash) == by_imagehash(image)
    assert perceptual_hashes([]) == ([], [])


@pytest.mark.parametrize("size", [(384, 384), (767, 300), (500, 3), (3, 500), (640, 480)])
def test_a_large_grey_is_hashed_nearly_as_imagehash_hashes_it_whole(size):
    image = grey(smooth(*size) // 2 + np.asarray(Image.fromarray(noise(48, 48)).resize(size)) // 2)
    (phashes,), (dhashes,) = perceptual_hashes([shrink(image)])
    for ours, theirs in zip((phashes[0], dhashes[0]), (imagehash.phash(image), imagehash.dhash(image)), strict=True):
        assert imagehash.hex_to_hash(ours) - theirs <= 6


def test_the_turns_are_the_eight_of_the_square_each_once():
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(picture)
    turned = {
        (np.asarray(image if turn is None else image.transpose(turn))).tobytes() + bytes([i >= 4])
        for i, turn in enumerate(TURNS)
    }
    assert len(turned) == 8


# Bytes and pixels


def pixels_of(data):
    return decode(data).pixels


def test_the_same_pixels_in_another_file_have_the_same_pixel_hash():
    pixels = noise(31, 17)
    files = [encoded(pixels, "PNG", compress_level=0), encoded(pixels, "PNG", compress_level=9), encoded(pixels, "BMP")]
    files += [encoded(pixels, "TIFF"), encoded(pixels, "WEBP", lossless=True)]
    jpeg = encoded(smooth(40, 30), "JPEG")
    assert {pixel_hash(pixels_of(data)) for data in files} == {pixel_hash(pixels)}
    assert len({byte_hash(data) for data in files}) == len(files)
    assert pixel_hash(pixels_of(encoded(pixels_of(jpeg), "PNG"))) == pixel_hash(pixels_of(jpeg))


def test_one_pixel_or_another_shape_changes_the_pixel_hash():
    pixels = noise(12, 8)
    hashes = {pixel_hash(pixels)}
    for y, x, channel in [(0, 0, 0), (7, 11, 2), (3, 5, 1)]:
        changed = pixels.copy()
        changed[y, x, channel] ^= 1
        hashes.add(pixel_hash(changed))
    hashes |= {pixel_hash(pixels.reshape(12, 8, 3)), pixel_hash(pixels.reshape(1, 96, 3)), pixel_hash(pixels[:, ::-1])}
    assert len(hashes) == 7


def test_a_view_of_pixels_hashes_as_its_copy():
    pixels = noise(20, 20)[::2, ::-1]
    assert pixel_hash(pixels) == pixel_hash(pixels.copy())


def test_the_byte_hash_is_128_bits_and_tells_contents_apart():
    contents = [hashlib.sha256(bytes([number])).digest() for number in range(100)] + [b"", b"\0"]
    hashes = {byte_hash(content) for content in contents}
    assert len(hashes) == len(contents)
    assert {len(digest) for digest in hashes} == {32}
