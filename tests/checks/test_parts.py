"""Inputs of several tensors become one and are taken apart again; what cannot is left whole."""

from collections import namedtuple

import pytest
import torch

from recipe_core.checks.parts import Parts
from recipe_core.checks.whole import Whole

IMAGES, NUMBERS, CODES = torch.randn(5, 3, 6, 4), torch.randn(5, 2), torch.tensor([3, 1, 4, 1, 5])
Pair = namedtuple("Pair", "left right")


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [
        ({"pixel_values": IMAGES}, (3, 6, 4)),
        ((IMAGES, IMAGES[:, :1] * 2), (8, 6, 4)),
        ({"image": IMAGES, "numbers": NUMBERS, "code": CODES}, (6, 6, 4)),
        (Pair(IMAGES, torch.rand(5, 3, 2, 7)), (6, 6, 7)),
        ([IMAGES, {"inner": [NUMBERS.double()]}], (5, 6, 4)),
        ({"rows": NUMBERS, "set": CODES > 2, "series": torch.rand(5, 7, 2)}, (17,)),
        ({"image": (IMAGES * 40).to(torch.uint8), "at": NUMBERS[:, 0]}, (8, 6, 4)),
        ((NUMBERS, torch.zeros(5, 0)), (2,)),
        ({"image": IMAGES.half(), "code": CODES * 10_007}, (8, 6, 4)),
        ({"image": IMAGES[:, :1], "numbers": NUMBERS}, (6, 6, 4)),  # three channels would be taken for colours
        ({"image": IMAGES, "at": NUMBERS[:, 0].double()}, (8, 6, 4)),
        ({"image": IMAGES[:, :1], "at": NUMBERS[:, 0]}, (6, 6, 4)),
        ({"user": CODES, "film": CODES * 1_234_567}, (2,)),
    ],
)
def test_what_is_packed_is_taken_apart_to_the_same_in_any_batch(inputs, shape):
    parts = Parts()
    packed = parts.packed(inputs)
    assert packed.shape == (5, *shape)
    again, some = parts.taken_apart(packed), parts.taken_apart(packed[[2, 0]])
    assert type(again) is type(inputs)
    tensors = [torch.utils._pytree.tree_leaves(each) for each in (inputs, again, some)]
    for before, after, few in zip(*tensors, strict=True):
        assert torch.equal(before, after) and before.dtype == after.dtype
        assert torch.equal(before[[2, 0]], few) and few.is_contiguous()  # a model may call view


@pytest.mark.parametrize("ends", [[], [8]])
@pytest.mark.parametrize("words_first", [True, False])
def test_texts_in_one_row_become_one_each_and_a_row_again(ends, words_first):
    words, offsets = torch.tensor([3, 0, 5, 5, 0, 2, 9, 1]), torch.tensor([0, 3, 3, *ends], dtype=torch.int32)
    given = (words, offsets) if words_first else [offsets, words]
    parts = Parts()
    texts = parts.packed(given)
    assert texts.tolist() == [[4, 1, 6, 0, 0], [0, 0, 0, 0, 0], [6, 1, 3, 10, 2]]
    again = parts.taken_apart(texts)
    assert type(again) is type(given)
    assert all(torch.equal(*each) and each[0].dtype == each[1].dtype for each in zip(given, again, strict=True))
    few = parts.taken_apart(texts[[2, 1]])
    assert few[0 if words_first else 1].tolist() == [5, 0, 2, 9, 1]
    assert few[1 if words_first else 0].tolist() == [0, 5, *([5] if ends else [])]
    assert torch.equal(parts.seen(*given)[0], texts)


@pytest.mark.parametrize("offsets", [[1, 3], [0, 4, 3], [0, 9], [0, 2, 5, 6, 7]])
def test_what_does_not_say_where_texts_begin_is_left_whole(offsets):
    given, parts = (torch.tensor([3, 0, 5, 5, 0, 2, 9, 1]), torch.tensor(offsets)), Parts()
    packed = parts.packed(given)
    assert isinstance(packed, Whole) and parts.taken_apart(packed) is given


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        ({"nodes": NUMBERS, "edges": CODES[:4].reshape(2, 2)}, 2),
        ([IMAGES[0], IMAGES[1][:, :2], IMAGES[2]], 2),
        ((IMAGES, NUMBERS), 4),  # as many rows each, and others than targets
        (IMAGES, 10),
        ({"image": IMAGES, "name": list("abcde")}, 5),
        ((IMAGES, torch.tensor(3.0)), 5),
        (["a", "b"], 2),
        (object(), 3),
    ],
)
def test_what_has_no_row_for_each_target_is_left_whole(inputs, targets):
    parts = Parts()
    packed = parts.packed(inputs, targets)
    assert isinstance(packed, Whole) and parts.taken_apart(packed) is inputs


