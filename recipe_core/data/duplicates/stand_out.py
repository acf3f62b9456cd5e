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
ROUNDS = 5  # what does not stand out joins the look-alikes, and so on; seldom are there more than four
WEIGHT = 5  # pairs that the look-alikes of the whole dataset count for beside those around a picture
USUAL = np.array([1, 0.4, 0.4**2 + 0.2**2]) * WEIGHT  # and that photographs at large count for beside the dataset


def stand_out(
    pairs: np.ndarray, similarity: np.ndarray, eligible: np.ndarray, count: int, at_first: np.ndarray | None = None
) -> np.ndarray:
    """Which of the eligible pairs are more alike than look-alikes, bool.

    Args:
        pairs: int (n, 2), all that were compared, each two pictures once.
        similarity: float (n,), 0 to 1.
        eligible: bool (n,), those that may be copies.
        count: of pictures.
        at_first: bool (n,), those that are no look-alikes to begin with; the eligible if not given.
    """
    alike = -np.log1p(-similarity.astype(float).clip(0, 0.9999))
    standing = eligible if at_first is None else at_first
    for _ in range(ROUNDS):
        mean, deviation = _null(pairs, alike, ~standing, count)
        surprise = ((alike[:, None] - mean[pairs]) / deviation[pairs]).min(1)
        chance = np.where(eligible, norm.sf(surprise), 1.0)
        before, standing = standing, eligible & (false_discovery_control(chance) <= FALSE_SHARE)
        if (standing == before).all():
            break
    return standing


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
