"""Are the units alive? Activations are read off the graph of gradients, so that functional ones are seen, too."""

import math
from collections.abc import Iterator

import torch
from torch import nn

from recipe_core.checks.inputs import NOT_SCALED
from recipe_core.checks.lessons import lessons
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import NORMS, rehearsal, rehearse
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.schedules import batches_per_epoch
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of
from recipe_core.training.checkpoint import seed_everything

BATCHES = 4
MOST = 0.9  # of a layer's units: of a random layer about half are on
MOST_FLAT = 0.7  # of its activations: of a random layer hardly one is at its bounds
FLAT = 0.02  # the slope of a unit, of 1, below which it hardly passes a gradient on
FADED = 1e-8  # of the largest relative gradient: about what is left of a float's precision
FAINT = 2e-4  # the same where training, in so many steps, learns nothing of labels that can be learnt
LONG, QUARTER, LEARNT, LEARNABLE = 160, 40, 0.99, 10.0  # steps; of the loss of a guess; deviations
PASSES = 12  # forward passes that batch norm gets to learn its statistics

DEAD = Cause(
    "dead-units",
    "Most ReLUs of a layer are off for every image: they pass no gradient on and stay off.",
    "Start biases at zero or slightly above; lower the learning rate; normalise the inputs.",
    0.7,
    follows=("outputs-restricted",),
)
SATURATED = Cause(
    "saturated-units",
    "Most sigmoids or tanhs of a layer sit at their bounds, where they pass hardly any gradient on.",
    "Start with smaller weights (Glorot), biases at zero, and normalised inputs; or use ReLU.",
    0.6,
)
VANISHING = Cause(
    "vanishing-gradients",
    "The gradient fades on its way to the first layers, which hardly learn.",
    "Use ReLU, normalisation or residual connections instead of many sigmoids in a row.",
    0.7,
    follows=("inputs-not-scaled",),
)
EPOCHS = 50  # in which a batch norm should have learnt its statistics

STATISTICS = Cause(
    "batchnorm-statistics-off",
    "Batch norm does not average its statistics over the training batches: evaluation sees other activations than "
    "training did.",
    "Leave momentum at about 0.1: it is the share of the new batch, not of the old average. Leave layers that start "
    "without statistics in train mode while they train.",
    0.6,
)


@check(family="model", stage=2, cost=0.5, causes=[DEAD, SATURATED, NOT_SCALED])
def units_are_alive(subject: Subject):
    """In the fresh model most units of each layer have a slope for some of the images."""
    inputs = [x for x, _ in subject.train.batches[:BATCHES]]
    if not all(bool(x.isfinite().all()) for x in inputs) or not any(float(x.float().std()) for x in inputs):
        return skipped("The inputs are not finite, or all the same.")
    lost = _lost(subject, inputs)
    dead = [share for kind, share in lost if kind == "Relu" and share >= MOST]
    flat = [share for kind, share in lost if kind != "Relu" and share >= MOST_FLAT]
    results = []
    if dead:
        results.append(
            DEAD.failed(f"In {len(dead)} of {len(lost)} layers {max(dead):.0%} of the units are off for all images.")
        )
    if flat:
        told = f"In {len(flat)} of {len(lost)} layers {max(flat):.0%} of the activations are at their bounds"
        by_scale = 1.0
        if all(each.is_floating_point() for each in inputs):  # words have no scale
            scaled = _lost(subject, _standardised(inputs))
            by_scale = max((share for kind, share in scaled if kind != "Relu"), default=0)
        if by_scale < MOST_FLAT:
            results.append(NOT_SCALED.failed(f"{told}; with inputs of mean 0 and deviation 1 {by_scale:.0%} are."))
        else:
            results.append(SATURATED.failed(f"{told}."))
    return results or passed(f"Those of {len(lost)} layers are.")


