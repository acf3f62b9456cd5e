"""Small sets of images that need no file and no net: uint8 (n, channels, side, side), with labels or targets."""

from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits, load_sample_images, make_moons
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate


@dataclass(frozen=True)
class Images:
    """Raw images of a train and a validation split; y is int64, or float32 where classes is 0."""

    x: torch.Tensor
    y: torch.Tensor
    val_x: torch.Tensor
    val_y: torch.Tensor
    classes: int

    def normalise(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw images as the network's input, by the train split's mean and std per channel."""
        pixels = self.x.float()
        mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
        return (raw.float() - mean) / std

    def with_(self, **changes) -> "Images":
        return replace(self, **changes)


def split(x: np.ndarray, y: np.ndarray, val: int, seed: int = 0) -> Images:
    """The last `val` of the shuffled images validate."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))
    x, y = torch.from_numpy(x)[order], torch.from_numpy(y)[order]
    classes = 0 if y.is_floating_point() else int(y.max()) + 1
    return Images(x[:-val], y[:-val], x[-val:], y[-val:], classes)


@cache
def digits() -> Images:
    """Handwritten digits, 1 x 8 x 8, ten classes."""
    found = load_digits()
    return split((found.images * 15.9).astype(np.uint8)[:, None], found.target.astype(np.int64), 397)


@cache
def textures(classes: int = 4, train: int = 768, val: int = 256, noise: float = 25) -> Images:
    """Stripes in the direction of their class, of any phase, colour and contrast, 3 x 16 x 16: linear models fail."""
    chance = np.random.default_rng(classes)
    count = train + val
    y = np.arange(count) % classes
    rows, columns = np.mgrid[:16, :16]
    angle = np.pi * y / classes + chance.normal(0, 0.05, count)
    along = columns * np.cos(angle)[:, None, None] + rows * np.sin(angle)[:, None, None]
    wave = np.sin(along * chance.uniform(1.0, 1.5, (count, 1, 1)) + chance.uniform(0, 6.28, (count, 1, 1)))
    colour = chance.uniform(20, 60, (count, 3, 1, 1))
    x = chance.uniform(90, 160, (count, 3, 1, 1)) + colour * wave[:, None] + chance.normal(0, noise, (count, 3, 16, 16))
    return split(x.clip(0, 255).astype(np.uint8), y.astype(np.int64), val)


@cache
def colours(classes: int = 5, train: int = 640, val: int = 240, noise: float = 40) -> Images:
    """Noise around the colour of the class, 3 x 8 x 8: a linear model succeeds."""
    chance = np.random.default_rng(classes + 100)
    count = train + val
    y = np.arange(count) % classes
    centres = chance.uniform(60, 190, (classes, 3))
    tint = centres[y] + chance.normal(0, 15, (count, 3))
    x = tint[:, :, None, None] + chance.normal(0, noise, (count, 3, 8, 8))
    return split(x.clip(0, 255).astype(np.uint8), y.astype(np.int64), val)


@cache
def photos() -> Images:
    """Tiles of two photographs, 3 x 16 x 16: a Chinese temple (with much plain sky) or a flower."""
    tiles, labels = [], []
    for label, photo in enumerate(load_sample_images().images):
        photo = photo[: photo.shape[0] // 16 * 16, : photo.shape[1] // 16 * 16]
        parts = photo.reshape(photo.shape[0] // 16, 16, -1, 16, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 16, 16)
        tiles.append(parts)
        labels.append(np.full(len(parts), label))
    chosen = np.random.default_rng(1).permutation(sum(map(len, tiles)))[:1000]
    return split(np.concatenate(tiles)[chosen].copy(), np.concatenate(labels)[chosen].astype(np.int64), 250)


@cache
def scenes(train: int = 900, val: int = 300) -> Images:
    """One of six figures, of any place, size, turn and colour on a ground of many, 3 x 32 x 32: pixels tell little."""
    chance = np.random.default_rng(11)
    y = chance.integers(0, 6, train + val)
    return split(np.stack([_scene(kind, chance) for kind in y]).transpose(0, 3, 1, 2).copy(), y.astype(np.int64), val)


def _scene(kind: int, chance: np.random.Generator, side: int = 32, finer: int = 4) -> np.ndarray:
    """A disc, a triangle, a square, a star, a cross or a ring: uint8 (side, side, 3)."""
    ground = Image.fromarray(chance.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    picture = ground.resize((side * finer, side * finer), Image.Resampling.BICUBIC)
    pen, radius = ImageDraw.Draw(picture), chance.uniform(0.2, 0.38) * side * finer
    centre, turn = chance.uniform(radius, side * finer - radius, 2), chance.uniform(0, 2 * np.pi)
    colour = tuple(int(each) for each in chance.integers(0, 256, 3))
    if kind in (0, 5):
        box = [*(centre - radius), *(centre + radius)]
        pen.ellipse(box, fill=None if kind else colour, outline=colour, width=int(radius / 3))
    else:
        corners, inner = {1: (3, 1.0), 2: (4, 1.0), 3: (10, 0.4), 4: (8, 0.55)}[kind]
        angles = turn + 2 * np.pi * np.arange(corners) / corners
        reach = radius * np.where(np.arange(corners) % 2, inner, 1.0)
        around = centre + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        pen.polygon([tuple(point) for point in around], fill=colour)
    return np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS))


@cache
def moons(train: int = 600, val: int = 200) -> Images:
    """A bright spot in one of two interlocking moons, 1 x 12 x 12: mirrored, it changes its class."""
    points, y = make_moons(train + val, noise=0.08, random_state=0)
    return split(_spots(points, 12), y.astype(np.int64), val)


@cache
def sides(train: int = 600, val: int = 200) -> Images:
    """An arrow that points left, right, up or down, 1 x 12 x 12: mirrored, it points elsewhere."""
    chance = np.random.default_rng(7)
    arrow = np.zeros((6, 6))
    for row in range(6):
        arrow[row, : 6 - abs(2 * row - 5)] = 1
    x, y = np.zeros((train + val, 1, 12, 12)), chance.integers(0, 4, train + val)
    for number, label in enumerate(y):
        row, column = chance.integers(0, 7, 2)
        x[number, 0, row : row + 6, column : column + 6] = np.rot90(arrow, label) * chance.uniform(100, 220)
    x += chance.normal(30, 12, x.shape)
    return split(x.clip(0, 255).astype(np.uint8), y.astype(np.int64), val)


@cache
def positions(train: int = 600, val: int = 200) -> Images:
    """Regression: a bright spot, and how far right it is, in -1..1."""
    points = np.random.default_rng(3).uniform(-1, 1, (train + val, 2))
    return split(_spots(points, 12), points[:, :1].astype(np.float32), val)


def _spots(points: np.ndarray, side: int) -> np.ndarray:
    low, high = points.min(0), points.max(0)
    centres = 1.5 + (points - low) / (high - low) * (side - 4)
    rows, columns = np.mgrid[:side, :side]
    far = (columns - centres[:, 0, None, None]) ** 2 + (rows - centres[:, 1, None, None]) ** 2
    x = 200 * np.exp(-far / 3) + np.random.default_rng(5).normal(25, 10, far.shape)
    return x.clip(0, 255).astype(np.uint8)[:, None]


def drawn(count: int, seed: int, side: int, least: int, draw) -> tuple[np.ndarray, list]:
    """Noisy pictures on a ground of up to `least` that `draw(pen, chance)` draws on, and what it gives."""
    chance = np.random.default_rng(seed)
    pictures, told = [], []
    for _ in range(count):
        picture = Image.new("L", (side, side), int(chance.integers(0, least)))
        told.append(draw(ImageDraw.Draw(picture), chance))
        pictures.append(np.asarray(picture) + chance.normal(0, 8, (side, side)))
    return np.stack(pictures).clip(0, 255).astype(np.uint8)[:, None], told


def imbalanced(images: Images, share: float = 0.95) -> Images:
    """Class 0 against all others together as class 1, with this share of class 0 in both splits."""

    def thin(x, y):
        rare, often = (y != 0).nonzero()[:, 0], (y == 0).nonzero()[:, 0]
        keep = torch.cat([often, rare[: max(4, round(len(often) * (1 - share) / share))]]).sort().values
        return x[keep], (y[keep] != 0).long()

    (x, y), (val_x, val_y) = thin(images.x, images.y), thin(images.val_x, images.val_y)
    return Images(x, y, val_x, val_y, 2)


def loader(x: torch.Tensor, y: torch.Tensor, batch_size: int = 32, shuffle: bool = False, **more) -> DataLoader:
    return DataLoader(TensorDataset(x, y), batch_size, shuffle=shuffle, **more)


def lazily(images: Images, prepare, augment=None, split: str = "train", batch_size: int = 32) -> DataLoader:
    """A loader over raw images that prepares (and augments) each batch when it is drawn."""
    x, y = (images.x, images.y) if split == "train" else (images.val_x, images.val_y)
    return loader(x, y, batch_size, split == "train", collate_fn=partial(_collate, prepare, augment))


def _collate(prepare, augment, items):
    x, y = default_collate(items)
    if augment:
        x, y = augment(x, y)
    return prepare(x), y


class Made(Dataset):
    """(x, y) that `make` makes of a row's number."""

    def __init__(self, count, make):
        self.count, self.make = count, make

    def __len__(self):
        return self.count

    def __getitem__(self, row):
        return self.make(row)


class Rows(Dataset):
    """Parts of each row and its target."""

    def __init__(self, parts, y):
        self.parts, self.y = parts, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        return {name: part[row] for name, part in self.parts.items()}, self.y[row]
