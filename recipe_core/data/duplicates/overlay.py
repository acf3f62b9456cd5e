"""What differs between two copies, seen in colour once they are laid over each other.

A caption, a date or a logo changes a place or two; brightening, gamma and compression change each level everywhere
alike. So the tone is fitted first, level by level, and what it does not explain was written or put over the picture.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from recipe_core.data.duplicates.align import warp
from recipe_core.data.duplicates.compare import Compared
from recipe_core.data.duplicates.ground import steepness
from recipe_core.data.duplicates.pictures import GREY, Reader, paired, read_squares

SIDES = np.array([16, 32, 64])  # px: the largest that both pictures have
CHUNK = 256  # pairs looked at once
STEP, SMOOTH = 32, 2  # pixels of a picture whose median is one knot of its tone; knots beside each that smooth it
AS_GOOD, ROUNDING = 1.5, 1.0  # times, and levels, by which a picture as it is may fit worse than by a curve
BLACK, WHITE = 8, 247  # levels beyond which a pixel tells nothing of the other picture's
CLEAR, USUAL = 12.0, 4.0  # levels, and times what pixels differ by usually, from which on a difference is clear
CLUMP = 0.3  # of the nine pixels around: fewer that differ are the noise of compression
PLAIN = 24.0  # levels within which a bar is of one colour
MOSTLY, HARDLY = 0.5, 0.25  # shares of the bar, and of what it adjoins, that are of its colour
COLOURLESS, COLOURED = 2.0, 6.0  # levels, on average, that the colours of a grey and of a coloured picture are off grey


@dataclass(frozen=True, slots=True)
class Overlay:
    """What was seen of each pair, float (pairs,) each."""

    changed: torch.Tensor  # share of what both show that is written on or covered in one
    bar_first: torch.Tensor  # share of the first that is a plain bar or frame beside what both show
    bar_second: torch.Tensor  # and of the second
    grey_first: torch.Tensor  # 1 where the first has no colours, but the second
    grey_second: torch.Tensor  # and the other way round
    tint: torch.Tensor  # levels that most colours are off, at equal contrast, to the same side


def overlaid(
    rows: pa.Table,
    pairs: np.ndarray,
    compared: Compared,
    read_picture: Reader,
    executor: Executor | None = None,
    check: Callable[[], None] = lambda: None,
) -> Overlay:
    """Look at copies, one or more, once again.

    Args:
        rows: with the catalog's width and height.
        pairs: int (pairs, 3 or more): first, second and the turn that makes the first look like the second.
        compared: how they lie.
        read_picture, executor: see `search.near_duplicates`.
        check: called now and then; may raise to end the look.
    """
    shorter = np.minimum(rows["width"].to_numpy(), rows["height"].to_numpy())
    sides = SIDES[(np.searchsorted(SIDES, shorter[pairs[:, :2]].min(1), "right") - 1).clip(0)]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], sides))
    seen = []
    for part in np.split(order, np.flatnonzero(np.diff(sides[order])) + 1):
        for start in range(0, len(part), CHUNK):
            check()
            chosen = part[start : start + CHUNK]
            laid = compared.take(torch.from_numpy(chosen))
            pair = _read_pairs(read_picture, pairs[chosen], int(sides[part[0]]), executor)
            seen.append(_overlay(*pair, laid.maps, laid.gain))
    back = torch.from_numpy(np.argsort(order))
    return Overlay(*(torch.cat([getattr(each, field.name) for each in seen])[back] for field in fields(Overlay)))


def _read_pairs(
    read_picture: Reader, pairs: np.ndarray, side: int, executor: Executor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    needed = np.unique(pairs[:, :2])
    found = [squares for _, squares in read_squares(read_picture, needed, side, executor, "RGB")]
    here = pairs.copy()
    here[:, :2] = np.searchsorted(needed, here[:, :2])
    return paired(torch.from_numpy(np.concatenate(found)).movedim(3, 1), here)


def _overlay(first: torch.Tensor, second: torch.Tensor, maps: torch.Tensor, gain: torch.Tensor) -> Overlay:
    """Of float (pairs, 3, side, side)."""
    seen, inside = warp(second, maps)
    inside_back = warp(first, _inverse(maps))[1]
    colours = _colours(first), _colours(seen)
    strong = [(each.abs().amax(1) * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1) for each in colours]
    grey_first, grey_second = ((strong[k] < COLOURLESS) & (strong[1 - k] > COLOURED) for k in (0, 1))
    tints = (colours[1] - gain[:, None, None, None] * colours[0]).unbind(1)
    one_grey = (grey_first | grey_second)[:, None, None, None]
    one, other = (torch.where(one_grey, _grey(each), each) for each in (first, seen))
    return Overlay(
        _changed(one, other, inside),
        _bar(first, inside),
        _bar(second, inside_back),
        grey_first.float(),
        grey_second.float(),
        torch.maximum(*(_median(each, inside).abs() for each in tints)),
    )


def _inverse(maps: torch.Tensor) -> torch.Tensor:
    last = maps.new_tensor([0, 0, 1]).expand(len(maps), 1, 3)
    return torch.linalg.inv(torch.cat([maps, last], 1))[:, :2]


def _colours(pictures: torch.Tensor) -> torch.Tensor:
    """(pairs, 2, side, side): red against green and both against blue."""
    red, green, blue = pictures.unbind(1)
    return torch.stack([red - green, (red + green) / 2 - blue], 1)


def _grey(pictures: torch.Tensor) -> torch.Tensor:
    return torch.einsum("pchw,c->phw", pictures, torch.from_numpy(GREY))[:, None]


def _median(values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    return torch.where(inside > 0, values, torch.nan).flatten(1).nanmedian(1).values.nan_to_num(0)


# What is written on it


def _changed(first: torch.Tensor, second: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Share of what both show that differs by more than tone, noise and a px of shift explain, in any channel."""
    differs = torch.zeros_like(inside)
    for one, other in zip(first.unbind(1), second.unbind(1), strict=True):
        # Where one is black or white the other may be anything that is brightened or darkened to it.
        off = torch.maximum(
            (_toned(one, other, inside) - other).abs() * _known(one),
            (_toned(other, one, inside) - one).abs() * _known(other),
        )
        usual = _median(off, inside)[:, None, None]
        clear = CLEAR + USUAL * usual + torch.maximum(steepness(one), steepness(other))
        differs = torch.maximum(differs, (off > clear).float())
    within = _eroded(inside)
    around = functional.avg_pool2d((differs * within)[:, None], 3, 1, 1)[:, 0]
    return ((around > CLUMP) * within).sum((1, 2)) / within.sum((1, 2)).clamp_min(1)


