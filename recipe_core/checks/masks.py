"""Segmentation: does the mask of a picture lie where its object is? Moved or mirrored it should fit no better."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from recipe_core.checks.augmentation import CHANGED, changes_from_pass_to_pass
from recipe_core.checks.labels import PARTLY
from recipe_core.checks.learner import Learner
from recipe_core.checks.registry import check
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject

LEAST_SIDE, MOST_SIDE = 8, 48  # px; larger pictures are made smaller
PATCH = 5  # px: what is looked at to tell what the middle shows
MOST_MAPS = 256
LEARNT, LOOKED_AT = 1000, 40  # patches; pictures of a split
FEWEST = 16  # pictures
MOST_CLASSES = 32
NEAR = 1  # px, by which a mask may be moved
BETTER = 0.1  # of a correlation, by which another place has to be
TOLD = 0.3  # correlation of what patches say with the mask
MANY, FEW = 0.4, 0.1  # shares of the pictures whose mask fits better elsewhere: in one split, and in the other


@dataclass(frozen=True)
class _Pictures:
    """(n, channels, height, width) each, of one size; classes as one-hot planes."""

    images: torch.Tensor
    masks: torch.Tensor

    def part(self, rows: slice) -> "_Pictures":
        return _Pictures(self.images[rows], self.masks[rows])


@check(family="data", stage=1, cost=2, causes=[CHANGED, PARTLY])
def masks_lie_on_their_pictures(subject: Subject):
    """Where patches of one split tell what is where in pictures, the masks of the other fit best as they are: not moved
    and not mirrored."""
    samples = (subject.drawn_train, subject.drawn_val)
    maps = [each for each in map(_maps, samples) if each is not None]
    classes = torch.cat([each.unique() for each in maps]).unique() if maps else torch.empty(0)
    train, val = (_pictures(each, classes) if 1 < len(classes) <= MOST_CLASSES else None for each in samples)
    if train is None or val is None:
        return skipped("There are no masks of the pictures' size, or too few.")
    for name, judged, known in (("training", train, val), ("validation", val, train)):
        half = len(known.images) // 2
        learner = _learner(known.part(slice(half)))
        own, off = (_fit_elsewhere(learner, each) for each in (known.part(slice(half, None)), judged))
        told = f"{off:.0%} of the {name} masks fit their pictures better moved or mirrored, {own:.0%} of the others"
        if off > MANY and own < FEW:
            augmented = name == "training" and changes_from_pass_to_pass(subject)
            return (CHANGED if augmented else PARTLY).failed(
                f"{told}, judged by what patches of the other split show: what crops or mirrors a picture has to do "
                "the same to its mask.",
                moved=off,
                usual=own,
            )
    return passed("Masks fit their pictures best as they are.")


def _pictures(sample: Sample, classes: torch.Tensor) -> _Pictures | None:
    x, y = sample.x[:MOST_MAPS], _maps(sample)
    if y is None or x.ndim != 4 or x.shape[2:] != y.shape[1:] or min(x.shape[2:]) < LEAST_SIDE:
        return None
    shown = (y != y[:, :1, :1]).flatten(1).any(1)  # something beside one class
    x, y = x[shown][:LOOKED_AT].float(), y[shown][:LOOKED_AT]
    if len(x) < FEWEST or not bool(x.isfinite().all()):
        return None
    sides = (min(MOST_SIDE, x.shape[2]), min(MOST_SIDE, x.shape[3]))
    y = F.interpolate(y[:, None].float(), sides)
    return _Pictures(F.adaptive_avg_pool2d(x, sides), (y == classes.view(-1, 1, 1)).float())


def _maps(sample: Sample) -> torch.Tensor | None:
    """(n, height, width) of whole numbers, a class for each pixel; None where targets are something else."""
    y = sample.y[:MOST_MAPS]
    y = y[:, 0] if y.ndim == 4 and y.shape[1] == 1 else y
    return y if y.ndim == 3 and torch.equal(y, y.round()) else None


def _learner(known: _Pictures) -> Learner:
    """Of patches, as many of the most frequent class as of all others together."""
    patches = _patches(known.images).flatten(0, 1)
    classes = known.masks.movedim(1, 3).flatten(0, 2)
    ground = classes.argmax(1) == classes.sum(0).argmax()
    chance = torch.Generator().manual_seed(0)
    rows = torch.cat(
        [
            each[torch.randperm(len(each), generator=chance)[: LEARNT // 2]]
            for each in (ground.nonzero().flatten(), (~ground).nonzero().flatten())
        ]
    )
    return Learner(patches[rows], classes[rows])


def _patches(images: torch.Tensor) -> torch.Tensor:
    """(n, height * width, channels, PATCH, PATCH): what is around each pixel."""
    padded = F.pad(images, [PATCH // 2] * 4, mode="replicate")
    found = F.unfold(padded, PATCH).transpose(1, 2)
    return found.unflatten(2, (images.shape[1], PATCH, PATCH))


def _fit_elsewhere(learner: Learner, pictures: _Pictures) -> float:
    """The share of the pictures whose masks correlate better with what the patches show when moved or mirrored; 0 where
    most correlate with nothing."""
    height, width = pictures.images.shape[2:]
    better, told = [], []
    for image, mask in zip(pictures.images, pictures.masks, strict=True):
        said = learner.predict(_patches(image[None])[0]).float().T.reshape(mask.shape)
        said, mask = (_unit(each) for each in (said, mask))
        moved = _correlations(said, mask)
        rows, columns = (slice(size // 2 - NEAR, size // 2 + NEAR + 1) for size in (height, width))
        here = float(moved[rows, columns].max())
        mirrored = [float((said * mask.flip(axes)).sum()) for axes in ([1], [2], [1, 2])]
        best = max(float(moved.max()), *mirrored)
        better.append(best > here + BETTER)
        told.append(best)
    return sum(better) / len(better) if sorted(told)[len(told) // 2] > TOLD else 0.0


def _unit(planes: torch.Tensor) -> torch.Tensor:
    centred = planes - planes.mean((1, 2), keepdim=True)
    return centred / centred.norm().clamp_min(1e-9)


def _correlations(said: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(height, width): of the planes with the mask moved by up to half of the picture; not moved in the middle."""
    height, width = said.shape[1:]
    size = 2 * height, 2 * width
    product = torch.fft.rfft2(said, s=size) * torch.fft.rfft2(mask, s=size).conj()
    whole = torch.fft.irfft2(product.sum(0), s=size)
    return torch.roll(whole, (height // 2, width // 2), (0, 1))[:height, :width]
