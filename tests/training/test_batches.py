"""Batches: the right pixels, a shuffle that the seed decides, and a place to go on from."""

import json

import numpy as np
import pytest
import torch
from toy import tensors

from recipe_core.training.batches import Batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tensors(tmp_path_factory.mktemp("toy") / "tensors", train=(30, 20, 20), val=(10, 10, 10))


def epoch(batches):
    return [(x.clone(), y.clone()) for x, y in batches]


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True)
    )


def test_the_train_split_is_normalised_per_channel(folder):
    (x, _), *_ = Batches(folder, "train", 1000)
    assert x.shape == (70, 3, 8, 8)
    assert x.dtype == torch.float32
    assert x.is_contiguous()
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(3), atol=1e-2, rtol=0)


def test_pictures_are_decoded_back_bit_for_bit(folder):
    batches = Batches(folder, "val", 7)
    images = np.load(folder / "val_images.npy")
    for position, (x, _) in enumerate(batches):
        assert np.array_equal(batches.pictures(x), images[batches.rows_of_batch(0, position)])


def test_an_epoch_gives_every_sample_once_with_its_own_label(folder):
    batches = Batches(folder, "train", 10, seed=5)
    images, labels = np.load(folder / "train_images.npy"), np.load(folder / "train_labels.npy")
    known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    seen = [(batches.pictures(x), y) for x, y in batches]
    pictures, given = np.concatenate([x for x, _ in seen]), np.concatenate([y for _, y in seen])
    assert {each.tobytes() for each in pictures} == set(known)
    assert [known[each.tobytes()] for each in pictures] == given.tolist()


def test_seed_and_epoch_decide_the_order(folder):
    one, two, other = (Batches(folder, "train", 16, seed=seed) for seed in (1, 1, 2))
    first, second = epoch(one), epoch(one)
    assert same(first, epoch(two))
    assert same(second, epoch(two))
    assert not same(first, second)
    assert not same(first, epoch(other))


def test_the_validation_split_keeps_its_order_and_its_rest(folder):
    batches = Batches(folder, "val", 8)
    assert len(batches) == 4
    labels = np.concatenate([y for _, y in batches])
    assert labels.tolist() == np.load(folder / "val_labels.npy").tolist() == batches.labels.tolist()


def test_a_shuffled_epoch_leaves_out_what_fills_no_batch(folder):
    batches = Batches(folder, "train", 16)
    assert [len(y) for _, y in batches] == [16] * 4 == [16] * len(batches)
    assert [len(y) for _, y in Batches(folder, "train", 16, rows=range(5))] == [5]


@pytest.mark.parametrize("given", [0, 1, 3, 4, 6])
def test_it_goes_on_where_it_was(folder, given):
    def stream(batches):
        while True:
            yield from batches

    whole = stream(batches := Batches(folder, "train", 16, seed=3))
    for _ in range(given):
        next(whole)
    resumed = Batches(folder, "train", 16, seed=3)
    resumed.restore(json.loads(json.dumps(batches.state())))
    rest = stream(resumed)
    for _ in range(6):
        assert same([next(whole)], [next(rest)])


def test_raw_batches_are_those_that_come_next_as_uint8(folder):
    batches = Batches(folder, "train", 16)
    raw = list(batches.raw())
    assert raw[0][0].dtype == torch.uint8
    assert same([(batches.normalise(pixels), y) for pixels, y in raw], epoch(batches))


def test_a_subset_gives_its_rows_only(folder):
    batches = Batches(folder, "train", 2, rows=[3, 50, 7, 9])
    labels = np.load(folder / "train_labels.npy")
    assert sorted(np.concatenate([y for _, y in batches])) == sorted(labels[[3, 7, 9, 50]])


def test_zero_input_keeps_the_labels(folder):
    seen, blank = (epoch(Batches(folder, "train", 16, zero_input=zero)) for zero in (False, True))
    assert all(not x.any() for x, _ in blank)
    assert [x.shape for x, _ in blank] == [x.shape for x, _ in seen]
    assert all(torch.equal(a[1], b[1]) for a, b in zip(seen, blank, strict=True))


def test_channels_last_holds_the_same_numbers(folder):
    plain, last = (epoch(Batches(folder, "train", 16, channels_last=each)) for each in (False, True))
    assert last[0][0].is_contiguous(memory_format=torch.channels_last)
    assert same(plain, last)


def test_a_channel_without_contrast_stays_finite(tmp_path):
    folder = tensors(tmp_path)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "channel_std": [0.0, 0.1, 0.1]}))
    assert all(torch.isfinite(x).all() for x, _ in Batches(folder, "train"))
