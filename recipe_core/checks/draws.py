"""Does training see every sample, equally often, in an order that mixes the classes?"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import Any

import torch
from torch.utils.data import IterableDataset

from recipe_core.checks.probe import marks
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import SHARE_OF_TIME, Subject, by_index
from recipe_core.checks.targets import labels_of

PASSES = 3
MOST_INDICES = 200_000  # of a pass
MOST_STREAMED = 20_000
MOST_LABELS = 3000  # samples whose label is looked up
LEFT_OUT = 0.03  # share of samples: more than the rest of a last batch usually is
MANY_TIMES = 4  # as many samples as a dataset's length says, that are there
NO_ROW = 2 * 10**9  # no dataset that stores its samples has so many, and a seed may be as large
MOST_LEFT = 0.5  # share of samples: no split or fold gives away more of the training data
EFFECTIVE = 0.3  # of the samples of a class: how many equally frequent ones would be as varied
LOPSIDED = 0.05  # nats of entropy of the classes that the sampler takes away
MIXED = 0.3  # of the way from batches that are mixed by chance to batches of one class
SURE = 8.0  # deviations of what chance gives
FEWEST_BATCHES, MOSTLY = 5, 0.8  # batches, and the share of them that hold rows of others

UNEVEN = Cause(
    "samples-drawn-unevenly",
    "The sampler draws a few samples, or the classes that are frequent anyway, again and again.",
    "Draw every sample once per epoch (shuffle=True); weight rare classes by the inverse of their frequency.",
    0.6,
)
NEVER = Cause(
    "samples-never-drawn",
    "The loader leaves out the same samples in every epoch.",
    "Look at the sampler's indices; with drop_last use shuffle=True; never use drop_last in validation.",
    0.5,
)
USED_UP = Cause(
    "loader-used-up",
    "A loader can be gone through once: later epochs train on nothing, later evaluations measure nothing.",
    "Give the DataLoader or a list of batches, not a generator or iter(loader).",
    0.9,
)
SORTED = Cause(
    "not-shuffled",
    "Batches hold samples of one or few classes each, since training sees the data in sorted order: the network "
    "learns and forgets class after class.",
    "Shuffle the training data: DataLoader(..., shuffle=True), or a shuffle buffer in an IterableDataset.",
    0.8,
)


@check(family="data", stage=1, cost=0.1, causes=[USED_UP])
def loaders_begin_anew(subject: Subject) -> Iterator[Result]:
    """A second pass over a loader gives batches, too."""
    passes = {
        "training": (subject.drawn_train, subject.drawn_train_again),
        "validation": (subject.drawn_val, subject.drawn_val_again),
    }
    spent = [name for name, (first, again) in passes.items() if first is again]
    yield from [USED_UP.failed(f"The second pass over the {name} loader gives nothing.") for name in spent] or [
        passed("It does.")
    ]


@check(family="data", stage=1, cost=1, causes=[UNEVEN, NEVER])
def samples_are_drawn_equally_often(subject: Subject) -> Iterator[Result]:
    """Over a few epochs each sample of a class is drawn about as often as the others of it, none is left out each time,
    and the sampler does not make rare classes rarer."""
    found = []
    train, val = subject.pipeline.train_loader, subject.pipeline.val_loader
    passes = _passes(subject, train)
    if passes:
        found += [*_uneven(subject, train, passes), *_never(train, passes, "training", val)]
    val_passes = _passes(subject, val)
    if val_passes:
        found += _never(val, val_passes, "validation", train)
    found += [
        each
        for name, loader in (("training", train), ("validation", val))
        if (each := _beyond_its_length(subject, name, loader))
    ]
    found += [
        each
        for name, loader, sample in (("training", train, subject.drawn_train), ("validation", val, subject.drawn_val))
        for each in _copies(name, _whole_pass(subject, loader, sample))
    ]
    found += _shifted_batches(subject.drawn_train)
    yield from found or [passed("Each sample has its turn.")]


def _passes(subject: Subject, loader: Any) -> list[torch.Tensor]:
    """The indices that a loader draws in some passes, without loading anything; none where it does not tell them."""
    sampler, dataset = getattr(loader, "batch_sampler", None), getattr(loader, "dataset", None)
    if sampler is None or not hasattr(dataset, "__len__"):
        sampler = getattr(loader, "sampler", None) if getattr(loader, "batch_size", 0) is None else None
    if sampler is None or not hasattr(dataset, "__len__"):
        return []
    found = []
    for _ in range(PASSES):
        subject.check_time()
        drawn = list(islice(_flat(sampler), MOST_INDICES))
        if not all(isinstance(each, int) for each in drawn) or not drawn:
            return []
        found.append(torch.tensor(drawn))
    return found


def _flat(sampler: Iterable) -> Iterator:
    for each in sampler:
        yield from each if isinstance(each, list | tuple) else [each]


def _never(loader: Any, passes: list[torch.Tensor], name: str, other: Any) -> list[Result]:
    size = len(loader.dataset)
    if max(map(len, passes)) >= MOST_INDICES:
        return []
    seen = torch.cat(passes).unique()
    left = size - len(seen)
    once = all(len(each.unique()) == len(each) for each in passes)
    alike = all(len(each) == len(seen) for each in passes)  # the same samples each time
    if left <= LEFT_OUT * size or not (once and alike):
        return []
    said = f"{left} of {size} {name} samples ({left / size:.0%}) are never drawn"
    drops = bool(getattr(loader, "drop_last", False)) and left < (loader.batch_size or 1)
    if drops:
        return [
            NEVER.failed(f"{said}: they are the rest that drop_last drops, the same in every pass.", left=left, of=size)
        ]
    if getattr(other, "dataset", None) is loader.dataset:
        return []  # the sampler splits the dataset
    if left > MOST_LEFT * size:
        return [NEVER.failed(f"{said}: the sampler takes the same few each time.", left=left, of=size)]
    return [NEVER.unsure(f"{said}; is the sampler meant to take a part?", 0.3, left=left, of=size)]


def _beyond_its_length(subject: Subject, name: str, loader: Any) -> Result | None:
    """Samples that a dataset gives when it is asked for more than its length: one that makes samples up gives any."""
    dataset: Any = getattr(loader, "dataset", None)
    if not by_index(dataset) or not len(dataset):
        return None
    size = len(dataset)
    first, *beyond = (_given(subject, dataset, row) for row in (0, size, MANY_TIMES * size - 1))
    if not first or any(each != first for each in beyond) or _given(subject, dataset, NO_ROW) is not None:
        return None
    return NEVER.failed(
        f"The {name} dataset says that it has {size:,} samples, and gives {MANY_TIMES * size:,} when it is asked for "
        "them: the others are never drawn.",
        size=size,
    )


def _given(subject: Subject, dataset: Any, row: int) -> tuple[int, ...] | None:
    """The shape of a sample's inputs; None where the dataset says that there is no such sample; else nothing."""
    subject.check_time()
    try:
        item = dataset[row]
    except LookupError:
        return None
    except Exception:  # noqa: BLE001  # a dataset may raise anything for what it was never asked for
        return ()
    return tuple(item[0].shape) if isinstance(item, tuple | list) and isinstance(item[0], torch.Tensor) else ()


