"""The engine: what an audit leaves as it was, what it does with crashes, budgets and odd loaders."""

import contextlib
import copy
import random
import signal
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from recipe_core import Pipeline, audit
from recipe_core.checks import registry
from recipe_core.checks.audit import _in_order, run_check
from recipe_core.checks.registry import Cause, Check
from recipe_core.checks.result import passed
from recipe_core.checks.subject import Subject
from recipe_core.time_limit import time_limit
from recipe_core.training.pipeline import default_train_step
from tests.checks.world import digits, healthy, loaders, look, net

WRONG = Cause("it-is-wrong", "It is wrong.", "Do right.", 0.5)


def made(experiment, cost=0.0):
    return Check(experiment.__name__, "data", 1, cost, (WRONG,), experiment)


@pytest.fixture
def only(monkeypatch):
    """Let these be all checks there are."""

    def use(*experiments):
        known = {each.name: each for each in map(made, experiments)}
        monkeypatch.setattr(registry, "_CHECKS", known)
        monkeypatch.setattr("pkgutil.iter_modules", lambda path: [])

    return use


def test_a_check_that_crashes_says_so_and_the_others_go_on(only):
    def crashes(subject):
        """It works."""
        raise ValueError("no luck" + " with this backend" * 100)

    def works(subject):
        """It works."""
        return passed("It did.")

    only(crashes, works)
    report = audit(healthy())
    assert {each.check: each.verdict for each in report.results} == {"crashes": "error", "works": "pass"}
    assert "no luck" in report.of("error")[0].message and len(report.of("error")[0].message) < 400
    assert report.passed


def test_a_check_that_does_not_fit_into_the_budget_is_skipped_and_says_so():
    result = run_check(made(lambda subject: passed("never"), cost=100), Subject(healthy(), 5))[0]
    assert result.verdict == "skipped"
    assert "100" in result.message and "5 s" in result.message


def test_a_pipeline_that_takes_too_long_is_stopped_inside_its_own_code():
    def endless(model, loader):
        while True:
            for x, _ in loader:
                model(x)

    pipeline = healthy(evaluate=endless)
    result = look(pipeline, "evaluation_is_in_eval_mode", seconds=3)[0]
    assert result.verdict == "skipped"


def test_a_wait_that_calls_no_model_is_ended_with_the_budget():
    def waits(model, loader):
        with contextlib.suppress(Exception):
            threading.Event().wait()

    result = look(healthy(evaluate=waits), "evaluation_is_in_eval_mode", seconds=3)[0]
    assert result.verdict == "skipped"


def test_a_limit_of_time_leaves_another_one_in_force():
    class Mine(BaseException):
        pass

    with pytest.raises(Mine), time_limit(0.2, Mine()):
        with time_limit(60, KeyboardInterrupt()):
            pass
        threading.Event().wait(5)


def test_a_limit_that_is_reached_on_the_way_in_or_out_ends_all_the_same(monkeypatch):
    class Late(BaseException):
        pass

    pauses = iter([0.1])

    def slow(*args, set_timer=signal.setitimer):
        before = set_timer(*args)
        time.sleep(next(pauses, 0))  # the limit is reached here
        return before

    ended = []
    with monkeypatch.context() as patched:
        patched.setattr(signal, "setitimer", slow)
        with pytest.raises(Late), time_limit(0, Late(), at_end=lambda: ended.append("in")):
            threading.Event().wait(5)
    with time_limit(0.05, Late(), at_end=lambda: (time.sleep(0.2), ended.append("out"))):
        pass
    time.sleep(0.05)  # and nothing rings any more
    assert ended == ["in", "out"]


