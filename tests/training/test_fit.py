"""The loop: reproducible, resumable, honest about step 0, and clear where it cannot go on."""

import copy
import os

import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import nn
from torch.nn import functional as F
from toy import Memory, tensors, train

from recipe_core.errors import Diverged, OutOfMemory, Replaced, Stopped
from recipe_core.training.pipeline import default_train_step

QUICK = {"steps": 12, "batch_size": 16, "eval_every": 5}
NAMES = {"train_loss", "train_accuracy", "learning_rate", "grad_norm", "update_ratio", "samples_per_second"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tensors(tmp_path_factory.mktemp("toy") / "tensors")


def test_every_step_and_every_evaluation_is_recorded(folder, tmp_path):
    history = train(folder, tmp_path, "tiny_cnn", QUICK).history()
    assert set(history) == NAMES | {"val_loss", "val_accuracy"}
    assert list(history["train_loss"].dropna().index) == list(range(12))
    assert list(history["val_loss"].dropna().index) == [0, 5, 10, 12]


def test_the_loss_at_step_0_is_measured_before_the_first_update(folder, tmp_path):
    history = train(folder, tmp_path, "tiny_cnn", {**QUICK, "learning_rate": 1, "bias_to_prior": False}).history()
    assert history["train_loss"][0] == pytest.approx(np.log(3))
    assert history["val_loss"][0] == pytest.approx(np.log(3))
    assert history["val_loss"][5] != pytest.approx(np.log(3))


def test_two_runs_with_one_seed_agree_bit_for_bit(folder, tmp_path):
    first = train(folder, tmp_path / "1", "tiny_cnn", QUICK, seed=3)
    second = train(folder, tmp_path / "2", "tiny_cnn", QUICK, seed=3)
    other = train(folder, tmp_path / "3", "tiny_cnn", QUICK, seed=4)
    assert_frame_equal(first.curve(), second.curve(), check_exact=True)
    assert not first.curve().equals(other.curve())


def test_the_curve_is_that_of_a_bare_loop(folder, tmp_path):
    pipelines = []
    losses = train(folder, tmp_path, "mlp", QUICK, change=pipelines.append).history()["train_loss"]
    (pipeline,) = pipelines
    pipeline.train_loader.restore({"epoch": 0, "position": 0})
    torch.manual_seed(0)
    model = pipeline.model_fn()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    for step, (x, y) in enumerate(pipeline.train_loader):  # one epoch: 8 steps
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        assert loss.item() == losses[step]
        loss.backward()
        optimizer.step()
    assert step == 7


# 8 batches are an epoch: 0 is before anything, 8 between two epochs, the others within one.
@pytest.mark.parametrize("stop_at", [0, 3, 8, 11])
def test_a_stopped_run_resumes_to_the_same_curve(folder, tmp_path, stop_at):
    settings = {**QUICK, "schedule": "cosine", "warmup_steps": 4}
    whole = train(folder, tmp_path / "whole", "tiny_cnn", settings)
    parts = Memory(stop_at)
    with pytest.raises(Stopped):
        train(folder, tmp_path / "parts", "tiny_cnn", settings, recorder=parts)
    assert parts.updates == stop_at
    parts.stop_at = None
    train(folder, tmp_path / "parts", "tiny_cnn", settings, recorder=parts)
    assert parts.updates == 12
    assert_frame_equal(whole.curve(), parts.curve(), check_exact=True)


def test_dropout_goes_on_where_it_was(folder, tmp_path):
    def drop(pipeline):
        build = pipeline.model_fn
        pipeline.model_fn = lambda: nn.Sequential(nn.Dropout(0.5), build())

    whole = train(folder, tmp_path / "whole", "mlp", QUICK, change=drop)
    parts = Memory(stop_at=5)
    with pytest.raises(Stopped):
        train(folder, tmp_path / "parts", "mlp", QUICK, recorder=parts, change=drop)
    parts.stop_at = None
    np.random.seed(99)
    train(folder, tmp_path / "parts", "mlp", QUICK, recorder=parts, change=drop)
    assert_frame_equal(whole.curve(), parts.curve(), check_exact=True)


def test_a_killed_run_repeats_the_steps_since_its_checkpoint_with_the_same_values(folder, tmp_path):
    class Killed(BaseException):
        pass

    class Mortal(Memory):
        def flush(self):
            self.written = copy.deepcopy(self.points)

        def record(self, step, values):
            super().record(step, values)
            if self.updates == 7:
                raise Killed

    settings = {**QUICK, "checkpoint_every": 4}
    whole = train(folder, tmp_path / "whole", "tiny_cnn", settings)
    mortal = Mortal()
    with pytest.raises(Killed):
        train(folder, tmp_path / "parts", "tiny_cnn", settings, recorder=mortal)
    resumed = train(folder, tmp_path / "parts", "tiny_cnn", settings)
    assert resumed.history().index[0] == 4
    both = {**mortal.written, **resumed.points}
    resumed.points = both
    assert_frame_equal(whole.curve(), resumed.curve(), check_exact=True)


def test_a_finished_run_that_is_resumed_only_evaluates(folder, tmp_path):
    first = train(folder, tmp_path, "linear", QUICK)
    again = train(folder, tmp_path, "linear", QUICK)
    assert again.updates == 0
    assert again.points == {12: {name: first.points[12][name] for name in ("val_loss", "val_accuracy")}}


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(folder, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    with pytest.raises(Stopped):
        train(folder, tmp_path, "linear", QUICK, recorder=Memory(stop_at=4))
    before = (tmp_path / "checkpoints" / "last.pt").read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        train(folder, tmp_path, "linear", {**QUICK, "checkpoint_every": 1})
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.pt"]
    assert (tmp_path / "checkpoints" / "last.pt").read_bytes() == before


class Burst(nn.Module):
    """Gives infinity from its fourth training step on."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        self.steps += self.training
        return x / 0 if self.steps > 3 else x


def test_a_loss_that_is_no_number_stops_the_run_and_names_step_and_layer(folder, tmp_path):
    def burst(pipeline):
        build = pipeline.model_fn
        pipeline.model_fn = lambda: nn.Sequential(nn.Identity(), Burst(), build())

    recorder = Memory()
    with pytest.raises(Diverged, match=r"training loss .* step 3, first in layer 1 \(Burst\)") as caught:
        train(folder, tmp_path, "linear", {**QUICK, "checkpoint_every": 1}, recorder=recorder, change=burst)
    assert (caught.value.step, caught.value.layer) == (3, "1 (Burst)")
    assert recorder.updates == 3
    state = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert state["step"] == 3
    assert all(torch.isfinite(each).all() for each in state["model"].values())


def test_a_gradient_that_is_no_number_is_told_with_its_parameter(folder, tmp_path):
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return x + self.weight.sqrt()  # finite at zero, its slope is not

    def rooted(pipeline):
        build = pipeline.model_fn
        pipeline.model_fn = lambda: nn.Sequential(build(), Root())

    with pytest.raises(Diverged, match=r"step 0, in the gradient of 1\.weight, after outputs that were finite"):
        train(folder, tmp_path, "tiny_cnn", QUICK, change=rooted)


@pytest.mark.parametrize(
    "every, saved, sentence",
    [
        (50, 50, r"training loss .* step 56, in the weight 1\.weight, since the update before"),
        (1, 55, r"weight 1\.weight is not a finite number after 56 updates"),
    ],
)
def test_weights_that_an_unmeasured_update_ruins_are_found_and_never_saved(folder, tmp_path, every, saved, sentence):
    class Ruinous(torch.optim.SGD):
        calls = 0

        def step(self):
            super().step()
            self.calls += 1
            if self.calls == 56:
                torch.nn.init.constant_(self.param_groups[0]["params"][0], torch.inf)

    def ruin(pipeline):
        pipeline.optimizer_fn = lambda model: Ruinous(model.parameters(), lr=1e-3)

    with pytest.raises(Diverged, match=sentence):
        train(folder, tmp_path, "linear", {"steps": 120, "checkpoint_every": every, "eval_every": 120}, change=ruin)
    state = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert state["step"] == saved
    assert all(torch.isfinite(each).all() for each in state["model"].values())


def test_the_first_and_last_steps_are_measured_and_every_25th_between_them(folder, tmp_path):
    history = train(folder, tmp_path, "linear", {"steps": 175, "eval_every": 175}).history()
    for name in ("train_accuracy", "grad_norm", "update_ratio"):
        assert history[name].dropna().index.tolist() == [*range(51), 75, 100, *range(125, 175)]
    assert history["train_loss"].dropna().index.tolist() == list(range(175))


def test_what_is_measured_of_a_step_is_what_happened_in_it(folder, tmp_path):
    seen = []

    def watch(pipeline):
        def step(model, batch, loss_fn, optimizer):
            before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
            loss = default_train_step(model, batch, loss_fn, optimizer)
            after = nn.utils.parameters_to_vector(model.parameters()).detach()
            gradient = torch.cat([each.grad.reshape(-1) for each in model.parameters()])
            seen.append([gradient.norm().item(), ((after - before).norm() / after.norm()).item()])
            return loss

        pipeline.train_step = step

    history = train(folder, tmp_path, "mlp", QUICK, change=watch).history().iloc[:12]
    np.testing.assert_allclose(history[["grad_norm", "update_ratio"]], seen, rtol=1e-5)


def test_a_batch_that_does_not_fit_names_one_that_does(folder, tmp_path):
    def small(pipeline):
        def step(model, batch, loss_fn, optimizer):
            if len(batch[1]) > 5:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return default_train_step(model, batch, loss_fn, optimizer)

        pipeline.train_step = step

    with pytest.raises(OutOfMemory, match=r"A batch of 16 samples .* cpu; a batch of 4 fits: set batch_size=4\."):
        train(folder, tmp_path, "linear", QUICK, change=small)


def test_an_error_of_the_users_own_model_comes_as_it_is(folder, tmp_path):
    def broken(pipeline):
        pipeline.model_fn = lambda: nn.Sequential(nn.Flatten(), nn.Linear(5, 3))

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(folder, tmp_path, "linear", QUICK, change=broken)


def test_a_stop_during_an_evaluation_is_heeded(folder, tmp_path):
    class Impatient(Memory):
        looks = 0

        def check(self):
            self.looks += 1
            if self.looks == 2:
                raise Stopped("asked to stop")

    recorder = Impatient()
    with pytest.raises(Stopped):
        train(folder, tmp_path, "linear", QUICK, recorder=recorder)
    assert recorder.points == {}


def test_the_schedule_warms_up_and_ends_at_zero(folder, tmp_path):
    settings = {**QUICK, "schedule": "cosine", "warmup_steps": 3, "learning_rate": 1}
    rates = train(folder, tmp_path, "majority", settings).history()["learning_rate"].dropna()
    assert rates[:4].tolist() == [0.25, 0.5, 0.75, 1]
    assert rates[3:].is_monotonic_decreasing
    assert rates[11] == pytest.approx(0.5 * (1 + np.cos(np.pi * 8 / 9)))


def test_the_models_hook_is_gone_afterwards(folder, tmp_path):
    recorder = train(folder, tmp_path, "linear", QUICK)
    assert not recorder.model._forward_hooks


def test_one_batch_is_one_and_the_same_batch(folder, tmp_path):
    pipelines = []
    train(folder, tmp_path, "one_batch", {"steps": 1, "batch_size": 8}, change=pipelines.append)
    (first,), (second,) = (list(pipelines[0].train_loader) for _ in range(2))
    assert len(first[1]) == 8
    assert torch.equal(first[0], second[0])


def test_a_worker_that_was_replaced_leaves_the_checkpoint_to_its_successor(folder, tmp_path):
    class Ousted(Memory):
        def check(self):
            if 5 in self.points:
                raise Replaced("another attempt has it")

    with pytest.raises(Replaced):
        train(folder, tmp_path, "linear", {**QUICK, "checkpoint_every": 3}, recorder=Ousted())
    assert torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)["step"] == 3
