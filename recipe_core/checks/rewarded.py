"""Do loss and metrics want the same? Outputs are looked for that the loss rewards, and shown to the metrics."""

import contextlib
import math
import re
from collections.abc import Callable

import torch
from torch.nn import functional as F

from recipe_core.checks.known_outputs import can_be_said, varied
from recipe_core.checks.metrics import WRONG
from recipe_core.checks.probe import answers_are_heard, evaluate, own_outputs
from recipe_core.checks.reach import reach
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.wanted import NO_OUTPUTS, is_error, minimise

MOST = 2**21  # numbers of all outputs together
SAME = 1e-4  # of a gradient
SETTLED = 0.1  # of the first gradient: where a loss has a least; 0.04 with some outputs at their bound
REWARDED = 0.5  # of the loss of outputs that are other samples', at most
LOWER_IS_BETTER = re.compile(r"mae|mse|err|dist")
HIGHER_IS_BETTER = re.compile(
    r"(^|_)(acc|accuracy|f1|precision|recall|auc|r2|iou|miou|dice|mcc|kappa|pck|map|ndcg|hits?)"
)
COVERAGE = re.compile(r"cover|picp|inside|within", re.IGNORECASE)
COVERED = 0.3  # of the targets, that lie in an interval for which the loss was meant
DRAWN = 3  # random outputs
HALF, HARDLY = 0.5, 0.02  # of the error of other samples' outputs; how much more right

DISAGREE = Cause(
    "loss-against-metric",
    "What the loss rewards is wrong to the metric: one of them takes outputs or targets for something else.",
    "Compare what both mean: which label says same, rows and columns or x and y, which sign or unit.",
    0.8,
    follows=(
        "targets-wrong-type",
        "loss-rises",
        "metric-shuffled-labels",
        "evaluation-keeps-state",
        "metric-wrong",
        "metric-scale",
    ),
)


