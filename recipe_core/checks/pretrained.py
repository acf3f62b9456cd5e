"""Is a pretrained network fed the way it was trained?"""

import contextlib
from collections.abc import Callable

import torch
from torch import nn

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FAR = 0.5  # deviations by which activations miss the statistics that the network keeps of its training
TIMES = 2.0  # farther away than after another scaling of the inputs
KNOWS = 0.25  # share of samples that a network must know more with another scaling

OTHERWISE_FED = Cause(
    "pretrained-input-differs",
    "A pretrained network is fed images on another scale, as negatives, or with channels in another order, than those "
    "it was trained on: much of what it knows is lost.",
    "Prepare images exactly as the weights' documentation says (size, range, mean, deviation, order of channels).",
    0.6,
)


@check(family="data", stage=1, cost=0.9, causes=[OTHERWISE_FED])
def pretrained_network_is_fed_as_it_was_trained(subject: Subject) -> Result:
    """Where a network comes with statistics of its own training, those of its activations are no nearer to them after
    another scaling of the inputs, and it does not know the labels better."""
    model = subject.model().eval()
    x, y = subject.val.x[:256], subject.val.y[:256]
    if not torch.isfinite(x).all() or not x.is_floating_point():
        return skipped("Inputs are no finite fractions.")
    if not _is_trained(model):
        return skipped("The network keeps no statistics of an earlier training.")
    changes = _changes(x)
    misses = {name: _miss(subject, model, change(x)) for name, change in changes.items()}
    best = min(misses, key=lambda name: misses[name])
    table = [{"inputs": name, "distance": miss} for name, miss in misses.items()]
    if misses["as they are"] > FAR and misses["as they are"] > TIMES * misses[best]:
        return OTHERWISE_FED.failed(
            f"Activations miss the statistics of the network's own training by {misses['as they are']:.2f} deviations; "
            f"with inputs {best} by {misses[best]:.2f}.",
            table=table,
        )
    if _has_fresh_layers(subject, model, x):
        return passed(
            "No other scaling fits its statistics much better; layers behind them are still to learn.", table=table
        )
    known = {name: _known(subject, model, change(x), y) for name, change in changes.items()}
    most = max(known, key=lambda name: known[name])
    if known[most] > known["as they are"] + KNOWS:
        return OTHERWISE_FED.failed(
            f"Before any training the network is right for {known['as they are']:.0%} of the validation images; with "
            f"inputs {most} for {known[most]:.0%}.",
            table=[{"inputs": name, "right": share} for name, share in known.items()],
        )
    return passed("No other scaling of the inputs fits the network's own statistics much better.", table=table)


def _is_trained(model: nn.Module) -> bool:
    """Whether batch normalisation has seen data."""
    norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    return any(each.running_mean is not None and bool((each.running_mean != 0).any()) for each in norms)


def _has_fresh_layers(subject: Subject, model: nn.Module, x: torch.Tensor) -> bool:
    """Whether another seed makes a network of other outputs: then some of its layers were drawn by chance, and what
    they make of the classes is no knowledge."""
    other = subject.model(seed=1).eval()
    with torch.no_grad():
        return not torch.allclose(subject.outputs(model, x), subject.outputs(other, x), rtol=1e-3, atol=1e-5)


def _changes(x: torch.Tensor) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """What is commonly mistaken for each other."""
    channels = x.shape[1] if x.ndim == 4 else 0
    dims = (0, 2, 3) if channels else tuple(range(x.ndim))
    own_mean, own_std = x.mean(dims, keepdim=True), x.std(dims, keepdim=True).clamp_min(1e-9)
    least, most = x.aminmax()
    found: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "as they are": lambda x: x,
        "divided by 255": lambda x: x / 255,
        "times 255": lambda x: x * 255,
        "from 0..1 to -1..1": lambda x: x * 2 - 1,
        "from -1..1 to 0..1": lambda x: x / 2 + 0.5,
        "with black and white exchanged": lambda x: least + most - x,
    }
    if (
        float(x.min()) >= 0
    ):  # of what is normalised already, a standardised copy only hides that it is unlike the others
        found["standardised"] = lambda x: (x - own_mean) / own_std
    if channels == 3:
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
        found |= {
            "normalised as for ImageNet": lambda x: (x - mean) / std,
            "divided by 255 and normalised as for ImageNet": lambda x: (x / 255 - mean) / std,
            "without ImageNet's normalisation": lambda x: x * std + mean,
            "with channels in reverse order": lambda x: x.flip(1),
        }
    return found


def _miss(subject: Subject, model: nn.Module, x: torch.Tensor) -> float:
    """How far the inputs of the first batch normalisations are from the mean and variance that they keep."""
    found: list[float] = []

    def look(layer: nn.Module, inputs: tuple) -> None:
        mean, var = layer.running_mean, layer.running_var
        if len(found) < 3 and isinstance(mean, torch.Tensor) and isinstance(var, torch.Tensor):
            values = inputs[0].detach().float().transpose(0, 1).flatten(1)
            shift = (values.mean(1) - mean).abs() / (var + 1e-5).sqrt()
            scale = ((values.var(1) + 1e-5) / (var + 1e-5)).log().abs() / 2
            found.append(float((shift + scale).mean()))

    norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad(), contextlib.ExitStack() as after:
        for each in norms:
            after.callback(each.register_forward_pre_hook(look).remove)
        subject.outputs(model, x)
    return found[0] if found else 0.0


def _known(subject: Subject, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    labels = labels_of(y, subject.classes)
    with torch.no_grad():
        outputs = subject.outputs(model, x).cpu()
    if labels is None or outputs.ndim != 2 or outputs.shape[1] < 2:
        return 0.0
    return float((outputs.argmax(1) == labels).double().mean())
