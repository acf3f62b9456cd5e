"""Laying one picture over another: an affine map and a gain, for many pairs at once.

Gauss-Newton by the inverse compositional method with robust weights (Baker and Matthews, "Lucas-Kanade 20 Years On: A
Unifying Framework", 2004): the gradients are those of the first picture, so each step is one warp and one small solve.
Coordinates run from -1 to 1 from edge to edge, as in `torch.nn.functional.grid_sample`.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

# Grey levels squared per pixel that a map must gain for each unit (squared) by which it differs from the identity: on a
# sky that is one slope, any shift fits as well as any gain.
REST = 5.0
TONE_STEPS = 5  # of a robust fit of the tone alone


@dataclass(slots=True)
class Alignment:
    """How the second picture of each pair lies over the first: second(maps(x)) = gain * (first(x) - mean) + offset."""

    maps: torch.Tensor  # (pairs, 2, 3)
    gain: torch.Tensor  # (pairs,)
    offset: torch.Tensor  # (pairs,)


def unmoved(count: int) -> Alignment:
    """To start from: nothing is moved, and nothing known of the tone."""
    return Alignment(torch.eye(2, 3).repeat(count, 1, 1), torch.zeros(count), torch.zeros(count))


def in_place(first: torch.Tensor, second: torch.Tensor) -> Alignment:
    """Nothing is moved, and the tone is what most of the pixels say."""
    parts = torch.stack([first - first.mean((1, 2), keepdim=True), torch.ones_like(first)], 1).flatten(2)
    seen = second.flatten(1)
    weights = torch.ones_like(seen)
    for _ in range(TONE_STEPS):
        weighted = parts * weights[:, None]
        normal = weighted @ parts.transpose(1, 2) + 1e-3 * torch.eye(2)
        tone = torch.linalg.solve(normal, (weighted @ seen[:, :, None])[:, :, 0])
        weights = _trusted(seen - (tone[:, None] @ parts)[:, 0], torch.ones_like(seen))
    return Alignment(unmoved(len(first)).maps, tone[:, 0].clamp_min(0.1), tone[:, 1])


def align(
    first: torch.Tensor, second: torch.Tensor, start: Alignment, steps: int, looked_at: torch.Tensor | None = None
) -> Alignment:
    """Improve the alignment of pairs of grey pictures.

    Args:
        first, second: float (pairs, side, side).
        start: what to improve.
        steps: of Gauss-Newton.
        looked_at: float (pairs, side, side), what is looked at; everywhere if not given.
    """
    slopes = _slopes(first)
    maps, tone = start.maps, torch.stack([start.gain, start.offset], 1)
    rest = torch.eye(2, 3)
    for _ in range(steps):
        seen, inside = warp(second, maps)
        if looked_at is not None:
            inside = inside * looked_at
        tone, shift = _step(slopes, seen.flatten(1), inside.flatten(1), tone, (maps - rest).flatten(1))
        maps = _compose(maps, shift)
    return Alignment(maps, tone[:, 0], tone[:, 1])


def warp(pictures: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures seen through the maps, and where there is a picture to see (float 0 or 1).

    Args:
        pictures: float (pairs, side, side) or (pairs, channels, side, side).
    """
    channels = pictures if pictures.dim() == 4 else pictures[:, None]
    grid = functional.affine_grid(maps, [len(pictures), 1, *pictures.shape[-2:]], align_corners=False)
    seen = functional.grid_sample(channels, grid, padding_mode="border", align_corners=False)
    return seen.view_as(pictures), (grid.abs().amax(3) <= 1).float()


def _slopes(first: torch.Tensor) -> torch.Tensor:
    """What each of the six numbers of a map changes, then the picture and 1: (pairs, 8, pixels)."""
    side = first.shape[-1]
    down, across = torch.gradient(first, dim=(1, 2))
    at = (torch.arange(side) + 0.5) * 2 / side - 1
    x, y = at[None, None, :], at[None, :, None]
    across, down = across * side / 2, down * side / 2
    centred = first - first.mean((1, 2), keepdim=True)
    parts = (across * x, across * y, across, down * x, down * y, down, centred, torch.ones_like(first))
    return torch.stack(parts, 1).flatten(2)


def _step(
    slopes: torch.Tensor, seen: torch.Tensor, inside: torch.Tensor, tone: torch.Tensor, moved: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One weighted least-squares fit: the new (gain, offset) and the change of the map."""
    weights = inside
    if tone[:, 0].any():
        weights = _trusted(seen - tone[:, :1] * slopes[:, 6] - tone[:, 1:], inside)
    weighted = slopes * weights[:, None]
    normal = weighted @ slopes.transpose(1, 2)
    right = (weighted @ seen[:, :, None])[:, :, 0]
    right[:, :6] += REST * seen.shape[1] * tone[:, :1] * moved
    damping = normal.diagonal(dim1=1, dim2=2) * 1e-4 + 1e-3
    damping[:, :6] += REST * seen.shape[1]
    solved = torch.linalg.solve(normal + torch.diag_embed(damping), right)
    gain = solved[:, 6].clamp_min(0.1)  # a negative would be an inverted picture
    shift = (solved[:, :6] / gain[:, None]).clamp(-0.25, 0.25)
    return torch.stack([gain, solved[:, 7]], 1), shift


def _trusted(misfit: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """How much each pixel counts: the less the worse it fits."""
    usual = (misfit.abs() * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp_min(1)
    return inside / (1 + (misfit / usual.clamp_min(1)).square())


def _compose(maps: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """The map after the inverse of the change."""
    last = maps.new_tensor([0, 0, 1]).expand(len(maps), 1, 3)
    whole = torch.cat([maps, last], 1)
    change = torch.cat([shift.view(-1, 2, 3), torch.zeros_like(last)], 1) + torch.eye(3)
    return torch.linalg.solve(change, whole, left=False)[:, :2]