def _uneven(subject: Subject, loader: Any, passes: list[torch.Tensor]) -> Iterator[Result]:
    drawn, size = torch.cat(passes), len(loader.dataset)
    counts = torch.bincount(drawn, minlength=size).double()
    pool = (
        counts.nonzero().flatten()
        if getattr(subject.pipeline.val_loader, "dataset", None) is loader.dataset
        else torch.arange(size)
    )
    rows = pool[torch.randperm(len(pool))[:MOST_LABELS]]
    labels = _labels(subject, loader.dataset, rows)
    if labels is None:
        labels = torch.zeros(len(rows), dtype=torch.long)
    rows = rows[: len(labels)][labels >= 0]
    labels = labels[labels >= 0]  # what a loss leaves out has no class
    for each in labels.unique():
        own = counts[rows[labels == each]]
        expected = float(own.sum())
        # Of draws that chance alone spreads evenly the squares sum to total + total^2 / samples.
        surplus = float(own.square().sum()) - expected
        effective = expected**2 / surplus if surplus > 0 else float(len(own))
        if len(own) >= 20 and expected >= len(own) and effective < EFFECTIVE * len(own):
            yield UNEVEN.failed(
                f"In {PASSES} epochs {int((own > 0).sum())} of {len(own)} samples of class {int(each)} were drawn, "
                f"the most frequent one {int(own.max())} times: as varied as {effective:.0f} samples.",
                never=int((own == 0).sum()),
                effective=effective,
            )
            return
    yield from _lopsided(labels, counts[rows])


