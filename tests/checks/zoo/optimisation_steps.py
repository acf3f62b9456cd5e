"""Bugs of the optimisation, first part: what a train step does."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import cnn, groups, mlp
from tests.checks.zoo.sets import colours, digits, photos, positions, textures


def step_of(backward, mode=True):
    """A train step around `backward(loss, model, optimizer)`, which does everything after the forward pass."""

    def train_step(model, batch, loss_fn, optimizer):
        x, y = batch
        if mode is not None:
            model.train(mode)
        loss = loss_fn(model(x), y)
        backward(loss, model, optimizer)
        return loss.item()

    return train_step


def plainly(loss, model, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def never_zeroed(loss, model, optimizer):
    loss.backward()
    optimizer.step()


@bug("optimisation", "gradients-not-zeroed")
def gradients_never_zeroed(broken):
    return healthy(digits(), "mlp", train_step=step_of(never_zeroed if broken else plainly))


@bug("optimisation", "gradients-not-zeroed")
def gradients_never_zeroed_with_momentum(broken):
    return healthy(textures(), "cnn", optimizer_fn=sgd, train_step=step_of(never_zeroed if broken else plainly))


@bug("optimisation", "gradients-not-zeroed")
def gradients_of_the_body_never_zeroed(broken):
    """Only the head's gradients are zeroed."""

    def backward(loss, model, optimizer):
        (model[-1] if broken else model).zero_grad()
        loss.backward()
        optimizer.step()

    return healthy(digits(), "mlp", train_step=step_of(backward))


@bug("optimisation", "step-does-nothing")
def gradients_zeroed_after_the_backward_pass(broken):
    def backward(loss, model, optimizer):
        loss.backward()
        optimizer.zero_grad(set_to_none=False)
        optimizer.step()

    return healthy(textures(), "cnn", train_step=step_of(backward if broken else plainly))


@bug("optimisation", "step-does-nothing")
def the_step_is_missing(broken):
    def backward(loss, model, optimizer):
        optimizer.zero_grad()
        loss.backward()

    return healthy(digits(), "mlp", train_step=step_of(backward if broken else plainly))


@bug("optimisation", "step-does-nothing", "gradients-not-zeroed")
def stepped_before_the_backward_pass(broken):
    def backward(loss, model, optimizer):
        optimizer.zero_grad()
        optimizer.step()
        loss.backward()

    return healthy(colours(), "linear", train_step=step_of(backward if broken else plainly))


@bug("optimisation", "step-does-nothing", "layers-not-trained")
def the_loss_was_made_a_new_leaf(broken):
    def backward(loss, model, optimizer):
        plainly(torch.tensor(loss.item(), requires_grad=True) if broken else loss, model, optimizer)

    return healthy(photos(), "cnn", train_step=step_of(backward))


@bug("optimisation", "loss-rises")
def uphill(broken):
    def backward(loss, model, optimizer):
        plainly(-loss if broken else loss, model, optimizer)

    return healthy(digits(), "mlp", optimizer_fn=sgd, train_step=step_of(backward))


@bug("optimisation", "loss-rises")
def a_loss_of_the_wrong_sign(broken):
    def loss(outputs, y):
        log = outputs.log_softmax(1).gather(1, y[:, None])
        return log.mean() if broken else -log.mean()

    return healthy(colours(), "mlp", loss_fn=loss)


@bug("optimisation", "loss-clipped")
def the_loss_is_clipped(broken):
    """Instead of the gradient: samples with a large loss, from which most is to be learned, teach nothing."""

    def loss(outputs, y):
        each = F.cross_entropy(outputs, y, reduction="none")
        return (each.clamp(max=1.0) if broken else each).mean()

    return healthy(digits(), "mlp", loss_fn=loss)


@bug("optimisation", "loss-clipped")
def the_mean_loss_is_clipped(broken):
    def backward(loss, model, optimizer):
        plainly(loss.clamp(max=0.8) if broken else loss, model, optimizer)

    return healthy(textures(), "cnn", train_step=step_of(backward))


@bug("optimisation", "loss-clipped")
def a_regression_loss_is_clipped(broken):
    def loss(outputs, y):
        each = (outputs - y) ** 2
        return (each.clamp(max=0.05) if broken else each).mean()

    return healthy(positions(), "mlp", loss_fn=loss)


