"""A walk through a scan's entropy-coded data, compiled: it knows what libjpeg passes over in silence.

A healthy encoder never writes a code that does not exist, a run past the last coefficient, a block with more energy
than pixels can have, coefficients that are one long row of zero bits, too little or too much data. The walk stops at
the first such fact. On its way it keeps of every block what its four edges need (see seams.py).
"""

import numba
import numpy as np

# The reader's state: bits at hand, how many, where, how many are made up; blocks to skip; zero bits that were numbers.
ACC, BITS, POS, GHOST, END_RUN, ZEROS = range(6)
FINE, NO_SUCH_CODE, PAST_THE_BLOCK, TOO_MUCH_ENERGY, ALL_ZEROS, TOO_FEW_DATA, TOO_MUCH_DATA, RESTART_AMISS = range(8)
MOST_ZEROS = 80  # bits; about 26 coefficients of -1 in a row, which are more than a dot in a drawing has

# Where the sums over the coefficients that make up a block's edges go: [0] DC, [1] even and [2] odd vertical waves, [3]
# even and [4] odd horizontal ones. By zigzag position; -1: not needed.
WAVES = np.full(64, -1, np.int64)
WAVES[0], WAVES[[3, 10, 21]], WAVES[[2, 9, 20, 35]], WAVES[[5, 14, 27]], WAVES[[1, 6, 15, 28]] = 0, 1, 2, 3, 4

# Where a coefficient by zigzag position stands in its block as [vertical wave, horizontal wave], flat.
NATURAL = np.array(sorted(range(64), key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8)))
COSINES = np.cos((2 * np.arange(8)[:, None] + 1) * np.arange(8) * np.pi / 16) / 2  # [place, wave]
COSINES[:, 0] = 8**-0.5
BLACK, WHITE = -128.0, 127.0


@numba.njit(cache=True, nogil=True)
def _overshoot(coefficients, white):
    """Sum over a block's pixels of the square of how far they are over `white` or under black."""
    total = 0.0
    half = np.zeros((8, 8))
    for wave in range(8):
        for across in range(8):
            value = coefficients[8 * wave + across]
            if value != 0:
                for row in range(8):
                    half[row, across] += COSINES[row, wave] * value
    for row in range(8):
        for column in range(8):
            level = 0.0
            for across in range(8):
                level += COSINES[column, across] * half[row, across]
            over = max(level - white, BLACK - level)
            if over > 0:
                total += over * over
    return total


@numba.njit(cache=True, nogil=True)
def _filled(data, acc, bits, pos, ghost):
    """At least 49 bits at hand."""
    size = len(data)
    while bits <= 48:
        byte = np.int64(0)
        if pos < size and data[pos] != 0xFF:
            byte = np.int64(data[pos])
            pos += 1
        elif pos + 1 < size and data[pos + 1] == 0:
            byte = np.int64(0xFF)
            pos += 2
        else:  # a marker, or the file's end: zeros from here on, as libjpeg does
            ghost += 8
        acc = ((acc & 0xFFFFFFFFFFFF) << 8) | byte
        bits += 8
    return acc, bits, pos, ghost


@numba.njit(cache=True, nogil=True)
def _value(code, size):
    """A signed number from its `size` bits."""
    return code if size == 0 or code >> (size - 1) else code - (np.int64(1) << size) + 1


