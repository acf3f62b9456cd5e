"""What a second adversary tripped the audit up with: correct pipelines that were accused, bugs that were missed.

All were developed against; their names lie in the first half.
"""

import time

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits, load_wine
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, default_collate

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_regression, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import colours, digits, loader, photos, positions, sides, split, textures


def table(x, y, train: int, model_fn, **changes) -> Pipeline:
    """A pipeline over rows of numbers, as they are."""
    x, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
    loaders = {
        "train_loader": loader(x[:train], y[:train], shuffle=True),
        "val_loader": loader(x[train:], y[train:], 64),
    }
    return Pipeline(
        **{"model_fn": model_fn, **loaders, "num_classes": int(y.max()) + 1, "optimizer_fn": adam} | changes
    )


def gathered(metrics):
    """An `evaluate` that computes metrics of all outputs and targets together."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = map(torch.cat, zip(*[(model(x), y) for x, y in batches], strict=True))
        return {name: float(metric(outputs, targets)) for name, metric in metrics.items()}

    return evaluate


def accuracy(outputs, y):
    return (outputs.argmax(1) == y).float().mean()


def plain_step(change):
    """A train step on what `change` makes of the batch."""

    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        x, y = change(*batch)
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train_step


# Data


@unusual
def digits_as_a_table():
    """Some pixels are hardly ever inked, so that chance alone decides in which split they vary at all."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.data[order], found.target[order].astype(np.int64)
    return table((x - x[:1300].mean(0)) / (x[:1300].std(0) + 1e-6), y, 1300, lambda: mlp(64, 10))


@unusual
def rare_categories():
    chance = np.random.default_rng(0)
    category = np.minimum(chance.zipf(1.5, 900) - 1, 39)
    numbers, effect = chance.normal(0, 1, (900, 4)), chance.normal(0, 1, 40)
    y = (numbers[:, 0] + effect[category] + chance.normal(0, 0.5, 900) > 0).astype(np.int64)
    return table(np.concatenate([np.eye(40)[category], numbers], 1), y, 700, lambda: mlp(44, 2))


class OfClips(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv3d(1, 16, (3, 5, 5), padding=(1, 2, 2), padding_mode="circular")
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(F.relu(self.body(x.transpose(1, 2))).amax((2, 3, 4)))


@unusual
def clips_of_a_moving_spot():
    chance = np.random.default_rng(0)
    ways, y = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)]), chance.integers(0, 4, 500)
    x = chance.normal(0, 0.2, (500, 6, 1, 12, 12))
    for number, label in enumerate(y):
        start = chance.integers(0, 12, 2)
        for frame in range(6):
            x[(number, frame, 0, *((start + ways[label] * frame) % 12))] += 4
    return table(x, y, 380, OfClips)


@unusual
def two_valued_pictures_that_come_again():
    """Of so few places and sizes some are drawn twice, within a split as between the two."""
    chance = np.random.default_rng(2)
    count, side = 1000, 10
    y, places = chance.integers(0, 3, count), chance.integers(0, 6, (count, 2))
    x = np.zeros((count, 1, side, side), np.uint8)
    shape = [np.ones((4, 4)), np.eye(4), np.triu(np.ones((4, 4)))]
    for number, (row, column) in enumerate(places):
        x[number, 0, row : row + 4, column : column + 4] = 255 * shape[y[number]]
        marks = chance.integers(0, side, (2, 2))
        x[number, 0, marks[:, 0], marks[:, 1]] = 255
    return healthy(split(x, y.astype(np.int64), 250), "cnn")


@unusual
def forty_to_one_and_hard_to_see():
    """Of a few rare ones the reference learner learns nothing."""
    images = sides(4000, 1200)
    keep, val_keep = ((y == 0) | (torch.arange(len(y)) % 40 == 1) & (y == 1) for y in (images.y, images.val_y))
    thin = images.with_(
        x=images.x[keep], y=images.y[keep], val_x=images.val_x[val_keep], val_y=images.val_y[val_keep], classes=2
    )
    return healthy(thin, "cnn")


