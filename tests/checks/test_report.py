"""The report: its order, its forms, what it says of a pipeline with a bug and of one without."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from recipe_core.checks.docs import document
from recipe_core.checks.registry import checks
from recipe_core.checks.result import AuditReport, Result, passed, skipped

BAD = Result("a_check", "a-cause", "fail", 0.4, "It is <wrong>.", "Do right.", 1, {"figure": 0.5}, 0.1, "It is right.")
WORSE = Result("b_check", "b-cause", "fail", 0.9, "It is worse.", "Do better.", 2)
FINE = Result("c_check", message="All is well.", stage=3, hypothesis="Nothing is wrong.")


def test_the_most_harmful_failure_comes_first_and_what_passed_last():
    report = AuditReport([FINE, BAD, WORSE])
    assert [each.check for each in report.results] == ["b_check", "a_check", "c_check"]
    assert not report.passed
    assert AuditReport([FINE]).passed


def test_where_nothing_was_checked_nothing_has_passed():
    assert not AuditReport([]).passed
    assert not AuditReport([skipped("There was no time.")]).passed


def test_what_follows_from_another_failure_is_a_question_and_only_beside_it():
    following = replace(WORSE, follows=(BAD.cause,))
    report = AuditReport([following, BAD, FINE])
    assert [each.check for each in report.failures] == ["a_check"]
    assert report.of("unsure")[0].message == "It is worse. It may well follow from a-cause: mend that first."
    assert AuditReport([following, FINE]).failures == [following]
    assert AuditReport([following, replace(BAD, verdict="unsure")]).failures == [following]


def test_causes_follow_from_causes_that_there_are_and_never_from_each_other():
    known = {cause.id: cause for check in checks() for cause in check.causes}
    for cause in known.values():
        for root in cause.follows:
            assert cause.id not in known[root].follows, (cause.id, root)


def test_a_report_reads_as_text_as_a_frame_and_as_json():
    report = AuditReport([FINE, BAD])
    assert "a-cause" in str(report) and "Do right." in str(report)
    assert "Nothing is wrong. All is well." in str(report)  # what was expected, and what was found
    frame = report.to_frame()
    assert list(frame["verdict"]) == ["fail", "pass"]
    assert json.loads(json.dumps(report.to_dict()))["results"][0]["evidence"] == {"figure": 0.5}


def test_what_a_pipeline_says_of_itself_is_escaped_in_html():
    picture = {"caption": '"><script>', "src": "data:image/png;base64,AA"}
    page = AuditReport([Result(verdict="fail", message="<script>", evidence={"pictures": [picture]})]).to_html()
    assert "<script>" not in page
    assert "data:image/png" in page


def test_every_check_states_its_hypothesis_and_every_cause_its_fix():
    for check in checks():
        assert check.hypothesis.endswith("."), check.name
        for cause in check.causes:
            assert cause.about and cause.fix and 0 < cause.harm <= 1, cause.id


def test_a_cause_that_several_checks_find_is_the_same_everywhere():
    known = {}
    for check in checks():
        for cause in check.causes:
            assert known.setdefault(cause.id, cause) == cause


def test_docs_audit_lists_every_cause():
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text("utf-8")
    if text != document():
        pytest.fail("docs/audit.md is old: python -m recipe_core.checks.docs > docs/audit.md")


def test_the_html_page_lists_every_check_that_passed():
    report = AuditReport([replace(passed("It did."), hypothesis=f"Number {number} works.") for number in range(60)])
    assert all(f"Number {number} works.<" in report.to_html() for number in range(60))
