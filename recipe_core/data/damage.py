"""Pictures that decode without a word and are visibly broken.

    damage_of(data)     # Damage with a score, a sentence and the evidence, or None

In a JPEG, whose data has no checksum, the signs are in the data itself (jpeg_walk.py) and in steps of brightness or
colour that begin at one MCU (seams.py); in other formats, in pixels that were zeroed in the file.
"""

from dataclasses import dataclass

import numpy as np

from recipe_core.data import jpeg, seams
from recipe_core.data.decode import Unreadable, decode

SIGNS = {  # by the facts of jpeg_walk
    1: "a code that does not exist",
    2: "a run of coefficients past the end of a block",
    3: "a block with more contrast than pixels can have",
    4: "coefficients that are all zero bits",
    5: "too few data for the picture",
    6: "data left over behind the picture",
    7: "a restart marker missing or out of order",
}
STEP = "a step of brightness or colour that begins at one block and stays"
ENERGY_SLACK = 1.125  # over what 8-bit pixels can have; some encoders overshoot on purpose
MOST_OVER_WHITE = 31  # levels; mozjpeg lets white be brighter by up to twice the quantiser of DC, and by this
FAST_TRANSFORM = 2  # levels; by so much fast transforms are off, over all pixels of a block


@dataclass(frozen=True)
class Damage:
    """What is broken in a picture.

    `score` is 0..1, higher is worse; `message` one sentence for the user; `evidence` holds JSON values: `signs`, what
    was seen, and `from_row`, the share of the stored picture's height above it.
    """

    score: float
    message: str
    evidence: dict


def damage_of(data: bytes) -> Damage | None:
    """The damage of an image file that can be decoded; None where nothing is surely broken."""
    if data.startswith((b"BM", b"II", b"MM")):  # formats without checksums
        return _overwritten(data)
    try:
        return _jpeg_damage(data)
    except jpeg.NotWalkable:
        return None


def _jpeg_damage(data: bytes) -> Damage | None:
    walked = _walk(data)
    if walked.sign:
        message = f"{_from(walked.from_row)} on the picture is broken: the JPEG holds {walked.sign}."
        return Damage(1 - 0.4 * walked.from_row, message, _evidence(walked.sign, walked.from_row))
    step = seams.find_step(_seams(walked), walked.interval)
    if step is None:
        return None
    from_row = step.mcu // walked.frame.mcus_across / walked.frame.mcus_down
    message = f"{_from(from_row)} on brightness or colour is off: the JPEG's data is broken there."
    levels = [round(level, 1) for level in step.levels]
    return Damage(0.6 - 0.2 * from_row, message, _evidence(STEP, from_row) | {"levels": levels})


def _from(row: float) -> str:
    return f"From {row:.0%} of its height" if row else "From its top"


def _evidence(sign: str, from_row: float) -> dict:
    return {"signs": [sign], "from_row": round(from_row, 3)}


@dataclass
class _Walked:
    frame: jpeg.Frame
    waves: list[np.ndarray]  # of each component: (rows, across, 5), see jpeg_walk
    interval: int
    sign: str = ""
    from_row: float = 0.0


def _walk(data: bytes) -> _Walked:
    """Walk through all scans up to the first fact that no healthy file has."""
    from recipe_core.data import jpeg_walk  # compiled: whoever only scans need not load it

    stream = jpeg.scans(data)
    scan = next(stream)
    if scan is None:
        raise jpeg.NotWalkable("no scan")
    frame, values = scan.frame, np.frombuffer(data, np.uint8)
    starts, total = _starts(frame)
    seen, waves = np.zeros(total, np.uint64), np.zeros((total, 5), np.float32)
    grids = [
        waves[start : start + part.stride * part.rows].reshape(part.rows, part.stride, 5)
        for part, start in zip(frame.components.values(), starts.values(), strict=True)
    ]
    walked = _Walked(frame, grids, scan.restart_interval)
    while scan is not None and scan.frame is frame:
        units, across, plan = _plan(scan)
        quantisers = np.array([part.quantiser for part in scan.components])
        limits = _limits(quantisers.astype(float))
        strides = np.array([(starts[id(part)], part.stride) for part in scan.components])
        fact, unit, end = jpeg_walk.walk(
            values, scan.start, plan, scan.dc_tables, scan.ac_tables, quantisers, limits, seen, waves, units, across,
            strides, (scan.first, scan.last, scan.high, scan.low), scan.restart_interval,
        )  # fmt: skip
        if fact:
            walked.sign, walked.from_row = SIGNS[fact], unit // across / (units // across)
            return walked
        try:
            scan = stream.send(end)
        except jpeg.NotWalkable as problem:
            walked.sign = f"headers between its passes that make no sense ({problem})"
            return walked
    return walked