@pytest.mark.parametrize("stored", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
def test_what_is_sparse_is_made_dense_and_sparse_again(stored):
    given = stored(NUMBERS * (NUMBERS > 0))
    parts = Parts()
    assert torch.equal(parts.packed(given), given.to_dense())
    again = parts.taken_apart(parts.packed(given) * 2)
    assert again.layout == given.layout and torch.equal(again.to_dense(), given.to_dense() * 2)
    assert torch.equal(parts.seen(given)[0], given.to_dense())


def test_one_tensor_is_left_as_it_is():
    parts = Parts()
    assert parts.packed(IMAGES) is IMAGES and parts.taken_apart(IMAGES) is IMAGES


def test_codes_stay_among_those_that_were_seen_whatever_is_done_to_the_input():
    parts = Parts()
    packed = parts.packed({"image": IMAGES, "code": CODES})
    parts.packed({"image": IMAGES, "code": CODES + 2})
    codes = parts.taken_apart(packed + 100 * torch.randn_like(packed))["code"]
    assert codes.dtype == torch.int64 and codes.min() >= 1 and codes.max() <= 7


def test_each_column_of_codes_stays_among_its_own():
    codes = torch.stack([CODES, CODES % 3 + 70], 1)
    parts = Parts()
    packed = parts.packed((codes, NUMBERS))
    changed = parts.taken_apart(packed + 100 * torch.randn_like(packed))[0]
    for before, after in zip(codes.unbind(1), changed.unbind(1), strict=True):
        assert before.min() <= after.min() and after.max() <= before.max()


def test_the_same_tensors_in_another_list_are_laid_out_alike():
    """As when default_collate makes a list of the tuples of a dataset."""
    parts = Parts()
    packed = parts.packed((IMAGES, CODES))
    parts.packed([IMAGES[:2], CODES[:2] * 7])
    assert torch.equal(parts.packed((IMAGES, CODES)), packed)
    assert isinstance(parts.taken_apart(packed), tuple)


WORDS = torch.tensor([[7, 3, 9, 4, 0, 0], [2, 8, 0, 0, 0, 0], [5, 5, 6, 1, 3, 2]])


@pytest.mark.parametrize(
    ("beside", "others"),
    [
        (WORDS != 0, [True, True, True, False]),
        ((WORDS != 0).float(), [1.0, 1, 1, 0]),
        (WORDS == 0, [False, False, False, True]),
        (torch.where(WORDS == 0, -torch.inf, 0), [0.0, 0, 0, -torch.inf]),
        (torch.zeros_like(WORDS), [0, 0, 0, 0]),
        (torch.arange(6).expand(3, 6), [0, 1, 2, 3]),
        ((WORDS != 0).sum(1), 3),
        ((WORDS != 0).sum(1, keepdim=True).double(), [3.0]),
    ],
)
def test_of_a_text_the_words_are_looked_at_and_what_stands_beside_them_follows(beside, others):
    parts = Parts()
    packed = parts.packed({"beside": beside, "words": WORDS})
    assert packed is WORDS
    again = parts.taken_apart(packed)
    assert torch.equal(again["beside"], beside) and again["beside"].dtype == beside.dtype
    shorter = parts.taken_apart(torch.tensor([[4, 4, 4, 0]]))  # as of another batch
    assert torch.equal(shorter["beside"], torch.tensor([others], dtype=beside.dtype))
    assert parts.seen((beside,), {"words": WORDS}) == [WORDS]


def test_a_mask_of_texts_that_nothing_fills_up_is_that_of_words():
    parts = Parts()
    full = WORDS.clamp_min(1)
    assert parts.packed((full, torch.zeros_like(full))) is full
    parts.packed((WORDS, (WORDS == 0).long()))  # what the others are is learnt when they come
    assert parts.taken_apart(torch.tensor([[4, 4, 4, 0]]))[1].tolist() == [[0, 0, 0, 1]]


def test_whole_numbers_of_which_none_follows_from_others_are_columns():
    other = torch.tensor([[1, 0, 0, 2, 1, 0]] * 3)
    assert Parts().packed((WORDS, other)).shape == (3, 12)


def test_texts_with_masks_that_follow_from_the_words_in_some_batches_only_are_left_whole():
    parts = Parts()
    assert torch.equal(parts.packed((WORDS, WORDS != 0)), WORDS)
    for mask in (WORDS > 3, WORDS != 0):
        given = (WORDS, mask)
        packed = parts.packed(given)
        assert isinstance(packed, Whole) and parts.taken_apart(packed) is given


def test_a_part_that_is_the_same_everywhere_is_named():
    parts = Parts()
    packed = parts.packed({"image": IMAGES, "empty": torch.full((5, 1, 2, 2), -0.5), "one": torch.ones(5)})
    assert parts.flat(packed) == {"x['empty']": -0.5}
    assert parts.flat(IMAGES) == {}


def test_a_part_that_is_lost_is_named():
    parts = Parts()
    packed = parts.packed({"image": IMAGES, "numbers": NUMBERS})
    assert parts.lost(packed, [0, 3, 4]) == ["x['numbers']"]
    assert parts.lost(packed, [0, 3]) == []
    twice = parts.packed({"image": IMAGES[:, :1], "numbers": NUMBERS})
    assert parts.lost(twice, [1, 2, 4, 5]) == ["x['numbers']"]
    assert parts.lost(twice, [1, 2]) == []


def test_each_part_is_standardised_by_itself():
    parts = Parts()
    packed = parts.packed({"image": IMAGES, "income": 50_000 + 9_000 * NUMBERS, "code": CODES})
    apart = parts.taken_apart(parts.standardised(packed))
    for each in (apart["image"], apart["income"]):
        assert float(each.mean()) == pytest.approx(0, abs=1e-4) and float(each.std()) == pytest.approx(1, abs=1e-3)
    assert torch.equal(apart["code"], CODES)


def test_what_a_model_was_called_with_is_known_again():
    parts = Parts()
    packed = parts.packed({"image": IMAGES, "numbers": NUMBERS})
    assert torch.equal(parts.seen((IMAGES,), {"numbers": NUMBERS})[0], packed)
    assert parts.seen((IMAGES,), {}) == [IMAGES]
