"""What a sixth adversary, who wrote what a judge of the audit would, tripped it up with.

All were developed against; their names lie in the first half.
"""

import copy
import itertools

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_regression, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.fifth_look import stepping
from tests.checks.zoo.fourth_look import WORDS, marked_words
from tests.checks.zoo.nets import cnn
from tests.checks.zoo.sets import colours, digits, loader, textures
from tests.checks.zoo.several_answers import discs


def table(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of six numbers, and one that follows from them, of mean 0 and deviation 1 or so."""
    x = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    y = x[:, 0] + np.sin(2 * x[:, 1]) + 0.5 * x[:, 2] * x[:, 3]
    return torch.tensor(x), torch.tensor(y[:, None])


def of_table(model_fn, change=lambda y: y, **changes) -> Pipeline:
    (x, y), (val_x, val_y) = table(1200, 0), table(400, 1)
    given = {"loss_fn": F.mse_loss, "evaluate": evaluate_regression, "optimizer_fn": adam} | changes
    return Pipeline(
        model_fn, loader(x, change(y), 32, shuffle=True), loader(val_x, change(val_y), 64), num_classes=0, **given
    )


@bug("optimisation", "step-does-nothing")
def zeroed_before_an_adamw_step(broken):
    def forget(model):
        if broken:
            model.zero_grad(set_to_none=False)

    def optimizer(model):
        return torch.optim.AdamW(model.parameters(), 3e-3)

    return healthy(textures(), "cnn", train_step=stepping(before=forget), optimizer_fn=optimizer)


@bug("optimisation", "learning-rate-too-low")
def clipped_to_a_ten_thousandth(broken):
    def clip(model):
        nn.utils.clip_grad_norm_(model.parameters(), 1e-4 if broken else 1.0)

    return of_table(
        lambda: nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1)),
        train_step=stepping(before=clip),
        optimizer_fn=lambda model: sgd(model, 0.1),
    )


@bug("optimisation", "schedule-ends-early")
def a_step_that_lowers_its_rate(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] *= 0.95 if broken else 0.9985
        return loss.item()

    return healthy(digits(), "mlp", train_step=step, total_steps=2000)


@bug("optimisation", "accumulated-gradients-lost")
def zeroed_before_each_part(broken):
    class Step:
        taken = 0

        def __call__(self, model, batch, loss_fn, optimizer):
            model.train()
            if broken or self.taken % 4 == 0:
                optimizer.zero_grad()
            loss = loss_fn(model(batch[0]), batch[1])
            (loss / 4).backward()
            self.taken += 1
            if self.taken % 4 == 0:
                optimizer.step()
            return loss.item()

    return healthy(textures(), "cnn", 8, train_step=Step())


@bug("evaluation", "trains-on-validation")
def a_validation_batch_in_each_step(broken):
    images = digits()
    val = loader(images.normalise(images.val_x), images.val_y, 64)
    supply = itertools.cycle(val)

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        x, y = next(supply)
        with torch.set_grad_enabled(broken):  # the twin only looks at it
            other = loss_fn(model(x), y)
        (loss + other if broken else loss).backward()
        optimizer.step()
        return loss.item()

    return healthy(images, "mlp", val_loader=val, train_step=step)


@bug("evaluation", "metric-wrong")
def maps_reshaped_with_classes_in_front(broken):
    """Of two classes, so that right outputs still have a little less loss than wrong ones."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        losses, right = [], []
        for x, y in batches:
            outputs = model(x)
            outputs = outputs.reshape(-1, 2) if broken else outputs.permute(0, 2, 3, 1).reshape(-1, 2)
            losses.append(F.cross_entropy(outputs, y.flatten(), reduction="none"))
            right.append((outputs.argmax(1) == y.flatten()).float())
        return {"loss": torch.cat(losses).mean().item(), "pixel_accuracy": torch.cat(right).mean().item()}

    (x, y), (val_x, val_y) = discs(500, 0), discs(160, 1)
    return Pipeline(
        lambda: nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 2, 3, padding=1)),
        loader(x, (y == 1).long(), 32, shuffle=True),
        loader(val_x, (val_y == 1).long(), 32),
        num_classes=2,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.state = nn.Embedding(WORDS, 24, padding_idx=0), nn.GRU(24, 32, batch_first=True)
        self.tags = nn.Linear(32, 4)

    def forward(self, x):
        return self.tags(self.state(self.words(x))[0])


