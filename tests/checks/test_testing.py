"""The helpers for a user's own tests."""

import pytest
import torch

from recipe_core import assert_no_silent_failures, assert_same
from recipe_core.checks import testing
from recipe_core.checks.result import AuditReport, Result, passed
from tests.checks.world import healthy


def loopy(x):
    return torch.stack([row.cumsum(0) for row in x])


def test_two_ways_to_compute_the_same_are_the_same():
    assert_same(loopy, lambda x: x.cumsum(1), torch.randn(3, 4))


def test_it_shows_where_two_results_part_with_both_values():
    def wrong(x):
        result = x.cumsum(1)
        result[2, 1] += 1
        return result

    with pytest.raises(AssertionError, match=r"1 of 12 values differ, most at \[2, 1\]"):
        assert_same(loopy, wrong, torch.zeros(3, 4))


def test_gradients_that_part_are_found_where_results_do_not():
    with pytest.raises(AssertionError, match="gradient by input 0"):
        assert_same(lambda x: x * 2, lambda x: x.detach() + x, torch.randn(5))


def test_shapes_that_would_broadcast_are_not_the_same():
    with pytest.raises(AssertionError, match=r"\(3,\).*\(3, 1\)"):
        assert_same(lambda x: x.sum(1), lambda x: x.sum(1, keepdim=True), torch.randn(3, 4))


def test_inputs_are_not_changed_and_chance_is_the_same_for_both():
    x = torch.ones(4)
    assert_same(lambda x: x + torch.rand(4), lambda x: torch.rand(4) + x, (x,))
    assert torch.equal(x, torch.ones(4))


def test_a_failure_is_raised_with_the_report(monkeypatch):
    report = AuditReport([Result("a_check", "a-cause", "fail", 0.5, "It is wrong.", "Do right.")])
    monkeypatch.setattr(testing, "audit", lambda *given: report)
    with pytest.raises(AssertionError, match="Do right"):
        assert_no_silent_failures(healthy())
    monkeypatch.setattr(testing, "audit", lambda *given: AuditReport([passed("It is right.")]))
    assert_no_silent_failures(healthy())
