"""The addresses of the pages Train and Audit: what is put in comes out; what makes no sense is passed over."""

from urllib.parse import parse_qs, urlencode

import pytest

from recipe_core.links import AuditView, TrainView

VIEWS = [
    TrainView(),
    TrainView("pets", preset="tiny_cnn", like=7),
    TrainView("a&b=c?d#e ü", runs=(7, 9, 8), tab="predictions", cell=(0, 3)),
    TrainView("pets", runs=(7,), smoothing=0.65, log=True, more=True, steps=(0, 1_000_000)),
]


def as_opened(query: str) -> TrainView:
    return TrainView.parse(parse_qs(query, keep_blank_values=True))


@pytest.mark.parametrize("view", VIEWS, ids=range(len(VIEWS)))
def test_a_train_view_survives_its_address(view: TrainView):
    assert as_opened(urlencode(view.query(), doseq=True)) == view


def test_the_address_of_a_run_is_short():
    assert urlencode(TrainView("pets").opened(7).query(), doseq=True) == "dataset=pets&run=7"


@pytest.mark.parametrize(
    "query",
    [
        *("run=-1", "run=x", "run=", "run=0", "like=a", "smoothing=-3", "smoothing=nan", "smoothing=x", "log=yes"),
        *("cell=1", "cell=a-b", "cell=-1-2", "steps=5-5", "steps=9-2", "steps=x", f"run={'9' * 40}"),
    ],
)
def test_what_makes_no_sense_is_passed_over(query: str):
    assert as_opened(query) == TrainView()


def test_a_run_that_is_named_twice_is_shown_once():
    assert as_opened("run=7&run=9&run=7").runs == (7, 9)


def test_smoothing_stays_below_one():
    assert as_opened("smoothing=5").smoothing < 1


def test_other_runs_keep_the_charts_settings_but_not_the_zoom_and_the_cell():
    seen = TrainView("pets", (7,), tab="predictions", smoothing=0.5, steps=(3, 5), cell=(1, 2)).opened(8)
    assert seen == TrainView("pets", (8,), tab="predictions", smoothing=0.5)


@pytest.mark.parametrize("view", [AuditView(), AuditView(12), AuditView(file="a&b=c ü.py", function="small")])
def test_an_audit_view_survives_its_address(view: AuditView):
    assert AuditView.parse(parse_qs(urlencode(view.query()))) == view


@pytest.mark.parametrize("query", ["audit=-1", "audit=x", "audit=", f"audit={'9' * 40}", "other=1"])
def test_an_audit_that_makes_no_sense_is_passed_over(query: str):
    assert AuditView.parse(parse_qs(query, keep_blank_values=True)) == AuditView()
