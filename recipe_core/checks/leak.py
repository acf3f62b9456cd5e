"""Are validation images in the training data, or copies of them that were changed a little?"""

import functools
from collections import Counter

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch.nn import functional as F

from recipe_core.checks.learner import as_images
from recipe_core.checks.overlap import are_windows, tiles, windows
from recipe_core.checks.probe import marks
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject

MOST = 20_000  # training images
SIDE = 12  # px that are compared
NEIGHBOURS = 20  # the distance to this one is what is usual around an image
CLOSE = 0.2  # of that usual distance: a copy
COPIES = 0.03  # share of validation images
FEWEST, LEAST = 5, 0.01  # copies, and share of validation images: less hardly moves a metric, and may be chance
OFTEN = 0.3  # share of images that have a near copy
FEWEST_COPIED = 8  # different samples of a class
PAIRS, EVEN = 1.8, 0.25  # images in a family; its variance as a multiple of its mean
# The same of copies that are looked for moved: they are seldom all found, and drawings have families by chance of which
# some are large (a variance of 0.65 of the mean and more).
CLOSE_MOVED, PAIRS_MOVED, EVEN_MOVED = 0.4, 1.4, 0.5
GAP, LEAST_APART = 1.6, 0.02  # of the distances to two neighbours, one after the other; of the usual distance: rounding
CLOSED = 0.7  # frames of clips have 0.82, shapes drawn anywhere on a noisy ground 0.59
FEW, LEAST_VALUES, MOST_GROUND = 64, 64, 0.2  # pictures that are looked at; different numbers of one; the same number
LEAST_SIDE, MOST_SEEN, MOST_NEW = 16, 1500, 500  # px; images
MOST_RELATED = 6000  # images that are all compared with each other
DISTINCT = 0.9  # share of a regression's targets that no two samples have
MEASURED, FEWEST_MEASURED = 0.5, 3  # share of a column's numbers that are all different; such columns
FAMILY = 1.3  # images of a split that are near copies of each other, on average: more are families
LUCK = 6  # rows: there might have been three pairs more
SURE = 5.0  # deviations

LEAK = Cause(
    "split-leak",
    "Validation samples, or near copies of them, are in the training data: the metrics reward learning by heart.",
    "Split before augmenting and duplicating; keep all samples of a group (person, scene, video) in one split.",
    0.8,
)


@check(family="data", stage=1, cost=2, causes=[LEAK])
def validation_images_are_new(subject: Subject) -> Result:
    """No validation sample is in the training data, and none is much nearer to a training sample than those are to each
    other."""
    return subject.once(leak) or passed(
        f"None of {len(subject.drawn_val.x)} validation samples is a copy of one of the training samples."
    )


def leak(subject: Subject) -> Result | None:
    """The failure where the splits share images; made once, by `subject.once(leak)`."""
    train = subject.drawn_train if subject.drawn_train.complete else subject.draw(subject.pipeline.train_loader, MOST)
    pairs = [(train, subject.drawn_val)]
    if subject.raw_train is not None and subject.raw_val is not None:
        pairs.append((subject.raw_train, subject.raw_val))
    for seen, new in pairs:
        if seen.x.shape[1:] != new.x.shape[1:] or new.x[:1].numel() < 2:  # one number, as of a person, comes again
            continue
        found = _exact(seen, new) or _overlapping(seen, new) or (_near(seen, new) if _has_detail(new.x) else None)
        if found:
            return found
    return None


def shared_by_the_splits(subject: Subject) -> float:
    """The share of validation images that training has, too; 0 where they are few."""
    found = subject.once(leak)
    if found is None:
        return 0.0
    return found.evidence["share"] if "share" in found.evidence else found.evidence["copies"] / found.evidence["of"]


def _has_detail(x: torch.Tensor) -> bool:
    rows = x.float().reshape(len(x), -1)
    return rows.shape[1] >= 16 and float((rows.std(1) > 0).double().mean()) > 0.5


