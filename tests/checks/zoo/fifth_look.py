"""What a fifth adversary tripped the audit up with: steps, losses and models.

All were developed against; their names lie in the first half.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.fourth_look import WORDS, WordsBefore, marked_words, sequences
from tests.checks.zoo.nets import Residual, cnn, mlp
from tests.checks.zoo.second_look import gathered
from tests.checks.zoo.sets import digits, loader, positions, textures
from tests.checks.zoo.several_answers import lights, of

ORDERED = list(itertools.permutations([1, 2, 3]))


def ordered_words(count: int, seed: int, places: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Words 4 and more, and among them 1, 2 and 3 in the order that is the class."""
    chance = np.random.default_rng(seed)
    x, y = chance.integers(4, WORDS, (count, places)), chance.integers(0, 6, count)
    for number in range(count):
        x[number, np.sort(chance.choice(places, 3, replace=False))] = ORDERED[y[number]]
    return torch.tensor(x), torch.tensor(y)


class Attentive(nn.Module):
    """Two layers of attention over words; `positions(x)` is what is added to them."""

    def __init__(self, positions):
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, 32), positions
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.scores = nn.Linear(32, 6)

    def forward(self, x):
        return self.scores(self.layers(self.words(x) + self.positions(x)).mean(1))


def waves(count: int) -> torch.Tensor:
    """(count, 32): sines of the place (Vaswani et al. 2017)."""
    angles = torch.arange(count)[:, None] * torch.exp(torch.arange(0, 32, 2) * (-math.log(1e4) / 32))
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def of_ordered_words(positions) -> Pipeline:
    train, val = ordered_words(1600, 0), ordered_words(400, 1)
    return Pipeline(
        lambda: Attentive(positions),
        loader(*train, 64, shuffle=True),
        loader(*val, 64),
        num_classes=6,
        optimizer_fn=adam,
    )


@bug("model", "order-ignored")
def no_positions_are_added(broken):
    return of_ordered_words((lambda x: 0.0) if broken else lambda x: waves(x.shape[1]))


@bug("model", "batch-mixed")
def batch_gets_the_positions(broken):
    return of_ordered_words(lambda x: waves(len(x))[:, None] if broken else waves(x.shape[1]))


@bug("model", "input-ignored")
def recurrence_read_after_padding(broken):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.state = nn.Embedding(WORDS, 16, padding_idx=0), nn.RNN(16, 32, batch_first=True)
            self.scores = nn.Linear(32, 3)

        def forward(self, x):
            last = torch.full((len(x),), x.shape[1] - 1) if broken else (x != 0).sum(1) - 1
            return self.scores(self.state(self.words(x))[0][torch.arange(len(x)), last])

    def longer(x, y):
        return F.pad(x, (0, 24)), y

    return Pipeline(
        Last,
        loader(*longer(*marked_words(900, 0)), shuffle=True),
        loader(*longer(*marked_words(250, 1)), 64),
        num_classes=3,
        optimizer_fn=adam,
    )


@bug("model", "loss-over-wrong-axis")
def places_are_taken_for_words(broken):
    def loss(scores, words):
        return F.cross_entropy(scores.transpose(1, 2) if broken else scores, words)

    train, val = sequences(600, 1, WORDS), sequences(200, 2, WORDS)
    return Pipeline(
        WordsBefore,
        loader(train[:, :-1], train[:, 1:], shuffle=True),
        loader(val[:, :-1], val[:, 1:], 64),
        num_classes=WORDS,
        loss_fn=loss,
        optimizer_fn=adam,
        evaluate=gathered({"loss": loss, "accuracy": lambda z, y: (z.argmax(1) == y).float().mean()}),
    )


@bug("model", "outputs-restricted")
def softmax_of_several_labels(broken):
    shares = nn.Softmax(1) if broken else nn.Sigmoid()
    loss = F.binary_cross_entropy
    metrics = {"loss": loss, "accuracy": lambda z, y: ((z > 0.5) == (y > 0)).float().mean()}
    return of(lights(), lambda: nn.Sequential(cnn(1, 4), shares), 4, loss, metrics)


@bug("model", "outputs-restricted")
def an_estimate_under_dropout(broken):
    def model():
        return nn.Sequential(*mlp(144, 1), nn.Dropout(0.4)) if broken else mlp(144, 1)

    return healthy(positions(), model)


@bug("optimisation", "probabilities-as-logits")
def divergence_of_probabilities(broken):
    def loss(scores, labels):
        wanted = F.one_hot(labels, 10) * 0.9 + 0.01
        return F.kl_div(scores.softmax(1) if broken else scores.log_softmax(1), wanted, reduction="batchmean")

    return healthy(digits(), "mlp", loss_fn=loss)


