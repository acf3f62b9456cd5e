"""Loops over the pixels of many pictures of one shape, compiled: each looks at every pixel once.

Greys and means are Pillow's, bit for bit, in a fraction of the time: Pillow lays RGB out anew, four bytes a pixel,
before each. With their signatures they are compiled when this module is imported, so once for all processes of a pool.
"""

import numba
import numpy as np
from numba import float64, int64, types, uint8, uint32, void

LINE, PLANES, STACK = (types.Array(uint8, axes, "C", readonly=True) for axes in (1, 2, 3))  # Pillow's may be read-only


def to_greys(stack: np.ndarray) -> np.ndarray:
    """RGB to grey as `Image.convert("L")` does it (ITU-R BT.601).

    Args:
        stack: uint8 (n, height, width, 3), contiguous.

    Returns:
        uint8 (n, height, width).
    """
    greys = np.empty(stack.shape[:3], np.uint8)
    _to_greys(stack.reshape(-1), greys.reshape(-1))
    return greys


def reduced(stack: np.ndarray, factor: int) -> np.ndarray:
    """Means over squares of `factor` px, as `Image.reduce` gives them: the last row and column may be of less.

    Args:
        stack: uint8 (n, height, width, 3), contiguous.

    Returns:
        uint8 (n, ceil(height / factor), ceil(width / factor), 3).
    """
    count, height, width, _ = stack.shape
    means = np.empty((count, -(-height // factor), -(-width // factor), 3), np.uint8)
    _reduce(stack.reshape(count, height, -1), factor, means.reshape(*means.shape[:2], -1))
    return means


def histograms(greys: np.ndarray) -> np.ndarray:
    """How many pixels have each grey level: uint8 (n, height, width) -> uint32 (n, 256)."""
    counts = np.zeros((len(greys), 4, 256), np.uint32)
    _count(greys.reshape(len(greys), -1), counts)
    return counts.sum(axis=1, dtype=np.uint32)


def laplacian_sums(greys: np.ndarray) -> np.ndarray:
    """Sum and sum of squares of the 4-neighbour Laplacian inside the frame: (n, height, width) -> int64 (n, 2)."""
    sums = np.zeros((len(greys), 2), np.int64)
    _add_laplacians(greys, sums)
    return sums


def colour_sums(stack: np.ndarray) -> np.ndarray:
    """Sums over the pixels of each picture: uint8 (n, height, width, 3), contiguous -> float64 (n, 6).

    Of red, green, blue, (red - green)², (red + green - 2 blue)², and the saturation of HSV, 0 to 1.
    """
    sums = np.zeros((len(stack), 6))
    _add_colours(stack.reshape(len(stack), -1, 3), sums)
    return sums


@numba.njit(void(LINE, uint8[::1]), cache=True, nogil=True)
def _to_greys(colours, greys):
    for pixel in range(len(greys)):
        red, green, blue = colours[3 * pixel], colours[3 * pixel + 1], colours[3 * pixel + 2]
        greys[pixel] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


@numba.njit(void(PLANES, uint32[:, :, ::1]), cache=True, nogil=True)
def _count(greys, counts):
    whole = greys.shape[1] // 4 * 4
    for picture in range(len(greys)):
        for pixel in range(0, whole, 4):  # in four tables: neighbours are often equal, and one sum waits for the other
            counts[picture, 0, greys[picture, pixel]] += 1
            counts[picture, 1, greys[picture, pixel + 1]] += 1
            counts[picture, 2, greys[picture, pixel + 2]] += 1
            counts[picture, 3, greys[picture, pixel + 3]] += 1
        for pixel in range(whole, greys.shape[1]):
            counts[picture, 0, greys[picture, pixel]] += 1


@numba.njit(void(STACK, int64[:, ::1]), cache=True, nogil=True)
def _add_laplacians(greys, sums):
    count, height, width = greys.shape
    for picture in range(count):
        total = squares = np.int64(0)
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                around = greys[picture, y - 1, x] + greys[picture, y + 1, x]
                around += greys[picture, y, x - 1] + greys[picture, y, x + 1]
                curve = np.int32(around) - 4 * np.int32(greys[picture, y, x])
                total += curve
                squares += curve * curve
        sums[picture, 0], sums[picture, 1] = total, squares


@numba.njit(void(STACK, float64[:, ::1]), cache=True, nogil=True)
def _add_colours(stack, sums):
    for picture in range(len(stack)):
        reds = greens = blues = red_green = yellow_blue = 0
        saturation = 0.0
        for pixel in range(stack.shape[1]):
            red, green, blue = stack[picture, pixel, 0], stack[picture, pixel, 1], stack[picture, pixel, 2]
            reds += red
            greens += green
            blues += blue
            red_green += (red - green) ** 2
            yellow_blue += (red + green - 2 * blue) ** 2
            highest = max(red, green, blue)
            saturation += (highest - min(red, green, blue)) / max(highest, 1)
        sums[picture, 0], sums[picture, 1], sums[picture, 2] = reds, greens, blues
        sums[picture, 3], sums[picture, 4], sums[picture, 5] = red_green, yellow_blue, saturation


@numba.njit
def _mean(sums, wide, high, means):
    """Means of `high` rows, which are summed up, over each `wide` pixels."""
    half = np.uint32(wide * high // 2)
    share = np.uint32(np.float32(2**32) / np.float32(256 * wide * high))  # in 2 ** -24, rounded as Pillow does
    for pixel in range(len(sums) // 3 // wide):
        red = green = blue = half
        for x in range(wide):
            at = 3 * (pixel * wide + x)
            red += sums[at]
            green += sums[at + 1]
            blue += sums[at + 2]
        means[3 * pixel] = (red * share) >> 24
        means[3 * pixel + 1] = (green * share) >> 24
        means[3 * pixel + 2] = (blue * share) >> 24


@numba.njit(void(STACK, int64, uint8[:, :, ::1]), cache=True, nogil=True)
def _reduce(rows, factor, means):
    count, height, width = rows.shape  # width in values: three a pixel
    whole = width // 3 // factor * factor * 3
    sums = np.empty(width, np.uint32)
    for picture in range(count):
        for line in range(means.shape[1]):
            top = line * factor
            high = min(factor, height - top)
            for x in range(width):
                sums[x] = rows[picture, top, x]
            for y in range(top + 1, top + high):
                for x in range(width):
                    sums[x] += rows[picture, y, x]
            target = means[picture, line]
            if factor == 2:  # spelled out, so that the compiler unrolls the usual factors: twice as fast
                _mean(sums, 2, high, target)
            elif factor == 3:
                _mean(sums, 3, high, target)
            elif factor == 4:
                _mean(sums, 4, high, target)
            else:
                _mean(sums, factor, high, target)
            if whole < width:
                _mean(sums[whole:], (width - whole) // 3, high, target[whole // factor :])
