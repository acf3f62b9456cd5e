import numpy as np

from recipe_core.data.duplicates.stand_out import stand_out

COUNT = 400


def look_alikes(rng, typical, count=COUNT, first=0):
    """Pairs of different pictures, and how alike they are."""
    pairs = first + np.stack([np.arange(count).repeat(5), rng.integers(0, count, 5 * count)], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    return pairs, 1 - np.exp(-rng.normal(typical, 0.3, len(pairs)).clip(0.05))


def test_among_look_alikes_none_stands_out_and_a_copy_does():
    pairs, similarity = look_alikes(np.random.default_rng(0), 1.5)
    similarity[0] = 0.995
    stands = stand_out(pairs, similarity, similarity > 0.6, COUNT)
    assert (similarity > 0.6).sum() > 1000
    assert np.flatnonzero(stands).tolist() == [0]


def test_each_neighbourhood_has_look_alikes_of_its_own():
    rng = np.random.default_rng(0)
    (plain, unlike), (drawn, alike) = look_alikes(rng, 0.4), look_alikes(rng, 1.5, first=COUNT)
    unlike[0] = 0.85  # a noisy copy of a photograph; drawings are often as much alike
    stands = stand_out(np.concatenate([plain, drawn]), similarity := np.append(unlike, alike), similarity > 0.75, 800)
    assert (alike > 0.85).sum() > 100
    assert np.flatnonzero(stands).tolist() == [0]


def test_many_copies_of_each_picture_do_not_hide_each_other():
    pairs = np.array([(7 * group + a, 7 * group + b) for group in range(20) for a in range(7) for b in range(a)])
    others, unlike = look_alikes(np.random.default_rng(0), 0.4, 140)
    others, unlike = others[apart := others[:, 0] // 7 != others[:, 1] // 7], unlike[apart]
    copies = np.random.default_rng(1).uniform(0.85, 0.99, len(pairs))
    similarity = np.append(copies, unlike)
    stands = stand_out(np.concatenate([pairs, others]), similarity, similarity > 0.7, 140)
    assert stands[: len(pairs)].all()
    assert not stands[len(pairs) :].any()


def test_a_single_pair_is_judged_by_what_is_usual_of_photographs():
    assert stand_out(np.array([[0, 1]]), np.array([0.9]), np.array([True]), 2).tolist() == [True]