def _toned(first: torch.Tensor, second: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """The first with the tone of the second: as it is where that does, else by any curve.

    A curve can bend itself to a caption that covers all of some level, as that of a sky's upper edge.
    """
    curved = _curved(first, second, inside)
    as_it_is, by_curve = (_off((each - second).abs(), inside) for each in (first, curved))
    return torch.where((as_it_is < AS_GOOD * by_curve + ROUNDING)[:, None, None], first, curved)


def _off(differences: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """What three in four pixels of each pair differ by at most, asked of every other one along both sides."""
    some = torch.where(inside > 0, differences, torch.nan)[:, ::2, ::2].flatten(1)
    return some.nanquantile(0.75, dim=1).nan_to_num(0)


def _curved(first: torch.Tensor, second: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """By a curve through the medians of as many pixels each."""
    levels, order = first.flatten(1).sort(1)
    targets = torch.where(inside > 0, second, torch.nan).flatten(1).gather(1, order)
    at = levels.unflatten(1, (-1, STEP)).median(2).values.contiguous()
    to = targets.unflatten(1, (-1, STEP)).nanmedian(2).values
    to = torch.where(to.isnan(), at, to)
    to = functional.pad(to[:, None], (SMOOTH, SMOOTH), "replicate")[:, 0].unfold(1, 2 * SMOOTH + 1, 1).median(2).values
    level = torch.arange(256.0).expand(len(first), 256).contiguous()
    high = torch.searchsorted(at, level).clamp(1, at.shape[1] - 1)
    (x0, x1), (y0, y1) = ((each.gather(1, high - 1), each.gather(1, high)) for each in (at, to))
    part = torch.where(x1 > x0, (level - x0) / (x1 - x0).clamp_min(1e-3), 0.5).clamp(-1, 2)
    return (y0 + part * (y1 - y0)).gather(1, first.flatten(1).round().long()).view_as(first)


def _known(channel: torch.Tensor) -> torch.Tensor:
    return ((channel > BLACK) & (channel < WHITE)).float()


def _eroded(inside: torch.Tensor) -> torch.Tensor:
    """Without the outermost two px of what is seen, which show some of what lies beside it."""
    return -functional.max_pool2d(-inside[:, None], 5, 1, 2)[:, 0]


# What stands beside it


def _bar(picture: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Share of each picture that lies beside what both show, if it is mostly of one colour and the rest there is not.

    A crop cuts off what goes on beyond its edge; a bar or a frame begins there.
    """
    beside = 1 - inside
    level = torch.stack([_median(channel, beside) for channel in picture.unbind(1)], 1)[:, :, None, None]
    plain = ((picture - level).abs().amax(1) < PLAIN).float()
    near = inside * functional.max_pool2d(beside[:, None], 5, 1, 2)[:, 0]
    of_beside, of_near = ((plain * each).sum((1, 2)) / each.sum((1, 2)).clamp_min(1) for each in (beside, near))
    return beside.mean((1, 2)) * (of_beside > MOSTLY) * (of_near < HARDLY)
