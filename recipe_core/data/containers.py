"""What an image file's container says of itself, beside what its reader accepts: is it whole, do its checksums hold.

Readers stop where the picture is complete, skip the checksums of what they do not need, and call a file that lost its
end many names. Each function takes the file's bytes and gives a flaw as (kind, sentence), or None.

Sources: PNG (W3C, 3rd edition), GIF89a (CompuServe, 1990), TIFF 6.0 (Adobe, 1992) and BigTIFF, RIFF/WebP (RFC 9649),
ISO base media (ISO/IEC 14496-12), BMP (Microsoft, BITMAPINFOHEADER).
"""

import codecs
import struct
import zlib
from collections.abc import Callable, Iterator

Flaw = tuple[str, str]

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG's pixel, by its colour type
MOST_PAGES = 10_000
TIFF_SIZES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), start=1)) | {16: 8, 17: 8, 18: 8}  # bytes, by type
KNOWN = (  # (start, what it is)
    (b"%pdf", "a PDF"),
    (b"pk\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"rar!", "a RAR archive"),
    (b"8bps", "a Photoshop document"),
    (b"\xff\x0a", "a JPEG XL image, which is not read"),
    (b"\0\0\0\x0cjxl ", "a JPEG XL image, which is not read"),
    (b"\0\0\0\x0cjp  ", "a JPEG 2000 image, which is not read"),
    (b"\0\0\x01\0", "an icon, which is not read"),
    (b"<svg", "an SVG drawing, which is not read"),
)


def cut_off(share: float, of: str) -> Flaw:
    """The flaw of a file that lost its end, where `share` of the picture or the file is there."""
    return "truncated", f"The file is cut off at {min(share, 0.999) * 100:.0f} % of {of}."


def flaw_of(data: bytes) -> Flaw | None:
    """What is wrong with a file that its reader may accept all the same."""
    for start, check in WHILE_READABLE.items():
        if data.startswith(start):
            return check(data)
    return None


def why_unreadable(data: bytes) -> Flaw | None:
    """A better reason than its reader's complaint for a file that could not be decoded."""
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1", b"miaf"):
        return _isobmff(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _riff(data)
    return flaw_of(data)


def _png(data: bytes) -> Flaw | None:
    at, header, pixels = 8, b"", []
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return (
                "checksum",
                f"The checksum of the PNG's {kind.decode('latin-1')!r} chunk is wrong: its data was changed.",
            )
        if kind == b"IEND":
            return None
        if kind == b"IHDR":
            header = data[at + 8 : end - 4]
        elif kind == b"IDAT":
            pixels.append(data[at + 8 : end - 4])
        at = end
    if data[at + 4 : at + 8] == b"IDAT":
        pixels.append(data[at + 8 :])
    return cut_off(_png_share(header, b"".join(pixels)), "the picture")


def _png_share(header: bytes, packed: bytes) -> float:
    """The share of a PNG's filtered rows that its compressed data still holds."""
    if len(header) < 13:
        return 0.0
    width, height, depth, colour = struct.unpack(">IIBB", header[:10])
    whole = height * (1 + -(-width * depth * SAMPLES.get(colour, 1) // 8))
    unpacker, unpacked = zlib.decompressobj(), 0
    try:
        while packed and unpacked < whole:
            unpacked += len(unpacker.decompress(packed, 2**20))
            packed = unpacker.unconsumed_tail
    except zlib.error:
        pass  # as far as it could be unpacked
    return min(1.0, unpacked / max(1, whole))


def _gif(data: bytes) -> Flaw | None:
    """Walks over all blocks of all frames to the trailer."""
    at = 13 + _colour_table(data[10:11])
    while at < len(data):
        kind, at = data[at], at + 1
        if kind == 0x3B:
            return None
        if kind == 0x21:
            at += 1
        elif kind == 0x2C:
            at += 10 + _colour_table(data[at + 8 : at + 9])
        else:
            return None  # bytes between blocks, which readers skip
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
    return "truncated", "The file is cut off: the GIF's last frame or its end mark is missing."


def _colour_table(flags: bytes) -> int:
    """Bytes of the colour table that a GIF's flags announce."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _bmp(data: bytes) -> Flaw | None:
    if len(data) < 54 or int.from_bytes(data[14:18], "little") < 40:
        return None
    start, width, height, depth, packing = struct.unpack_from("<I4xii2xHI", data, 10)
    whole = start + (abs(width) * depth + 31) // 32 * 4 * abs(height)
    if packing in (0, 3, 6) and whole > len(data):
        return cut_off(max(0, len(data) - start) / max(1, whole - start), "the picture")
    return None


def _tiff(data: bytes) -> Flaw | None:
    """Every page's directory and pixels lie inside the file."""
    for page, (end, whole) in enumerate(_tiff_pages(data)):
        if not whole or (page and end > len(data)):
            return "truncated", f"The file is cut off: the TIFF's page {page + 1} lies behind its end."
        if end > len(data):
            return cut_off(len(data) / end, "its bytes")
    return None


def _tiff_pages(data: bytes) -> Iterator[tuple[int, bool]]:
    """Of each page, where the last of its pixels and values ends, and whether its directory is there."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    at, number, entry = (8, "Q", "HHQ") if big else (4, "I", "HHI")
    size, width = struct.calcsize(order + entry), struct.calcsize(order + number)
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(order + number, data, at)
        while at and at not in seen and len(seen) < MOST_PAGES:
            seen.add(at)
            (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
            at += 8 if big else 2
            places, ends = {}, [0]
            for _ in range(count):
                tag, kind, values = struct.unpack_from(order + entry, data, at)
                length, place = TIFF_SIZES.get(kind, 0) * values, at + size
                if length > width:
                    (place,) = struct.unpack_from(order + number, data, place)
                places[tag] = place, values, {3: "H", 16: "Q"}.get(kind, "I")
                ends.append(place + length)
                at += size + width
            if max(ends) <= len(data):
                for start_tag, length_tag in ((273, 279), (324, 325)):  # strips, tiles
                    if start_tag in places and length_tag in places:
                        starts, lengths = (_numbers(data, order, *places[tag]) for tag in (start_tag, length_tag))
                        ends += [start + length for start, length in zip(starts, lengths, strict=False)]
            yield max(ends), True
            (at,) = struct.unpack_from(order + number, data, at)
    except struct.error:
        yield 0, False


def _numbers(data: bytes, order: str, place: int, count: int, letter: str) -> tuple[int, ...]:
    return struct.unpack_from(f"{order}{count}{letter}", data, place)


def _riff(data: bytes) -> Flaw | None:
    whole = int.from_bytes(data[4:8], "little") + 8
    return cut_off(len(data) / whole, "its bytes") if whole > len(data) else None


def _isobmff(data: bytes) -> Flaw | None:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        if size == 0:
            return None  # the box reaches to the end, wherever that was
        at += max(size, 8)
    return cut_off(len(data) / at, "its bytes") if at > len(data) else None


WHILE_READABLE: dict[bytes, Callable[[bytes], Flaw | None]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF8": _gif,
    b"BM": _bmp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"II+\0": _tiff,
    b"MM\0+": _tiff,
}


def what_it_is(data: bytes) -> str:
    """A sentence on bytes that are no image of a format that is read."""
    start = data[:512].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if not data.strip(b"\x00"):
        return f"The file holds {len(data):,} zero bytes and no image."
    if len(set(data)) == 1:
        return f"The file holds {len(data):,} times the same byte and no image."
    if b"<svg" in start:
        return "The file is an SVG drawing, which is not read."
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "The file is a web page (HTML or XML), not an image."
    if start.startswith(b"version https://git-lfs"):
        return "The file is a Git LFS pointer; fetch the image itself with `git lfs pull`."
    for magic, name in KNOWN:
        if data[:32].lower().startswith(magic):
            return f"The file is {name}." if "not read" in name else f"The file is {name}, not an image."
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmsf1"):
        return "The file is an HEIC photograph, which is not read; convert it to JPEG."
    if data[4:8] == b"ftyp":
        return "The file is a video or another ISO media file, not an image that is read."
    if not data[:64].strip(b"\x00"):
        return "The file begins with zero bytes where an image's header should be: its start was overwritten."
    if _is_text(data[:512]):
        return "The file is text, not an image."
    return "The file is no image in a known format, or its header is broken."


def _is_text(start: bytes) -> bool:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # which may end within a character
    except UnicodeDecodeError:
        return False
    return b"\x00" not in start