def _exact(seen: Sample, new: Sample) -> Result | None:
    known, asked = (_plain_marks(each.x) for each in (seen, new))
    if not known or not asked:
        return None
    there = set(known)
    twins = sum(mark in there for mark in asked)
    # Of rows with few values some are the same by chance, within a split as between the two.
    # Training may hold copies on purpose: then validation says how many there are by chance, if with less precision.
    by_chance = (_twinned(asked) + LUCK / len(asked)) * len(known) / len(asked)
    usual = 0.0 if _is_rich(new.x) or _is_measured(new.x) else min(_twinned(known), by_chance)
    share = twins / len(asked)
    beyond_chance = max(2 * usual, usual + SURE * (usual / len(asked)) ** 0.5)
    if twins < FEWEST or share < LEAST:
        return None
    if share < beyond_chance:
        twins = _copied_evenly(seen, new)
        if twins < FEWEST:
            return None
    return LEAK.failed(
        f"{twins} of {len(new.x)} validation samples are in the training data, number for number.",
        copies=twins,
        of=len(new.x),
    )


def _copied_evenly(seen: Sample, new: Sample) -> int:
    """How many validation samples training has, of classes all of whose samples come about as often as each other: by
    chance some would come once and others many times."""
    if not (seen.complete and new.complete) or any(
        each.y.ndim != 1 or each.y.is_floating_point() for each in (seen, new)
    ):
        return 0
    found = 0
    for label in new.y.unique():
        known, asked = (marks(each.x[each.y == label]) for each in (seen, new))
        times = torch.tensor(list(Counter([*known, *asked]).values())).double()
        if len(times) >= FEWEST_COPIED and times.mean() > PAIRS and times.var() < EVEN * times.mean():
            there = set(known)
            found += sum(mark in there for mark in asked)
    return found


def _overlapping(seen: Sample, new: Sample) -> Result | None:
    said = windows(seen.x, new.x) or (tiles(seen.x, new.x) if _is_rich(new.x) else None)
    return LEAK.failed(said.told, copies=said.copies, of=said.of) if said else None


def _plain_marks(x: torch.Tensor) -> list[bytes]:
    """Of inputs that are more than one value."""
    rows = x.float().reshape(len(x), -1)
    plain = rows.std(1) > 0 if rows.shape[1] > 1 else torch.ones(len(rows), dtype=torch.bool)
    return [mark for mark, is_plain in zip(marks(x), plain.tolist(), strict=True) if is_plain]


def _twinned(found: list[bytes]) -> float:
    """The share of which there is another."""
    return sum(count for count in Counter(found).values() if count > 1) / len(found)


def _near(seen: Sample, new: Sample) -> Result | None:
    if not new.x.is_floating_point() and new.x.ndim == 2:
        return None  # texts are not near each other number for number
    if min(len(seen.x), len(new.x)) < 2 * NEIGHBOURS or are_windows(seen.x):
        return None  # windows of a series come back to where they were; those that overlap are told exactly
    known, asked = _described(seen.x), _described(new.x)
    within = _closeness(known[:2000], known, itself=True)
    across = _closeness(asked, known, itself=False)
    if new.x.ndim == 4:  # mirrored copies are copies, too
        across = across.minimum(_closeness(_described(new.x.flip(3)), known, itself=False))
        within = within.minimum(_closeness(_described(seen.x[:2000].flip(3)), known, itself=True))
    usual, share = float((within < CLOSE).double().mean()), float((across < CLOSE).double().mean())
    spread = (max(usual, 1 / len(within)) / len(across)) ** 0.5
    if share > OFTEN and usual > OFTEN and (size := _size_of_families(seen, new)):
        return LEAK.failed(
            f"Images come in families of {size:.1f} near copies, as if they had been split after they were augmented: "
            f"{share:.0%} of {len(new.x)} validation samples have relatives in training.",
            share=share,
        )
    if share < COPIES or share - usual < SURE * spread or share < 2 * usual:
        return _moved(seen, new)
    return LEAK.failed(
        f"{share:.0%} of {len(new.x)} validation samples are far nearer to a training sample than is usual; of "
        f"training samples to others {usual:.1%} are.",
        share=share,
        usual=usual,
    )


