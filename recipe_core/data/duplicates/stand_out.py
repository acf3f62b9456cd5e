"""Whether a pair is more alike than look-alikes are: digits, faces and parts on a conveyor resemble each other anyway.

How alike different pictures get is measured on the dataset itself: most pairs that are compared show two different
things. What is left over between those, around each picture, is the null distribution (an empirical one: Efron,
"Large-Scale Simultaneous Hypothesis Testing: The Choice of a Null Hypothesis", 2004). A pair has to stand out of it by
so much that of those that do few are expected by chance (Benjamini and Hochberg, "Controlling the False Discovery
Rate", 1995).
"""

import numpy as np
from scipy.stats import false_discovery_control, norm

FALSE_SHARE = 0.01  # of the pairs that stand out
NORMAL = 1.4826  # standard deviations of a normal distribution in its median deviation
ROUNDS = 5  # what does not stand out joins the look-alikes, and so on; seldom are there more than four
WEIGHT = 5  # pairs that the look-alikes of the whole dataset count for beside those around a picture
MIDDLE = np.array([0.4, 0.2])  # mean and deviation that are usual of photographs at large
USUAL = np.array([1, MIDDLE[0], (MIDDLE**2).sum()]) * WEIGHT  # they count for as much beside the dataset


def stand_out(
    pairs: np.ndarray, similarity: np.ndarray, eligible: np.ndarray, count: int, doubtful: bool = False
) -> np.ndarray:
    """Which of the eligible pairs are more alike than look-alikes, bool.

    Args:
        pairs: int (n, 2), all that were compared, each two pictures once.
        similarity: float (n,), 0 to 1.
        eligible: bool (n,), those that may be copies.
        count: of pictures.
        doubtful: that a pair is eligible says little; look-alikes are then told from copies by what most pairs are.
    """
    alike = -np.log1p(-similarity.astype(float).clip(0, 0.9999))
    standing = _surprising(pairs, alike, eligible, _robust_null(pairs, alike, count)) if doubtful else eligible
    for _ in range(ROUNDS):
        before, standing = standing, _surprising(pairs, alike, eligible, _null(pairs, alike, ~standing, count))
        if (standing == before).all():
            break
    return standing


def _surprising(
    pairs: np.ndarray, alike: np.ndarray, eligible: np.ndarray, null: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    mean, deviation = null
    surprise = ((alike[:, None] - mean[pairs]) / deviation[pairs]).min(1)
    chance = np.where(eligible, norm.sf(surprise), 1.0)
    return eligible & (false_discovery_control(chance) <= FALSE_SHARE)


def _null(pairs: np.ndarray, alike: np.ndarray, different: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, around each picture, of how alike different pictures are."""
    moments = np.stack([np.ones(len(alike)), alike, alike**2], axis=1) * different[:, None]
    whole = moments.sum(0) + USUAL
    own = _gathered(pairs, moments, moments, count)
    around = own + _gathered(pairs, own[pairs[:, 1]], own[pairs[:, 0]], count) + WEIGHT * whole / whole[0]
    mean, square = (around[:, 1:] / around[:, :1]).T
    return mean, np.sqrt(square - mean**2)


def _gathered(pairs: np.ndarray, to_first: np.ndarray, to_second: np.ndarray, count: int) -> np.ndarray:
    """For each picture the sum over its pairs of what they bring it, (count, 3)."""
    return np.stack(
        [
            np.bincount(pairs[:, 0], first, count) + np.bincount(pairs[:, 1], second, count)
            for first, second in zip(to_first.T, to_second.T, strict=True)
        ],
        axis=1,
    )


def _robust_null(pairs: np.ndarray, alike: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of all pairs, by medians: copies move them little, being fewer than the others around a picture."""
    whole = _middle(np.zeros(len(alike), int), alike, 1, MIDDLE)[:, 0]
    middle, deviation = _middle(pairs.T.ravel(), np.tile(alike, 2), count, whole)
    return middle, deviation


def _middle(groups: np.ndarray, values: np.ndarray, count: int, usual: np.ndarray) -> np.ndarray:
    """(2, count): median and deviation of each group; `usual` counts for WEIGHT more of its values."""
    sizes = np.bincount(groups, minlength=count)
    trust = sizes / (sizes + WEIGHT)
    middle = trust * _medians(groups, values, sizes) + (1 - trust) * usual[0]
    deviation = NORMAL * _medians(groups, np.abs(values - middle[groups]), sizes)
    return np.stack([middle, np.sqrt(trust * deviation**2 + (1 - trust) * usual[1] ** 2)])


def _medians(groups: np.ndarray, values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The median of each group's values; 0 where there are none."""
    order = np.lexsort((values, groups))
    starts, known = np.cumsum(sizes) - sizes, sizes > 0
    low, high = (starts + (sizes - 1) // 2)[known], (starts + sizes // 2)[known]
    found = np.zeros(len(sizes))
    found[known] = (values[order[low]] + values[order[high]]) / 2
    return found
