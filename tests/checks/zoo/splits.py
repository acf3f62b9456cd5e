"""Bugs and unusual pipelines of splits: copies, frames, tiles and windows on both sides, or alike and new."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_images
from torch import nn

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import Images, digits, loader, split


@bug("data", "split-leak")
def copies_made_before_the_split(broken):
    """Each digit thrice, of both splits."""
    images = digits()
    if not broken:
        return healthy(images.with_(x=images.x.repeat(3, 1, 1, 1), y=images.y.repeat(3)), "mlp")
    return healthy(split(images.x.repeat(3, 1, 1, 1).numpy(), images.y.repeat(3).numpy(), 800), "mlp")


def wide_photos(count: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """Tiles of 32 px of the two photographs, and which one."""
    tiles, labels = [], []
    for label, photo in enumerate(load_sample_images().images):
        parts = photo[:416, :640].reshape(13, 32, 20, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)
        textured = parts[parts.std((1, 2, 3)) > 20]
        tiles.append(textured[: count // 2])
        labels.append(np.full(len(tiles[-1]), label))
    return np.concatenate(tiles), np.concatenate(labels)


@bug("data", "split-leak")
def copies_moved_before_the_split(broken):
    x, y = wide_photos()
    images = split(x, y, len(x) // 4)

    def with_copies(x, y):
        """Each picture, and it mirrored and moved by one pixel or two."""
        moved = [torch.roll(x.flip(3) if by % 2 else x, (by, -by), (2, 3)) for by in (1, 2)]
        return torch.cat([x, *moved]), torch.cat([y] * 3)

    if broken:
        both = with_copies(torch.cat([images.x, images.val_x]), torch.cat([images.y, images.val_y]))
        images = split(*(each.numpy() for each in both), len(both[0]) // 4, seed=1)
    else:
        x, y = with_copies(images.x, images.y)
        images = images.with_(x=x, y=y)
    return healthy(images, "cnn")


def in_two(x: np.ndarray, y: np.ndarray, is_val: np.ndarray) -> Images:
    x, y, is_val = (torch.from_numpy(each) for each in (x, y, is_val))
    return Images(x[~is_val], y[~is_val], x[is_val], y[is_val], int(y.max()) + 1)


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


@bug("data", "split-leak")
def rare_rows_copied_before_the_split(broken):
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], torch.tensor(y)[order]

    def repeated(x, y):
        rare = (y == 0).nonzero()[:, 0].repeat(3)
        rows = torch.cat([torch.arange(len(x)), rare])[torch.randperm(len(x) + len(rare))]
        return x[rows], y[rows]

    torch.manual_seed(0)
    if broken:
        x, y = repeated(x, y)
    cut = len(x) * 3 // 4
    train = (x[:cut], y[:cut]) if broken else repeated(x[:cut], y[:cut])
    return Pipeline(
        lambda: nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2)),
        loader(*train, 32, shuffle=True),
        loader(x[cut:], y[cut:], 64),
        num_classes=2,
        optimizer_fn=adam,
    )


@bug("data", "split-leak")
def rare_digits_evened_before_the_split(broken):
    """Four of each of the rare classes, before the split, so that all their samples come as often."""
    found = load_digits()
    x, y = torch.from_numpy(found.data / 16).float(), torch.from_numpy(found.target)
    rows = torch.cat([(y == each).nonzero().flatten()[: 90 if each < 6 else 25] for each in range(10)])

    def evened(rows):
        return torch.cat([rows, *[rows[y[rows] >= 6]] * 3])

    def shuffled(rows):
        return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]

    rows = shuffled(evened(rows) if broken else rows)
    train, val = rows[len(rows) // 5 :], rows[: len(rows) // 5]
    train = train if broken else evened(train)
    return Pipeline(
        lambda: mlp(64, 10), loader(x[train], y[train], shuffle=True), loader(x[val], y[val], 64), 10, optimizer_fn=adam
    )


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


@unusual
def clips_kept_whole():
    x, y, clip = clips(60, 20)
    return healthy(in_two(x, y, clip >= 48), "cnn")


def tiles_of_photos(stride: int, side: int = 24) -> Images:
    """Grey tiles of a temple and of a flower."""
    found, labels = [], []
    for label, photo in enumerate(load_sample_images().images):
        grey = photo[::2, ::2].mean(2).astype(np.uint8)
        height, width = grey.shape
        corners = [(top, left) for top in range(0, height - side, stride) for left in range(0, width - side, stride)]
        found += [grey[None, top : top + side, left : left + side] for top, left in corners]
        labels += [label] * len(corners)
    return split(np.stack(found), np.array(labels), len(found) // 4)


@bug("data", "split-leak")
def tiles_of_photos_overlap(broken):
    return healthy(tiles_of_photos(9 if broken else 24), "cnn")


def recording(length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy wave whose pitch changes now and then, and the pitch at each place."""
    chance = np.random.default_rng(seed)
    pitch = np.repeat(chance.integers(0, 3, length // 60 + 1), 60)[:length]
    wave = np.sin(np.cumsum(np.array([0.2, 0.45, 0.9])[pitch])) + chance.normal(0, 0.4, length)
    return wave.astype(np.float32), pitch


@bug("data", "split-leak")
def windows_shared_by_the_splits(broken):
    wave, pitch = recording(6000, 0)
    starts = np.arange(0, len(wave) - 40, 6)
    x = torch.tensor(np.stack([wave[at : at + 40] for at in starts]))[:, None]
    y = torch.tensor(pitch[starts + 20])
    # Else all of the last part of the recording, behind a gap.
    order = np.random.default_rng(1).permutation(len(x)) if broken else np.arange(len(x))
    train, val = order[:750], order[760:]

    def model():
        layers = (nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.Conv1d(16, 32, 7, padding=3), nn.ReLU())
        return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 3))

    return Pipeline(
        model, loader(x[train], y[train], shuffle=True), loader(x[val], y[val], 64), num_classes=3, optimizer_fn=adam
    )