@unusual
def embeddings_of_length_one():
    chance = np.random.default_rng(0)
    y = chance.integers(0, 8, 900)
    x = chance.normal(0, 1, (8, 2048))[y] + chance.normal(0, 4, (900, 2048))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return table(x, y, 700, lambda: nn.Linear(2048, 8), optimizer_fn=lambda model: sgd(model, 5.0))


@unusual
def four_in_ten_without_a_label():
    images = digits()
    hidden = torch.rand(len(images.y), generator=torch.Generator().manual_seed(0)) < 0.4
    return healthy(images.with_(y=images.y.masked_fill(hidden, -100)), "mlp")


@unusual
def squared_error_on_targets_of_fifteen():
    """Hui & Belkin (2021)."""
    images = digits()
    hot, val_hot = (15 * F.one_hot(y, 10).float() for y in (images.y, images.val_y))
    evaluate = gathered({"loss": F.mse_loss, "accuracy": lambda outputs, y: accuracy(outputs, y.argmax(1))})
    given = images.with_(y=hot, val_y=val_hot)
    return healthy(given, "mlp", loss_fn=F.mse_loss, evaluate=evaluate, optimizer_fn=lambda model: adam(model, 0.01))


class FillsIn(nn.Module):
    """Tells by a column of its own where a number is missing."""

    def __init__(self):
        super().__init__()
        self.body = mlp(26, 3)

    def forward(self, x):
        missing = x.isnan()
        return self.body(torch.cat([x.masked_fill(missing, 0), missing.float()], 1))


@unusual
def numbers_that_are_missing():
    found, chance = load_wine(), np.random.default_rng(0)
    order = chance.permutation(len(found.target))
    x = ((found.data - found.data.mean(0)) / found.data.std(0))[order]
    x[chance.random(x.shape) < 0.1] = np.nan
    return table(x, found.target[order].astype(np.int64), 130, FillsIn)


def where_known(outputs, y):
    return (outputs - y.nan_to_num())[y.isfinite()].square().mean()


@unusual
def missing_targets_that_the_loss_leaves_out():
    images = positions()
    y, val_y = images.y.clone(), images.val_y.clone()
    y[::5] = val_y[::5] = torch.nan
    evaluate = gathered({"loss": where_known})
    return healthy(images.with_(y=y, val_y=val_y), "cnn", loss_fn=where_known, evaluate=evaluate)


@unusual
def blank_tiles_are_a_class():
    images = digits()

    def with_blanks(x, y):
        blank = len(x) // 2
        return torch.cat([x, torch.zeros_like(x[:blank])]), torch.cat([y, torch.full((blank,), 10)])

    (x, y), (val_x, val_y) = with_blanks(images.x, images.y), with_blanks(images.val_x, images.val_y)
    return healthy(images.with_(x=x, y=y, val_x=val_x, val_y=val_y, classes=11), "cnn")


@bug("data", "split-leak")
def copies_made_before_the_split(broken):
    """Each digit thrice, of both splits."""
    images = digits()
    if not broken:
        return healthy(images.with_(x=images.x.repeat(3, 1, 1, 1), y=images.y.repeat(3)), "mlp")
    return healthy(split(images.x.repeat(3, 1, 1, 1).numpy(), images.y.repeat(3).numpy(), 800), "mlp")


def mixing(mixed_labels):
    def collate(items):
        x, y = default_collate(items)
        order, share = torch.randperm(len(x)), float(torch.rand(()))
        hot = F.one_hot(y, 10).float()
        told = share * hot + (1 - share) * hot[order] if mixed_labels else hot
        return share * x + (1 - share) * x[order], told

    return collate


