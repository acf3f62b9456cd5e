"""Bugs of train steps: which samples they take, in which mode, by which loss and at which rate."""

import itertools

import torch
from torch import nn

from tests.checks.zoo.base import healthy, plain_step, sgd
from tests.checks.zoo.case import bug
from tests.checks.zoo.sets import colours, digits, loader, textures


@bug("optimisation", "loss-over-part-of-batch")
def loss_of_the_first_four(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        outputs, y = model(batch[0]), batch[1]
        loss = loss_fn(outputs[:4], y[:4]) if broken else loss_fn(outputs, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return healthy(colours(), "cnn", train_step=step)


@bug("optimisation", "train-step-ignores-batch")
def one_batch_kept_from_debugging(broken):
    images = digits()
    kept = images.normalise(images.x[:32]), images.y[:32]

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        x, y = kept if broken else batch
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return healthy(images, "mlp", train_step=step)


@bug("optimisation", "train-step-labels-shuffled")
def the_step_sorts_its_images_only(broken):
    """By contrast, the plain ones first."""

    def change(x, y):
        order = x.flatten(1).std(1).argsort()
        return x[order], y if broken else y[order]

    return healthy(digits(), "cnn", train_step=plain_step(change))


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


@bug("optimisation", "wrong-mode-in-training")
def trains_by_a_mode_set_once(broken):
    """The first step sets the mode; after the first evaluation nobody does."""

    def step(model, batch, loss_fn, optimizer):
        if not broken or not hasattr(optimizer, "has_begun"):
            model.train()
            optimizer.has_begun = True
        loss = loss_fn(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return healthy(colours(), "cnn", train_step=step)


@bug("model", "batchnorm-statistics-off", "wrong-mode-in-training")
def fresh_batch_norms_in_eval_mode(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        for layer in model.modules() if broken else ():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    return healthy(textures(), "cnn", train_step=step)


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


class Watching:
    """A train step that lowers the rate where the mean loss of five steps stands still, or where it falls."""

    def __init__(self, mode):
        self.mode, self.optimizer = mode, None

    def __call__(self, model, batch, loss_fn, optimizer):
        if optimizer is not self.optimizer:
            self.optimizer, self.seen = optimizer, []
            self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, self.mode, patience=8)
        x, y = batch
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        self.seen.append(loss.item())
        if len(self.seen) == 5:
            self.plateau.step(sum(self.seen) / 5)
            self.seen = []
        return loss.item()


@bug("optimisation", "schedule-ends-early")
def a_plateau_of_what_falls(broken):
    step, slow = Watching("max" if broken else "min"), lambda model: sgd(model, 0.01)
    return healthy(textures(), "cnn", train_step=step, optimizer_fn=slow, total_steps=360)
