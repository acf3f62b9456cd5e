"""The facts about a picture: what it looks like, of many pictures of one shape at once."""

import numpy as np

from recipe_core.data import pixel_loops

LEVELS = np.arange(256)


def picture_facts(greys: np.ndarray, smalls: np.ndarray) -> list[dict]:
    """What the pictures look like: tone and sharpness from the grey images, colour and border from the small ones.

    Args:
        greys: uint8 (n, height, width), contiguous.
        smalls: uint8 (n, height, width, 3), contiguous: the same pictures, the longer side about 96 px for larger ones.

    Returns:
        n dictionaries of facts.
    """
    columns: dict = {**_tone(greys), "sharpness": _sharpness(greys), **_colour(smalls), **_border(smalls)}
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*(list(c) for c in columns.values()), strict=True)
    ]


def _tone(greys: np.ndarray) -> dict[str, np.ndarray]:
    share = pixel_loops.histograms(greys) / greys[0].size
    mean = share @ LEVELS
    surprise = np.log2(share, where=share > 0, out=np.zeros_like(share))
    return {
        "brightness": mean,
        "contrast": np.sqrt(np.maximum(share @ LEVELS**2 - mean**2, 0)),
        "entropy": np.abs((share * surprise).sum(axis=1)),
        "clipped": share[:, 0] + share[:, 255],
        "clipped_dark": share[:, 0],
        "clipped_bright": share[:, 255],
    }


def _sharpness(greys: np.ndarray) -> np.ndarray:
    """Variance of the 4-neighbour Laplacian inside the frame; 0 for images under 3 px."""
    _, height, width = greys.shape
    mean, mean_square = pixel_loops.laplacian_sums(greys).T / max(1, (height - 2) * (width - 2))
    return np.maximum(mean_square - mean**2, 0)


def _colour(smalls: np.ndarray) -> dict[str, np.ndarray]:
    pixels = smalls.shape[1] * smalls.shape[2]
    red, green, blue, red_green, yellow_blue, saturation = pixel_loops.colour_sums(smalls).T / pixels
    # The opponent colours: red - green, and yellow - blue, which is half of red + green - 2 blue.
    offset = (red - green) ** 2 + ((red + green) / 2 - blue) ** 2
    spread = np.maximum(red_green + yellow_blue / 4 - offset, 0)
    return {
        "saturation": saturation,
        "colourfulness": np.sqrt(spread) + 0.3 * np.sqrt(offset),
        "red": red,
        "green": green,
        "blue": blue,
    }


def _border(smalls: np.ndarray) -> dict[str, list]:
    frame = np.concatenate([smalls[:, 0], smalls[:, -1], smalls[:, 1:-1, 0], smalls[:, 1:-1, -1]], axis=1)
    ordered, count = np.sort(frame, axis=1).astype(int), frame.shape[1]
    medians = (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) // 2
    return {
        "border_colour": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in medians.tolist()],
        "border_spread": list(frame.std(axis=1).mean(axis=1)),
    }