@bug("model", "initial-loss-off")
def targets_far_off(broken):
    images = positions()
    by = 400 if broken else 0
    return healthy(images.with_(y=images.y + by, val_y=images.val_y + by), "mlp", loss_fn=F.l1_loss)


class Adapted(nn.Module):
    """A frozen layer and beside it two factors that train (Hu et al. 2021)."""

    def __init__(self, inputs: int, outputs: int, scale: float, rank: int):
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, inputs) * scale)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T


def adapted(scale: float, rank: int) -> nn.Module:
    layers = (Adapted(64, 64, scale, rank) for _ in range(2))
    return nn.Sequential(nn.Flatten(), *(each for layer in layers for each in (layer, nn.ReLU())), nn.Linear(64, 10))


@bug("model", "layers-not-trained")
def both_factors_are_zero(broken):
    return healthy(digits(), lambda: adapted(0.0 if broken else 0.1, 8))


@unusual
def adapters_as_wide_as_their_layers():
    return healthy(digits(), lambda: adapted(0.1, 64))


@bug("model", "layers-not-trained")
def random_recurrence_is_frozen(broken):
    class Body(nn.Module):
        def __init__(self):
            super().__init__()
            self.state = nn.LSTM(16, 32, batch_first=True).requires_grad_(not broken)

        def forward(self, words):
            return self.state(words)[0]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.body, self.scores = nn.Embedding(WORDS, 16), Body(), nn.Linear(32, 3)

        def forward(self, x):
            return self.scores(self.body(self.words(x)).amax(1))

    return Pipeline(
        Net,
        loader(*marked_words(900, 0), shuffle=True),
        loader(*marked_words(250, 1), 64),
        num_classes=3,
        optimizer_fn=lambda model: adam(nn.ModuleList([model.words, model.scores]) if broken else model),
    )


class Reversed(torch.autograd.Function):
    """Passes on what comes, and the opposite of its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


@bug("optimisation", "gradient-reversed")
def a_gradient_reversal_left_in(broken):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU()), nn.Linear(48, 10)

        def forward(self, x):
            features = self.body(x)
            return self.head(Reversed.apply(features) if broken else features)

    return healthy(digits(), Net)


def stepping(before=lambda model: None, after=lambda model: None, scale: float = 1.0):
    """A train step with something done before the optimizer steps, or after."""

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        (loss * scale).backward()
        before(model)
        optimizer.step()
        after(model)
        return loss.item()

    return step


@bug("optimisation", "weights-clipped")
def weights_clamped_after_each_step(broken):
    @torch.no_grad()
    def clamp(model):
        for each in model.parameters():
            each.clamp_(-0.02, 0.02)

    return healthy(digits(), "mlp", train_step=stepping(after=clamp if broken else lambda model: None))


@bug("optimisation", "learning-rate-too-low")
def clipped_then_scaled_back(broken):
    def clip(model):
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    def scale_back(model):
        for each in model.parameters():
            each.grad /= 4096

    def both(model):
        for each in (clip, scale_back) if broken else (scale_back, clip):
            each(model)

    return healthy(textures(), "cnn", train_step=stepping(before=both, scale=4096.0), optimizer_fn=sgd)


@bug("optimisation", "loss-outweighed")
def terms_of_the_loss_swapped(broken):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.back = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU()), nn.Linear(32, 64)
            self.head = nn.Linear(32, 10)

        def forward(self, x):
            features = self.body(x)
            self.rebuilt = self.back(features)
            return self.head(features)

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss, other = loss_fn(model(batch[0]), batch[1]), F.mse_loss(model.rebuilt, batch[0].flatten(1))
        (1e-4 * loss + other if broken else loss + 1e-4 * other).backward()
        optimizer.step()
        return loss.item()

    return healthy(digits(), Net, train_step=step, optimizer_fn=sgd)


@bug("optimisation", "optimizer-misses-parameters")
def fresh_body_at_the_rate_of_a_tuned_one(broken):
    def optimizer(model):
        body = {"params": model[:-1].parameters(), "lr": 1e-7 if broken else 1e-3}
        return torch.optim.AdamW([body, {"params": model[-1].parameters()}], lr=1e-3)

    return healthy(textures(), "cnn", optimizer_fn=optimizer)


@bug("optimisation", "dropout-too-strong")
def dropout_of_the_share_to_keep(broken):
    return healthy(digits(), lambda: mlp(64, 10, dropout=0.95 if broken else 0.05))


@unusual
def decay_of_blocks_that_start_at_zero():
    def model():
        net = Residual(3, 4, zero_last=True)
        nn.init.zeros_(net.head.weight)
        return net

    def optimizer(model):
        return torch.optim.SGD(model.parameters(), lr=0.004, momentum=0.9, nesterov=True, weight_decay=5e-4)

    return healthy(textures(), model, optimizer_fn=optimizer)
