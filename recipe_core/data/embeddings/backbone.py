"""Backbones: networks that turn a picture into a vector, the one that ships inside its package or one of a user's own.

    backbone = load_backbone(None)                        # EfficientNet-Lite0 with ImageNet weights, offline
    backbone = load_backbone(Path("strong.py"))           # a Python file on this machine
    backbone.embed([pixels, pixels])                      # float16 (2, dims)

A user's file has a function `backbone()` that returns a torch.nn.Module from float32 (n, 3, SIDE, SIDE), RGB from 0 to
1, to (n, dims). What else its weights want, such as another normalisation, it does itself. `SIDE` is 224 where the file
does not say otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from recipe_core.efficientnet import EfficientNetLite
from recipe_core.errors import BadModel
from recipe_core.own_code import run_file, told

SIDE = 96  # px that a picture is brought to for the one that ships; benchmarks/embeddings.py says why
OWN_SIDE, LARGEST_SIDE = 224, 1024  # px, of a user's own


@dataclass(frozen=True)
class Backbone:
    """A network that is ready to embed.

    Attributes:
        side: px of the squares that it takes.
        dims: how many numbers it gives of a picture.
    """

    module: nn.Module
    side: int
    dims: int
    device: str

    def embed(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """The vectors of pictures, each uint8 (height, width, 3) of any size: float16 (n, dims).

        A picture is brought to a square as a whole: what is cut away could be what its label speaks of.
        """
        squares = np.stack([_square(picture, self.side) for picture in pictures])
        batch = torch.from_numpy(squares).to(self.device).permute(0, 3, 1, 2).float().div_(255)
        with torch.inference_mode():
            vectors = self.module(batch.contiguous(memory_format=torch.channels_last))
        return vectors.float().clamp(-6e4, 6e4).cpu().numpy().astype(np.float16)


def load_backbone(file: Path | None) -> Backbone:
    """The backbone of a user's file, tried on two pictures, or the one that ships; on the GPU where there is one.

    Raises:
        BadModel: the file cannot be read or run, or gives anything but a vector per picture.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module, side = (EfficientNetLite(SIDE), SIDE) if file is None else _own(file)
    module = module.eval().to(device)
    return Backbone(module, side, _tried(module, side, device, file), device)


def _square(picture: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0))


# A user's own


def _own(file: Path) -> tuple[nn.Module, int]:
    if not file.is_file():
        raise BadModel(f"There is no file {file}; name a Python file with a function backbone().")
    code = run_file(file, "recipe_own_backbone", BadModel)
    if not callable(getattr(code, "backbone", None)):
        raise BadModel(f"{file} has no function backbone(); define one that returns a torch.nn.Module.")
    side = getattr(code, "SIDE", OWN_SIDE)
    if type(side) is not int or not 8 <= side <= LARGEST_SIDE:
        raise BadModel(f"{file}: SIDE is {side!r}; it should be a whole number of pixels from 8 to {LARGEST_SIDE}.")
    try:
        module = code.backbone()
    except Exception as error:  # a user's code may raise anything
        raise BadModel(told(file, error, " in backbone()")) from error
    if not isinstance(module, nn.Module):
        raise BadModel(f"{file}: backbone() returned {type(module).__name__}; it should return a torch.nn.Module.")
    return module, side


def _tried(module: nn.Module, side: int, device: str, file: Path | None) -> int:
    """How many numbers it gives of a picture."""
    batch = f"a batch of 2 images of 3 x {side} x {side}"
    try:
        with torch.inference_mode():
            vectors = module(torch.zeros(2, 3, side, side, device=device))
    except Exception as error:
        if file is None:
            raise
        raise BadModel(told(file, error, f" on {batch}")) from error
    shape = tuple(getattr(vectors, "shape", ()))
    if len(shape) != 2 or shape[0] != 2 or not shape[1]:
        given = f"outputs of shape {shape}" if shape else f"a {type(vectors).__name__}"
        raise BadModel(f"{file}: on {batch} the backbone gives {given}; it should give a vector per image, (2, dims).")
    if not torch.isfinite(vectors).all():
        raise BadModel(f"{file}: on {batch} of zeros the backbone gives numbers that are not finite.")
    return shape[1]
