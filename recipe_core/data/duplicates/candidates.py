"""Candidates by hash: pictures whose perceptual hashes differ in a few bits in one of the eight turns."""

from collections.abc import Callable

import numpy as np

from recipe_core.data.duplicates.hamming import pairs_within

RADIUS = 4  # bits of 64


def hash_alikes(turned: np.ndarray, check: Callable[[], None] = lambda: None) -> np.ndarray:
    """Pairs of pictures whose hashes are within the radius.

    Args:
        turned: uint64 (n, 8), the hash of each picture in the orientations of `fingerprints.TURNS`.
        check: called now and then; may raise to end the search.

    Returns:
        int32 (pairs, 3): a, b and the turn that makes a look like b. Of pictures that share one hash each is paired
        with the first of them only, so that a thousand of them are a thousand pairs.
    """
    values, place, group = np.unique(turned, return_index=True, return_inverse=True)
    picture, turn = np.divmod(place, 8)  # one that has the value, and in which turn
    members = group.reshape(turned.shape)[:, 0]
    upright = np.full(len(values), -1)
    upright[members[::-1]] = np.arange(len(turned))[::-1]  # the first that has the value as it is
    first, second, _ = pairs_within(values, RADIUS, check)
    ways = [(picture[members], np.arange(len(turned)), turn[members])]
    ways += [(picture[one], upright[other], turn[one]) for one, other in ((first, second), (second, first))]
    pairs = np.concatenate([np.stack(way, axis=1) for way in ways]).astype(np.int32)
    return pairs[(pairs[:, 1] >= 0) & (pairs[:, 0] != pairs[:, 1])]