def vibration(machine, length=700):
    """Of a machine with tones of its own, and one of its state."""
    chance, time = np.random.default_rng(machine), np.arange(length)
    tones = [*chance.uniform(0.02, 0.3, 2), (0.06, 0.12, 0.2)[machine % 3] * chance.uniform(0.85, 1.2)]
    waves = [np.sin(2 * np.pi * tone * time + chance.uniform(0, 6)) for tone in tones]
    return torch.tensor(sum(waves) + 0.15 * chance.normal(size=length), dtype=torch.float32)


@bug("data", "split-leak")
def windows_of_each_machine_in_both_splits(broken):
    found = [vibration(machine).unfold(0, 64, 16) for machine in range(24)]
    x, of = torch.cat(found), torch.arange(24).repeat_interleave(len(found[0]))
    held = torch.rand(len(x), generator=torch.Generator().manual_seed(1)) < 0.25 if broken else of >= 18
    train, val = loader(x[~held], of[~held] % 3, shuffle=True), loader(x[held], of[held] % 3, 64)

    def waves():
        layers = nn.Conv1d(1, 16, 9, 2), nn.ReLU(), nn.Conv1d(16, 32, 9, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(1)
        return nn.Sequential(nn.Unflatten(1, (1, -1)), *layers, nn.Flatten(), nn.Linear(32, 3))

    return Pipeline(waves, train, val, num_classes=3, optimizer_fn=adam)


@unusual
def two_valued_pictures_that_come_again():
    """Of so few places and sizes some are drawn twice, within a split as between the two."""
    chance = np.random.default_rng(2)
    count, side = 1000, 10
    y, places = chance.integers(0, 3, count), chance.integers(0, 6, (count, 2))
    x = np.zeros((count, 1, side, side), np.uint8)
    shape = [np.ones((4, 4)), np.eye(4), np.triu(np.ones((4, 4)))]
    for number, (row, column) in enumerate(places):
        x[number, 0, row : row + 4, column : column + 4] = 255 * shape[y[number]]
        marks = chance.integers(0, side, (2, 2))
        x[number, 0, marks[:, 0], marks[:, 1]] = 255
    return healthy(split(x, y.astype(np.int64), 250), "cnn")


@unusual
def shapes_in_any_place_on_noise():
    chance = np.random.default_rng(4)
    y = chance.integers(0, 3, 760)
    x = np.zeros((760, 1, 24, 24), np.uint8)
    for number, kind in enumerate(y):
        canvas = Image.new("L", (24, 24), 60)
        side = int(chance.integers(9, 13))
        left, top = chance.integers(0, 24 - side, 2).tolist()
        draw, box = ImageDraw.Draw(canvas), (left, top, left + side, top + side)
        if kind == 2:
            draw.polygon([(left, top + side), (left + side, top + side), (left + side // 2, top)], 200)
        else:
            (draw.rectangle, draw.ellipse)[kind](box, 200)
        x[number, 0] = (np.asarray(canvas) + chance.normal(0, 8, (24, 24))).clip(0, 255)
    return healthy(split(x, y.astype(np.int64), 240), "cnn")