class Slow(nn.Module):
    """A tenth of a second for each image."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        until = time.process_time() + 0.1 * len(x)
        while time.process_time() < until:
            pass
        return self.net(x)


def test_a_large_model_gets_a_part_of_each_batch_and_the_data_are_looked_at_first():
    subject = Subject(healthy(model_fn=Slow), 60)
    assert max(subject.train.sizes) <= 6 and len(subject.train) < 30  # that is 0.6 s and 2.4 s
    assert 2 <= subject.val.sizes[-1] < subject.val.sizes[0] and not subject.val.complete
    assert len(subject.drawn_train) == 600
    assert [each.family for each in _in_order(subject)][:5] == ["data"] * 5
    small = Subject(healthy(), 60)
    assert small.train is small.drawn_train and small.val is small.drawn_val


def test_a_waived_cause_is_told_but_fails_nothing(only):
    def finds(subject):
        """It is right."""
        return WRONG.failed("It is wrong.")

    only(finds)
    assert len(audit(healthy()).failures) == 1
    report = audit(healthy(), waived=["it-is-wrong"])
    assert report.failures == []
    assert "On purpose" in report.results[0].message


def test_model_loaders_closures_and_sources_of_chance_stay_as_they_were():
    x, y = digits()
    generator = torch.Generator().manual_seed(5)
    train, val = loaders(x, y)
    train.sampler.generator = generator
    model, moving, steps = net(), net(), {"taken": 0}

    def train_step(given, batch, loss_fn, optimizer):
        steps["taken"] += 1
        x = batch[0]
        x.mul_(1.0)
        loss = default_train_step(given, batch, loss_fn, optimizer)
        for mine, its in zip(moving.parameters(), given.parameters(), strict=True):
            mine.data.mul_(0.9).add_(its.data, alpha=0.1)
        return loss

    pipeline = Pipeline(lambda: model, train, val, 10, train_step=train_step)
    before = [copy.deepcopy(model.state_dict()), copy.deepcopy(moving.state_dict()), generator.get_state()]
    chance = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    data, settings = x.clone(), (torch.get_num_threads(), torch.is_grad_enabled(), model.training)
    given = look(
        pipeline, "evaluation_is_in_eval_mode", "evaluation_leaves_the_model_alone", "validation_images_are_new"
    )
    assert {each.verdict for each in given} == {"pass"}
    after = [model.state_dict(), moving.state_dict()]
    for wanted, given in zip(before[:2], after, strict=True):
        assert all(torch.equal(wanted[name], given[name]) for name in wanted)
    assert all(each.grad is None for each in model.parameters())
    assert torch.equal(generator.get_state(), before[2])
    assert steps == {"taken": 0}
    assert torch.equal(x, data)
    assert torch.equal(torch.get_rng_state(), chance[0]) and random.getstate() == chance[1]
    assert np.array_equal(np.random.get_state()[1], chance[2])
    assert (torch.get_num_threads(), torch.is_grad_enabled(), model.training) == settings


def test_a_model_that_is_the_same_object_each_time_starts_from_the_same_weights():
    model = net()
    subject = Subject(healthy(model_fn=lambda: model))
    first = copy.deepcopy(subject.model().state_dict())
    for _ in subject.steps(3):
        pass
    again = subject.model().state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_loader_without_an_end_is_sampled():
    x, y = digits()

    class Endless:
        def __iter__(self):
            while True:
                rows = torch.randint(0, 600, (32,))
                yield x[rows], y[rows]

    sample = Subject(healthy(train_loader=Endless())).train
    assert len(sample) >= 1000
    assert not sample.complete


def test_a_model_that_is_slow_to_make_does_not_make_the_sample_smaller():
    """Whole numbers need a look at the model before they are known to be words."""
    words = torch.randint(1, 9, (640, 6))

    def slow():
        time.sleep(1.2)  # more than drawing a sample may take of this budget
        return nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 2))

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(words, words[:, 0] % 2), batch_size=32)
    subject = Subject(Pipeline(slow, loader, loader, num_classes=2), seconds=20)
    assert len(subject.drawn_train) == 640


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return {"scores": self.net(x), "more": None}


def test_a_model_that_returns_a_dict_is_read_by_forward():
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0])["scores"], batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    def evaluate(model, loader):
        model.eval()
        with torch.no_grad():
            right = torch.cat([model(x)["scores"].argmax(1) == y for x, y in loader])
        return {"accuracy": right.float().mean().item()}

    pipeline = healthy(
        model_fn=Wrapped, forward=lambda model, x: model(x)["scores"], train_step=step, evaluate=evaluate
    )
    result = look(pipeline, "accuracy_of_known_answers_is_right")[0]
    assert result.verdict == "pass"


def test_no_check_crashes_on_inputs_that_are_no_numbers():
    x, y = digits()
    x[:, :, 0] = torch.nan
    train, val = loaders(x, y)
    report = audit(healthy(train_loader=train, val_loader=val))
    assert [f"{each.check}: {each.message}" for each in report.of("error")] == []
    assert [each.cause for each in report.of("fail")] == ["inputs-not-finite"] * 2