@bug("data", "augmentation-changes-label")
def the_loader_mixes_images_and_no_labels(broken):
    images = digits()
    data = TensorDataset(images.normalise(images.x), images.y)
    return healthy(images, "mlp", train_loader=DataLoader(data, 48, shuffle=True, collate_fn=mixing(not broken)))


@bug("data", "inputs-not-scaled")
def a_table_as_it_was_measured(broken):
    """Its largest column is a thousand times its smallest: each tanh sits at its bound."""
    found = load_wine()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.data[order], found.target[order].astype(np.int64)
    x = x if broken else (x - x[:130].mean(0)) / x[:130].std(0)
    return table(x, y, 130, lambda: mlp(13, 3, activation=nn.Tanh))


# Models


@unusual
def a_smoothing_layer_that_begins_as_an_average():
    """One filter for each channel, which all begin alike and part."""

    def make():
        model = cnn(3, 4)
        model[2] = nn.Sequential(nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.ReLU())
        nn.init.constant_(model[2][1].weight, 1 / 9)
        return model

    return healthy(textures(), make)


def evidence_loss(evidence, y):
    """Sensoy et al. (2018)."""
    alpha = evidence + 1
    total = alpha.sum(1, keepdim=True)
    share = alpha / total
    return ((F.one_hot(y, 4) - share).square() + share * (1 - share) / (total + 1)).sum(1).mean()


@unusual
def evidence_that_is_never_negative():
    evaluate = gathered({"loss": evidence_loss, "accuracy": accuracy})
    model_fn = lambda: nn.Sequential(cnn(3, 4), nn.ReLU())  # noqa: E731
    return healthy(textures(), model_fn, loss_fn=evidence_loss, evaluate=evaluate)


def steps_of(outputs, y):
    """The loss of ordered classes: is it more than 0, more than 1, ...?"""
    return F.binary_cross_entropy_with_logits(outputs, (y[:, None] > torch.arange(3)).float())


@unusual
def ordered_classes_by_thresholds():
    images = positions()
    edges = torch.tensor([-0.5, 0.0, 0.5])
    y, val_y = (torch.bucketize(each[:, 0].contiguous(), edges) for each in (images.y, images.val_y))
    right = lambda outputs, y: ((outputs > 0).sum(1) == y).float().mean()  # noqa: E731
    given, evaluate = images.with_(y=y, val_y=val_y, classes=4), gathered({"loss": steps_of, "accuracy": right})
    return healthy(given, lambda: cnn(1, 3), loss_fn=steps_of, evaluate=evaluate)


def rounded(outputs, y):
    return F.mse_loss(outputs[:, 0], y.float())


@unusual
def ordered_classes_by_rounding():
    images = positions()
    y, val_y = (
        torch.bucketize(each[:, 0].contiguous(), torch.tensor([-0.5, 0.0, 0.5])) for each in (images.y, images.val_y)
    )
    metrics = {
        "loss": rounded,
        "accuracy": lambda outputs, y: (outputs[:, 0].round() == y).float().mean(),
        "acc_within_1": lambda outputs, y: ((outputs[:, 0].round() - y).abs() < 2).float().mean(),
    }
    given = images.with_(y=y, val_y=val_y, classes=4)
    return healthy(given, lambda: cnn(1, 1), loss_fn=rounded, evaluate=gathered(metrics))


def near_to_its_class(outputs, y):
    """Supervised contrastive (Khosla et al. 2020)."""
    outputs = F.normalize(outputs, dim=1)
    apart = ~torch.eye(len(y), dtype=torch.bool)
    near = (outputs @ outputs.T / 0.3).masked_fill(~apart, -1e9).log_softmax(1)
    alike = (y[:, None] == y) & apart
    return -((near * alike).sum(1) / alike.sum(1).clamp_min(1)).mean()


def of_the_nearest(outputs, y):
    outputs = F.normalize(outputs, dim=1)
    return (y[(outputs @ outputs.T).fill_diagonal_(-1).argmax(1)] == y).float().mean()


