"""Inputs of several tensors become one and are taken apart again; what cannot is refused."""

from collections import namedtuple

import pytest
import torch

from recipe_core.checks.parts import Parts

IMAGES, NUMBERS, CODES = torch.randn(5, 3, 6, 4), torch.randn(5, 2), torch.tensor([3, 1, 4, 1, 5])
Pair = namedtuple("Pair", "left right")


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [
        ({"pixel_values": IMAGES}, (3, 6, 4)),
        ((IMAGES, IMAGES[:, :1] * 2), (8, 6, 4)),
        ({"image": IMAGES, "numbers": NUMBERS, "code": CODES}, (6, 6, 4)),
        (Pair(IMAGES, torch.rand(5, 3, 2, 2)), (84,)),
        ([IMAGES, {"inner": [NUMBERS.double()]}], (5, 6, 4)),
        ({"rows": NUMBERS, "set": CODES > 2, "series": torch.rand(5, 7, 2)}, (17,)),
        ({"image": (IMAGES * 40).to(torch.uint8), "at": NUMBERS[:, 0]}, (8, 6, 4)),
        ((NUMBERS, torch.zeros(5, 0)), (2,)),
        ({"image": IMAGES.half(), "code": CODES * 10_007}, (8, 6, 4)),
        ({"image": IMAGES[:, :1], "numbers": NUMBERS}, (6, 6, 4)),  # three channels would be taken for colours
        ({"image": IMAGES, "at": NUMBERS[:, 0].double()}, (8, 6, 4)),
        ({"image": IMAGES[:, :1], "at": NUMBERS[:, 0]}, (6, 6, 4)),
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


def test_one_tensor_is_left_as_it_is():
    parts = Parts()
    assert parts.packed(IMAGES) is IMAGES and parts.taken_apart(IMAGES) is IMAGES


def test_codes_stay_among_those_that_were_seen_whatever_is_done_to_the_input():
    parts = Parts()
    packed = parts.packed({"image": IMAGES, "code": CODES})
    parts.packed({"image": IMAGES, "code": CODES + 2})
    codes = parts.taken_apart(packed + 100 * torch.randn_like(packed))["code"]
    assert codes.dtype == torch.int64 and codes.min() >= 1 and codes.max() <= 7


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


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"image": IMAGES, "name": list("abcde")},
        (IMAGES, NUMBERS[:3]),
        (CODES, CODES),
        (IMAGES, torch.tensor(3.0)),
        "x",
    ],
)
def test_what_is_no_input_of_tensors_is_refused_in_a_sentence(inputs):
    with pytest.raises(TypeError, match="x has to be a tensor, or a dict, tuple or list of tensors"):
        Parts().packed(inputs)