def _standardised(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    values = torch.cat([each.flatten() for each in inputs]).float()
    return [((each.float() - values.mean()) / values.std()).to(each) for each in inputs]


def _lost(subject: Subject, inputs: list[torch.Tensor]) -> list[tuple[str, float]]:
    """The kind of each layer of units, and the share of its ReLUs that are off for all inputs, or of its activations
    that are at their bounds."""
    model = subject.model().train()
    seen: dict[tuple[str, int], list[torch.Tensor]] = {}
    for x in inputs:
        for number, (kind, slope) in enumerate(_slopes(subject.outputs(model, x))):
            seen.setdefault((kind, number), []).append(slope)
    found = []
    for (kind, _), slopes in seen.items():
        if any(each.shape[1:] != slopes[0].shape[1:] for each in slopes) or slopes[0].ndim < 2:
            continue
        slope = torch.cat(slopes)
        off = slope.transpose(0, 1).flatten(1).amax(1) == 0 if kind == "Relu" else slope < FLAT
        found.append((kind, float(off.float().mean())))
    return found


def _slopes(outputs: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """The derivative of each unit of each ReLU, sigmoid and tanh on the way to the outputs."""
    seen, wait = set(), [outputs.grad_fn]
    while wait:
        node = wait.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        wait += [each for each, _ in node.next_functions]
        kind, _, number = node.name().partition("Backward")
        if kind in ("Relu", "Sigmoid", "Tanh") and number.isdigit():  # of a derivative the name goes on
            result = node._saved_result.detach().float()  # type: ignore[attr-defined]
            slopes = {"Relu": (result > 0).float(), "Sigmoid": 4 * result * (1 - result), "Tanh": 1 - result**2}
            yield kind, slopes[kind]


@check(family="model", stage=2, cost=0.5, causes=[VANISHING])
def gradients_reach_the_first_layers(subject: Subject):
    """The relative gradient of the first layers is not many orders of magnitude below that of the last."""
    model = subject.copy(subject.once(rehearsal).model).train()
    fresh = subject.model().train()
    best: dict[str, float] = {}
    for each in (fresh, model):
        seed_everything(0)
        subject.loss(each, subject.train.batches[0]).float().mean().backward()
        for name, layer in each.named_modules():
            weight = getattr(layer, "weight", None)
            if isinstance(weight, nn.Parameter) and weight.ndim > 1 and weight.grad is not None:
                size = float(weight.detach().norm())
                best[name] = max(best.get(name, 0.0), float(weight.grad.norm()) / size if size else math.inf)
    values = [each for each in best.values() if math.isfinite(each)]
    if len(values) < 3 or not max(values):
        return skipped("There are fewer than three layers with gradients.")
    name, least = min(((name, each) for name, each in best.items() if math.isfinite(each)), key=lambda pair: pair[1])
    if 0 < least < FADED * max(values) or (0 < least < FAINT * max(values) and not _learns(subject)):
        return VANISHING.failed(f"The relative gradient of {name} is {least:.1g}, of the largest {max(values):.1g}.")
    return passed(f"They lie between {least:.1g} and {max(values):.1g}.")


def _learns(subject: Subject) -> bool:
    """Whether training takes the loss below that of the best constant guess, as far as there is time to see it."""
    labels = labels_of(subject.drawn_train.y, subject.classes)
    lesson = subject.once(lessons).train
    if labels is None or not lesson.usable or lesson.strength < LEARNABLE:
        return True
    shares = torch.bincount(labels.clamp_min(0)).double() / len(labels)
    guess = -float((shares * shares.clamp_min(1e-12).log()).sum())
    losses = rehearse(subject, LONG).losses
    return len(losses) < LONG / 2 or sum(losses[-QUARTER:]) / QUARTER < LEARNT * guess


@check(family="model", stage=2, cost=1, causes=[STATISTICS])
def batchnorm_learns_the_statistics(subject: Subject):
    """After some batches in train mode the running statistics are about the average of the batches'."""
    watched = subject.once(rehearsal).forwards
    model = subject.model()
    norms = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, NORMS) and layer.track_running_stats and layer.running_mean is not None
        and any(call.modes.get(name) for call in watched)
    }  # fmt: skip
    batches = subject.train.batches[:PASSES]
    if fresh := _never_trained(subject, model):
        return STATISTICS.failed(
            f"{fresh} stays in eval mode in the train step, with the statistics that it was made with: it has never "
            "seen a batch, and normalises nothing."
        )
    if not norms:
        return skipped("No batch norm learns statistics in training.")
    if len(batches) < 3:
        return skipped("There are too few batches to average over.")
    means: dict[str, list[torch.Tensor]] = {name: [] for name in norms}

    def look(name):
        def hook(layer, inputs):
            x = inputs[0].detach().float()
            means[name].append(x.transpose(0, 1).flatten(1).mean(1))

        return hook

    handles = [layer.register_forward_pre_hook(look(name)) for name, layer in norms.items()]
    start = {name: _running_mean(layer).clone() for name, layer in norms.items()}
    model.train()
    with torch.no_grad():
        for x, _ in batches:
            subject.outputs(model, x)
    for handle in handles:
        handle.remove()
    for name, layer in norms.items():
        if len(means[name]) < 3:
            continue
        target = torch.stack(means[name][:-1]).mean(0)
        last, now = means[name][-1], _running_mean(layer)
        limit = subject.pipeline.total_steps or EPOCHS * (batches_per_epoch(subject) or 0)
        if layer.momentum and 1 / layer.momentum > limit > 0 and not bool(start[name].any()):
            return STATISTICS.failed(
                f"{name} takes {layer.momentum:g} of each batch's statistics: it needs {1 / layer.momentum:,.0f} "
                f"batches to learn them, and evaluation goes by what it started with."
            )
        if torch.equal(now, start[name]) and float((target - now).norm()) > 1e-3:
            return STATISTICS.failed(f"The running mean of {name} does not move in {len(batches)} batches.")
        noise = float((last - target).norm())
        if noise and float((now - last).norm()) < 0.1 * noise:
            return STATISTICS.failed(f"The running mean of {name} is that of the last batch, not an average.")
    return passed(f"Those of {len(norms)} layers do.")


def _never_trained(subject: Subject, model: nn.Module) -> str:
    """The first batch norm that is in eval mode in all train steps, though the model as a whole is not, and has the
    statistics of a new one."""
    watched = subject.once(rehearsal).forwards
    for name, layer in model.named_modules():
        if (
            isinstance(layer, NORMS)
            and layer.affine
            and layer.running_mean is not None
            and layer.running_var is not None
        ):
            seen = bool(layer.running_mean.any()) or bool((layer.running_var != 1).any())
            new = not seen and layer.weight.requires_grad and not bool(layer.num_batches_tracked)
            used = [call for call in watched if name in call.modes]
            if new and used and all(call.training and not call.modes[name] for call in used):
                return name
    return ""


def _running_mean(layer: nn.Module) -> torch.Tensor:
    mean = layer.running_mean
    assert isinstance(mean, torch.Tensor)
    return mean
