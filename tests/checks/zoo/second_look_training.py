"""What a second adversary tripped the audit up with, in training and in evaluation; see second_look."""

import time

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.nn import functional as F

from tests.checks.zoo.base import evaluate_regression, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.second_look import accuracy, gathered, plain_step, table
from tests.checks.zoo.sets import colours, digits, loader, photos, textures

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
