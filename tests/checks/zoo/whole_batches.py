"""Inputs without a row for each target: graphs joined to one table of nodes, episodes, images of many sizes."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import accuracy, adam, evaluate_by, gathered, step_on
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.sets import textures

WIDE, KINDS = 6, 3


def graphs(count, seed):
    """Rings of 5 to 12 nodes with a few more edges; of each kind its own share of nodes that are marked."""
    chance = torch.Generator().manual_seed(seed)
    found = []
    for kind in torch.randint(KINDS, (count,), generator=chance):
        size = int(torch.randint(5, 13, (), generator=chance))
        nodes = torch.randn(size, WIDE, generator=chance)
        nodes[:, 0] = (torch.rand(size, generator=chance) < 0.2 + 0.3 * kind).float()
        ring = torch.stack([torch.arange(size), torch.arange(1, size + 1) % size])
        more = torch.randint(size, (2, 3), generator=chance)
        found.append((nodes, torch.cat([ring, ring.flip(0), more], 1), kind))
    return found


def in_one_table(pairs):
    nodes, edges, kinds = zip(*pairs, strict=True)
    sizes = torch.tensor([len(each) for each in nodes])
    starts = sizes.cumsum(0) - sizes
    edges = torch.cat([each + start for each, start in zip(edges, starts, strict=True)], 1)
    x = {"nodes": torch.cat(nodes), "edges": edges, "graph": torch.arange(len(sizes)).repeat_interleave(sizes)}
    return x, torch.stack(kinds)


class Messages(nn.Module):
    """Two rounds of messages along the edges; a graph is the mean of its nodes."""

    def __init__(self, outputs=KINDS, per_node=False):
        super().__init__()
        self.first, self.second = nn.Linear(2 * WIDE, 32), nn.Linear(64, 32)
        self.head, self.per_node = nn.Linear(32, outputs), per_node

    def forward(self, x):
        nodes, (start, end) = x["nodes"], x["edges"]
        for layer in (self.first, self.second):
            heard = torch.zeros_like(nodes).index_add_(0, end, nodes[start])
            nodes = layer(torch.cat([nodes, heard], 1)).relu()
        if self.per_node:
            return self.head(nodes)
        count = int(x["graph"].max()) + 1
        total = nodes.new_zeros(count, nodes.shape[1]).index_add_(0, x["graph"], nodes)
        return self.head(total / x["graph"].bincount(minlength=count)[:, None])


def over_graphs(**changes):
    loaders = [DataLoader(graphs(count, seed), 32, shuffle=not seed, collate_fn=in_one_table)
               for seed, count in enumerate((600, 200))]  # fmt: skip
    return Pipeline(**{"model_fn": Messages, "optimizer_fn": adam} | changes, **_named(loaders), num_classes=KINDS)


def _named(loaders):
    return dict(zip(("train_loader", "val_loader"), loaders, strict=True))


@bug("optimisation", "gradients-not-zeroed")
def gradients_of_graphs_kept(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        if not broken:
            optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    return over_graphs(train_step=step)


@bug("optimisation", "optimizer-misses-parameters")
def second_round_of_messages_left_out(broken):
    def some(model):
        return torch.optim.Adam([each for name, each in model.named_parameters() if not broken or "second" not in name])

    return over_graphs(optimizer_fn=some)


@unusual
def a_class_for_each_node():
    """A class for each node of each graph: whether most of those around it are marked."""

    def collate(pairs):
        x, _ = in_one_table(pairs)
        start, end = x["edges"]
        marked = torch.zeros(len(x["nodes"])).index_add_(0, end, x["nodes"][start, 0])
        return x, (marked > x["edges"][1].bincount(minlength=len(marked)) / 2).long()

    loaders = [DataLoader(graphs(count, seed), 16, shuffle=not seed, collate_fn=collate)
               for seed, count in enumerate((400, 150))]  # fmt: skip
    return Pipeline(lambda: Messages(2, per_node=True), **_named(loaders), num_classes=2, optimizer_fn=adam)


class Batch(SimpleNamespace):
    """As libraries of graphs have it: an object that knows how to move its tensors."""

    def to(self, device):
        return Batch(**{name: each.to(device) for name, each in vars(self).items()})


@bug("model", "probabilities-as-logits")
def graphs_as_objects(broken):
    def collate(pairs):
        x, y = in_one_table(pairs)
        return Batch(**x), y

    class OfObjects(Messages):
        def forward(self, x):
            said = super().forward(vars(x))
            return said.softmax(1) if broken else said

    loaders = [DataLoader(graphs(count, seed), 32, shuffle=not seed, collate_fn=collate)
               for seed, count in enumerate((600, 200))]  # fmt: skip
    return Pipeline(OfObjects, **_named(loaders), num_classes=KINDS, optimizer_fn=adam)


class Episodes:
    """Of some classes 5 pictures each that are known, and 4 each to be told."""

    def __init__(self, x, y, count, seed):
        self.x, self.y, self.count = x, y, count
        self.chance = torch.Generator().manual_seed(seed)

    def __len__(self):
        return self.count

    def __iter__(self):
        for _ in range(self.count):
            classes = torch.randperm(int(self.y.max()) + 1, generator=self.chance)[:3]
            rows = [(self.y == each).nonzero().flatten() for each in classes]
            rows = torch.stack([each[torch.randperm(len(each), generator=self.chance)[:9]] for each in rows])
            yield (
                {"support": self.x[rows[:, :5].flatten()], "query": self.x[rows[:, 5:].flatten()]},
                torch.arange(3).repeat_interleave(4),
            )


class Prototypes(nn.Module):
    """The nearest mean of what is known of a class (Snell et al. 2017)."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.BatchNorm2d(24),
            nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 16),
        )  # fmt: skip

    def forward(self, x):
        known = self.body(x["support"]).unflatten(0, (3, 5)).mean(1)
        return -torch.cdist(self.body(x["query"]), known)


