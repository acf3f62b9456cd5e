"""Bugs and unusual pipelines of losses: their weights and terms, and classes told by codes, shares or one number."""

import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import accuracy, adam, evaluate_by, healthy, plain_step, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.other_data import pipeline, waves
from tests.checks.zoo.series import Recurrent
from tests.checks.zoo.sets import digits, loader, positions, textures


@bug("optimisation", "truth-hardly-pays")
def labels_smoothed_away(broken):
    return healthy(textures(), "cnn", loss_fn=nn.CrossEntropyLoss(label_smoothing=0.95 if broken else 0.1))


@bug("optimisation", "class-weights-inverted")
def class_weights_as_the_counts(broken):
    images = digits()
    kept = torch.cat([(images.y == each).nonzero().flatten()[: 20 if each < 5 else None] for each in range(10)])
    images = images.with_(x=images.x[kept], y=images.y[kept])
    counts = torch.bincount(images.y, minlength=10).float()
    weights = counts if broken else 1 / counts
    return healthy(images, "mlp", loss_fn=nn.CrossEntropyLoss(weights / weights.mean()))


@bug("optimisation", "probabilities-as-logits")
def divergence_of_probabilities(broken):
    def loss(scores, labels):
        wanted = F.one_hot(labels, 10) * 0.9 + 0.01
        return F.kl_div(scores.softmax(1) if broken else scores.log_softmax(1), wanted, reduction="batchmean")

    return healthy(digits(), "mlp", loss_fn=loss)


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


def _step(loss_of):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_of(model, batch, loss_fn)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


@bug("optimisation", "loss-rises")
def a_log_likelihood_without_its_sign(broken):
    sign = 1 if broken else -1

    def likelihood(model, batch, loss_fn):
        x, y = batch
        return sign * model(x).log_softmax(1).gather(1, y[:, None]).mean()

    return healthy(digits(), "mlp", train_step=_step(likelihood))


def penalised(penalty):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        loss = loss_fn(model(batch[0]), batch[1])
        optimizer.zero_grad()
        (loss + penalty(model)).backward()
        optimizer.step()
        return loss.item()

    return step


@bug("optimisation", "weight-decay-wins")
def squared_weights_in_the_loss(broken):
    factor = 0.2 if broken else 2e-5
    step = penalised(lambda model: factor * sum(each.square().sum() for each in model.parameters()))
    return healthy(digits(), "mlp", train_step=step)


@bug("optimisation", "weight-decay-wins")
def absolute_weights_in_the_loss(broken):
    factor = 0.02 if broken else 1e-6
    step = penalised(lambda model: factor * sum(each.abs().sum() for each in model.parameters() if each.ndim > 1))
    return healthy(textures(), "cnn", train_step=step)


@bug("optimisation", "weight-decay-wins")
def squares_of_the_weights_times_five(broken):
    share = 5.0 if broken else 1e-4

    def penalised(model, batch, loss_fn):
        return loss_fn(model(batch[0]), batch[1]) + share * sum(each.square().sum() for each in model.parameters())

    return pipeline(waves(), Recurrent, train_step=_step(penalised))


@unusual
def squared_error_on_targets_of_fifteen():
    """Hui & Belkin (2021)."""
    images = digits()
    hot, val_hot = (15 * F.one_hot(y, 10).float() for y in (images.y, images.val_y))
    evaluate = evaluate_by({"loss": F.mse_loss, "accuracy": lambda outputs, y: accuracy(outputs, y.argmax(1))})
    given = images.with_(y=hot, val_y=val_hot)
    return healthy(given, "mlp", loss_fn=F.mse_loss, evaluate=evaluate, optimizer_fn=lambda model: adam(model, 0.01))


def soft(outputs, targets):
    return F.cross_entropy(outputs, targets)


@unusual
def shares_of_a_label_smoothed_in_the_step():
    step = plain_step(lambda x, y: (x, F.one_hot(y, 4) * 0.7 + 0.075))
    return healthy(textures(), "cnn", train_step=step, loss_fn=soft)


@torch.no_grad()
def evaluate_one_of_ten(model, batches):
    model.eval()
    outputs, targets = (torch.cat(each) for each in zip(*[(model(x), y) for x, y in batches], strict=True))
    right = (outputs.argmax(1) == targets.argmax(1)).float().mean()
    return {"loss": F.binary_cross_entropy(outputs, targets).item(), "accuracy": right.item()}


@unusual
def a_sigmoid_of_each_class():
    images = digits()
    y, val_y = (F.one_hot(each, 10).float() for each in (images.y, images.val_y))
    return healthy(
        images,
        lambda: nn.Sequential(mlp(64, 10), nn.Sigmoid()),
        train_loader=loader(images.normalise(images.x), y, shuffle=True),
        val_loader=loader(images.normalise(images.val_x), val_y, 64),
        loss_fn=F.binary_cross_entropy,
        evaluate=evaluate_one_of_ten,
    )


