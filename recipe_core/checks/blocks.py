"""Is there a stretch of the training data, in the order in which it is stored, whose labels belong to other images?"""

from dataclasses import dataclass
from typing import Any

import torch

from recipe_core.checks.lessons import MOST, lesson
from recipe_core.checks.sight import MOST as SEEN
from recipe_core.checks.sight import seen, sight
from recipe_core.checks.subject import Subject, by_index

FEWEST = 300  # samples
SHORTEST, LONGEST = 0.1, 0.9  # of them
STEPS = 40  # places where a stretch may begin or end
ORDERS = 50  # at random, to see what chance makes of stretches
BEYOND_CHANCE = 1.3  # times the largest difference of these
TOLD = 0.3  # of what is not chance, that a learner tells outside
GUESSED = 0.15  # of that, at most, within


@dataclass(frozen=True)
class Block:
    """Samples first to last of the stored data, and the share of right answers within and outside."""

    first: int
    last: int
    within: float
    outside: float


def wrong_block(subject: Subject) -> Block | None:
    """A stretch of the training set in which labels are told no better than by chance, unlike in the rest.

    What is compared is each sample with others of its class, so that a class that is hard, and stored in one piece, is
    no such stretch.
    """
    dataset: Any = getattr(subject.pipeline.train_loader, "dataset", None)
    if not by_index(dataset) or len(dataset) < FEWEST:
        return None
    every = -(-len(dataset) // MOST)
    drawn = subject.read(dataset, range(0, len(dataset), every))
    if drawn is None:
        return None
    eyes = subject.once(sight)
    if eyes is not None:
        every, drawn = every * -(-len(drawn.x) // SEEN), seen(subject, eyes, drawn)
    split = lesson(drawn, subject.classes, shuffled=False)
    if not split.usable or split.labels is None or len(split.images) < FEWEST:
        return None
    right = (split.learner.held_out.argmax(1) == split.labels).double()
    usual = torch.zeros(split.targets.shape[1], dtype=torch.float64).index_reduce(
        0, split.labels, right, "mean", include_self=False
    )
    residuals = right - usual[split.labels]
    first, last, lack = _lowest(residuals)
    chance = torch.Generator().manual_seed(0)
    by_chance = max(_lowest(residuals[torch.randperm(len(right), generator=chance)])[2] for _ in range(ORDERS))
    inside = torch.zeros(len(right), dtype=torch.bool)
    inside[first:last] = True
    guess = float((split.labels.bincount() / len(right)).square().sum())
    within, outside = float(right[inside].mean()), float(right[~inside].mean())
    above, told = within - guess, outside - guess
    if lack > BEYOND_CHANCE * by_chance and told > TOLD * (1 - guess) and above < GUESSED * told:
        return Block(first * every, last * every, within, outside)
    return None


def _lowest(residuals: torch.Tensor) -> tuple[int, int, float]:
    """The stretch whose sum is lowest for its length: where it begins and ends, and how low, in deviations."""
    count = len(residuals)
    edges = torch.linspace(0, count, STEPS + 1).round().long()
    sums = torch.cat([torch.zeros(1, dtype=residuals.dtype), residuals.cumsum(0)])[edges]
    length = (edges - edges[:, None]).double()  # [start, end]
    asked = (length >= SHORTEST * count) & (length <= LONGEST * count)
    spread = (length * (1 - length / count)).clamp_min(1e-9).sqrt()
    lack = torch.where(asked, (sums[:, None] - sums) / spread, 0.0)
    start, end = divmod(int(lack.argmax()), STEPS + 1)
    return int(edges[start]), int(edges[end]), float(lack[start, end])
