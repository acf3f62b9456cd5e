"""Does the model itself do something else in evaluation than what it was trained to do?"""

import torch
from torch import nn

from recipe_core.checks.metrics import labels_of
from recipe_core.checks.rates import PATIENT
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import acts_by_mode, rehearse
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject

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
    labels = labels_of(subject.train.y, subject.pipeline.num_classes)
    if labels is None or subject.is_large or subject.pipeline.num_classes < 2:
        return skipped("There are no classes that are told, or no time.")
    with subject.untouched():
        model = subject.copy(rehearse(subject, PATIENT).model)
    by_mode = {mode: each for mode in (True, False) if (each := _answers(subject, model, mode)) is not None}
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
def _answers(subject: Subject, model: nn.Module, training: bool) -> torch.Tensor | None:
    """The class that the model says of each training sample; None where that is not to be had."""
    model.train(training)
    for layer in model.modules():
        if acts_by_mode(layer):
            layer.eval()
    found = []
    for x, _ in subject.train.batches:
        first, again = (subject.outputs(model, x.clone()).float() for _ in range(2))
        if first.ndim != 2 or first.shape[1] != subject.pipeline.num_classes or not torch.equal(first, again):
            return None
        found.append(first.argmax(1).cpu())
    told = torch.cat(found)
    return told if len(told) == len(subject.train.y) else None
