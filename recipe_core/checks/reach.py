"""Which outputs can a model give at all, whatever its weights and inputs are?"""

import math
from dataclasses import dataclass

import torch

from recipe_core.checks.rehearsal import rehearse
from recipe_core.checks.subject import Subject

MOST = 256  # samples that are asked about
TRIALS = 8  # weights drawn at random
LARGE = (4.0, 16.0)  # times the deviation of weights
LEAST_DROPPED = 0.02  # share of outputs


@dataclass(frozen=True)
class Reach:
    """Which outputs a model can give, whatever its weights and inputs are.

    Attributes:
        kind: "free", "log-probabilities", "probabilities" (rows that sum to 1), "unit" (0..1), "signed unit" (-1..1),
            "cut off" (never below zero, often at it).
        low: the smallest that was seen.
        outputs: some that were seen.
    """

    kind: str
    low: float
    high: float
    outputs: torch.Tensor


def reach(subject: Subject) -> Reach:
    """Its outputs for inputs of many scales and weights drawn at random around its own; where they seem to have bounds,
    also for much larger weights."""
    x = subject.some(MOST)
    can_be_scaled = isinstance(x, torch.Tensor) and x.is_floating_point()
    found = []
    for trial in range(TRIALS):
        size = 1.0 if can_be_scaled else 2.0 ** (trial % 4)  # of words weights are
        scaled = (x + _noise(x, trial)) * 4.0 ** (trial % 4 - 1) if can_be_scaled else x
        found.append(_outputs_near(subject, scaled, size if trial else 0.0, trial))
    told = _reach(torch.cat(found))
    if told.kind not in ("unit", "signed unit"):
        return told
    return _reach(torch.cat([*found, *(_outputs_near(subject, x, size, TRIALS) for size in LARGE)]))


@torch.no_grad()
def _outputs_near(subject: Subject, x: torch.Tensor, size: float, trial: int) -> torch.Tensor:
    """What a model says whose weights differ from its own by so many times their deviation."""
    model = subject.model().eval()
    for number, each in enumerate(model.parameters() if size else ()):
        spread = each.std() if each.numel() > 1 else each.abs()
        each.add_(_noise(each, trial, number) * torch.nan_to_num(spread).clamp(min=0.1) * size)
    return subject.outputs(model, x).detach().float().cpu()


def _noise(like: torch.Tensor, trial: int, number: int = 0) -> torch.Tensor:
    """Other noise in each trial, also where the pipeline's own functions seed all chance anew."""
    chance = torch.Generator().manual_seed(1000 * trial + number)
    return torch.randn(like.shape, dtype=like.dtype, generator=chance).to(like.device)


def in_form(subject: Subject, outputs: torch.Tensor) -> torch.Tensor:
    """Outputs that tell probabilities from scores: lower by one where they lie between 0 and 1 by chance only."""
    if bool((outputs < 0).any() or (outputs > 1).any()):
        return outputs
    can = subject.once(reach)
    return outputs if can.low >= 0 and can.high <= 1.001 else outputs - 1


def reach_in_steps(subject: Subject) -> Reach | None:
    """The same of what the train step gives to the loss function; None where that is not seen."""
    found = []
    for trial in range(TRIALS // 2):
        model = subject.model().train()
        with torch.no_grad():
            for number, each in enumerate(model.parameters()):
                each.add_(_noise(each, trial, number) * torch.nan_to_num(each.std()).clamp(min=0.1) * 2.0**trial)
        calls = rehearse(subject, 1, model=model, scheduled=False).calls
        found += [call.outputs.float().cpu() for call in calls if isinstance(call.outputs, torch.Tensor)]
    if not found or any(each.shape[1:] != found[0].shape[1:] for each in found):
        return None
    return _reach(torch.cat(found))


def _reach(outputs: torch.Tensor) -> Reach:
    outputs = outputs.movedim(1, -1) if outputs.ndim > 3 else outputs  # classes of each pixel
    outputs = outputs.flatten(0, -2) if outputs.ndim > 2 else outputs
    finite = outputs[outputs.reshape(len(outputs), -1).isfinite().all(1)]
    if not len(finite):
        return Reach("free", -math.inf, math.inf, outputs)
    return Reach(_kind(finite), float(finite.min()), float(finite.max()), finite)


def _kind(outputs: torch.Tensor) -> str:
    low, high = float(outputs.min()), float(outputs.max())
    wide = outputs.ndim == 2 and outputs.shape[1] > 1
    if low == high:
        return "free"
    if wide and low >= 0 and high <= 1.001 and bool(((outputs.sum(1) - 1).abs() < 1e-3).all()):
        return "probabilities"
    if wide and high <= 1e-3 and bool((outputs.logsumexp(1).abs() < 1e-3).all()):
        return "log-probabilities"
    if low >= 0 and 0.9 < high <= 1:
        return "unit"
    if -1 <= low < -0.9 and 0.9 < high <= 1:
        return "signed unit"
    if low == 0 and float((outputs == 0).float().mean()) > 0.01:
        return "cut off"
    return "free"


def dropped_by_chance(subject: Subject) -> float:
    """The share of outputs that are zero by chance in train mode, and none in eval mode."""
    model, x = subject.model(), subject.some(MOST)
    with torch.no_grad():
        still, first, second = (subject.outputs(model.train(mode), x) for mode in (False, True, True))
    share = float(((first == 0) ^ (second == 0)).float().mean())
    if share <= LEAST_DROPPED or bool((still == 0).any()) or not bool((first < 0).any()):  # a ReLU's are zero, too
        return 0.0
    return float((first == 0).float().mean())
