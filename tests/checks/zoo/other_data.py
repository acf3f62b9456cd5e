"""Bugs and unusual pipelines of series, texts and tables, and of what a step or an evaluation does with them."""

from functools import cache, partial

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, sgd, step_on
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import loader


def pipeline(data, model_fn, **changes) -> Pipeline:
    """Over (x, y, val_x, val_y, classes)."""
    x, y, val_x, val_y, classes = data
    given = {
        "train_loader": loader(x, y, 32, shuffle=True),
        "val_loader": loader(val_x, val_y, 64),
        "num_classes": classes,
        "optimizer_fn": adam,
    }
    return Pipeline(model_fn, **given | changes)


@cache
def waves():
    """Series of 30 places and 3 columns; the class is their frequency."""
    chance = np.random.default_rng(0)
    y = chance.integers(0, 4, 900)
    angle = 6.28 * (1.5 + y[:, None, None]) * np.linspace(0, 1, 30)[None, :, None]
    x = np.sin(angle + chance.uniform(0, 6.28, (900, 1, 3))) + chance.normal(0, 0.4, (900, 30, 3))
    return *cut(torch.tensor(x, dtype=torch.float32), torch.tensor(y), 250), 4


@cache
def texts():
    """24 words each of 200, some of them likelier in a class."""
    chance = np.random.default_rng(0)
    y = chance.integers(0, 4, 1000)
    likely = chance.dirichlet(np.full(199, 0.05), 4) * 0.4 + 0.6 / 199
    x = np.stack([1 + chance.choice(199, 24, p=likely[each]) for each in y])
    return *cut(torch.tensor(x), torch.tensor(y), 300), 4


@cache
def letters():
    """Chains of 12 letters in which each tells what is likely to come next: the targets."""
    chance = np.random.default_rng(0)
    likely = chance.dirichlet(np.full(12, 0.2), 12).cumsum(1)
    x = np.zeros((700, 17), dtype=np.int64)
    x[:, 0] = chance.integers(0, 12, 700)
    for place in range(16):
        x[:, place + 1] = (chance.random((700, 1)) > likely[x[:, place]]).sum(1).clip(0, 11)
    return *cut(torch.tensor(x[:, :-1]), torch.tensor(x[:, 1:]), 200), 12


@cache
def tumours():
    found = load_breast_cancer()
    return *cut(scaled(found.data), torch.tensor(found.target), 169), 2


@cache
def sugar():
    found = load_diabetes()
    return *cut(scaled(found.data), scaled(found.target[:, None]), 100), 0


def scaled(values: np.ndarray) -> torch.Tensor:
    return torch.tensor((values - values.mean(0)) / values.std(0), dtype=torch.float32)


def cut(x, y, val):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return x[:-val], y[:-val], x[-val:], y[-val:]


class Recurrent(nn.Module):
    def __init__(self, place: int = -1, batch_first: bool = True):
        super().__init__()
        self.body, self.head, self.place = nn.LSTM(3, 24, batch_first=batch_first), nn.Linear(24, 4), place

    def forward(self, x):
        return self.head(self.body(x)[0][:, self.place])


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(200, 24), nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4))

    def forward(self, x):
        return self.head(self.words(x).mean(1))


