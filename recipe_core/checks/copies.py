"""Do units and layers differ from each other? Copies that get the same gradient stay copies."""

import torch
from torch import nn

from recipe_core.checks.forward import ROUNDING, batch_of, outputs_of
from recipe_core.checks.layers import named
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import Rehearsal, rehearsal
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject

SAME = Cause(
    "identical-initial-weights",
    "All units of a layer, or several layers side by side, start the same and get the same gradient: they stay copies "
    "of one.",
    "Start the weights at random, as PyTorch does by default; make each layer anew instead of copying one.",
    0.8,
)


@check(family="model", stage=2, cost=0.5, causes=[SAME])
def units_differ_from_each_other(subject: Subject):
    """The units of a layer differ, at the start or after a few steps of training."""
    run = subject.once(rehearsal)
    if not any(run.moved.values()):
        return skipped("No weight moves.")
    same, layers = [], 0
    for name, weight in run.model.named_parameters():
        layer = run.model.get_submodule(name.rpartition(".")[0])
        if not isinstance(layer, nn.Linear | nn.modules.conv._ConvNd | nn.RNNBase) or weight.ndim < 2:
            continue
        if len(weight) < 2 or not weight.requires_grad or name not in run.before:
            continue
        layers += 1
        before, after = run.before[name], weight.detach()
        # To start at zero is usual for layers whose units then part, or alike where each has an input of its own; to
        # start as copies of something else is not.
        may_part = not before.any() or getattr(layer, "groups", 1) == len(weight)
        if _rows_are_equal(before) and (_rows_are_equal(after) or not (may_part or _are_outputs(subject, name))):
            same.append(name)
    if same:
        return SAME.failed(f"{named(same)} units that start as copies of one.", layers=same)
    if copies := _copies(run):
        return SAME.failed(
            f"{len(copies)} layers ({', '.join(copies[:4])}) start as copies of each other, and are still the same "
            f"after {len(run.losses)} steps.",
            layers=copies,
        )
    if repeated := _repeated(run.model):
        return SAME.unsure(
            f"{repeated[0]} and {repeated[1]} are one and the same block, {len(repeated)} in all, as [Block()] * n "
            "makes them: one set of weights in place of several. Is that meant?",
            0.4,
        )
    return passed(f"The units of all {layers} layers differ.")


@torch.no_grad()
def _are_outputs(subject: Subject, name: str) -> bool:
    """Whether each unit of a layer moves one output only, whose targets let it part from the others."""
    model, x = subject.model().eval(), batch_of(subject)
    weight = dict(model.named_parameters())[name]
    before = outputs_of(subject, model, x)
    weight[0] += 1.0
    moved = (outputs_of(subject, model, x) - before).abs()
    if moved.ndim < 2 or moved.shape[1] != len(weight):
        return False
    by_output = moved.transpose(0, 1).flatten(1).amax(1)
    return bool(by_output[0] > 0) and float(by_output[1:].max()) <= ROUNDING * float(by_output[0])


def _copies(run: Rehearsal) -> list[str]:
    """Weights of different layers that were equal at the start and are after training: made for each other's sake by
    deepcopy, they get the same inputs and gradients."""
    after = {name: each.detach() for name, each in run.model.named_parameters() if each.requires_grad}
    alike: dict[tuple, list[str]] = {}
    for name in sorted(after.keys() & run.before.keys()):
        before = run.before[name].double()
        if before.ndim > 1 and run.moved[name] and float(before.std()):
            alike.setdefault((before.shape, float(before.sum()), float(before.norm())), []).append(name)
    return next(
        (
            names
            for names in alike.values()
            if len(names) > 1 and all(torch.allclose(after[each], after[names[0]], rtol=1e-4) for each in names)
        ),
        [],
    )


def _repeated(model: nn.Module) -> list[str]:
    """The places of one block with weights in a list or sequence that holds it more than once."""
    for name, container in model.named_modules():
        if not isinstance(container, nn.ModuleList | nn.Sequential):
            continue
        places: dict[int, list[str]] = {}
        for at, block in enumerate(container):
            if any(each.ndim > 1 for each in block.parameters()):
                places.setdefault(id(block), []).append(f"{name}.{at}" if name else str(at))
        if found := next((each for each in places.values() if len(each) > 1), None):
            return found
    return []


def _rows_are_equal(weight: torch.Tensor) -> bool:
    rows = weight.flatten(1)
    return bool((rows - rows[:1]).abs().max() <= 1e-4 * max(float(rows.abs().max()), 1e-30))