def _moved(seen: Sample, new: Sample) -> Result | None:
    """Copies that were moved by a few pixels, mirrored, or made brighter, of all images of both splits."""
    if new.x.ndim != 4 or min(as_images(new.x[:1]).shape[2:]) < LEAST_SIDE or _targets_are_distinct(seen, new):
        return None
    x = torch.cat([seen.x[:MOST_SEEN], new.x[:MOST_NEW]])
    views, middle = _views(x)
    near = functools.reduce(torch.maximum, (each @ middle.T for each in views))
    near = near.maximum(near.T).fill_diagonal_(-1)
    count = min(len(seen.x), MOST_SEEN)
    apart = (2 - 2 * near).clamp_min(0).sqrt()
    usual = apart.topk(NEIGHBOURS, dim=1, largest=False).values[:, -1:]
    related = apart < CLOSE_MOVED * usual
    within, across = (
        float(related[rows, :count].any(1).double().mean()) for rows in (slice(count), slice(count, None))
    )
    sizes = _families(related)
    even = sizes.mean() >= PAIRS_MOVED and sizes.var() <= EVEN_MOVED * sizes.mean()
    parted = _is_rich(new.x) and _gap(apart[count:], usual[count:]) > GAP and _closed(related) > CLOSED
    if min(within, across) < OFTEN or not (even or parted):
        return None
    return LEAK.failed(
        f"{across:.0%} of {len(x) - count} validation images are near copies of training images, moved, mirrored or "
        f"brightened, and {within:.0%} of the training images are of each other, as if they had been split after they "
        "were augmented.",
        share=across,
        usual=within,
    )


def _gap(apart: torch.Tensor, usual: torch.Tensor) -> float:
    """By how much the distances of an image to its neighbours leap at most from one to the next, the median of all.

    Copies are at hand and then nothing for a while; of images alike by chance, each next one is a little farther.
    """
    near = apart.topk(NEIGHBOURS, dim=1, largest=False).values.maximum(LEAST_APART * usual)
    return float((near[:, 1:] / near[:, :-1]).max(1).values.median())


def _closed(related: torch.Tensor) -> float:
    """Of the images that have a relative in common the share that are relatives, too, as copies of one picture are."""
    links = (related | related.T).float()
    in_common = (links @ links).fill_diagonal_(0)
    return float((in_common * links).sum() / in_common.sum().clamp_min(1))


def _is_rich(x: torch.Tensor) -> bool:
    """Whether pictures have no ground of one value, as photographs and noisy ones: no two are the same by chance."""
    rows = x[:FEW].flatten(1)
    grounds = torch.tensor([int(row.unique(return_counts=True)[1].max()) / row.numel() for row in rows])
    values = torch.tensor([len(row.unique()) for row in rows], dtype=torch.float)
    return (
        rows.shape[1] >= LEAST_VALUES
        and float(grounds.median()) < MOST_GROUND
        and float(values.median()) >= LEAST_VALUES
    )


def _is_measured(x: torch.Tensor) -> bool:
    """Whether rows of a table have several columns of numbers that hardly come twice: no two are the same by chance."""
    if x.ndim != 2 or not x.is_floating_point():
        return False
    rows = x.unique(dim=0)
    distinct = [len(column.unique()) / len(rows) for column in rows.unbind(1)]
    return sum(share > MEASURED for share in distinct) >= FEWEST_MEASURED