@numba.njit(cache=True, nogil=True)
def _first_pass(
    data, state, dc, ac, part, predictor, first, last, low, quantisers, limits, seen, waves, where, coefficients
):
    """A block of a sequential scan, or of a progressive scan's first pass. Returns (fact, predictor, non-zero mask)."""
    if state[END_RUN] > 0:
        state[END_RUN] -= 1
        return FINE, predictor, seen
    acc, bits, pos, ghost = state[ACC], state[BITS], state[POS], state[GHOST]
    zeros = state[ZEROS]
    fact, energy, at, sequential = FINE, 0.0, first, first == 0 and last > 0
    reach = 0.0  # from grey, at most
    coefficients[:] = 0
    if first == 0:
        acc, bits, pos, ghost = _filled(data, acc, bits, pos, ghost)
        ahead = (acc >> (bits - 16)) & 0xFFFF
        entry = np.int64(dc[part, ahead])
        size = entry & 0xFF
        if entry == 0 or size > 15:
            return NO_SUCH_CODE, predictor, seen
        used = (entry >> 8) + size
        zeros = 0 if ahead >> max(0, 16 - used) else zeros + used * (size > 0)
        bits -= used
        predictor += _value((acc >> bits) & ((np.int64(1) << size) - 1), size)
        value = (predictor << low) * quantisers[part, 0]
        waves[where, 0] = value
        energy = float(value) ** 2
        coefficients[0] = value
        reach = abs(value) / 8
        at = 1
    while at <= last:
        if bits < 32:
            acc, bits, pos, ghost = _filled(data, acc, bits, pos, ghost)
        ahead = (acc >> (bits - 16)) & 0xFFFF
        entry = np.int64(ac[part, ahead])
        run, size = (entry >> 4) & 15, entry & 15
        used = (entry >> 8) + size
        zeros = 0 if ahead >> max(0, 16 - used) else zeros + used * (size > 0)
        bits -= entry >> 8
        at += run
        if size:
            if at > last:
                fact = PAST_THE_BLOCK
                break
            bits -= size
            value = (_value((acc >> bits) & ((np.int64(1) << size) - 1), size) << low) * quantisers[part, at]
            energy += float(value) ** 2
            coefficients[NATURAL[at]] = value
            reach += abs(value) / 4
            if WAVES[at] > 0:
                waves[where, WAVES[at]] += value
            seen |= np.uint64(1) << np.uint64(at)
            at += 1
        elif run == 15:
            at += 1
            if at > last:
                fact = PAST_THE_BLOCK
        else:
            if entry == 0 or (sequential and run):
                fact = NO_SUCH_CODE
            elif run:
                bits -= run
                state[END_RUN] = (np.int64(1) << run) + ((acc >> bits) & ((np.int64(1) << run) - 1)) - 1
            break
    if fact == FINE and energy > limits[part, 0]:
        fact = TOO_MUCH_ENERGY
    # All of a block's coefficients are known at once in a sequential scan only.
    if fact == FINE and sequential and reach > WHITE and _overshoot(coefficients, limits[part, 1]) > limits[part, 2]:
        fact = TOO_MUCH_ENERGY
    if fact == FINE and zeros >= MOST_ZEROS:
        fact = ALL_ZEROS
    state[ZEROS] = zeros
    state[ACC], state[BITS], state[POS], state[GHOST] = acc, bits, pos, ghost
    return fact, predictor, seen


@numba.njit(cache=True, nogil=True)
def _bits(data, state, count):
    acc, bits, pos, ghost = state[ACC], state[BITS], state[POS], state[GHOST]
    if bits < count:
        acc, bits, pos, ghost = _filled(data, acc, bits, pos, ghost)
    bits -= count
    state[ACC], state[BITS], state[POS], state[GHOST] = acc, bits, pos, ghost
    return (acc >> bits) & ((np.int64(1) << count) - 1)


@numba.njit(cache=True, nogil=True)
def _symbol(data, state, table, part):
    """The next Huffman symbol, or -1."""
    entry = np.int64(table[part, _bits(data, state, 16)])
    state[BITS] += 16 - (entry >> 8)
    return entry & 0xFF if entry else np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _refine(data, state, ac, part, first, last, seen):
    """A block of a progressive scan that adds a bit to the coefficients of a band. Returns (fact, non-zero mask)."""
    at = first
    if state[END_RUN] == 0:
        while at <= last:
            symbol = _symbol(data, state, ac, part)
            if symbol < 0:
                return NO_SUCH_CODE, seen
            run, size = symbol >> 4, symbol & 15
            if size > 1:
                return NO_SUCH_CODE, seen
            if size == 1:
                _bits(data, state, 1)
            elif run < 15:
                state[END_RUN] = (np.int64(1) << run) + _bits(data, state, run)
                break
            while at <= last:
                if seen >> np.uint64(at) & np.uint64(1):
                    _bits(data, state, 1)
                elif run == 0:
                    break
                else:
                    run -= 1
                at += 1
            if at > last:
                return PAST_THE_BLOCK, seen
            if size:
                seen |= np.uint64(1) << np.uint64(at)
            at += 1
    if state[END_RUN] > 0:
        for rest in range(at, last + 1):
            if seen >> np.uint64(rest) & np.uint64(1):
                _bits(data, state, 1)
        state[END_RUN] -= 1
    return FINE, seen


