import numpy as np
import pytest

from recipe_core.data.duplicates.hamming import MOST_NEIGHBOURS, pairs_within


def brute_force(hashes, radius):
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    return {(int(i), int(j), int(distances[i, j])) for i, j in np.argwhere(distances <= radius) if i < j}


def as_set(pairs):
    return set(zip(*(column.tolist() for column in pairs), strict=True))


def clustered(rng, count):
    """Hashes of which most have several neighbours a few bits away."""
    centres = rng.integers(0, 2**64, count // 20, dtype=np.uint64)
    flips = (np.uint64(1) << rng.integers(0, 64, (count, 6), dtype=np.uint64)) * (rng.random((count, 6)) < 0.3)
    return centres[rng.integers(0, len(centres), count)] ^ np.bitwise_xor.reduce(flips.astype(np.uint64), axis=1)


@pytest.mark.parametrize("radius", [0, 1, 3, 4, 6, 8, 12])
def test_the_pairs_are_those_that_comparing_all_with_all_finds(radius):
    hashes = clustered(np.random.default_rng(radius), 1500)
    found = as_set(pairs_within(hashes, radius))
    assert len(found) > 200
    assert found == brute_force(hashes, radius)


def test_pairs_among_many_are_found_whichever_bits_differ():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 100_000, dtype=np.uint64)
    for position in range(200):
        bits = rng.choice(64, 4, replace=False).astype(np.uint64)
        hashes[50_000 + position] = hashes[position] ^ np.bitwise_or.reduce(np.uint64(1) << bits)
    planted = {(position, 50_000 + position, 4) for position in range(200)}
    assert planted <= as_set(pairs_within(hashes, 4))


def test_a_crowd_of_like_hashes_costs_a_bounded_number_of_pairs():
    count = 3 * MOST_NEIGHBOURS
    hashes = np.arange(count, dtype=np.uint64) & np.uint64(0b11)  # four different ones
    first, second, _ = pairs_within(hashes, 0)
    assert len(first) <= count * MOST_NEIGHBOURS
    assert set(first.tolist()) | set(second.tolist()) == set(range(count))


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_a_single_hash_have_no_pairs(count):
    assert [len(column) for column in pairs_within(np.zeros(count, np.uint64), 4)] == [0, 0, 0]


def test_the_search_ends_where_it_is_asked_to():
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        pairs_within(np.arange(10, dtype=np.uint64), 4, check=stop)