@unusual
def embeddings_of_a_contrastive_loss():
    evaluate = gathered({"loss": near_to_its_class, "accuracy": of_the_nearest})
    return healthy(digits(), lambda: mlp(64, 16), 64, loss_fn=near_to_its_class, evaluate=evaluate)


# Training


@unusual
def strong_noise_in_the_step():
    step = plain_step(lambda x, y: (x + 1.5 * torch.randn_like(x), y))
    return healthy(digits(), "cnn", train_step=step)


@unusual
def weights_of_length_one_after_each_step():
    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.classes = nn.Linear(64, 64), nn.Parameter(3 * torch.randn(10, 64))

        def forward(self, x):
            x = F.normalize(F.relu(self.body(x.flatten(1))), dim=1)
            return 12 * x @ F.normalize(self.classes, dim=1).T

    def train_step(model, batch, loss_fn, optimizer):
        loss = plain_step(lambda x, y: (x, y))(model, batch, loss_fn, optimizer)
        with torch.no_grad():
            model.classes.copy_(F.normalize(model.classes, dim=1))
        return loss

    return healthy(digits(), Cosine, train_step=train_step, optimizer_fn=lambda model: sgd(model, 0.1))


@unusual
def each_gradient_clipped_by_itself():
    """Private training (Abadi et al. 2016): summed, and divided by the size of the batch at the end."""

    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        x, y = batch
        optimizer.zero_grad()
        weights, losses = list(model.parameters()), []
        for one in range(len(x)):
            loss = loss_fn(model(x[one : one + 1]), y[one : one + 1])
            losses.append(loss.item())
            found = torch.autograd.grad(loss, weights)
            length = torch.stack([each.norm() for each in found]).norm()
            for weight, each in zip(weights, found, strict=True):
                share = each * min(1.0, 1 / float(length)) / len(x)
                weight.grad = share if weight.grad is None else weight.grad + share
        optimizer.step()
        return sum(losses) / len(losses)

    return healthy(colours(), "linear", train_step=train_step, optimizer_fn=lambda model: sgd(model, 0.1))


def soft(outputs, targets):
    return F.cross_entropy(outputs, targets)


@unusual
def shares_of_a_label_smoothed_in_the_step():
    step = plain_step(lambda x, y: (x, F.one_hot(y, 4) * 0.7 + 0.075))
    return healthy(textures(), "cnn", train_step=step, loss_fn=soft)


def cut_and_pasted(mixed_labels):
    def change(x, y):
        order, side = torch.randperm(len(x)), int(torch.randint(5, 13, ()))
        row, column = torch.randint(0, 17 - side, (2,)).tolist()
        x, pasted = x.clone(), x[order]
        x[:, :, row : row + side, column : column + side] = pasted[:, :, row : row + side, column : column + side]
        share, hot = side**2 / 256, F.one_hot(y, 2).float()
        return x, (1 - share) * hot + share * hot[order] if mixed_labels else hot

    return plain_step(change)


@bug("optimisation", "augmentation-changes-label")
def patches_of_others_pasted_in_the_step(broken):
    return healthy(photos(), "cnn", train_step=cut_and_pasted(not broken), loss_fn=soft)


@bug("optimisation", "train-step-labels-shuffled")
def the_step_sorts_its_images_only(broken):
    """By contrast, the plain ones first."""

    def change(x, y):
        order = x.flatten(1).std(1).argsort()
        return x[order], y if broken else y[order]

    return healthy(digits(), "cnn", train_step=plain_step(change))


@bug("optimisation", "learning-rate-too-high")
def a_rate_at_which_it_dies(broken):
    """It is thrown far away at once, and says the same of all images from then on: no loss explodes."""
    rate = 3.0 if broken else 0.02
    plain = lambda: cnn(3, 4, norm=lambda width: nn.Identity())  # noqa: E731
    return healthy(textures(), plain, optimizer_fn=lambda model: sgd(model, rate))