def _lopsided(labels: torch.Tensor, counts: torch.Tensor) -> Iterator[Result]:
    there = torch.bincount(labels).double()
    drawn = torch.bincount(labels, weights=counts)
    there, drawn = there[there > 0] / there.sum(), drawn[there > 0] / drawn.sum().clamp_min(1)
    entropies = [float(-(each[each > 0] * each[each > 0].log()).sum()) for each in (there, drawn)]
    if entropies[1] < entropies[0] - LOPSIDED and float(counts.sum()) > 200:
        yield UNEVEN.failed(
            f"The sampler draws the most frequent class in {float(drawn.max()):.0%} of the cases, while it is "
            f"{float(there.max()):.0%} of the samples, and the rarest in {float(drawn.min()):.1%} instead of "
            f"{float(there.min()):.1%}.",
            there=there.tolist(),
            drawn=drawn.tolist(),
        )


def _labels(subject: Subject, dataset: Any, rows: torch.Tensor) -> torch.Tensor | None:
    """Of these samples, or of the first of them that there is time to read."""
    if not subject.classes:
        return None
    found: list[torch.Tensor] = []
    started, seconds = time.monotonic(), max(1.0, SHARE_OF_TIME * subject.budget)
    for row in rows.tolist():
        subject.check_time()
        if found and time.monotonic() - started > seconds:
            break
        item = dataset[row]
        if not (isinstance(item, tuple | list) and len(item) > 1):
            return None
        try:
            found.append(torch.as_tensor(item[1]))
        except (TypeError, ValueError, RuntimeError):
            return None  # words, or a label of several parts, of which the loader's collate_fn makes one
    with contextlib.suppress(RuntimeError, ValueError):
        return labels_of(torch.stack(found), subject.classes)
    return None


def _whole_pass(subject: Subject, loader: Any, sample: Sample) -> Sample:
    """More of a stream that several workers give."""
    by_workers = isinstance(getattr(loader, "dataset", None), IterableDataset) and loader.num_workers > 1
    return subject.draw(loader, MOST_STREAMED) if by_workers and not sample.complete else sample


def _copies(name: str, sample: Sample) -> list[Result]:
    """Samples that one pass gives several times each, as from workers that do not share the work."""
    if not sample.complete or len(sample) < 20:
        return []  # of an endless stream nothing is known
    # With another target it is another sample, as of a person who chose several things.
    counts = Counter(pair for x, y in sample.batches for pair in zip(marks(x), marks(y), strict=True))
    least, most = min(counts.values()), max(counts.values())
    if least < 2 or most > least + 1 or len(counts) < 10:  # one more of some, where an index begins anew at its bound
        return []
    times = f"{least} times" if most == least else f"{least} or {most} times, {len(counts)} of them"
    return [UNEVEN.failed(f"One pass over the {name} data gives every sample {times}.", 0.4, times=least)]