def _views(x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Each picture in small, as `_described` has it, moved by a cell to each side and mirrored; and its middle."""
    small = F.adaptive_avg_pool2d(as_images(x), SIDE)
    inner = SIDE - 2
    found = [
        _unit(turned[:, :, down : down + inner, across : across + inner])
        for turned in (small, small.flip(3))
        for down in range(3)
        for across in range(3)
    ]
    return found, found[4]


def _families(related: torch.Tensor) -> torch.Tensor:
    """How many images each connected group has."""
    _, family = connected_components(csr_array(related.numpy()), directed=False)
    return torch.bincount(torch.from_numpy(family)).double()


def _size_of_families(seen: Sample, new: Sample) -> float:
    """How many near copies there are of each image of both splits, if of all about as many; else 0.

    Of images that are alike by chance, as of simple drawings, some are alone and some have many neighbours: their
    numbers vary about as a Poisson variable does.
    """
    x = torch.cat([seen.x, new.x])
    if len(x) > MOST_RELATED or not (seen.complete and new.complete) or _targets_are_distinct(seen, new):
        return 0.0
    described = _described(x)
    similar = described @ described.T
    if x.ndim == 4:
        similar = similar.maximum(_described(x.flip(3)) @ described.T)
    similar.fill_diagonal_(-1)
    apart = (2 - 2 * similar).clamp_min(0).sqrt()
    usual = apart.topk(NEIGHBOURS, dim=1, largest=False).values[:, -1:]
    sizes = _families(apart < CLOSE * usual)
    return float(sizes.mean()) if sizes.mean() > PAIRS and sizes.var() < EVEN * sizes.mean() else 0.0


def _targets_are_distinct(seen: Sample, new: Sample) -> bool:
    """Whether hardly two samples of a regression have one target, as copies of one picture would."""
    regression = seen.y.is_floating_point() and new.y.is_floating_point()
    return regression and len(seen.y.unique(dim=0)) > DISTINCT * len(seen.y)


def relatives(images: torch.Tensor) -> float:
    """How many images of a split each has that are near copies or mirrored ones, itself among them, as frames of one
    clip, or where a split was augmented beforehand."""
    if len(images) < 2 * NEIGHBOURS:
        return 1.0
    described = _described(images)
    apart = (2 - 2 * (described @ described.T).fill_diagonal_(-1)).clamp_min(0).sqrt()
    usual = apart.topk(NEIGHBOURS, dim=1, largest=False).values[:, -1:]
    if min(images.shape[2:]) > 1:
        alike = (described @ _described(images.flip(3)).T).fill_diagonal_(-1)  # many a picture is its own mirror
        apart = torch.minimum(apart, (2 - 2 * torch.maximum(alike, alike.T)).clamp_min(0).sqrt())
    return float(_families(apart < CLOSE_MOVED * usual).mean())


def _described(x: torch.Tensor) -> torch.Tensor:
    """(n, numbers) of length 1: the picture in small, whatever its brightness and contrast."""
    images = as_images(x)
    return _unit(F.adaptive_avg_pool2d(images, (min(SIDE, images.shape[2]), min(SIDE, images.shape[3]))))


def _unit(small: torch.Tensor) -> torch.Tensor:
    rows = small.flatten(1)
    return F.normalize(rows - rows.mean(1, keepdim=True), dim=1)


def _closeness(asked: torch.Tensor, known: torch.Tensor, itself: bool) -> torch.Tensor:
    """(n,) distance to the nearest as a share of the distance to the 20th."""
    found = []
    for start in range(0, len(asked), 500):
        part = asked[start : start + 500]
        similar = part @ known.T
        if itself:
            similar[torch.arange(len(part)), torch.arange(start, start + len(part))] = -1
        best = similar.topk(NEIGHBOURS, dim=1).values
        distances = (2 - 2 * best).clamp_min(0).sqrt()
        found.append(distances[:, 0] / distances[:, -1].clamp_min(1e-6))
    return torch.cat(found)