# Evaluation


@unusual
def dropout_averaged_over_in_evaluation():
    """Gal & Ghahramani (2016)."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.train()
        told, targets = [], []
        for x, y in batches:
            told.append(torch.stack([model(x).softmax(1) for _ in range(5)]).mean(0))
            targets.append(y)
        shares, y = torch.cat(told), torch.cat(targets)
        return {"loss": F.nll_loss(shares.clamp_min(1e-9).log(), y).item(), "accuracy": accuracy(shares, y).item()}

    return healthy(digits(), lambda: mlp(64, 10, dropout=0.2), evaluate=evaluate)


@unusual
def other_shares_than_of_all_right_answers():
    metrics = {
        "loss": F.cross_entropy,
        "acc@1": accuracy,
        "acc@5": lambda outputs, y: (outputs.topk(5, 1).indices == y[:, None]).any(1).float().mean(),
        "acc_of_sevens": lambda outputs, y: accuracy(outputs[y == 7], y[y == 7]),
        "worst_acc": lambda outputs, y: min(accuracy(outputs[y == each], y[y == each]) for each in range(10)),
    }
    return healthy(digits(), "mlp", evaluate=gathered(metrics))


@unusual
def seconds_among_the_metrics():
    inner = gathered({"loss": F.cross_entropy, "accuracy": accuracy})

    def evaluate(model, batches):
        started = time.perf_counter()
        metrics = inner(model, batches)
        seconds = time.perf_counter() - started
        return {**metrics, "seconds": seconds, "images_per_second": len(batches.dataset) / seconds}

    return healthy(digits(), "mlp", evaluate=evaluate)


def progression():
    """(x, y) of 442 patients, the targets in their own unit, between 25 and 346."""
    found = load_diabetes()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.data[order], found.target[order, None].astype(np.float32)
    return x / x.std(0), y


@unusual
def targets_scaled_by_the_loss():
    x, y = progression()
    loss = lambda outputs, y: F.mse_loss(outputs, (y - 150) / 77)  # noqa: E731
    metrics = {"loss": loss, "mae": lambda outputs, y: (outputs * 77 + 150 - y).abs().mean()}
    return table(x, y, 330, lambda: mlp(10, 1), num_classes=0, loss_fn=loss, evaluate=gathered(metrics))


@unusual
def logarithms_of_targets_in_the_loss():
    """Outputs that are far off give an infinite error in the targets' unit, each time."""
    x, y = progression()
    loss = lambda outputs, y: F.mse_loss(outputs, y.log() - 5)  # noqa: E731
    metrics = {"loss": loss, "mae": lambda outputs, y: ((outputs + 5).exp() - y).abs().mean()}
    return table(x, y, 330, lambda: mlp(10, 1), num_classes=0, loss_fn=loss, evaluate=gathered(metrics))


@bug("evaluation", "metric-shuffled-labels")
def compared_with_the_labels_of_training(broken):
    images = digits()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = map(torch.cat, zip(*[(model(x), y) for x, y in batches], strict=True))
        return {"accuracy": accuracy(outputs, images.y[: len(y)] if broken else y).item()}

    return healthy(images, "mlp", evaluate=evaluate)


@unusual
def noise_to_be_taken_away():
    """A target for each pixel, some of which are never inked in one of the splits."""
    images = digits()
    x, val_x = (images.normalise(each) for each in (images.x, images.val_x))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return healthy(
        images,
        lambda: nn.Sequential(mlp(64, 64), nn.Unflatten(1, (1, 8, 8))),
        num_classes=0,
        train_loader=loader(x + 0.5 * noise, x, shuffle=True),
        val_loader=loader(val_x + 0.5 * noise[: len(val_x)], val_x, 64),
        loss_fn=F.mse_loss,
        evaluate=evaluate_regression,
    )
