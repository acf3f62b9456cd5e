"""Do the samples of a batch see each other?"""

import torch
from torch import nn

from recipe_core.checks.deaf_layers import mixing_layer
from recipe_core.checks.forward import (
    ALL_BUT_EQUAL,
    ROUNDING,
    another,
    apart,
    batch_of,
    most,
    outputs_of,
    settled,
    spread,
    stirred,
)
from recipe_core.checks.probe import of_pairs
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject

MIXED = Cause(
    "batch-mixed",
    "The outputs for a sample depend on the other samples in its batch, or on its place among them.",
    "Look for view or reshape where permute is meant, and for sums, means, softmax, attention or positions over "
    "dimension 0.",
    0.9,
    follows=("model-keeps-state", "layers-unregistered"),
)


@check(family="model", stage=2, cost=0.5, causes=[MIXED])
def images_do_not_see_each_other(subject: Subject):
    """In evaluation mode the outputs for a sample stay as they are when all other samples of the batch change, or their
    order."""
    x = batch_of(subject)
    if len(x) < 4:
        return skipped("The batches are too small.")
    pairs = subject.once(of_pairs)
    if pairs and outputs_of(subject, subject.model().eval(), x).shape != (len(x), len(x)):
        return skipped("The outputs are for pairs of samples and more.")
    rows = _alone if pairs else _rows
    others, order = [], []
    for model in (subject.once(settled), stirred(subject)):
        half = len(x) // 2
        plain, new = outputs_of(subject, model, x), another(x)
        if len(plain) != len(x):
            return skipped("The outputs are not one row per sample.")
        # Either half may be the one that is seen: a recurrence over the batch sees what came before.
        for kept in (torch.arange(len(x)) < half, torch.arange(len(x)) >= half):
            mixed = x.clone()
            mixed[~kept] = new[~kept]
            others.append(most(rows(plain, kept) - rows(outputs_of(subject, model, mixed), kept)) / spread(plain))
        if not _is_random(subject, model, x):  # chance, too, gives each place its own
            backwards = torch.arange(len(x) - 1, -1, -1)
            order.append(most(rows(outputs_of(subject, model, x.flip(0)), backwards) - plain) / spread(plain))
    if max(others) > ROUNDING * 10:
        return MIXED.failed(
            f"Other samples in one half of a batch change the outputs of the other half, by {max(others):.2g} of their "
            "spread.",
            change=max(others),
        )
    if max(order, default=0.0) > ROUNDING * 10:
        return MIXED.failed(
            f"In another order the same samples have other outputs, by {max(order):.2g} of their spread: what comes "
            "first in a batch is treated otherwise.",
            change=max(order),
        )
    if told := _deaf_by_mixing(subject, x):
        return MIXED.failed(told)
    if _sees_the_batch(subject.model()):
        return MIXED.unsure(
            "Its batch norms keep no statistics and see each batch in evaluation, too; is that meant?", 0.3
        )
    return passed("They stay as they are.")


def _rows(outputs: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    return outputs[kept]


def _alone(outputs: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Of outputs for pairs, those of pairs among the samples that are kept."""
    return outputs[kept][:, kept]


def _deaf_by_mixing(subject: Subject, x: torch.Tensor) -> str:
    """Where all inputs have the same outputs, as a class token has that hears only those of other samples: which layer
    takes the batch for places."""
    model = stirred(subject)
    outputs = outputs_of(subject, model, x)
    if torch.equal(x, x[:1].expand_as(x)) or apart(outputs) > ALL_BUT_EQUAL:
        return ""
    name = mixing_layer(model, lambda x: outputs_of(subject, model, x), x)
    return f"Layer {name} mixes the samples of a batch, which lies along its first axis." if name else ""


@torch.no_grad()
def _is_random(subject: Subject, model: nn.Module, x: torch.Tensor) -> bool:
    first, second = (subject.outputs(model, x.clone()) for _ in range(2))
    return not torch.equal(first, second)


def _sees_the_batch(model: nn.Module) -> bool:
    norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    return any(not each.track_running_stats for each in norms)
