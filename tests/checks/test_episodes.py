"""Episodes of as many queries as there are samples in the support: what is shared by a batch has no rows."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.checks.audit import audit
from recipe_core.checks.episodes import are_episodes
from recipe_core.training.pipeline import Pipeline

WAYS, SHOTS = 5, 4
LABELS = torch.arange(WAYS).repeat_interleave(SHOTS)


def episode(chance, classes):
    """((support, its labels, queries), the class of each query)."""
    chosen = classes[torch.randperm(len(classes), generator=chance)[:WAYS]]
    order = torch.randperm(len(LABELS), generator=chance)
    y = torch.randint(WAYS, LABELS.shape, generator=chance)
    support, queries = (chosen[each] + torch.randn(len(each), 16, generator=chance) for each in (LABELS, y))
    return (support[order], LABELS[order], queries), y


class Prototypes(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x):
        support, labels, queries = x
        of_classes = F.one_hot(labels, WAYS).float().T @ self.embed(support) / SHOTS
        return -torch.cdist(self.embed(queries), of_classes).square()


class InBlocks(Prototypes):
    def forward(self, x):
        support, _, queries = x
        return -torch.cdist(self.embed(queries), self.embed(support).view(WAYS, SHOTS, -1).mean(1)).square()


class Siamese(Prototypes):
    def forward(self, x):
        one, _, other = x
        return self.embed(one) - self.embed(other)


class Mixing(Prototypes):
    """Of two inputs by row, one is set off against its mean over the batch."""

    def forward(self, x):
        one, _, other = x
        return self.embed(one - one.mean(0)) - self.embed(other)


class Pairs(Prototypes):
    def forward(self, x):
        one, _, other = x
        return self.embed(one) @ self.embed(other).T


class HardPairs(Prototypes):
    def forward(self, x):
        one, _, other = x
        return self.embed(one) @ self.embed(torch.cat([other, other.flip(1)])).T


@pytest.mark.parametrize(
    ("model", "found"),
    [(Prototypes, True), (InBlocks, True), (Siamese, False), (Mixing, False), (Pairs, False), (HardPairs, False)],
)
def test_a_part_is_shared_where_each_row_of_it_counts_for_all_outputs_alike(model, found):
    x, _ = episode(torch.Generator().manual_seed(0), torch.randn(20, 16, generator=torch.Generator().manual_seed(1)))
    assert are_episodes(Pipeline(model, [], [], WAYS), x) == found
    assert not are_episodes(Pipeline(model, [], [], WAYS), x[2])


def test_episodes_on_classes_of_their_own_get_no_failure():
    chance = torch.Generator().manual_seed(0)
    classes = 1.5 * torch.randn(30, 16, generator=chance)
    train, val = (
        [episode(chance, own) for _ in range(count)] for own, count in ((classes[:20], 60), (classes[20:], 20))
    )
    report = audit(
        Pipeline(Prototypes, train, val, WAYS, optimizer_fn=lambda model: torch.optim.Adam(model.parameters()))
    )
    assert not report.failures and not report.of("error")
    assert len(report.of("pass")) > 15
