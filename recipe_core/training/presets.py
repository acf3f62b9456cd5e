"""The presets: each a function that makes a Pipeline from a folder of tensors and a spec.

    PRESETS["linear"](folder, RunSpec.parse("linear", {"epochs": "3"}))

A docstring here is shown to the user: what the preset is for, and its hypothesis. torch is imported only when a
pipeline is made. Adding a preset is adding a function here, and what is expected of it in expectation.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipe_core.training.pipeline import Pipeline
    from recipe_core.training.spec import RunSpec

PRESETS: dict[str, Callable[[Path, RunSpec], Pipeline]] = {}
DEFAULTS: dict[str, dict[str, Any]] = {}  # the settings in which a preset differs from RunSpec's defaults
# Causes that an audit finds in a preset because they are what it is for: models that do not look are such.
ON_PURPOSE: dict[str, tuple[str, ...]] = {
    "majority": ("input-ignored", "identical-initial-weights"),
    "zero_input": ("inputs-constant", "identical-initial-weights"),
}


def preset(**defaults: Any) -> Callable:
    """Register a preset, with its own defaults of settings."""

    def register(function: Callable[[Path, RunSpec], Pipeline]) -> Callable[[Path, RunSpec], Pipeline]:
        PRESETS[function.__name__] = function
        DEFAULTS[function.__name__] = defaults
        return function

    return register


def _pipeline(folder: Path, spec: RunSpec, model: str, **given: Any) -> Pipeline:
    from recipe_core.training.assemble import assemble  # torch takes a second to import

    return assemble(folder, spec, model, **given)


@preset(epochs=1)
def majority(folder: Path, spec: RunSpec) -> Pipeline:
    """The best constant guess: how well one does without looking, the floor under every other run.

    Hypothesis: its accuracy is the share of the most frequent class, its loss the entropy of the classes.
    """
    return _pipeline(folder, spec, "constant")


@preset(epochs=2)
def zero_input(folder: Path, spec: RunSpec) -> Pipeline:
    """The linear model with every image replaced by zeros: does anything but the images tell it the label?

    Hypothesis: it is no better than a constant guess; if it is, the labels leak.
    """
    return _pipeline(folder, spec, "linear", zero_input=True)


@preset()
def linear(folder: Path, spec: RunSpec) -> Pipeline:
    """One linear layer on the pixels: the simplest model that looks.

    Hypothesis: the pixels help, so its validation loss falls below what a guess without them reaches.
    """
    return _pipeline(folder, spec, "linear")


@preset()
def mlp(folder: Path, spec: RunSpec) -> Pipeline:
    """Two hidden layers of 256 on the pixels: what capacity gives without convolutions.

    Hypothesis: its validation loss falls below what a guess without the images reaches.
    """
    return _pipeline(folder, spec, "mlp")


@preset()
def tiny_cnn(folder: Path, spec: RunSpec) -> Pipeline:
    """Three convolutions: a small net that trains in minutes on a CPU.

    Hypothesis: its validation loss falls below what a guess without the images reaches.
    """
    return _pipeline(folder, spec, "tiny_cnn")


@preset(epochs=None, steps=300, batch_size=16, learning_rate=1e-3, eval_every=100)
def one_batch(folder: Path, spec: RunSpec) -> Pipeline:
    """The small net on one and the same batch, again and again: can it learn anything at all?

    Hypothesis: the loss of that batch goes to zero; if not, model, loss, labels or optimizer are broken.
    """
    return _pipeline(folder, spec, "tiny_cnn", fixed=spec.batch_size)


# A rate that falls to nothing: at a constant one Adam leaps now and then, and the last steps may be such a leap.
@preset(epochs=None, steps=1000, subset=256, learning_rate=1e-3, schedule="cosine", eval_every=100)
def overfit(folder: Path, spec: RunSpec) -> Pipeline:
    """The small net on a small fixed subset until it knows it by heart: has it the capacity?

    Hypothesis: the training loss goes to about zero, whatever the validation loss does meanwhile.
    """
    return _pipeline(folder, spec, "tiny_cnn")


@preset()
def resnet18(folder: Path, spec: RunSpec) -> Pipeline:
    """torchvision's ResNet-18 from scratch; for small images with a stem that keeps their pixels. Wants a GPU.

    Hypothesis: its validation loss falls below what a guess without the images reaches.
    """
    return _pipeline(folder, spec, "resnet18")


@preset()
def resnet50(folder: Path, spec: RunSpec) -> Pipeline:
    """torchvision's ResNet-50 from scratch; for small images with a stem that keeps their pixels. Needs a GPU.

    Hypothesis: its validation loss falls below what a guess without the images reaches.
    """
    return _pipeline(folder, spec, "resnet50")
