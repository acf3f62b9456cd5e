"""Inputs and targets that are no tensors with a row for each sample: batches as they are, nothing of single ones."""

import copy
import time

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from recipe_core.checks.audit import audit
from recipe_core.checks.result import Untold
from recipe_core.checks.sample import rows_of
from recipe_core.checks.subject import Subject
from recipe_core.checks.whole import Whole
from recipe_core.training.pipeline import Pipeline, on_device_of

NODES, EDGES = torch.randn(7, 2), torch.randint(7, (2, 9))


@pytest.mark.parametrize(
    "ask",
    [
        len,
        lambda x: x[:2],
        lambda x: list(x),
        lambda x: x.shape,
        lambda x: x.float(),
        lambda x: torch.cat([x]),
        lambda x: torch.equal(NODES, x),
    ],
)
def test_what_asks_for_single_samples_is_told_that_there_are_none(ask):
    with pytest.raises(Untold, match="x or y is no tensor with a row for each"):
        ask(Whole({"nodes": NODES, "edges": EDGES}))


def test_a_copy_shares_nothing_with_the_loaders_tensors():
    x = {"nodes": NODES.clone(), "name": ["ring"]}
    for twin in (Whole(x).clone(), copy.deepcopy(Whole(x))):
        twin.x["nodes"].zero_()
        twin.x["name"].clear()
    assert torch.equal(x["nodes"], NODES) and x["name"] == ["ring"]


def test_tensors_in_it_go_where_the_model_is():
    model = nn.Linear(2, 2).to("meta")
    x, y = on_device_of(model, (Whole([NODES, "ring"]), torch.zeros(3)))
    assert (x.x[0].device.type, x.x[1], y.device.type) == ("meta", "ring", "meta")
    assert Whole([NODES]).to("meta").x[0].is_meta
    assert Whole([NODES, EDGES]).nbytes == NODES.nbytes + EDGES.nbytes
    assert pytree.tree_leaves(Whole({"nodes": NODES}))[0] is NODES


def test_of_a_large_model_fewer_batches_are_looked_at():
    class Slow(nn.Linear):
        def forward(self, x):
            until = time.process_time() + 0.3
            while time.process_time() < until:
                pass
            return super().forward(torch.stack(x))

    batches = [([torch.randn(2) for _ in range(3)] + [torch.randn(2, 1)[:, 0]], torch.arange(4) % 2) for _ in range(9)]
    subject = Subject(Pipeline(lambda: Slow(2, 2), batches, batches, 2), 20)
    assert subject.is_large and len(subject.drawn_train.batches) == 9
    assert [len(each.batches) for each in (subject.train, subject.val)] == [3, 3]
    assert len(subject.train.y) == 12


def test_batches_of_a_pass_are_all_whole_or_none():
    words = torch.randint(1, 9, (3, 6)).clamp_min(1)
    words[:, 4:] = 0
    given = [(words, words != 0), (words, words != 0), (words, words > 3)]
    subject = Subject(Pipeline(lambda: nn.Linear(2, 2), [(x, torch.arange(3) % 2) for x in given], [], 2))
    drawn = [x for x, _ in subject.drawn_train.batches]
    assert all(isinstance(x, Whole) for x in drawn)
    assert all(torch.equal(*pair) for x, own in zip(drawn, given, strict=True) for pair in zip(x.x, own, strict=True))


def test_checks_that_look_at_single_samples_are_skipped_and_say_so():
    class Sums(nn.Linear):
        def forward(self, x):
            return super().forward(torch.stack([each.mean(0) for each in x["nodes"].split(x["sizes"])]))

    def batches(count):
        for _ in range(count):
            y = torch.arange(8) % 2
            sizes = torch.randint(2, 6, (8,)).tolist()
            nodes = torch.cat([torch.randn(size, 2) + 2 * label for size, label in zip(sizes, y.tolist(), strict=True)])
            yield {"nodes": nodes, "sizes": sizes}, y

    report = audit(Pipeline(lambda: Sums(2, 2), list(batches(12)), list(batches(4)), 2))
    assert not report.failures and not report.of("error")
    skipped = {each.check: each.message for each in report.of("skipped")}
    assert "no tensor with a row for each" in skipped["outputs_follow_the_input"]
    assert {"accuracy_of_known_answers_is_right", "gradients_are_zeroed", "training_lowers_the_loss"} <= {
        each.check for each in report.of("pass")
    }


@pytest.mark.parametrize(
    ("y", "rows"),
    [
        ({"kind": torch.zeros(5), "box": torch.zeros(5, 4)}, 5),
        ([torch.zeros(6), torch.zeros(6, 2)], 6),  # as default_collate makes them of pairs
        ([{"boxes": torch.zeros(3, 4)}, {"boxes": torch.zeros(0, 4)}], 2),
        (["cat", "dog", "cat"], 3),
        (object(), 1),
    ],
)
def test_targets_of_any_kind_tell_how_many_samples_there_are(y, rows):
    assert Whole(y).rows == rows
    assert rows_of(Whole([NODES]), Whole(y)) == rows
    assert rows_of(torch.zeros(7, 3, 8, 8), Whole(y)) == 7


def test_the_loss_and_the_step_get_targets_as_the_loader_gives_them():
    def loss_fn(outputs, y):
        assert isinstance(y, list)
        return sum(nn.functional.mse_loss(outputs[:, 0], box[0].expand(len(outputs))) for box in y)

    batches = [(torch.randn(4, 2), [torch.randn(at + 1) for at in range(4)]) for _ in range(4)]
    report = audit(Pipeline(lambda: nn.Linear(2, 1), batches[1:], batches[:1], 0, loss_fn=loss_fn))
    assert not report.failures and not report.of("error")
    assert {"gradients_are_zeroed", "evaluation_is_not_random", "all_layers_are_trained"} <= {
        each.check for each in report.of("pass")
    }