def accumulating(every, scaled, clip=None):
    """A train step that updates once in `every` batches."""
    seen = 0

    def train_step(model, batch, loss_fn, optimizer):
        nonlocal seen
        x, y = batch
        model.train()
        loss = loss_fn(model(x), y)
        (loss / every if scaled else loss).backward()
        seen += 1
        if seen % every == 0:
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    return train_step


@bug("optimisation", "accumulation-not-scaled")
def accumulated_without_scaling(broken):
    return healthy(digits(), "mlp", optimizer_fn=sgd, train_step=accumulating(4, scaled=not broken))


@bug("optimisation", "accumulation-not-scaled")
def accumulated_over_eight_without_scaling(broken):
    return healthy(
        textures(), lambda: cnn(3, 4, norm=groups), 8, optimizer_fn=sgd, train_step=accumulating(8, scaled=not broken)
    )


@bug("optimisation", "wrong-mode-in-training")
def trained_in_evaluation_mode(broken):
    return healthy(textures(), "cnn", train_step=step_of(plainly, mode=not broken))


@bug("optimisation", "wrong-mode-in-training")
def never_back_in_train_mode(broken):
    """The first epoch trains as it should; the first evaluation leaves the model in evaluation mode for good."""
    train_step = step_of(plainly, mode=None if broken else True)
    return healthy(digits(), lambda: mlp(64, 10, dropout=0.5), train_step=train_step)


@bug("optimisation", "wrong-mode-in-training")
def trained_in_evaluation_mode_with_dropout(broken):
    return healthy(digits(), lambda: mlp(64, 10, dropout=0.3), train_step=step_of(plainly, mode=not broken))


@bug("optimisation", "train-step-ignores-batch")
def always_the_first_batch(broken):
    """`next(iter(loader))` in the loop, as left over from debugging."""
    first = []

    def train_step(model, batch, loss_fn, optimizer):
        first.append(batch)
        return step_of(plainly)(model, first[0] if broken else batch, loss_fn, optimizer)

    return healthy(textures(), "cnn", train_step=train_step)


@bug("optimisation", "train-step-labels-shuffled", "labels-unrelated")
def labels_shuffled_in_the_step(broken):
    """The images are shuffled once more, the labels are not."""

    def train_step(model, batch, loss_fn, optimizer):
        x, y = batch
        order = torch.randperm(len(x))
        return step_of(plainly)(model, (x[order], y if broken else y[order]), loss_fn, optimizer)

    return healthy(digits(), "mlp", train_step=train_step)


@bug("optimisation", "loss-ignores-class")
def padding_that_is_a_class(broken):
    """ignore_index=0 was copied from a model of text, where 0 is padding."""
    loss = nn.CrossEntropyLoss(ignore_index=0 if broken else -100)
    return healthy(colours(), "mlp", loss_fn=loss)


@bug("optimisation", "loss-ignores-class")
def a_class_of_no_weight(broken):
    weight = torch.ones(10)
    weight[7] = 0.0 if broken else 1.5
    return healthy(digits(), "cnn", loss_fn=nn.CrossEntropyLoss(weight=weight))


@bug("optimisation", "step-does-nothing", "learning-rate-too-low")
def gradients_clipped_to_nothing(broken):
    def backward(loss, model, optimizer):
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-6 if broken else 1.0)
        optimizer.step()

    return healthy(digits(), "mlp", optimizer_fn=sgd, train_step=step_of(backward))


@bug("optimisation", "optimizer-over-other-parameters")
def a_new_optimizer_in_each_step(broken):
    """Adam without memory is the sign of the gradient; no schedule ever reaches it either."""

    def backward(loss, model, optimizer):
        plainly(loss, model, adam(model) if broken else optimizer)

    return healthy(textures(), "cnn", train_step=step_of(backward))


@bug("optimisation", "weight-decay-wins")
def weights_shrunk_in_the_step(broken):
    """Decoupled decay by hand, not multiplied by the rate."""

    def backward(loss, model, optimizer):
        plainly(loss, model, optimizer)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1 - 0.1 * (1 if broken else optimizer.param_groups[0]["lr"]))

    return healthy(digits(), "mlp", train_step=step_of(backward))
