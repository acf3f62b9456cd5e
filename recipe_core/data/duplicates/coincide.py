"""Whether two pictures show the same greys in the same places, but for what was laid over a part of one.

A smooth picture (fog, a sky, a drawing's slopes of colour) has hardly a detail that could agree, and a caption on it is
all the detail there is. But no other picture has the same slopes, as bright, in the same places.
"""

import numpy as np
import torch

from recipe_core.data.duplicates.align import unmoved
from recipe_core.data.duplicates.compare import Compared

SLOPE = 1.0  # levels a px, at 32 px: where both are flatter, they agree by chance
LEAST_TOLD = 0.1  # share of the picture that is no flatter
LEAST_SAME = 0.57  # of that; of two photographs chosen for their likeness it is under 0.42, with writing all over 0.59


def coincidence(first: torch.Tensor, second: torch.Tensor, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of each pair is the same, as it lies and as bright as it is.

    Args:
        first, second: float (pairs, channels, side, side).
        noise: levels by which copies differ.

    Returns:
        float (pairs,) twice: the share of each picture that has a slope, in one of the two or both; and the share of
        that which is the same in every channel.
    """
    told = (torch.maximum(_steepness(first), _steepness(second)) > SLOPE).float()
    same = ((first - second).abs().amax(1) < noise).float()
    return told.mean((1, 2)), (told * same).sum((1, 2)) / told.sum((1, 2)).clamp_min(1)


def coincides(told: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Which pairs may be copies, by what `coincidence` says of them, bool."""
    return (told > LEAST_TOLD) & (same > LEAST_SAME)


def as_it_lies(first: torch.Tensor, second: torch.Tensor, told: torch.Tensor, same: torch.Tensor) -> Compared:
    """What `compare` would say of grey pairs (pairs, side, side) that are the same where they are not written on."""
    one = torch.ones(len(first))
    spread = first.flatten(1).std(1).clamp_min(1)
    misfit = (first - second).abs().flatten(1).median(1).values / spread
    return Compared(unmoved(len(first)).maps, one, 0 * one, misfit, told, same, same, same, one, one)


def _steepness(pictures: torch.Tensor) -> torch.Tensor:
    down, across = torch.gradient(pictures.mean(1), dim=(1, 2))
    return torch.hypot(down, across)
