"""Seams between the MCUs of a JPEG: a brightness or colour that jumps at one MCU and stays so for all that follow.

Coefficients of DC are differences. Where broken data comes back into step with its codes, every later MCU is off by
what was lost: along the staircase of seams above the next row's worth of MCUs the two sides differ by one same step.
Edges in the scene do not follow that staircase, do not begin and end within a block, and are not equally high all
along: those of planks aslant do come from one row of seams to the next, but wax and wane, and have others beside them.
"""

from dataclasses import dataclass

import numpy as np

CANDIDATES = 8  # MCUs that are looked at closely
NEIGHBOURHOOD = 10  # MCUs to either side of the step's beginning and end
ADJACENT = 2  # MCUs to either side of the beginning, where the step must be as it is elsewhere
CLIP = 3.0  # of the evidence of one seam
LEAST_STEP = 3.0  # grey levels
MOST = 0.7  # of the seams; the others may lie on edges of the scene
# The evidence, and how far most seams on the staircase are from the step and most others from none, together, as a
# share of it; stricter where every row starts afresh, since seams may be a horizon's.
SURE, SURE_IN_ROWS = 15.0, 32.0
MOST_STRAY, MOST_STRAY_IN_ROWS = 0.5, 0.35


@dataclass(frozen=True)
class Step:
    """The MCU where a step begins, the step of each component in levels, and the evidence for it."""

    mcu: int
    levels: list[float]
    evidence: float


def edges(waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean levels at the upper and the lower edge of 8x8 blocks, extrapolated from pixel centres to the very edge.

    Args:
        waves: float (..., 5), sums of dequantised coefficients as jpeg_walk keeps them.
    """
    scale = np.float32(8**-0.5 / 2)
    middle = waves[..., 0] / 8 + scale * waves[..., 1]
    odd = scale * waves[..., 2]
    return middle + odd, middle - odd


def find_step(seams: np.ndarray, interval: int) -> Step | None:
    """The surest step, if any is sure.

    Args:
        seams: float (components, rows, across): how much each MCU's upper edge is brighter than the lower edge of the
            MCU above, in levels beyond what quantisation explains; zeros in the first row.
        interval: MCUs after which the coding starts afresh, 0 for never.
    """
    components, rows, across = seams.shape
    count = rows * across
    if rows < 3 or across < 3:
        return None
    flat = seams.reshape(components, count)
    best = None
    for mcu in _candidates(flat, across, interval):
        step = _weigh(flat, across, interval, int(mcu))
        if step and (best is None or step.evidence > best.evidence):
            best = step
    return best


def _spans(mcus: np.ndarray, across: int, count: int, interval: int) -> tuple[np.ndarray, ...]:
    """Where a step that begins at an MCU shows: [from, to) above MCUs that have it, [from, to) below them."""
    ends = np.minimum((mcus // interval + 1) * interval, count) if interval else np.full_like(mcus, count)
    back = np.minimum(np.maximum(ends, mcus + across), count)
    return mcus, np.minimum(mcus + across, ends), back, np.maximum(back, np.minimum(ends + across, count))


def _candidates(flat: np.ndarray, across: int, interval: int) -> np.ndarray:
    scale = np.abs(flat[:, across:]).mean(axis=1, keepdims=True) + 0.5
    sums = np.zeros((len(flat), flat.shape[1] + 1))
    np.cumsum((flat / scale).clip(-CLIP, CLIP), axis=1, out=sums[:, 1:])
    mcus = np.arange(across, flat.shape[1])
    above, to, back, back_to = _spans(mcus, across, flat.shape[1], interval)
    totals = sums[:, to] - sums[:, above] - sums[:, back_to] + sums[:, back]
    strength = (totals**2).sum(axis=0) / (to - above + back_to - back)
    most = min(CANDIDATES, len(mcus))
    return mcus[np.argpartition(-strength, most - 1)[:most]]


def _weigh(flat: np.ndarray, across: int, interval: int, mcu: int) -> Step | None:
    """The step at an MCU, if it is sure.

    Evidence is the least of what the parts of the staircase and the places where it begins and ends give.
    """
    count = flat.shape[1]
    above, to, back, back_to = (int(at[0]) for at in _spans(np.array([mcu]), across, count, interval))
    row, column = divmod(mcu, across)
    if not row or not column or to - above < 2:  # above the first row are no seams; along a whole row may be a horizon
        return None
    stairs = flat[:, above:to]
    if back < back_to:
        stairs = np.concatenate([stairs, -flat[:, back:back_to]], axis=1)
    levels = np.median(stairs, axis=1, keepdims=True)
    if np.abs(levels).max() < LEAST_STEP:
        return None
    others = np.concatenate(
        [flat[:, max(across, mcu - 2 * across) : above], flat[:, to : min(count, mcu + 3 * across)]], axis=1
    )
    noise = np.abs(others).mean(axis=1, keepdims=True) + 0.3

    def evidence(start: int, end: int, sign: int = 1) -> float:
        """For the step against none in the seams above the MCUs from `start` to `end`."""
        there = sign * flat[:, max(start, across) : min(end, count)]
        return float(((np.abs(there) - np.abs(there - levels)) / noise).clip(-CLIP, CLIP).sum())

    def absence(start: int, end: int) -> float:
        """Evidence for none against the step, be it up or down."""
        there = np.abs(flat[:, max(start, across) : min(end, count)])
        return float(((np.abs(there - np.abs(levels)) - there) / noise).clip(-CLIP, CLIP).sum())

    near, next_row = NEIGHBOURHOOD, (row + 1) * across
    # A horizon that is a little aslant leaves one row of seams before it comes to the next; a step has no such gap.
    if evidence(mcu, min(mcu + ADJACENT, next_row, to)) <= 0 or evidence(max(next_row, to - ADJACENT), to) < 0:
        return None
    parts = [evidence(mcu, min(next_row, to))]
    brinks = [evidence(mcu, min(mcu + near, next_row)), absence(mcu - min(near, column), mcu)]
    if to > next_row:
        parts.append(evidence(next_row, to))
        brinks.append(evidence(max(next_row, to - near), to))
        brinks.append(absence(to, min(to + near, next_row + across)))
    if back < back_to:
        parts.append(evidence(back, back_to, -1))
    if len(parts) < 2:
        return None
    least = min(*parts, *(3 * brink for brink in brinks))
    by_rows = 0 < interval <= across
    if least < (SURE_IN_ROWS if by_rows else SURE):
        return None
    weights = levels / noise**2 / (levels**2 / noise**2).sum()  # of the components, for how much of the step a seam has
    strays = ((weights * stairs).sum(axis=0) - 1, (weights * others).sum(axis=0))
    if sum(np.quantile(np.abs(stray), MOST) for stray in strays) > (MOST_STRAY_IN_ROWS if by_rows else MOST_STRAY):
        return None
    return Step(mcu, [float(level) for level in levels[:, 0]], least)
