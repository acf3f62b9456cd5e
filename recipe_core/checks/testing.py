"""For tests: that a pipeline has no silent failure, and that two ways to compute the same are the same.

def test_my_training_fails_silently_nowhere():
    assert_no_silent_failures(pipeline())

assert_same(loopy_attention, vectorised_attention, (queries, keys, values))
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from recipe_core.checks.audit import audit
from recipe_core.training.pipeline import Pipeline

SHOWN = 5  # places where two results part


def assert_no_silent_failures(pipeline: Pipeline, budget_seconds: float = 60, waived: Iterable[str] = ()) -> None:
    """Audit a pipeline.

    Args:
        waived: causes that are there on purpose.

    Raises:
        AssertionError: the report, if anything failed or nothing could be checked.
    """
    report = audit(pipeline, budget_seconds, waived)
    if not report.passed:
        raise AssertionError(f"\n{report}")


def assert_same(
    loopy: Callable,
    vectorised: Callable,
    inputs: Any,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Two functions give the same results and, for inputs that are fractions, the same gradients.

    The recipe's "generalize a special case": write the loop, be sure of it, vectorise it, compare.

    Args:
        loopy: the plain version, which is right.
        vectorised: the version in doubt.
        inputs: the arguments of both, one or a tuple; they are not changed.
        rtol, atol: tolerances; by default torch.testing's, by type.

    Raises:
        AssertionError: the places where results or gradients part, with both values.
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    first, first_gradients = _results(loopy, arguments)
    second, second_gradients = _results(vectorised, arguments)
    if len(first) != len(second):
        raise AssertionError(f"The loopy version gives {len(first)} results, the vectorised one {len(second)}.")
    for number, (wanted, given) in enumerate(zip(first, second, strict=True)):
        _compare(f"Result {number}" if len(first) > 1 else "The result", wanted, given, rtol, atol)
    for number, (wanted, given) in enumerate(zip(first_gradients, second_gradients, strict=True)):
        _compare(f"The gradient by input {number}", wanted, given, rtol, atol)


def _results(function: Callable, arguments: Sequence[Any]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What a function gives for copies of the arguments, and the gradients of a fixed sum of it by each of them."""
    copies = [_copied(each) for each in arguments]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same chance for both
        returned = function(*copies)
    results = [torch.as_tensor(each) for each in _flat(returned)]
    asked = [each for each in copies if isinstance(each, torch.Tensor) and each.requires_grad]
    total = sum((_weighted(each) for each in results if each.requires_grad), torch.zeros(()))
    if not (asked and total.requires_grad):
        return [each.detach() for each in results], [torch.zeros_like(each) for each in asked]
    found = torch.autograd.grad(total, asked, allow_unused=True)
    gradients = [torch.zeros_like(x) if each is None else each for x, each in zip(asked, found, strict=True)]
    return [each.detach() for each in results], gradients


def _copied(argument: Any) -> Any:
    if not isinstance(argument, torch.Tensor):
        return argument
    copy = argument.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() else copy


def _flat(returned: Any) -> list[Any]:
    if isinstance(returned, dict):
        return [each for name in sorted(returned) for each in _flat(returned[name])]
    if isinstance(returned, tuple | list):
        return [each for part in returned for each in _flat(part)]
    return [returned]


def _weighted(result: torch.Tensor) -> torch.Tensor:
    """A sum in which no two places weigh the same: gradients that go astray do not cancel out."""
    weights = torch.linspace(0.5, 1.5, max(1, result.numel()), dtype=torch.float64)
    return (result.double().flatten() * weights.to(result.device)).sum()


def _compare(what: str, wanted: torch.Tensor, given: torch.Tensor, rtol: float | None, atol: float | None) -> None:
    if wanted.shape != given.shape:
        raise AssertionError(
            f"{what} has shape {tuple(wanted.shape)} in the loopy version, {tuple(given.shape)} vectorised."
        )
    if wanted.dtype != given.dtype:
        raise AssertionError(f"{what} is {wanted.dtype} in the loopy version, {given.dtype} vectorised.")
    try:
        torch.testing.assert_close(given, wanted, rtol=rtol, atol=atol, equal_nan=True)
    except AssertionError as error:
        raise AssertionError(f"{what} parts: {_places(wanted, given)}") from error


def _places(wanted: torch.Tensor, given: torch.Tensor) -> str:
    """Where two tensors are farthest apart."""
    off = (wanted.double() - given.double()).abs().nan_to_num(nan=torch.inf)
    off = torch.where(wanted.isnan() & given.isnan(), 0.0, off)
    worst = off.flatten().topk(min(SHOWN, off.numel())).indices.tolist()
    told = []
    for place in worst:
        index = tuple(int(each) for each in torch.unravel_index(torch.tensor(place), off.shape))
        told.append(
            f"at {list(index)} {wanted[index].item():.6g} in the loopy version, {given[index].item():.6g} vectorised"
        )
    differ = int((off > 0).sum())
    return f"{differ} of {off.numel()} values differ, most {'; '.join(told)}."