def _shifted_batches(sample: Sample) -> list[Result]:
    """Batches that are each other's rows, moved by some: slices of the data that overlap."""
    rows = [marks(x) for x, _ in sample.batches]
    if len(rows) < FEWEST_BATCHES or any(len(set(each)) < len(each) for each in rows):
        return []
    places: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for batch, each in enumerate(rows):
        for place, mark in enumerate(each):
            places[mark].append((batch, place))
    moved = Counter(
        (one, other, to - at) for found in places.values() for (one, at), (other, to) in pairwise(found) if to != at
    )
    overlapping = {
        batch for (one, other, _), count in moved.items() for batch in (one, other) if 4 * count >= len(rows[one])
    }
    if len(overlapping) < MOSTLY * len(rows):
        return []
    drawn = sum(map(len, rows))
    return [
        UNEVEN.failed(
            f"{len(overlapping)} of {len(rows)} training batches hold rows of another, in the same order but moved: "
            f"of {drawn} samples drawn {len(places)} are different.",
            drawn=drawn,
            different=len(places),
        )
    ]


@check(family="data", stage=1, cost=0.5, causes=[SORTED])
def batches_mix_the_classes(subject: Subject) -> Result:
    """The batches of training hold as many classes each as if the samples were shuffled."""
    labels = labels_of(subject.drawn_train.y, subject.classes)
    sizes = subject.drawn_train.sizes
    if len(sizes) < 2 or sum(sizes) != len(subject.drawn_train.y):
        return skipped("There are not several batches to compare.")
    if labels is None:
        return _sorted_targets(subject.drawn_train.y.reshape(len(subject.drawn_train.y), -1).float(), sizes)
    labels = labels.clamp_min(-1) + 1  # what a loss leaves out is a class of its own here
    chance = torch.Generator().manual_seed(0)
    null = torch.tensor([_purity(labels[torch.randperm(len(labels), generator=chance)], sizes) for _ in range(20)])
    purity, usual = _purity(labels, sizes), float(null.mean())
    only = _other_classes(subject, labels)
    if only is not None:
        return only
    excess = (purity - usual) / max(1e-9, 1 - usual)
    told = {"same_class": purity, "shuffled": usual}
    if excess > MIXED and purity - usual > SURE * float(null.std()):
        return SORTED.failed(
            f"Two samples of a batch are of the same class in {purity:.0%} of the cases, if shuffled in {usual:.0%}.",
            **told,
        )
    return passed(
        f"Two samples of a batch are of the same class in {purity:.0%} of the cases, as when shuffled.", **told
    )


def _other_classes(subject: Subject, labels: torch.Tensor) -> Result | None:
    """Many batches of one class alone, while the rest of a large dataset has others."""
    raw = subject.raw_train
    if subject.drawn_train.complete or raw is None or len(labels.unique()) > 1:
        return None
    others = labels_of(raw.y, subject.classes)
    if others is None or len(others.unique()) < 2:
        return None
    return SORTED.failed(f"The first {len(labels)} training samples are all of one class, the dataset has more.")


def _purity(labels: torch.Tensor, sizes: list[int]) -> float:
    """How likely two samples of a batch are of the same class."""
    shares = [torch.bincount(part).double() / len(part) for part in labels.split(sizes)]
    return sum(float(each.square().sum()) for each in shares) / len(shares)


def _sorted_targets(targets: torch.Tensor, sizes: list[int]) -> Result:
    means = torch.stack([part.mean(0) for part in targets.split(sizes)])
    between = float(means.var(0).sum() / targets.var(0).sum().clamp_min(1e-12))
    usual = len(sizes) / len(targets)  # of shuffled ones: the variance of a mean
    if len(sizes) >= 5 and between > max(MIXED, SURE * usual):
        return SORTED.failed(
            f"{between:.0%} of the targets' variance lies between batches; shuffled it would be {usual:.0%}."
        )
    return passed("The targets differ as much within batches as when shuffled.")
