"""Whether two pictures, laid over each other, are the same: do their details agree, place by place?

Pictures of one kind share their layout (sky above, sea below) but not their details. So both are aligned, their low
frequencies are taken away, and what is left is correlated in small windows. Copies agree nearly everywhere that there
is detail above the noise of compression; a caption spoils its place only.
"""

from dataclasses import dataclass, fields, replace
from functools import cache

import torch

from recipe_core.data.duplicates.align import Alignment, align, warp
from recipe_core.data.duplicates.ground import against_ground

SMOOTH = 0.8  # px: blur under which pictures are aligned
FINE, COARSE = 0.7, 2.5  # px: details lie between these two blurs
WINDOW = 3.0  # px, sigma
ALIKE = 0.7  # correlation from which a window agrees
FRAME = 3 / 16  # of a side: what a bar, a frame or the filled corners of a turned copy spoil at each edge
LINE = 0.8  # of a side: so much of it a frame runs along
ONE_STRIP = 0.9  # of what tells anything: if it lies at one edge it may be the same caption under another picture
LEAST_TOLD = 0.2  # share of the rest that has detail above the noise; else it does not count by itself
# Two enlarged drawings have so few details that they agree by chance once aligned. So where neither picture has much
# that is finer than FINE (under SHARP of its details), no more may be left unexplained than noise and a small share.
SHARP, SHARE_LEFT, NOISE_LEFT = 0.2, 0.17, 1.6


@dataclass(slots=True)
class Compared:
    """What was measured of each pair, one value each."""

    maps: torch.Tensor  # (pairs, 2, 3): second(maps(x)) shows what first(x) does
    gain: torch.Tensor  # contrast of the second / first
    lighter: torch.Tensor  # grey levels by which the second is lighter
    misfit: torch.Tensor  # median difference of grey where both are seen, in standard deviations of the picture
    informed: torch.Tensor  # share of the picture with detail above the noise
    agreement: torch.Tensor  # share of that where the details agree
    heart: (
        torch.Tensor
    )  # the same without the edges, where a frame does not reach; 0 if all that tells lies at one edge
    similarity: torch.Tensor  # 0..1: mean correlation of the details, weighted by strength; of all or of the heart
    overlap: torch.Tensor  # share of the first that the second shows
    covered: torch.Tensor  # share of the second that the first shows
    ground: torch.Tensor  # share of the picture that is one plain level in both
    unexplained: torch.Tensor  # what differs, as a share of what stands out of the ground

    def start(self, first: torch.Tensor) -> Alignment:
        """Where to go on at another size of the pictures."""
        return Alignment(self.maps, self.gain, self.lighter + first.mean((1, 2)))

    def put(self, places: torch.Tensor, others: "Compared") -> None:
        for field in fields(self):
            getattr(self, field.name)[places] = getattr(others, field.name)

    def agreeing(self, share: torch.Tensor) -> "Compared":
        """The same pairs, laid as they are, of which so much was found to agree by other means."""
        return replace(self, agreement=share, heart=share, similarity=share)

    def take(self, chosen: torch.Tensor) -> "Compared":
        return Compared(*(getattr(self, field.name)[chosen] for field in fields(self)))


def compare(
    first: torch.Tensor,
    second: torch.Tensor,
    start: Alignment,
    steps: int,
    noise: float,
    looked_at: torch.Tensor | None = None,
    but_for_lines: bool = False,
) -> Compared:
    """Align pairs of grey pictures and compare their details.

    Args:
        first, second: float (pairs, side, side).
        start, steps, looked_at: see `align`.
        noise: grey levels of detail below which a window tells nothing.
        but_for_lines: whether lines from edge to edge tell nothing; of a small picture they would leave too little.
    """
    laid = align(smooth := _blurred(first, SMOOTH), others := _blurred(second, SMOOTH), start, steps, looked_at)
    misfit, ground, unexplained = _levels(smooth, others, laid, noise)
    details = _blurred(first, FINE) - _blurred(first, COARSE)
    others, inside = warp(_blurred(second, FINE) - _blurred(second, COARSE), laid.maps)
    told = inside * _off_lines(details, others * inside, noise) if but_for_lines else inside
    details, others = details * told, others * told
    own, other, common, part = (_windows(x) for x in (details**2, others**2, details * others, told))
    correlation = common / (own * other).sqrt().clamp_min(1e-3)
    own, other = own / part.clamp_min(0.1), other / part.clamp_min(0.1) / laid.gain[:, None, None].clamp(0.3, 3) ** 2
    strength = torch.maximum(own, other)
    left = strength * (1 - correlation.clamp(0, 1) ** 2)
    bound = (NOISE_LEFT * noise) ** 2 + SHARE_LEFT**2 * strength
    sharp = torch.maximum(_sharpness(first), _sharpness(second)) > SHARP
    alike = ((correlation > ALIKE) & (sharp[:, None, None] | (left < bound))).float()
    strength = _plainer(own, other, noise)
    tells = ((strength > noise**2) & (part > 0.5)).float()
    weights, likeness = tells * strength.sqrt().clamp_max(8 * noise), correlation.clamp(0, 1)
    agreement, similarity, informed = _mean(alike, tells), _mean(likeness, weights), tells.mean((1, 2))
    edge = round(alike.shape[1] * FRAME)
    strip = 2 * edge  # windows reach beyond what they see
    strips = (tells[:, :strip], tells[:, -strip:], tells[:, :, :strip], tells[:, :, -strip:])
    in_one = torch.stack([each.sum((1, 2)) for each in strips]).amax(0) > ONE_STRIP * tells.sum((1, 2))
    alike, tells, likeness, weights = (x[:, edge:-edge, edge:-edge] for x in (alike, tells, likeness, weights))
    heart, inner = _mean(alike, tells), _mean(likeness, weights)
    known = tells.mean((1, 2)) > LEAST_TOLD
    return Compared(
        laid.maps,
        laid.gain,
        laid.offset - first.mean((1, 2)),
        misfit,
        informed,
        agreement,
        torch.where(known, heart, torch.where(in_one, 0.0, agreement)),
        torch.where(known, torch.maximum(inner, similarity), similarity),
        inside.mean((1, 2)),
        (inside.mean((1, 2)) * torch.linalg.det(laid.maps[:, :, :2]).abs()).clamp_max(1),
        ground,
        unexplained,
    )