@check(family="evaluation", stage=2, cost=1, causes=[DISAGREE])
def metrics_like_what_the_loss_likes(subject: Subject):
    """Outputs that were fitted to the targets by the loss alone have better metrics than the same outputs given to
    other samples."""
    if not answers_are_heard(subject):
        return skipped("The model's outputs cannot be replaced where `forward` finds them.")
    known = can_be_said(subject) if subject.classes else is_error(subject)
    if known:
        return skipped("It is known which outputs are right: other checks ask about them.")
    sample = subject.val
    liked = None
    with contextlib.suppress(*NO_OUTPUTS):
        liked = _liked(subject, sample)
    if liked is None:
        return skipped("The loss is not made of one part for each sample, or nothing is gained in it.")
    other = liked.roll(len(liked) // 2 + 1, 0)
    right, wrong = (_metrics(subject, sample, outputs) for outputs in (liked, other))
    table = [{"outputs": "that the loss likes best", **right}, {"outputs": "of other samples", **wrong}]
    for name, value in right.items():
        usual, low = wrong.get(name, math.nan), name.lower()
        is_worse = (LOWER_IS_BETTER.search(low) and value > HALF * usual) or (
            HIGHER_IS_BETTER.search(low) and value < usual + HARDLY * abs(usual)
        )
        if is_worse and value != usual:  # what stays the same is no matter of the outputs
            return DISAGREE.failed(
                f"{name} is {value:.4g} for outputs that the loss likes best, and {usual:.4g} for the same outputs "
                "given to other samples.",
                table=table,
            )
    return passed("They do.", table=table)


@check(family="evaluation", stage=2, cost=0.5, causes=[WRONG])
def random_outputs_are_not_perfect(subject: Subject):
    """No share of right answers is 1 for outputs that are drawn at random."""
    if not answers_are_heard(subject):
        return skipped("The model's outputs cannot be replaced where `forward` finds them.")
    trials = [_metrics(subject, subject.val, _drawn(subject, seed)) for seed in range(DRAWN)]
    for name in filter(HIGHER_IS_BETTER.search, map(str.lower, trials[0])):
        among = [int(each) for each in re.findall(r"\d+", name)]
        if subject.classes and max(among, default=0) >= subject.classes:
            continue  # among the best five of five all are right
        values = [{key.lower(): value for key, value in each.items()}.get(name) for each in trials]
        if all(value in (1, 100) for value in values):
            return WRONG.failed(
                f"{name} is {values[0]:g} for {DRAWN} draws of random outputs: each sample is compared with itself, or "
                "nothing is compared."
            )
    return passed("None is.")


def _drawn(subject: Subject, seed: int) -> torch.Tensor:
    """Random outputs, of length 1 if the model's own are."""
    outputs, like = varied(subject, seed)(subject.val), subject.once(own_outputs)
    is_unit = like.ndim == 2 and torch.allclose(like.norm(dim=1), torch.ones(len(like)), atol=1e-3)
    return F.normalize(outputs, dim=1) if is_unit else outputs


@check(family="evaluation", stage=2, cost=0.5, causes=[DISAGREE])
def intervals_of_the_loss_hold_the_targets(subject: Subject):
    """Where a sample has several outputs, as quantiles, and evaluate tells how many targets lie between two, more do
    for the constants that the loss likes best than for these in the opposite order."""
    like, y = subject.once(own_outputs), subject.val.y
    if subject.classes or y.numel() != len(y) or like.ndim != 2 or like.shape[1] < 2:
        return skipped("There are no several outputs for one target.")
    if not answers_are_heard(subject) or not any(map(COVERAGE.search, evaluate(subject, subject.model()).metrics)):
        return skipped("evaluate tells no share of targets that lie in an interval.")
    outputs = torch.zeros(1, like.shape[1], requires_grad=True)
    with contextlib.suppress(*NO_OUTPUTS):
        minimise(lambda: _loss_of_constants(subject, outputs), outputs)
    if not bool((outputs.detach().diff() < 0).all()):
        return passed("The constants that the loss likes best do not fall from one output to the next.")
    best = outputs.detach().expand(len(y), -1)
    own, turned = (_metrics(subject, subject.val, each) for each in (best, best.flip(1)))
    for name in filter(COVERAGE.search, own):
        unit = 100 if max(turned[name], own[name]) > 1 else 1
        if turned[name] > max(COVERED * unit, own[name] + HALF * turned[name]):
            return DISAGREE.failed(
                f"{name} is {own[name]:.4g} for the constants that the loss likes best, {_listed(best[0])}, and "
                f"{turned[name]:.4g} for these in the opposite order.",
            )
    return passed("They do.")


def _loss_of_constants(subject: Subject, outputs: torch.Tensor) -> torch.Tensor:
    y = subject.val.y.to(subject.device)
    return subject.pipeline.loss_fn(outputs.to(subject.device).expand(len(y), -1), y).float().mean()


def _listed(numbers: torch.Tensor) -> str:
    return ", ".join(f"{float(each):.3g}" for each in numbers)


def _metrics(subject: Subject, sample: Sample, outputs: torch.Tensor) -> dict[str, float]:
    return evaluate(subject, subject.model(), lambda _: outputs, [sample]).metrics


def _liked(subject: Subject, sample: Sample) -> torch.Tensor | None:
    """Outputs of these samples that have little loss; None where there are none to be had."""
    can = subject.once(reach)
    with torch.no_grad():
        like = subject.outputs(subject.model().eval(), sample.batches[0][0]).float()
    if like[0].numel() * len(sample) > MOST or can.kind in ("probabilities", "log-probabilities"):
        return None
    y, loss_fn = sample.y.to(subject.device), subject.pipeline.loss_fn
    outputs = like.mean(0).repeat(len(sample), *[1] * (like.ndim - 1))
    low = 0.0 if can.low >= 0 else -math.inf

    def loss(outputs: torch.Tensor) -> torch.Tensor:
        return loss_fn(outputs.clamp(min=low), y).float().mean() * len(y)

    if not _is_sum(loss, outputs):
        return None
    start = _slope(loss, outputs)
    outputs.requires_grad_()
    minimise(lambda: loss(outputs), outputs)
    found = outputs.detach().clamp(min=low)
    with torch.no_grad():
        own, others = float(loss(found)), float(loss(found.roll(len(found) // 2 + 1, 0)))
    # A likelihood may be anything, and is at its least where it has no slope any more.
    is_less = own < REWARDED * others if own >= 0 else own < others and _slope(loss, found) < SETTLED * start
    return found.cpu() if is_less else None


def _slope(loss: Callable[[torch.Tensor], torch.Tensor], outputs: torch.Tensor) -> float:
    asked = outputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        return float(torch.autograd.grad(loss(asked), asked)[0].abs().max())


def _is_sum(loss: Callable[[torch.Tensor], torch.Tensor], outputs: torch.Tensor) -> bool:
    """Whether the gradient of a sample's outputs is the same whatever the others are, and by the same chance each
    time."""
    half = torch.arange(len(outputs), device=outputs.device) < len(outputs) // 2
    moved = outputs + torch.randn_like(outputs) * outputs.std().clamp_min(0.1)
    gradients = []
    for each in (moved, torch.where(half.view(-1, *[1] * (outputs.ndim - 1)), moved, outputs)):
        asked = each.clone().requires_grad_()
        with torch.enable_grad():
            gradients.append(torch.autograd.grad(loss(asked), asked)[0][half])
    off, size = float((gradients[0] - gradients[1]).abs().max()), float(gradients[0].abs().max())
    return size > 0 and off <= SAME * size
