"""Correct but unusual pipelines, sixth part: pictures compared with those of their batch, and taken one by one."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import accuracy, adam, evaluate_by, healthy, sgd
from tests.checks.zoo.case import unusual
from tests.checks.zoo.sets import digits, loader, textures


class SomeOfEach:
    """Batches of as many rows of each class."""

    def __init__(self, y, each, batches, seed):
        self.rows = [(y == label).nonzero().flatten() for label in y.unique()]
        self.each, self.batches, self.chance = each, batches, torch.Generator().manual_seed(seed)

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            yield torch.cat(
                [rows[torch.randperm(len(rows), generator=self.chance)[: self.each]] for rows in self.rows]
            ).tolist()


def supervised_contrast(outputs, y):
    """Khosla et al. 2020."""
    itself = torch.eye(len(y), dtype=torch.bool)
    near = (outputs @ outputs.T / 0.2).masked_fill(itself, -1e9).log_softmax(1)
    alike = (y[:, None] == y) & ~itself
    return -((near * alike).sum(1) / alike.sum(1)).mean()


@unusual
def neighbours_told_within_each_batch():
    """Embeddings: who is nearest among those of its own batch, which holds five of each class."""
    images = digits()

    class Unit(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))

        def forward(self, x):
            return F.normalize(self.body(x))

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        losses, found = [], []
        for x, y in batches:
            outputs = model(x)
            losses.append(supervised_contrast(outputs, y))
            nearest = (outputs @ outputs.T).fill_diagonal_(-2).argmax(1)
            found.append((y[nearest] == y).float().mean())
        return {"loss": torch.stack(losses).mean().item(), "recall_at_1": torch.stack(found).mean().item()}

    sets = ((images.x, images.y), (images.val_x, images.val_y))
    batches = [TensorDataset(images.normalise(x), y) for x, y in sets]
    samplers = (SomeOfEach(images.y, 5, 30, 0), list(SomeOfEach(images.val_y, 5, 8, 1)))
    loaders = [DataLoader(each, batch_sampler=by) for each, by in zip(batches, samplers, strict=True)]
    return Pipeline(
        Unit, *loaders, 0, loss_fn=supervised_contrast, evaluate=evaluate,
        optimizer_fn=lambda model: torch.optim.Adam(model.parameters(), 2e-3),
    )  # fmt: skip


@unusual
def validated_one_by_one():
    """A picture at a time, with norms that look at each by itself: batches of one have no halves."""
    images = textures(4, train=300, val=100)

    def model():
        return nn.Sequential(
            nn.Conv2d(3, 12, 5, 2, 2), nn.InstanceNorm2d(12, affine=True), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4),
        )  # fmt: skip

    return healthy(
        images, model, optimizer_fn=lambda model: sgd(model, 1e-3),
        evaluate=evaluate_by({"loss": F.cross_entropy, "accuracy": accuracy}),
        train_loader=loader(images.normalise(images.x), images.y, 1, shuffle=True),
        val_loader=loader(images.normalise(images.val_x), images.val_y, 1),
    )  # fmt: skip


@unusual
def hidden_patches_to_be_filled_in():
    """A masked autoencoder (He et al. 2022): the target is NaN wherever the picture is seen."""
    images = digits()

    def over(x, shuffle):
        chance = torch.Generator().manual_seed(0)
        pictures = images.normalise(x)
        hidden = torch.rand(len(x), 1, 4, 4, generator=chance).repeat_interleave(2, 2).repeat_interleave(2, 3) < 0.6
        seen, wanted = pictures.masked_fill(hidden, 0.0), pictures.masked_fill(~hidden, torch.nan)
        return loader(seen, wanted, 32, shuffle=shuffle)

    def hidden_loss(outputs, y):
        there = ~y.isnan()
        return (outputs[there] - y[there]).square().mean()

    def model():
        layers = [
            nn.Conv2d(1, 24, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(24, 24, 5, 1, 2),
            nn.ReLU(),
            nn.Conv2d(24, 1, 3, 1, 1),
        ]
        nn.init.zeros_(layers[-1].weight)
        return nn.Sequential(*layers)

    return Pipeline(
        model,
        over(images.x, True),
        over(images.val_x, False),
        0,
        loss_fn=hidden_loss,
        optimizer_fn=adam,
        evaluate=evaluate_by({"loss": hidden_loss}),
    )


@unusual
def a_second_view_for_the_step_alone():
    """FixMatch (Sohn et al. 2020): most samples have no label, and teach by two views; evaluation takes one."""
    images = digits()
    x = images.normalise(images.x)
    chance = torch.Generator().manual_seed(0)
    strong = x.roll(1, 3) * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1, generator=chance))
    strong += 0.1 * torch.randn(x.shape, generator=chance)
    labels = torch.where(torch.rand(len(x), generator=chance) < 0.3, images.y, -1)

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        (weak, strong), y = batch
        known, other = model(torch.cat([weak, strong])).chunk(2)
        sure, told = known[y < 0].detach().softmax(1).max(1)
        unlabelled = F.cross_entropy(other[y < 0], told, reduction="none") * (sure > 0.9)
        loss = loss_fn(known, y) + unlabelled.mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    pairs = list(zip(zip(x, strong, strict=True), labels, strict=True))
    return healthy(
        images, "mlp", train_loader=DataLoader(pairs, 64, shuffle=True), train_step=step,
        loss_fn=lambda outputs, y: F.cross_entropy(outputs, y, ignore_index=-1),
        forward=lambda model, x: model(x if isinstance(x, torch.Tensor) else x[0]),
    )  # fmt: skip


@unusual
def mirrors_of_heat_maps():
    """Evaluation takes the mean of the map of each picture and of that of its mirror, mirrored back."""

    def spots(count, seed):
        chance = torch.Generator().manual_seed(seed)
        places = torch.randint(3, 13, (count, 2), generator=chance)
        rows, columns = (places[:, at, None, None] - torch.arange(16) for at in (0, 1))
        wanted = torch.exp(-(rows.transpose(1, 2).square() + columns.square()) / 8)[:, None]
        return wanted.gt(0.5) + 0.3 * torch.randn(wanted.shape, generator=chance), wanted

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [((model(x) + model(x.flip(3)).flip(3)) / 2, y) for x, y in batches]
        outputs, y = (torch.cat(each) for each in zip(*found, strict=True))
        return {"loss": F.mse_loss(outputs, y).item()}

    def model():
        return nn.Sequential(
            nn.Conv2d(1, 16, 5, 1, 2), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 1, 1)
        )

    loaders = (loader(*spots(600, 0), shuffle=True), loader(*spots(200, 1)))
    return Pipeline(model, *loaders, 0, loss_fn=F.mse_loss, optimizer_fn=adam, evaluate=evaluate)