class Next(nn.Module):
    def __init__(self, causal: bool = True):
        super().__init__()
        self.letters, self.causal, self.head = nn.Embedding(12, 24), causal, nn.Linear(24, 12)
        layer = nn.TransformerEncoderLayer(24, 4, 48, 0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return self.head(self.layers(self.letters(x), mask=mask))


def by_place(outputs, targets):
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def measured(metrics):
    """An evaluate that gives `metrics(outputs, targets)` of all samples."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = zip(*[(model(x), y) for x, y in batches], strict=True)
        return {name: float(value) for name, value in metrics(torch.cat(outputs), torch.cat(targets)).items()}

    return evaluate


def chains(**changes):
    given = {"loss_fn": by_place, "evaluate": measured(lambda o, y: {"loss": by_place(o, y)})}
    return pipeline(letters(), changes.pop("model_fn", Next), **given | changes)


def two_classes(**changes):
    def loss(outputs, targets):
        return F.binary_cross_entropy_with_logits(outputs[:, 0], targets.float())

    at = changes.pop("cut", 0.0)
    measure = measured(lambda o, y: {"loss": loss(o, y), "accuracy": ((o[:, 0] > at) == y).float().mean()})
    return pipeline(tumours(), partial(mlp, 30, 1), loss_fn=loss, **{"evaluate": measure} | changes)


@bug("model", "batch-mixed")
def a_recurrence_over_the_batch(broken):
    return pipeline(waves(), partial(Recurrent, batch_first=not broken))


@bug("model", "input-partly-ignored")
def the_first_place_of_a_series_only(broken):
    return pipeline(waves(), partial(Recurrent, place=0 if broken else -1))


@bug("model", "future-leaks")
def a_text_without_a_causal_mask(broken):
    return chains(model_fn=partial(Next, causal=not broken))


@bug("data", "labels-unrelated")
def texts_with_the_label_of_the_one_before(broken):
    x, y, _, _, _ = texts()
    return pipeline(texts(), Words, train_loader=loader(x, y.roll(1) if broken else y, 32, shuffle=True))


@bug("data", "split-leak")
def texts_in_both_splits(broken):
    x, y, val_x, val_y, _ = texts()
    x, y = (torch.cat([x, val_x[:90]]), torch.cat([y, val_y[:90]])) if broken else (x, y)
    return pipeline(texts(), Words, train_loader=loader(x, y, 32, shuffle=True))


@bug("data", "split-leak")
def rows_of_a_table_in_both_splits(broken):
    x, y, val_x, val_y, _ = tumours()
    x, y = (torch.cat([x, val_x[:40]]), torch.cat([y, val_y[:40]])) if broken else (x, y)
    return two_classes(train_loader=loader(x, y, 32, shuffle=True))


@bug("data", "validation-prepared-differently")
def evaluate_forgets_to_scale(broken):
    x, y, val_x, val_y, _ = waves()
    return pipeline(
        waves(),
        Recurrent,
        train_loader=loader(x * 50 + 100, y, 32, shuffle=True),
        val_loader=loader(val_x * 50 + 100, val_y, 64),
        forward=lambda model, x: model((x - 100) / 50),
        train_step=step_on(lambda model, x, y, loss_fn: loss_fn(model((x - 100) / 50), y)),
        evaluate=_scaling(100.0 if not broken else 0.0),
    )


def _scaling(mean):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = zip(*[(model((x - mean) / 50), y) for x, y in batches], strict=True)
        return {"loss": F.cross_entropy(torch.cat(outputs), torch.cat(targets)).item()}

    return evaluate


@bug("data", "augmentation-in-validation")
def noise_in_evaluate(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [(model(x + 0.3 * broken * torch.randn_like(x)), y) for x, y in batches]
        outputs, targets = zip(*found, strict=True)
        return {"loss": F.cross_entropy(torch.cat(outputs), torch.cat(targets)).item()}

    return pipeline(waves(), Recurrent, evaluate=evaluate)


@bug("data", "augmentation-changes-label")
def series_mixed_in_the_step_without_their_labels(broken):
    def loss(model, x, y, loss_fn):
        share, other = float(np.random.beta(1, 1)), torch.randperm(len(x))
        outputs = model(share * x + (1 - share) * x[other])
        return loss_fn(outputs, y) if broken else share * loss_fn(outputs, y) + (1 - share) * loss_fn(outputs, y[other])

    return pipeline(waves(), Recurrent, train_step=step_on(loss))


@bug("model", "probabilities-as-logits")
def a_softmax_in_the_step(broken):
    step = step_on(lambda model, x, y, loss_fn: loss_fn(model(x).softmax(1) if broken else model(x), y))
    return pipeline(texts(), Words, train_step=step)


@bug("model", "layers-unregistered")
def weights_in_a_plain_tensor(broken):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            weight = torch.randn(30, 32) * 0.2
            self.weight = weight if broken else nn.Parameter(weight)
            self.head = nn.Linear(32, 1)

        def forward(self, x):
            return self.head(torch.relu(x @ self.weight))

    return two_classes() if not broken else _with_model(Net)


def _with_model(model_fn):
    made = two_classes()
    made.model_fn = model_fn
    return made


@bug("optimisation", "loss-rises")
def an_optimizer_that_maximises(broken):
    return two_classes(optimizer_fn=lambda model: torch.optim.SGD(model.parameters(), 0.05, maximize=broken))


@bug("optimisation", "accumulation-not-scaled")
def parts_of_a_batch_added_up(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        for x, y in zip(*(each.chunk(4) for each in batch), strict=True):
            (loss_fn(model(x), y) * (1 if broken else len(y) / len(batch[1]))).backward()
        optimizer.step()
        return loss_fn(model(batch[0]), batch[1]).item()

    return two_classes(train_step=step, optimizer_fn=sgd)


@bug("evaluation", "metric-wrong")
def scores_cut_at_one_half(broken):
    return two_classes(cut=0.5 if broken else 0.0)


@bug("evaluation", "metric-scale")
def an_absolute_error_added_up_by_batch(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [(model(x), y) for x, y in batches]
        outputs, targets = (torch.cat(each) for each in zip(*found, strict=True))
        mean = F.l1_loss(outputs, targets)
        added = sum(F.l1_loss(o, y) for o, y in found)
        return {"loss": F.mse_loss(outputs, targets).item(), "mae": float(added if broken else mean)}

    return pipeline(sugar(), partial(mlp, 10, 1), loss_fn=F.mse_loss, evaluate=evaluate)


@unusual
def residual_blocks_of_a_table():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(30, 32), nn.Linear(32, 1)
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in "ab")

        def forward(self, x):
            x = self.first(x)
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)

    return _with_model(Net)


@unusual
def counts_by_poisson():
    chance = torch.Generator().manual_seed(4)
    x = torch.randn(900, 8, generator=chance)
    y = torch.poisson((x[:, :2].sum(1) * 0.5 + 1).exp(), generator=chance)[:, None]
    measure = measured(lambda o, y: {"loss": F.poisson_nll_loss(o, y)})
    return pipeline((*cut(x, y, 200), 0), partial(mlp, 8, 1), loss_fn=F.poisson_nll_loss, evaluate=measure)


@unusual
def several_labels_each():
    chance = torch.Generator().manual_seed(4)
    x, weights = torch.randn(1000, 16, generator=chance), torch.randn(16, 6, generator=chance)
    y = (x @ weights + 0.5 * torch.randn(1000, 6, generator=chance) > 1).float()
    loss = F.binary_cross_entropy_with_logits
    measure = measured(lambda o, y: {"loss": loss(o, y), "accuracy": ((o > 0) == (y > 0)).float().mean()})
    return pipeline((*cut(x, y, 250), 6), partial(mlp, 16, 6), loss_fn=loss, evaluate=measure)