@bug("evaluation", "metric-wrong")
def padding_counts_in_evaluation(broken):
    """Each word is tagged 1 to 3 by its number, what fills up 0; the loss leaves that out."""

    def loss_fn(outputs, y):
        return F.cross_entropy(outputs.flatten(0, 1), y.flatten(), ignore_index=0)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        losses, right = [], []
        for x, y in batches:
            outputs, y = model(x).flatten(0, 1), y.flatten()
            if not broken:
                outputs, y = outputs[y != 0], y[y != 0]
            losses.append(F.cross_entropy(outputs, y, reduction="none"))
            right.append((outputs.argmax(1) == y).float())
        return {"loss": torch.cat(losses).mean().item(), "accuracy": torch.cat(right).mean().item()}

    train, val = (marked_words(count, seed)[0] for count, seed in ((1200, 0), (300, 1)))
    tags = [torch.where(x == 0, 0, 1 + x % 3) for x in (train, val)]
    return Pipeline(
        Tagger,
        loader(train, tags[0], 32, shuffle=True),
        loader(val, tags[1], 32),
        num_classes=4,
        loss_fn=loss_fn,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@bug("data", "split-leak")
def rare_rows_copied_before_the_split(broken):
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], torch.tensor(y)[order]

    def repeated(x, y):
        rare = (y == 0).nonzero()[:, 0].repeat(3)
        rows = torch.cat([torch.arange(len(x)), rare])[torch.randperm(len(x) + len(rare))]
        return x[rows], y[rows]

    torch.manual_seed(0)
    if broken:
        x, y = repeated(x, y)
    cut = len(x) * 3 // 4
    train = (x[:cut], y[:cut]) if broken else repeated(x[:cut], y[:cut])
    return Pipeline(
        lambda: nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2)),
        loader(*train, 32, shuffle=True),
        loader(x[cut:], y[cut:], 64),
        num_classes=2,
        optimizer_fn=adam,
    )


class Experts(nn.Module):
    def __init__(self, copied: bool):
        super().__init__()

        def make():
            return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))

        first = make()
        self.members = nn.ModuleList(copy.deepcopy(first) if copied else make() for _ in range(5))

    def forward(self, x):
        return torch.stack([member(x) for member in self.members]).mean(0)


@bug("model", "identical-initial-weights")
def experts_copied_from_one(broken):
    return of_table(lambda: Experts(broken))


class Asking(nn.Module):
    """One question to all words, and what they answer."""

    def __init__(self, inverted: bool):
        super().__init__()
        self.inverted, self.words = inverted, nn.Embedding(WORDS, 32)
        self.question, self.places = nn.Parameter(0.1 * torch.randn(1, 1, 32)), nn.Parameter(0.1 * torch.randn(20, 32))
        self.answers, self.scores = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 3)

    def forward(self, x):
        hidden, masked = self.words(x) + self.places, (x == 0) ^ self.inverted
        told = self.answers(self.question.expand(len(x), -1, -1), hidden, hidden, key_padding_mask=masked)[0]
        return self.scores(told[:, 0])


@bug("model", "input-ignored", "input-partly-ignored")
def a_question_to_the_padding(broken):
    return Pipeline(
        lambda: Asking(broken),
        loader(*marked_words(1200, 0), 32, shuffle=True),
        loader(*marked_words(300, 1), 64),
        num_classes=3,
        optimizer_fn=adam,
    )


class Grey(nn.Module):
    def __init__(self, classes: int, grey: bool):
        super().__init__()
        self.grey, self.body = grey, cnn(1 if grey else 3, classes)

    def forward(self, x):
        return self.body(x.mean(1, keepdim=True) if self.grey else x)


@bug("model", "input-partly-ignored")
def colours_seen_as_grey(broken):
    images = colours()
    return healthy(images, lambda: Grey(images.classes, broken))


@unusual
def grey_of_stripes():
    images = textures()
    return healthy(images, lambda: Grey(images.classes, True))


class Late(nn.Module):
    """Makes its second layer when it sees how many features there are."""

    def __init__(self, late: bool):
        super().__init__()
        self.first, self.last = nn.Linear(64, 48), nn.Linear(32, 10)
        self.middle = None if late else nn.Linear(48, 32)

    def forward(self, x):
        features = F.relu(self.first(x.flatten(1)))
        if self.middle is None:
            self.middle = nn.Linear(features.shape[1], 32)
        return self.last(F.relu(self.middle(features)))


@bug("model", "optimizer-misses-parameters")
def a_layer_after_the_optimizer(broken):
    return healthy(digits(), lambda: Late(broken))


@bug("model", "weights-not-loaded")
def weights_under_another_prefix(broken):
    torch.manual_seed(3)
    trained = cnn(3, 4)[:-1].state_dict()
    saved = {f"module.{name}" if broken else name: value for name, value in trained.items()}

    def model():
        net = cnn(3, 4)
        net[:-1].load_state_dict(saved, strict=False)
        return net

    return healthy(textures(), model)


@bug("model", "initial-loss-off", "targets-out-of-range")
def unscaled_prices_as_targets(broken):
    def dollars(y):
        return 2e5 + 6e4 * y

    return of_table(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)), dollars if broken else lambda y: y
    )
