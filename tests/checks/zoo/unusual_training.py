"""Correct but unusual pipelines, first part: losses, optimizers, schedules and steps."""

import copy
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import LBFGS, SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LambdaLR, OneCycleLR

from recipe_core.training.pipeline import default_evaluate
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import Then, cnn, groups, mlp, two_parts
from tests.checks.zoo.optimisation_steps import accumulating, step_of
from tests.checks.zoo.sets import colours, digits, imbalanced, loader, photos, positions, textures


@unusual
def label_smoothing():
    return healthy(digits(), "cnn", loss_fn=nn.CrossEntropyLoss(label_smoothing=0.1))


@unusual
def focal_loss():
    """Lin et al. 2017."""

    def loss(outputs, y):
        each = F.cross_entropy(outputs, y, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each).mean()

    return healthy(textures(), "cnn", loss_fn=loss)


@unusual
def binary_cross_entropy_on_one_hot():
    def loss(outputs, y):
        return F.binary_cross_entropy_with_logits(outputs, F.one_hot(y, 10).float())

    return healthy(digits(), "mlp", loss_fn=loss)


@unusual
def nll_of_log_probabilities():
    return healthy(digits(), lambda: nn.Sequential(mlp(64, 10), nn.LogSoftmax(1)), loss_fn=F.nll_loss)


@unusual
def log_of_probabilities_in_the_loss():
    """The model ends in a softmax and the loss takes its logarithm: right, if not as stable."""

    def loss(outputs, y):
        return F.nll_loss(torch.log(outputs + 1e-8), y)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        return {"accuracy": torch.cat([(model(x).argmax(1) == y).float() for x, y in batches]).mean().item()}

    return healthy(colours(), lambda: nn.Sequential(mlp(192, 5), nn.Softmax(1)), loss_fn=loss, evaluate=evaluate)


@unusual
def hinge_loss():
    return healthy(digits(), "linear", loss_fn=F.multi_margin_loss, optimizer_fn=partial(sgd, rate=0.01))


@unusual
def squared_error_on_one_hot():
    """Also for classes; Hui and Belkin 2020."""

    def loss(outputs, y):
        return F.mse_loss(outputs, F.one_hot(y, 4).float())

    return healthy(textures(), "cnn", loss_fn=loss)


@unusual
def class_weights_against_imbalance():
    images = imbalanced(digits(), 0.9)
    counts = torch.bincount(images.y).float()
    return healthy(images, "mlp", loss_fn=nn.CrossEntropyLoss(weight=counts.sum() / (2 * counts)))


@unusual
def regression_by_huber_loss():
    return healthy(positions(), "cnn", loss_fn=F.smooth_l1_loss)


@unusual
def regression_of_a_large_target():
    """Degrees from -90 to 90."""
    images = positions()
    images = images.with_(y=images.y * 90, val_y=images.val_y * 90)
    return healthy(images, "mlp", optimizer_fn=partial(adam, rate=1e-2))


@unusual
def momentum_and_warm_up():
    def share(step):
        return min(1.0, (step + 1) / 100)

    return healthy(textures(), "cnn", optimizer_fn=sgd, scheduler_fn=lambda o: LambdaLR(o, share), total_steps=1000)


@unusual
def nesterov_and_weight_decay():
    def build(model):
        return SGD(model.parameters(), 0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)

    return healthy(photos(), "cnn", optimizer_fn=build)


@unusual
def one_cycle():
    schedule = partial(OneCycleLR, max_lr=1e-2, total_steps=600)
    return healthy(digits(), "mlp", scheduler_fn=schedule, total_steps=600)


@unusual
def cosine_with_restarts():
    schedule = partial(CosineAnnealingWarmRestarts, T_0=24, T_mult=2)
    return healthy(textures(), "cnn", scheduler_fn=schedule, total_steps=24 * 15)


@unusual
def gradients_clipped_by_norm():
    def backward(loss, model, optimizer):
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()

    return healthy(digits(), "cnn", optimizer_fn=sgd, train_step=step_of(backward))


@unusual
def gradients_accumulated_and_scaled():
    return healthy(digits(), "mlp", 16, optimizer_fn=sgd, train_step=accumulating(4, scaled=True, clip=5.0))


@unusual
def zeroed_after_the_step():
    def backward(loss, model, optimizer):
        loss.backward()
        optimizer.step()
        model.zero_grad()

    return healthy(colours(), "mlp", train_step=step_of(backward))


def _mixing(mix):
    """A train step that mixes the batch with itself, by `mix(x, order) -> (mixed, share)`."""

    def train_step(model, batch, loss_fn, optimizer):
        x, y = batch
        model.train()
        order = torch.randperm(len(x))
        mixed, share = mix(x.clone(), order)
        outputs = model(mixed)
        loss = share * loss_fn(outputs, y) + (1 - share) * loss_fn(outputs, y[order])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return train_step


@unusual
def mixup():
    """Zhang et al. 2017."""

    def mix(x, order):
        share = torch.distributions.Beta(0.4, 0.4).sample().item()
        return share * x + (1 - share) * x[order], share

    return healthy(digits(), "cnn", train_step=_mixing(mix))


