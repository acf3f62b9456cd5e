"""Does the model itself do something else in evaluation than what it was trained to do?"""

import itertools

import torch
from torch import nn

from recipe_core.checks.metrics import labels_of
from recipe_core.checks.mixing import MIXED
from recipe_core.checks.rates import PATIENT
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import acts_by_mode, rehearsal, rehearse
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject

TIMES, LEAST = 1.5, 0.1  # as much as by another mixture; of the outputs' spread
ASKED = 600  # training samples
WORSE = 0.1  # share of training samples that are known in train mode only: an average over heads loses less
SURE = 3.0  # deviations of such a share

BRANCH = Cause(
    "other-path-in-evaluation",
    "In evaluation the model takes another way than the one that it was trained on, and knows less there.",
    "Look for `if self.training` in forward: what is done to the activations in one mode is missing in the other.",
    0.7,
)


@check(family="model", stage=2, cost=1, causes=[BRANCH])
def both_modes_take_the_same_way(subject: Subject):
    """With dropout and batch norm left out of it, a trained model knows as much in eval mode as in train mode."""
    enough = next((at for at, seen in enumerate(itertools.accumulate(subject.train.sizes), 1) if seen >= ASKED), None)
    asked = subject.train.batches[:enough]
    of_one_shape = len({y.shape[1:] for _, y in asked}) == 1
    labels = labels_of(torch.cat([y.cpu() for _, y in asked]), subject.classes) if of_one_shape else None
    if labels is None or subject.is_large or subject.classes < 2:
        return skipped("There are no classes that are told, or no time.")
    with subject.untouched():
        model = subject.copy(rehearse(subject, PATIENT).model)
    by_mode = {mode: each for mode in (True, False) if (each := _answers(subject, model, mode, asked)) is not None}
    if len(by_mode) < 2:
        return skipped("Outputs are not one row of classes per sample, or random.")
    known = {mode: torch.eq(told, labels).float() for mode, told in by_mode.items()}
    missed = known[True] - known[False]
    error = float(missed.std()) / len(missed) ** 0.5
    told = f"{float(known[True].mean()):.0%} of training samples are told rightly in train mode"
    told += f" and {float(known[False].mean()):.0%} in eval mode"
    if float(missed.mean()) > max(WORSE, SURE * error):
        return BRANCH.failed(f"{told}, with dropout and batch norm the same in both.")
    differ = float((by_mode[True] != by_mode[False]).float().mean())
    if differ > WORSE:
        return BRANCH.unsure(f"{told}, but for {differ:.0%} of them the answers are others. Is that on purpose?")
    return passed(f"{told}.")


@torch.no_grad()
def _answers(subject: Subject, model: nn.Module, training: bool, asked: list) -> torch.Tensor | None:
    """The class that the model says of each sample of some batches; None where that is not to be had."""
    model.train(training)
    for layer in model.modules():
        if acts_by_mode(layer):
            layer.eval()
    outputs = [subject.outputs(model, x.clone()).float() for x, _ in asked]
    if not torch.equal(outputs[0], subject.outputs(model, asked[0][0].clone()).float()):
        return None
    told = torch.cat(outputs)
    rows = sum(len(y) for _, y in asked)
    return told.argmax(1).cpu() if told.shape == (rows, subject.classes) else None


@check(family="model", stage=2, cost=0.5, causes=[MIXED])
def validation_batches_are_mixed_where_it_matters(subject: Subject):
    """Batch norms that take the statistics of the batch in evaluation, too, make of validation batches as they come
    about what they make of mixed ones."""
    model = subject.copy(subject.once(rehearsal).model).eval()
    norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    if not any(each.running_mean is None for each in norms):
        return skipped("No batch norm takes the statistics of the batch in evaluation.")
    chance = torch.Generator().manual_seed(0)
    count = len(subject.val.x)
    orders = [torch.arange(count), *(torch.randperm(count, generator=chance) for _ in range(2))]
    as_they_come, mixed, again = (_in_order(subject, model, order) for order in orders)
    apart, usual = (float((one - mixed).abs().mean()) for one in (as_they_come, again))
    told = (
        f"Outputs change by {apart:.2g} when the validation samples are mixed, by {usual:.2g} when they are mixed again"
    )
    if apart > TIMES * usual and apart > LEAST * float(mixed.std()):
        return MIXED.failed(f"{told}: batch norms take the statistics of sorted batches; they need running ones.")
    return passed(f"{told}.")


@torch.no_grad()
def _in_order(subject: Subject, model: nn.Module, order: torch.Tensor) -> torch.Tensor:
    """The outputs for the validation samples where they come in this order, in batches as large as they were."""
    batches = subject.val.x[order].split(subject.val.sizes)
    outputs = torch.cat([subject.outputs(model, x).float().cpu() for x in batches])
    return outputs[order.argsort()]