def _levels(
    first: torch.Tensor, second: torch.Tensor, laid: Alignment, noise: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The misfit, the ground and what is unexplained."""
    seen, inside = warp(second, laid.maps)
    gain, offset = laid.gain[:, None, None], laid.offset[:, None, None]
    centred = first - first.mean((1, 2), keepdim=True)
    off = (seen - offset).div(gain).sub(centred).abs()
    off = torch.where(inside > 0, off, torch.nan).flatten(1).nanmedian(1).values
    misfit = (off / centred.flatten(1).std(1).clamp_min(1)).nan_to_num(torch.inf)
    return misfit, *against_ground(gain * centred + offset, seen, inside, noise)


def _off_lines(first: torch.Tensor, second: torch.Tensor, noise: float) -> torch.Tensor:
    """0 in the rows and columns along which one of the two has a line from edge to edge, else 1.

    Bars and frames have such lines, and so has a picture whose lower half is grey: they tell nothing of the rest.
    """
    on_line = [
        torch.maximum(*((side * each > 2 * noise).float().mean(axis) for side in (1, -1))) > LINE
        for each in (first, second)
        for axis in (1, 2)
    ]
    columns, rows = on_line[0] | on_line[2], on_line[1] | on_line[3]
    return (~(rows[:, :, None] | columns[:, None, :])).float()


def _plainer(own: torch.Tensor, other: torch.Tensor, noise: float) -> torch.Tensor:
    """Of each pair the details of the picture that has fewer: writing on a picture tells nothing of the rest."""
    fewer = (own > noise**2).sum((1, 2)) <= (other > noise**2).sum((1, 2))
    return torch.where(fewer[:, None, None], own, other)


def _sharpness(pictures: torch.Tensor) -> torch.Tensor:
    """Strength of what is finer than the details, as a share of theirs."""
    fine, coarse = _blurred(pictures, FINE), _blurred(pictures, COARSE)
    return (pictures - fine).flatten(1).std(1) / (fine - coarse).flatten(1).std(1).clamp_min(1)


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (values * weights).sum((1, 2)) / weights.sum((1, 2)).clamp_min(1e-6)


def _blurred(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    return _averaged(pictures, _linear(pictures.shape[-1], sigma))


def _windows(pictures: torch.Tensor) -> torch.Tensor:
    return _averaged(pictures, _gaussian(pictures.shape[-1] // 2, pictures.shape[-1], WINDOW))


def _averaged(pictures: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Each picture averaged along both sides, as two plain products of matrices: those are the fastest."""
    across = pictures.reshape(-1, pictures.shape[-1]) @ kernel.T
    across = across.view(len(pictures), -1, len(kernel)).transpose(1, 2).reshape(-1, pictures.shape[-1])
    return (across @ kernel.T).view(len(pictures), len(kernel), len(kernel)).transpose(1, 2)


@cache
def _gaussian(places: int, side: int, sigma: float) -> torch.Tensor:
    """(places, side): each row averages a line of pixels around one of `places` even places."""
    middles = (torch.arange(places) + 0.5) * side / places - 0.5
    weights = torch.exp(-0.5 * ((middles[:, None] - torch.arange(side)) / sigma) ** 2)
    return weights / weights.sum(1, keepdim=True)


@cache
def _linear(side: int, sigma: float) -> torch.Tensor:
    """The same, made to keep what is linear (local linear regression): else a slope would have details at the edges."""
    weights = _gaussian(side, side, sigma)
    away = torch.arange(side) - torch.arange(side)[:, None].float()
    mean = (weights * away).sum(1, keepdim=True)
    spread = (weights * (away - mean) ** 2).sum(1, keepdim=True)
    return weights * (1 - mean * (away - mean) / spread)
