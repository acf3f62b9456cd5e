"""The pictures that the search compares: read as squares, and put side by side, turned as their pair says."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial

import numpy as np
import torch
from PIL import Image

from recipe_core.data.duplicates.layout import turned

READ_AT_ONCE = 512  # pictures
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as in Pillow's mode L

Reader = Callable[[int], np.ndarray | None]


def read_squares(
    read_picture: Reader, numbers: np.ndarray, side: int, executor: Executor | None, mode: str = "L"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers and their squares, some hundred at a time."""
    parts = [numbers[start : start + READ_AT_ONCE] for start in range(0, len(numbers), READ_AT_ONCE)]
    if executor is None or len(parts) == 1:
        yield from ((part, squares_of(read_picture, part.tolist(), side, mode)) for part in parts)
        return
    jobs = [executor.submit(partial(squares_of, read_picture), part.tolist(), side, mode) for part in parts]
    yield from ((part, job.result()) for part, job in zip(parts, jobs, strict=True))


def squares_of(read_picture: Reader, numbers: Sequence[int], side: int, mode: str = "L") -> np.ndarray:
    """uint8 (n, side, side), or (n, side, side, 3) of "RGB": pictures as squares; 0 where one cannot be read."""
    squares = np.zeros((len(numbers), side, side, 3)[: 3 if mode == "L" else 4], np.uint8)
    for place, number in enumerate(numbers):
        if (pixels := read_picture(number)) is not None:
            picture = Image.fromarray(pixels).convert(mode)
            squares[place] = np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS))
    return squares


def paired(pictures: torch.Tensor, pairs: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The first of each pair, turned to look like the second, and the second, float.

    Args:
        pictures: (n, ..., side, side).
        pairs: int (pairs, 3 or more): first, second, turn.
    """
    first, second, turns = torch.from_numpy(pairs[:, :3]).long().T
    ones = pictures[first].float()
    for turn in turns.unique().tolist():
        ones[turns == turn] = turned(ones[turns == turn], turn)
    return ones, pictures[second].float()