@unusual
def digits_told_by_bits():
    """Fifteen outputs for ten classes: the nearest code counts (Dietterich & Bakiri 1995)."""
    codes = torch.randint(0, 2, (10, 15), generator=torch.Generator().manual_seed(2)).float()

    def loss_fn(outputs, y):
        return F.binary_cross_entropy_with_logits(outputs, codes[y])

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        said = torch.cdist(outputs.sigmoid(), codes).argmin(1)
        return {"loss": loss_fn(outputs, y).item(), "accuracy": (said == y).float().mean().item()}

    return healthy(digits(), lambda: mlp(64, 15), loss_fn=loss_fn, evaluate=evaluate)


def steps_of(outputs, y):
    """The loss of ordered classes: is it more than 0, more than 1, ...?"""
    return F.binary_cross_entropy_with_logits(outputs, (y[:, None] > torch.arange(3)).float())


@unusual
def ordered_classes_by_thresholds():
    images = positions()
    edges = torch.tensor([-0.5, 0.0, 0.5])
    y, val_y = (torch.bucketize(each[:, 0].contiguous(), edges) for each in (images.y, images.val_y))
    right = lambda outputs, y: ((outputs > 0).sum(1) == y).float().mean()  # noqa: E731
    given, evaluate = images.with_(y=y, val_y=val_y, classes=4), evaluate_by({"loss": steps_of, "accuracy": right})
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
    return healthy(given, lambda: cnn(1, 1), loss_fn=rounded, evaluate=evaluate_by(metrics))


@unusual
def two_classes_told_by_one_number():
    """Without a number of classes; scores may be as far out as they like."""
    images = digits()

    def loss_fn(outputs, y):
        return F.binary_cross_entropy_with_logits(outputs[:, 0], y)

    train = loader(images.normalise(images.x), (images.y > 4).float(), shuffle=True)
    val = loader(images.normalise(images.val_x), (images.val_y > 4).float(), 64)
    return Pipeline(lambda: mlp(64, 1), train, val, num_classes=0, loss_fn=loss_fn, optimizer_fn=adam)


@unusual
def scores_that_begin_between_zero_and_one():
    """One score for two classes, cut at zero; that of the fresh model looks like a probability."""
    images = digits()

    def model():
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
        nn.init.normal_(net[3].weight, std=0.01)
        nn.init.constant_(net[3].bias, 0.5)
        return net

    def batches(x, y, **more):
        return loader(images.normalise(x), (y > 4).float(), **more)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        scores, y = map(torch.cat, zip(*((model(x), y) for x, y in batches), strict=True))
        loss = F.binary_cross_entropy_with_logits(scores, y).item()
        return {"loss": loss, "accuracy": ((scores > 0) == (y > 0.5)).float().mean().item()}

    return Pipeline(
        model, batches(images.x, images.y, shuffle=True), batches(images.val_x, images.val_y, batch_size=64), 2,
        loss_fn=F.binary_cross_entropy_with_logits, evaluate=evaluate, optimizer_fn=adam,
    )  # fmt: skip


def evidence_loss(evidence, y):
    """Sensoy et al. (2018)."""
    alpha = evidence + 1
    total = alpha.sum(1, keepdim=True)
    share = alpha / total
    return ((F.one_hot(y, 4) - share).square() + share * (1 - share) / (total + 1)).sum(1).mean()


@unusual
def evidence_that_is_never_negative():
    evaluate = evaluate_by({"loss": evidence_loss, "accuracy": accuracy})
    model_fn = lambda: nn.Sequential(cnn(3, 4), nn.ReLU())  # noqa: E731
    return healthy(textures(), model_fn, loss_fn=evidence_loss, evaluate=evaluate)


class Cosines(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.centres = mlp(64, 24), nn.Parameter(torch.randn(10, 24))

    def forward(self, x):
        return F.linear(F.normalize(self.body(x), dim=1), F.normalize(self.centres, dim=1))


@unusual
def cosines_with_a_margin():
    """Training scales them and makes it harder by a margin (Deng et al. 2019), evaluation only scales them."""

    def loss_fn(cosines, y):
        angles = cosines.clamp(-1 + 1e-6, 1 - 1e-6).acos() + 0.2 * F.one_hot(y, 10)
        return F.cross_entropy(16 * angles.cos(), y)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        cosines, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        right = (cosines.argmax(1) == y).float().mean()
        return {"loss": F.cross_entropy(16 * cosines, y).item(), "accuracy": right.item()}

    return healthy(digits(), Cosines, loss_fn=loss_fn, evaluate=evaluate)


def focal(outputs, targets):
    """Lin et al. 2017."""
    sure = F.log_softmax(outputs, 1).gather(1, targets[:, None])[:, 0]
    return (-((1 - sure.exp()) ** 2) * sure).mean()


@unusual
def a_focal_loss_behind_maxima():
    """Maxima of normalised maps are far from zero, and such a loss of scores a little off far from that of a guess."""

    def net():
        body = nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        )  # fmt: skip
        return nn.Sequential(body, nn.Linear(32, 2))

    return healthy(textures(2), net, loss_fn=focal)