@bug("evaluation", "wrong-mode-in-evaluation")
def episodes_evaluated_in_train_mode(broken):
    images = textures(8)
    loaders = (Episodes(images.normalise(images.x), images.y, 40, 0),
               Episodes(images.normalise(images.val_x), images.val_y, 12, 1))  # fmt: skip

    @torch.no_grad()
    def evaluate(model, batches):
        model.train(broken)
        outputs, y = gathered(model, batches)
        return {"loss": F.cross_entropy(outputs, y).item(), "accuracy": accuracy(outputs, y).item()}

    return Pipeline(Prototypes, **_named(loaders), num_classes=3, optimizer_fn=adam, evaluate=evaluate)


def cropped(images, split, seed):
    """Pictures of sizes of their own, in batches that are lists."""
    chance = torch.Generator().manual_seed(seed)
    x, y = (images.x, images.y) if split == "train" else (images.val_x, images.val_y)
    sides = torch.randint(10, x.shape[-1] + 1, (len(x), 2), generator=chance).tolist()
    return [
        (each[:, :high, :wide], label) for each, label, (high, wide) in zip(images.normalise(x), y, sides, strict=True)
    ]


class OfAnySize(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(24, classes)

    def forward(self, pictures):
        return self.head(torch.stack([self.body(each[None]).mean((0, 2, 3)) for each in pictures]))


def over_pictures_of_many_sizes(**changes):
    images = textures(4, train=320, val=120)
    loaders = [DataLoader(cropped(images, split, seed), 16, shuffle=not seed,
                          collate_fn=lambda pairs: ([x for x, _ in pairs], torch.stack([y for _, y in pairs])))
               for seed, split in enumerate(("train", "val"))]  # fmt: skip
    return Pipeline(**{"model_fn": OfAnySize, "optimizer_fn": adam} | changes, **_named(loaders), num_classes=4)


@bug("evaluation", "evaluates-part")
def first_pictures_of_many_sizes(broken):
    def evaluate(model, batches):
        return of_classes(model, [next(iter(batches))] if broken else batches)

    of_classes = evaluate_by({"loss": F.cross_entropy, "accuracy": accuracy})
    return over_pictures_of_many_sizes(evaluate=evaluate)


@bug("optimisation", "loss-rises")
def pictures_of_many_sizes_uphill(broken):
    return over_pictures_of_many_sizes(
        train_step=step_on(lambda model, x, y, loss_fn: (-1 if broken else 1) * loss_fn(model(x), y))
    )


def spots(count, seed):
    """A square on noise: its kind by its brightness, and its side."""
    chance = torch.Generator().manual_seed(seed)
    x = 0.3 * torch.randn(count, 1, 16, 16, generator=chance)
    kinds, sides = (torch.randint(*ends, (count,), generator=chance) for ends in ((0, 3), (3, 8)))
    corners = torch.rand(count, 2, generator=chance)
    for picture, kind, side, corner in zip(x[:, 0], kinds.tolist(), sides.tolist(), corners, strict=True):
        top, left = (corner * (16 - side)).long().tolist()
        picture[top : top + side, left : left + side] += (1.0, -1.0, 2.0)[kind]
    return list(
        zip(x, ({"kind": kind, "side": (side - 5) / 1.5} for kind, side in zip(kinds, sides, strict=True)), strict=True)
    )


class KindAndSide(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.kind, self.side = nn.Linear(512, 3), nn.Linear(512, 1)

    def forward(self, x):
        seen = self.body(x)
        return {"kind": self.kind(seen), "side": self.side(seen)[:, 0]}


def of_both(outputs, y):
    return F.cross_entropy(outputs["kind"], y["kind"]) + F.mse_loss(outputs["side"], y["side"])


@bug("optimisation", "wrong-mode-in-training")
def sizes_beside_kinds(broken):
    """Targets that are a dictionary, and outputs, too."""

    def step(model, batch, loss_fn, optimizer):
        model.train(not broken)
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    loaders = [DataLoader(spots(count, seed), 32, shuffle=not seed) for seed, count in enumerate((600, 200))]
    return Pipeline(
        KindAndSide, **_named(loaders), num_classes=0, loss_fn=of_both, optimizer_fn=lambda model: adam(model, 1e-3),
        train_step=step,
    )  # fmt: skip