def _limits(quantisers: np.ndarray) -> np.ndarray:
    """What a block of 8-bit pixels can have after quantisation, as jpeg_walk.walk() takes it: (components, 3).

    Rounding moves each coefficient by half its quantiser at most, and as the transform keeps lengths, the pixels by no
    more than these together.
    """
    rounding = np.sqrt((quantisers**2).sum(axis=1)) / 2
    white = 127 + np.minimum(2 * quantisers[:, 0], MOST_OVER_WHITE)
    return np.stack([(1024 * ENERGY_SLACK + rounding) ** 2, white, (rounding + 8 * FAST_TRANSFORM) ** 2], axis=1)


def _starts(frame: jpeg.Frame) -> tuple[dict[int, int], int]:
    """Where each component's blocks start in arrays over all blocks, by the component's id(); how many there are."""
    starts, total = {}, 0
    for part in frame.components.values():
        starts[id(part)] = total
        total += part.stride * part.rows
    return starts, total


def _plan(scan: jpeg.Scan) -> tuple[int, int, np.ndarray]:
    """MCUs of a scan, MCUs in its rows, and the blocks of one MCU as jpeg_walk.walk() takes them."""
    if len(scan.components) == 1:
        part = scan.components[0]
        return part.across * part.down, part.across, np.array([(0, 1, 1, 0, 0)])
    blocks = [
        (number, part.horizontal, part.vertical, column, row)
        for number, part in enumerate(scan.components)
        for row in range(part.vertical)
        for column in range(part.horizontal)
    ]
    return scan.frame.mcus_across * scan.frame.mcus_down, scan.frame.mcus_across, np.array(blocks)


def _seams(walked: _Walked) -> np.ndarray:
    """Steps across the seams above MCUs, (components, rows, across), less what quantisation of DC explains."""
    frame = walked.frame
    out = np.zeros((len(frame.components), frame.mcus_down, frame.mcus_across), np.float32)
    for seam, part, waves in zip(out, frame.components.values(), walked.waves, strict=True):
        upper, lower = seams.edges(waves)
        step = upper[part.vertical :: part.vertical] - lower[part.vertical - 1 : -1 : part.vertical]
        step = step.reshape(len(step), frame.mcus_across, part.horizontal).mean(axis=2)
        seam[1:] = np.sign(step) * np.maximum(np.abs(step) - part.quantiser[0] / 8, 0)
    return out


def _overwritten(data: bytes) -> Damage | None:
    """A run of pure black or white in the order of the pixels in the file, over rows and from within one into another.

    Bars and backgrounds begin and end with rows, and pictures that have black or white elsewhere give no answer.
    """
    try:
        pixels = decode(data).pixels
    except Unreadable:
        return None
    height, width = pixels.shape[:2]
    for value in (0, 255):
        alike = (pixels == value).all(axis=2)
        if not width < np.count_nonzero(alike) < alike.size:
            continue
        for stored in (alike, alike[::-1]):  # BMP stores its rows from the last to the first
            start, length = _longest_run(stored.ravel())
            elsewhere = np.count_nonzero(alike) - length
            aligned = start % width == 0 or (start + length) % width == 0
            if length > width and not aligned and elsewhere < 0.001 * alike.size:
                row = start // width if stored is alike else height - 1 - (start + length) // width
                name = "black" if value == 0 else "white"
                message = (
                    f"From {row / height:.0%} of its height on {length:,} pixels in a row are {name}: overwritten."
                )
                return Damage(0.5 + 0.5 * length / alike.size, message, _evidence(f"overwritten, {name}", row / height))
    return None


def _longest_run(marks: np.ndarray) -> tuple[int, int]:
    """(start, length) of the longest run of True."""
    edges = np.flatnonzero(np.diff(marks, prepend=False, append=False))
    lengths = edges[1::2] - edges[::2]
    longest = int(np.argmax(lengths))
    return int(edges[2 * longest]), int(lengths[longest])
