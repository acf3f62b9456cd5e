"""What a JPEG's headers say, and where its scans begin: enough to walk through its entropy-coded data.

Source: ITU-T T.81 (1992), annexes B (syntax), C (Huffman tables) and F, G (sequential and progressive decoding).
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

SOF_SEQUENTIAL, SOF_EXTENDED, SOF_PROGRESSIVE, DHT, SOI, EOI, SOS, DQT, DRI = (
    0xC0,
    0xC1,
    0xC2,
    0xC4,
    0xD8,
    0xD9,
    0xDA,
    0xDB,
    0xDD,
)
OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # lossless, hierarchical, arithmetic
STANDALONE = {0x01, *range(0xD0, 0xD9)}
BRIGHTNESS = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
    ]
)


class NotWalkable(Exception):
    """The headers are broken or of a kind that is not followed (lossless, arithmetic, 12 bits)."""


@dataclass
class Component:
    """One colour plane: its sampling factors, its grid of 8x8 blocks and its quantisation table, in zigzag order."""

    horizontal: int
    vertical: int
    table: int
    across: int = 0  # blocks that hold picture
    down: int = 0
    stride: int = 0  # blocks in a row of the grid as padded to whole MCUs
    rows: int = 0  # of that grid
    quantiser: np.ndarray = field(default_factory=lambda: np.ones(64, np.int64))


@dataclass
class Frame:
    """Size in px, the components by their identifier, and how many MCUs there are across and down."""

    progressive: bool
    width: int
    height: int
    components: dict[int, Component]
    mcus_across: int
    mcus_down: int


@dataclass
class Scan:
    """One pass over some components; `start` is where its entropy-coded data begins."""

    frame: Frame
    components: list[Component]
    dc_tables: np.ndarray  # uint16 (components, 65536), see lookup()
    ac_tables: np.ndarray
    first: int  # of the coefficients, in zigzag order
    last: int
    high: int  # successive approximation: bits known before
    low: int
    restart_interval: int
    start: int


@dataclass
class _Tables:
    quantisers: dict[int, np.ndarray] = field(default_factory=dict)
    codes: dict[tuple[int, int], bytes] = field(default_factory=dict)  # (class, slot) -> 16 counts, then the symbols
    restart_interval: int = 0


def scans(data: bytes) -> Generator[Scan | None, int, None]:
    """The scans in their order, then None. The caller sends back where each scan's data ended.

    Raises:
        NotWalkable: the headers make no sense, or are of a kind that is not followed.
    """
    tables, at = _Tables(), 2
    frame: Frame | None = None
    while True:
        marker, body, at = _segment(data, at)
        if marker in (EOI, -1):
            yield None
            return
        if marker == DQT:
            _read_quantisers(body, tables)
        elif marker == DHT:
            _read_codes(body, tables)
        elif marker == DRI:
            tables.restart_interval = int.from_bytes(body[:2])
        elif marker in (SOF_SEQUENTIAL, SOF_EXTENDED, SOF_PROGRESSIVE):
            frame = _frame(body, marker == SOF_PROGRESSIVE)
        elif marker in OTHER_FRAMES:
            raise NotWalkable("lossless, hierarchical or arithmetic coding")
        elif marker == SOS:
            if frame is None:
                raise NotWalkable("a scan without a frame")
            at = yield _scan(body, frame, tables, at)


def quality(data: bytes) -> int | None:
    """The setting, 1 to 100, at which libjpeg quantises brightness about as coarsely as this JPEG does.

    Exact for files that libjpeg's own tables were scaled for; None where the headers hold no such table.
    """
    tables, at, marker = _Tables(), 2, SOI
    try:
        while 0 not in tables.quantisers and marker not in (SOS, EOI, -1):
            marker, body, at = _segment(data, at)
            if marker == DQT:
                _read_quantisers(body, tables)
    except NotWalkable:
        return None
    if 0 not in tables.quantisers:
        return None
    return 1 + int(np.abs(_coarseness() - tables.quantisers[0].sum()).argmin())


@lru_cache(1)
def _coarseness() -> np.ndarray:
    """Sum of libjpeg's table for brightness (T.81, K.1, scaled) at each quality from 1 to 100."""
    settings = np.arange(1, 101)
    percent = np.where(settings < 50, 5000 // settings, 200 - 2 * settings)
    return ((np.outer(percent, BRIGHTNESS) + 50) // 100).clip(1, 255).sum(axis=1)


def _segment(data: bytes, at: int) -> tuple[int, bytes, int]:
    """(code, body, position behind it) of the next segment; (-1, b"", len(data)) where there is none."""
    at, marker = _next_marker(data, at)
    if marker in STANDALONE or marker in (EOI, -1):
        return marker, b"", at
    length = int.from_bytes(data[at : at + 2])
    if length < 2 or at + length > len(data):
        raise NotWalkable("a segment reaches behind the end of the file")
    return marker, data[at + 2 : at + length], at + length


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """(position behind it, its code) of the next marker, or (len(data), -1)."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        at += 1
        if data[at] not in (0x00, 0xFF):
            return at + 1, data[at]
    return len(data), -1


def _read_quantisers(body: bytes, tables: _Tables) -> None:
    at = 0
    while at < len(body):
        deep, slot = body[at] >> 4, body[at] & 15
        width = 2 if deep else 1
        values = body[at + 1 : at + 1 + 64 * width]
        if len(values) < 64 * width:
            raise NotWalkable("a quantisation table is short")
        tables.quantisers[slot] = np.frombuffer(values, ">u2" if deep else "u1").astype(np.int64)
        at += 1 + 64 * width


def _read_codes(body: bytes, tables: _Tables) -> None:
    at = 0
    while at < len(body):
        counts = body[at + 1 : at + 17]
        end = at + 17 + sum(counts)
        if len(counts) < 16 or end > len(body):
            raise NotWalkable("a Huffman table is short")
        tables.codes[body[at] >> 4, body[at] & 15] = body[at + 1 : end]
        at = end


@lru_cache(maxsize=32)  # most encoders write the tables of the standard
def lookup(codes: tuple[bytes, ...]) -> np.ndarray:
    """uint16 (tables, 65536): 16 bits of data -> length of the code they begin with << 8 | its symbol; 0: no code."""
    tables = np.zeros((len(codes), 2**16), np.uint16)
    for table, code in zip(tables, codes, strict=True):
        lengths = np.repeat(np.arange(1, 17), list(code[:16])) if code else np.empty(0, int)
        sizes = 1 << (16 - lengths)
        entries = (lengths << 8 | np.frombuffer(code[16:], np.uint8)).astype(np.uint16)
        filled = np.repeat(entries, sizes)[: 2**16]
        table[: len(filled)] = filled
    return tables


def _frame(body: bytes, progressive: bool) -> Frame:
    if len(body) < 6 or body[0] != 8 or len(body) < 6 + 3 * body[5]:
        raise NotWalkable("not 8 bits deep, or a short frame header")
    height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    components = {}
    for at in range(6, 6 + 3 * body[5], 3):
        components[body[at]] = Component(body[at + 1] >> 4, body[at + 1] & 15, body[at + 2])
    factors = [(part.horizontal, part.vertical) for part in components.values()]
    if not width or not height or not factors or not all(1 <= f <= 4 for pair in factors for f in pair):
        raise NotWalkable("no extent, or senseless sampling")
    widest, tallest = max(f[0] for f in factors), max(f[1] for f in factors)
    across, down = -(-width // (8 * widest)), -(-height // (8 * tallest))
    for part in components.values():
        part.across = -(-width * part.horizontal // (8 * widest))
        part.down = -(-height * part.vertical // (8 * tallest))
        part.stride, part.rows = across * part.horizontal, down * part.vertical
    return Frame(progressive, width, height, components, across, down)


def _scan(body: bytes, frame: Frame, tables: _Tables, start: int) -> Scan:
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count or not 1 <= count <= 4:
        raise NotWalkable("a short scan header")
    first, last, approximation = body[1 + 2 * count : 4 + 2 * count]
    high, low = approximation >> 4, approximation & 15
    if not frame.progressive:
        first, last, high, low = 0, 63, 0, 0
    elif last > 63 or first > last or (first == 0) != (last == 0) or low > 13:
        raise NotWalkable("a senseless scan header")
    parts, dc_tables, ac_tables = [], [], []
    for at in range(1, 1 + 2 * count, 2):
        part = frame.components.get(body[at])
        if part is None or part.table not in tables.quantisers:
            raise NotWalkable("a component without its tables")
        part.quantiser = tables.quantisers[part.table]
        parts.append(part)
        needs_dc, needs_ac = first == 0 and not high, last > 0
        dc_tables.append(_code(tables, 0, body[at + 1] >> 4) if needs_dc else b"")
        ac_tables.append(_code(tables, 1, body[at + 1] & 15) if needs_ac else b"")
    dc, ac = lookup(tuple(dc_tables)), lookup(tuple(ac_tables))
    return Scan(frame, parts, dc, ac, first, last, high, low, tables.restart_interval, start)


def _code(tables: _Tables, kind: int, slot: int) -> bytes:
    if (kind, slot) not in tables.codes:
        raise NotWalkable("a scan without its Huffman tables")
    return tables.codes[kind, slot]
