"""Whether two pictures that agree in their greys have colours that have nothing to do with each other.

Sectors of a chart and flags share layout and greys, and what tells them apart is the colour. Copies may be tinted, more
or less saturated, or grey: what is redder than the rest then still is, or nothing is.
"""

import torch

COLOURED = 12.0  # deviation of the colours, in levels, from which a picture is a coloured one
UNRELATED = 0.4  # correlation of their colours; one of 8,000 copies, under a coloured caption, had less


def colours_part(first: torch.Tensor, second: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Of which pairs the colours have nothing to do with each other, bool.

    Args:
        first, second: float (pairs, 3, side, side), laid over each other.
        inside: (pairs, side, side), where both are seen, 0 or 1.
    """
    one, other = (_colours(each, inside) for each in (first, second))
    places = inside.sum((1, 2)).clamp_min(1)
    deviations = [(each.square().sum((1, 2)) / places / 2).sqrt() for each in (one, other)]
    correlation = (one * other).sum((1, 2)) / places / 2 / (deviations[0] * deviations[1]).clamp_min(1)
    return (torch.minimum(*deviations) > COLOURED) & (correlation < UNRELATED)


def _colours(pictures: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(pairs, 2, places): red against green and both against blue, less their means; 0 where nothing is seen."""
    red, green, blue = pictures.unbind(1)
    colours = torch.stack([red - green, (red + green) / 2 - blue], 1) * inside[:, None]
    mean = colours.sum((2, 3)) / inside.sum((1, 2)).clamp_min(1)[:, None]
    return ((colours - mean[:, :, None, None]) * inside[:, None]).flatten(2)
