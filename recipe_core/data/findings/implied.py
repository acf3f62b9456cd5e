"""Near pairs that no comparison named, but the others of a cluster imply.

The search compares each picture with its likeliest partners only. Two pictures that have two partners in common are
copies of one picture, too; one in common may be a false bridge between two clusters, unless there are but three.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, product

Pair = tuple[int, int, float]  # two samples, and the bits by which their hashes differ


def implied(pairs: Sequence[Pair], copies: Mapping[int, Sequence[int]]) -> list[Pair]:
    """The pairs beside the given ones, with the shortest distance by way of a common partner.

    Args:
        pairs: of the first samples of each content.
        copies: such a sample -> all samples of its content, itself too.
    """
    partners: dict[int, dict[int, float]] = defaultdict(dict)
    for left, right, distance in pairs:
        partners[left][right] = partners[right][left] = distance
    least = 1 if len(partners) == 3 else 2
    found = list(pairs)
    for left, right in combinations(sorted(partners), 2):
        common = partners[left].keys() & partners[right].keys()
        if right not in partners[left] and len(common) >= least:
            distance = min(partners[left][each] + partners[right][each] for each in common)
            found.append((left, right, distance))
    everything = [(*ends, pair[2]) for pair in found for ends in product(copies[pair[0]], copies[pair[1]])]
    known = {pair[:2] for pair in pairs}
    return [pair for pair in everything if pair[:2] not in known]