@unusual
def cutmix():
    """Yun et al. 2019."""

    def mix(x, order):
        side = x.shape[-1]
        width = int(torch.randint(1, side, ()))
        x[..., :width] = x[order][..., :width]
        return x, 1 - width / side

    return healthy(textures(), "cnn", train_step=_mixing(mix))


@unusual
def two_gradients_a_step():
    """Sharpness-aware minimisation (Foret et al. 2020): up to where it is steepest, then down by the gradient there."""

    def train_step(model, batch, loss_fn, optimizer):
        x, y = batch
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        parameters = [p for p in model.parameters() if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        moves = [0.05 * p.grad / (norm + 1e-12) for p in parameters]
        with torch.no_grad():
            torch._foreach_add_(parameters, moves)
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        with torch.no_grad():
            torch._foreach_sub_(parameters, moves)
        optimizer.step()
        return loss.item()

    return healthy(digits(), lambda: cnn(1, 10, norm=groups), optimizer_fn=sgd, train_step=train_step)


@unusual
def lbfgs():
    def train_step(model, batch, loss_fn, optimizer):
        x, y = batch
        model.train()

        def closure():
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            return loss

        return optimizer.step(closure).item()

    return healthy(
        colours(),
        "linear",
        160,
        optimizer_fn=lambda model: LBFGS(model.parameters(), lr=0.1, max_iter=4),
        train_step=train_step,
    )


@unusual
def an_average_of_weights_is_evaluated():
    """An exponential moving average that begins as the model itself."""
    averages: dict[int, nn.Module] = {}

    def average_of(model):
        return averages.setdefault(id(model), copy.deepcopy(model))

    def backward(loss, model, optimizer):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for mean, each in zip(average_of(model).parameters(), model.parameters(), strict=True):
                mean.lerp_(each, 0.1)

    def evaluate(model, batches):
        return default_evaluate(average_of(model), batches)

    return healthy(digits(), "mlp", train_step=step_of(backward), evaluate=evaluate)


@unusual
def rates_by_layer_without_decay_of_biases():
    def build(model):
        biases = [p for p in model.parameters() if p.ndim <= 1]
        weights = [p for p in model.parameters() if p.ndim > 1]
        return AdamW(
            [
                {"params": weights[:1], "lr": 1e-4},
                {"params": weights[1:]},
                {"params": biases, "weight_decay": 0.0},
            ],
            lr=3e-3,
            weight_decay=0.05,
        )

    return healthy(textures(), "cnn", optimizer_fn=build)


@unusual
def several_steps_on_each_batch():
    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        for _ in range(2):
            loss = loss_fn(model(batch[0]), batch[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    return healthy(digits(), "linear", train_step=train_step)


@unusual
def noise_on_the_gradient():
    """Neelakantan et al. 2015."""

    def backward(loss, model, optimizer):
        optimizer.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            parameter.grad += torch.randn_like(parameter) * 1e-3
        optimizer.step()

    return healthy(digits(), "mlp", train_step=step_of(backward))


@unusual
def augmented_in_the_step():
    def train_step(model, batch, loss_fn, optimizer):
        x = batch[0] + 0.1 * torch.randn_like(batch[0])
        return step_of(_plainly)(model, (x, batch[1]), loss_fn, optimizer)

    return healthy(digits(), "mlp", train_step=train_step)


def _plainly(loss, model, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@unusual
def a_second_loss_in_the_step():
    """A penalty on the features beside the loss; what is returned is the loss alone."""

    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        features = model.body(batch[0])
        loss = loss_fn(model.head(features), batch[1])
        optimizer.zero_grad()
        (loss + 1e-3 * features.square().mean()).backward()
        optimizer.step()
        return loss.item()

    return healthy(textures(), lambda: two_parts(3, 4, lambda h: h), train_step=train_step)


@unusual
def batchnorm_frozen_in_training():
    """Fine-tuning with the statistics of the pretraining: batch norm layers stay in evaluation mode."""

    def build():
        model = cnn(1, 10, dropout=0.1)
        for layer in model:
            if isinstance(layer, nn.BatchNorm2d):
                layer.requires_grad_(False)
        return model

    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        for layer in model:
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        loss = loss_fn(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return healthy(digits(), build, train_step=train_step)


@unusual
def a_temperature_on_normalised_outputs():
    """A cosine classifier."""

    def build():
        body = two_parts(3, 16, lambda h: h)
        head = nn.utils.parametrizations.weight_norm(nn.Linear(16, 4, bias=False))
        return nn.Sequential(body, Then(lambda h: 10 * F.normalize(h, dim=1)), head)

    return healthy(textures(), build)


@unusual
def a_batch_of_all():
    """Full-batch gradient descent."""
    images = colours()
    train = loader(images.normalise(images.x), images.y, len(images.y), shuffle=False)
    return healthy(images, "linear", train_loader=train, optimizer_fn=partial(sgd, rate=0.1))
