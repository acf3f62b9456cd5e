"""Cases of the collection that take little time; all of them run in benchmarks/audit.py."""

import warnings

import pytest
import torch

from recipe_core.checks.audit import audit, run_check
from recipe_core.checks.registry import checks
from recipe_core.checks.subject import Subject
from tests.checks.zoo import CASES
from tests.checks.zoo.quick import BUGS, CORRECT, LEFT_OPEN, LET_PASS

torch.set_num_threads(1)
BY_NAME = {case.name: case for case in CASES}
FAMILIES = {"data", "model", "optimisation", "evaluation"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found_for_the_right_reason(name):
    case = BY_NAME[name]
    subject = Subject(case.build(), seconds=300)
    fit = [check for check in checks() if case.causes & {cause.id for cause in check.causes}]
    results = [each for check in fit for each in run_check(check, subject)]
    causes = {each.cause for each in results if each.verdict == "fail"}
    assert causes and causes <= case.causes
    assert [each.message for each in results if each.verdict == "error"] == []


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_pipeline_gets_no_failure_and_no_check_crashes_on_it(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = audit(BY_NAME[name].build())
    assert report.passed, str(report)
    assert [each.message for each in report.of("error")] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "check", "verdict"), [*((*each, "pass") for each in LET_PASS), *LEFT_OPEN])
def test_a_correct_pipeline_does_not_fail_the_check_that_a_bug_like_it_fails(name, check, verdict):
    (asked,) = [each for each in checks() if each.name == check]
    assert {each.verdict for each in run_check(asked, Subject(BY_NAME[name].build(), seconds=300))} == {verdict}


def test_every_bug_has_a_healthy_twin_in_the_same_half():
    bugs = [case for case in CASES if case.causes]
    assert len(bugs) >= 60
    assert all(BY_NAME[f"{case.name} (healthy)"].half == case.half for case in bugs)


def test_both_halves_hold_bugs_of_all_families_and_unusual_pipelines():
    for half in ("dev", "held-out"):
        assert {case.family for case in CASES if case.half == half} == FAMILIES | {"unusual"}


def test_every_expected_cause_is_one_that_a_check_can_find():
    known = {cause.id for check in checks() for cause in check.causes}
    assert set().union(*(case.causes for case in CASES)) - known == set()