@numba.njit(cache=True, nogil=True)
def _segment_end(data, state):
    """Whether the data of a scan or restart interval ends where its blocks end; moves behind it."""
    pos, real = state[POS], state[BITS] - state[GHOST]
    if real < 0:
        return TOO_FEW_DATA
    padding = real >= 8
    while pos < len(data) and not (data[pos] == 0xFF and (pos + 1 == len(data) or data[pos + 1] != 0)):
        if data[pos] not in (0, 0xFF):
            return TOO_MUCH_DATA
        padding = True
        pos += 1
    # Bytes that some encoders fill up with are all zeros or all ones.
    if padding:
        rest = (state[ACC] >> state[GHOST]) & ((np.int64(1) << (real - real % 8)) - 1) if state[GHOST] < 63 else 0
        if rest != 0 and rest != (np.int64(1) << (real - real % 8)) - 1:
            return TOO_MUCH_DATA
    state[POS] = pos
    return FINE


@numba.njit(cache=True, nogil=True)
def walk(data, start, plan, dc, ac, quantisers, limits, seen, waves, units, across, strides, band, interval):
    """Walk through one scan.

    Args:
        data: uint8, the file.
        start: where the scan's data begins.
        plan: int64 (blocks of an MCU, 5): component, its blocks across and down in the MCU, column and row in it.
        dc, ac: uint16 (components, 65536) lookup tables.
        quantisers: int64 (components, 64), in zigzag order.
        limits: float64 (components, 3): the energy that a block can have, its brightest level, and the sum of squares
            by which its levels can be beyond black and that.
        seen: uint64 (all blocks,): which coefficients are not zero, for later refinement; empty if sequential.
        units: MCUs of the scan; across: MCUs in a row; strides: int64 (components, 2), where a component's blocks start
            in `seen` and how many stand in a row.
        band: (first, last, high, low) of a progressive scan.
        interval: MCUs between restart markers, 0 for none.

    Returns:
        (fact, MCU where it showed, position of the marker that follows)
    """
    state = np.zeros(6, np.int64)
    state[POS] = start
    predictors, coefficients = np.zeros(len(limits), np.int64), np.zeros(64)
    first, last, high, low = band
    for unit in range(units):
        if interval and unit and unit % interval == 0:
            fact = _segment_end(data, state)
            if fact == FINE and state[END_RUN]:
                fact = PAST_THE_BLOCK
            if fact:
                return fact, unit, state[POS]
            pos = state[POS]
            while pos + 1 < len(data) and data[pos + 1] == 0xFF:
                pos += 1
            if pos + 1 >= len(data) or data[pos + 1] != 0xD0 + (unit // interval - 1) % 8:
                return RESTART_AMISS, unit, pos
            state[:] = 0
            state[POS] = pos + 2
            predictors[:] = 0
        row, column = unit // across, unit % across
        for block in range(len(plan)):
            part = plan[block, 0]
            where = strides[part, 0] + (row * plan[block, 2] + plan[block, 4]) * strides[part, 1]
            where += column * plan[block, 1] + plan[block, 3]
            mask = seen[where]
            fact = FINE
            if high == 0:
                fact, predictors[part], mask = _first_pass(
                    data,
                    state,
                    dc,
                    ac,
                    part,
                    predictors[part],
                    first,
                    last,
                    low,
                    quantisers,
                    limits,
                    mask,
                    waves,
                    where,
                    coefficients,
                )
            elif first == 0:
                _bits(data, state, 1)
            else:
                fact, mask = _refine(data, state, ac, part, first, last, mask)
            if state[GHOST] > state[BITS]:
                return TOO_FEW_DATA, unit, state[POS]
            if fact:
                return fact, unit, state[POS]
            seen[where] = mask
    if state[END_RUN]:
        return PAST_THE_BLOCK, units - 1, state[POS]
    return _segment_end(data, state), units - 1, state[POS]
