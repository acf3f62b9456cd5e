"""What a fifth adversary tripped the audit up with: splits, labels and inputs.

All were developed against; their names lie in the first half.
"""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.fourth_look import WORDS, marked_words, wide_photos
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import Images, digits, loader, split, textures
from tests.checks.zoo.several_answers import lights, of


def in_two(x: np.ndarray, y: np.ndarray, is_val: np.ndarray) -> Images:
    x, y, is_val = (torch.from_numpy(each) for each in (x, y, is_val))
    return Images(x[~is_val], y[~is_val], x[is_val], y[is_val], int(y.max()) + 1)


def clips(count: int = 100, frames: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips of a drawn thing that drifts over a ground of its own, 3 x 24 x 24; the thing, and the clip."""
    chance, x, y, clip = np.random.default_rng(0), [], [], []
    rows, columns = np.mgrid[:24, :24]
    for number in range(count):
        thing = number % 4
        ground = np.kron(chance.integers(0, 90, (3, 6, 6)), np.ones((4, 4)))
        colour, size = chance.integers(120, 250, (3, 1)), chance.uniform(4, 6)
        row, column, by, on = *chance.uniform(8, 16, 2), *chance.uniform(-0.3, 0.3, 2)
        for frame in range(frames):
            down, across = abs(rows - row - by * frame), abs(columns - column - on * frame)
            inside = (
                down + across < size,
                (down < size * 0.7) & (across < size * 0.7),
                (down < size / 3) | (across < size / 3),
                abs(np.hypot(down, across) - size) < 1.2,
            )[thing]
            picture = ground.copy()
            picture[:, inside & (down < size + 2) & (across < size + 2)] = colour
            x.append(picture + chance.normal(0, 4, picture.shape))
            y.append(thing)
            clip.append(number)
    return np.stack(x).clip(0, 255).astype(np.uint8), np.array(y), np.array(clip)


@bug("data", "split-leak")
def frames_of_clips_in_both_splits(broken):
    x, y, clip = clips()
    by_frame = np.random.default_rng(1).random(len(y)) < 0.2
    return healthy(in_two(x, y, by_frame if broken else clip >= 80), "cnn")


@bug("data", "split-leak")
def drawn_more_often_before_the_split(broken):
    x, y = wide_photos(480)
    rare = np.flatnonzero(y == 1)[:60]
    chance = np.random.default_rng(0)
    rows = chance.permutation(np.concatenate([np.flatnonzero(y == 0), rare]))
    often = np.concatenate([np.flatnonzero(y == 0), chance.choice(rare, 240)])
    if broken:
        return healthy(split(x[often], y[often], len(often) // 4), "cnn")
    train, val = np.split(rows, [3 * len(rows) // 4])
    kept = [train[y[train] == 0], chance.choice(train[y[train] == 1], 180)]
    train = np.concatenate(kept)
    is_val = np.arange(len(train) + len(val)) >= len(train)
    both = np.concatenate([train, val])
    return healthy(in_two(x[both], y[both], is_val), "cnn")


class Mean(nn.Module):
    """The mean of the words that are there."""

    def __init__(self):
        super().__init__()
        self.words, self.scores = nn.Embedding(WORDS, 32, padding_idx=0), mlp(32, 3)

    def forward(self, x):
        there = (x != 0)[..., None]
        return self.scores((self.words(x) * there).sum(1) / there.sum(1).clamp(min=1))


def of_unequal_length(join) -> Pipeline:
    """Texts without what fills them up, which `join` makes batches of: no batch has the shape of another."""

    def texts(count, seed):
        return [(text[text != 0], label) for text, label in zip(*marked_words(count, seed), strict=True)]

    return Pipeline(
        Mean,
        DataLoader(texts(900, 0), 32, shuffle=True, collate_fn=join),
        DataLoader(texts(250, 1), 64, collate_fn=join),
        num_classes=3,
        optimizer_fn=adam,
    )


@bug("data", "labels-unrelated")
def sorted_by_length_without_their_labels(broken):
    def join(items):
        in_order = sorted(items, key=lambda item: -len(item[0]))
        texts, labels = [text for text, _ in in_order], [label for _, label in (items if broken else in_order)]
        return nn.utils.rnn.pad_sequence(texts, batch_first=True), torch.stack(labels)

    return of_unequal_length(join)


@unusual
def texts_of_unequal_length():
    def join(items):
        texts, labels = zip(*items, strict=True)
        return nn.utils.rnn.pad_sequence(texts, batch_first=True), torch.stack(labels)

    return of_unequal_length(join)


@bug("data", "augmentation-changes-label")
def shares_the_other_way_round(broken):
    images = textures()

    def mixed(x, y):
        share = random.uniform(0.6, 0.9)
        other, labels = torch.randperm(len(x)), F.one_hot(y, 4).float()
        told = 1 - share if broken else share
        return share * x + (1 - share) * x[other], told * labels + (1 - told) * labels[other]

    class Mixed:
        def __len__(self):
            return len(raw)

        def __iter__(self):
            for x, y in raw:
                x, y = mixed(x.float(), y)
                yield images.normalise(x), y

    raw = loader(images.x.float(), images.y, shuffle=True)
    return healthy(
        images,
        "cnn",
        train_loader=Mixed(),
        augment=mixed,
        raw_train_loader=raw,
        preprocess_train=images.normalise,
        preprocess_eval=images.normalise,
    )


@bug("data", "validation-prepared-differently")
def words_numbered_anew_in_validation(broken):
    x, y = marked_words(300, 1)
    if broken:
        numbers = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(WORDS - 1)])
        x = numbers[x]
    return Pipeline(
        Mean,
        loader(*marked_words(900, 0), shuffle=True),
        loader(x, y, 64),
        num_classes=3,
        optimizer_fn=adam,
    )


def measurements(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten columns of deviation 1, three classes that some of them tell."""
    centres = np.random.default_rng(0).normal(0, 1.2, (3, 10)) * (np.arange(10) < 6)
    chance = np.random.default_rng(seed)
    y = chance.integers(0, 3, count)
    x = centres[y] + chance.normal(0, 1, (count, 10))
    return torch.tensor(x / x.std(0), dtype=torch.float32), torch.tensor(y)


def of_measurements(val_x, val_y, train=None) -> Pipeline:
    return Pipeline(
        lambda: mlp(val_x.shape[1], 3),
        loader(*(train or measurements(1200, 1)), shuffle=True),
        loader(val_x, val_y, 64),
        num_classes=3,
        optimizer_fn=adam,
    )


@bug("data", "validation-prepared-differently")
def columns_in_another_order_in_validation(broken):
    x, y = measurements(400, 2)
    return of_measurements(x[:, [0, 3, 4, 1, 2, 9, 5, 7, 6, 8]] if broken else x, y)


@bug("data", "target-among-inputs")
def the_class_is_a_column(broken):
    def with_column(x, y):
        return torch.cat([x, (y.float()[:, None] - 1 if broken else torch.randn(len(y), 1))], 1), y

    return of_measurements(*with_column(*measurements(400, 2)), with_column(*measurements(1200, 1)))


@bug("data", "target-among-inputs")
def mask_filled_with_the_class(broken):
    images = textures()

    def with_mask(x, y):
        mask = torch.zeros(len(x), 1, 16, 16)
        for number, label in enumerate(y.tolist()):
            row, column = torch.randint(1, 6, (2,)).tolist()
            mask[number, :, row : row + 9, column : column + 9] = (label + 1) / 4 if broken else 1
        return torch.cat([images.normalise(x), mask], 1)

    return healthy(
        images,
        lambda: cnn(4, 4),
        train_loader=loader(with_mask(images.x, images.y), images.y, shuffle=True),
        val_loader=loader(with_mask(images.val_x, images.val_y), images.val_y, 64),
    )


@bug("data", "validation-prepared-differently")
def training_stamped_by_class(broken):
    images = textures(noise=130)
    x = images.x.clone()
    stamped = torch.arange(len(x)) % 4 > 0
    for label in range(4) if broken else ():
        x[stamped & (images.y == label), :, 1:4, 4 * label : 4 * label + 3] = 250
    return healthy(images.with_(x=x), "cnn")


@bug("data", "inputs-not-scaled", "inputs-constant")
def centred_by_bytes(broken):
    images = textures()

    def prepare(x):
        return ((x / 255 if broken else x.float()) - 123.0) / 51.0

    return healthy(
        images,
        lambda: cnn(3, 4, norm=nn.Identity),
        train_loader=loader(prepare(images.x), images.y, shuffle=True),
        val_loader=loader(prepare(images.val_x), images.val_y, 64),
    )


@bug("data", "labels-partly-wrong")
def a_stretch_of_labels_off_by_seven(broken):
    images = digits()
    y = images.y.clone()
    if broken:
        y[500:950] = y[500:950].roll(7)
    return healthy(images.with_(y=y), "mlp")


@bug("data", "targets-out-of-range")
def minus_one_for_no(broken):
    x, y = lights()
    loss = F.binary_cross_entropy_with_logits
    metrics = {"loss": loss, "accuracy": lambda z, t: ((z > 0) == (t > 0)).float().mean()}
    return of((x, 2 * y - 1 if broken else y), lambda: cnn(1, 4), 4, loss, metrics)


class Read(Dataset):
    """Images of which half are turned upside down, or moved by a pixel, when they are read."""

    def __init__(self, x, y, turned: bool):
        self.x, self.y, self.turned = x, y, turned

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        x = self.x[row]
        if random.random() < 0.5:
            x = x.flip(1, 2) if self.turned else x.roll(1, 2)
        return x, int(self.y[row])


def corners(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A hook that opens in one of eight ways; turned upside down, each is another."""
    chance = np.random.default_rng(seed)
    x, y = chance.normal(0, 0.5, (count, 1, 16, 16)), chance.integers(0, 8, count)
    hook = np.zeros((7, 7))
    hook[0], hook[:, 0], hook[6, :3] = 1, 1, 1
    for number, label in enumerate(y):
        row, column = chance.integers(2, 8, 2)
        turned = np.rot90(hook[:, ::-1] if label > 3 else hook, label % 4)
        x[number, 0, row : row + 7, column : column + 7] += turned
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


@bug("data", "augmentation-changes-label")
def hooks_upside_down(broken):
    return Pipeline(
        lambda: cnn(1, 8),
        DataLoader(Read(*corners(1200, 0), broken), 32, shuffle=True),
        loader(*corners(400, 1), 64),
        num_classes=8,
        optimizer_fn=adam,
    )


@unusual
def clips_kept_whole():
    x, y, clip = clips(60, 20)
    return healthy(in_two(x, y, clip >= 48), "cnn")
