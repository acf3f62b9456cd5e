"""How much of what stands out of a picture's ground the other one, laid over it, does not show.

Drawings, charts, letters and cut-outs on one plain colour share their layout and most of their few edges with others of
their kind; what tells them apart is the ink, and the more of it there is in other places, the less are they copies.
"""

import torch

PLAIN = 3.0  # times the noise: what differs from the commonest level by less belongs to the ground
NOISY, SHIFTED = 2.0, 0.5  # times the noise, and px of a shift, that a difference may be due to
STRIP = 3 / 16  # of a side: what a caption hides at one edge, or a frame at all


def against_ground(
    expected: torch.Tensor, seen: torch.Tensor, inside: torch.Tensor, noise: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare grey pairs that are laid over each other and equally bright.

    Args:
        expected, seen: float (pairs, side, side).
        inside: where both are seen, 0 or 1.
        noise: levels by which copies differ.

    Returns:
        Two of float (pairs,): the share of the picture that is ground in both; and, as a share of what stands out of
        the ground, what differs by more than noise and half a px of shift explain, but for the edge that differs most.
    """
    excess = (expected - seen).abs() - NOISY * noise - SHIFTED * torch.maximum(steepness(expected), steepness(seen))
    standing = [_off_ground(each) * inside for each in (expected, seen)]
    ground = torch.minimum(*(((each < PLAIN * noise) * inside).sum((1, 2)) for each in standing))
    left = _but_for_an_edge(excess.clamp_min(0) * inside)
    ink = torch.minimum(*(_but_for_an_edge(each) for each in standing))
    return ground / inside.sum((1, 2)).clamp_min(1), (left / ink.clamp_min(1)).amin(0)


def steepness(pictures: torch.Tensor) -> torch.Tensor:
    """Levels a px of grey pictures."""
    down, across = torch.gradient(pictures, dim=(1, 2))
    return (down.square() + across.square()).sqrt()


def _off_ground(pictures: torch.Tensor) -> torch.Tensor:
    return (pictures - pictures.flatten(1).median(1).values[:, None, None]).abs()


def _but_for_an_edge(values: torch.Tensor) -> torch.Tensor:
    """(6, pairs): the sum of all, of all but a strip at each edge, and without the four of them."""
    strip = round(values.shape[1] * STRIP)
    rows, columns = values.sum(2), values.sum(1)
    parts = [rows, *(each[:, part] for each in (rows, columns) for part in (slice(strip, None), slice(-strip)))]
    return torch.stack([*(part.sum(1) for part in parts), values[:, strip:-strip, strip:-strip].sum((1, 2))])
