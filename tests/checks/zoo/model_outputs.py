"""Bugs of the model, first part: samples mixed with each other, outputs that the loss cannot use."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.zoo.base import healthy, network
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import Then, TinyViT, cnn, mlp, two_parts
from tests.checks.zoo.other_data import pipeline, tumours
from tests.checks.zoo.sets import colours, digits, photos, positions, textures


def followed_by(images, name, function):
    """The network of that name, whose outputs a function changes."""
    return lambda: nn.Sequential(network(name, images)(), Then(function))


@bug("model", "batch-mixed")
def view_instead_of_permute(broken):
    """(n, features) became (features, n), and a view made (n, features) of it."""
    join = (lambda h: h.t().contiguous().view(h.shape)) if broken else lambda h: h
    return healthy(textures(), lambda: two_parts(3, 4, join))


@bug("model", "batch-mixed")
def centred_over_the_batch(broken):
    join = (lambda h: h - h.mean(0)) if broken else lambda h: h - h.mean(1, keepdim=True)
    return healthy(digits(), lambda: two_parts(1, 10, join))


@bug("model", "batch-mixed")
def attention_over_the_batch(broken):
    return healthy(textures(), lambda: TinyViT(3, 16, 4, batch_first=not broken))


@bug("model", "batch-mixed")
def softmax_gate_over_the_batch(broken):
    join = lambda h: h * len(h) * F.softmax(h, 0 if broken else 1)  # noqa: E731
    return healthy(photos(), lambda: two_parts(3, 2, join))


@bug("model", "batch-mixed")
def neighbours_rolled_in(broken):
    """A temporal shift (Lin et al. 2018) over the batch instead of the frames."""
    join = (lambda h: torch.cat([h[:, :8].roll(1, 0), h[:, 8:]], 1)) if broken else lambda h: h
    return healthy(digits(), lambda: two_parts(1, 10, join))


@bug("model", "probabilities-as-logits")
def softmax_before_cross_entropy(broken):
    images = digits()
    return healthy(images, followed_by(images, "cnn", lambda z: z.softmax(1)) if broken else "cnn")


@bug("model", "probabilities-as-logits", "outputs-restricted")
def sigmoid_before_cross_entropy(broken):
    images = textures()
    return healthy(images, followed_by(images, "cnn", torch.sigmoid) if broken else "cnn")


@bug("model", "probabilities-as-logits")
def nll_of_probabilities(broken):
    """nll_loss wants log-probabilities."""
    images = colours()
    ending = (lambda z: z.softmax(1)) if broken else (lambda z: z.log_softmax(1))
    return healthy(images, followed_by(images, "mlp", ending), loss_fn=F.nll_loss)


@bug("model", "probabilities-as-logits")
def nll_of_logits(broken):
    """Without a log_softmax the loss has no floor: it falls for ever, and never past the other classes."""
    images = digits()
    ending = (lambda z: z) if broken else (lambda z: z.log_softmax(1))
    return healthy(images, followed_by(images, "mlp", ending), loss_fn=F.nll_loss)


@bug("model", "probabilities-as-logits", "outputs-restricted")
def sigmoid_before_bce_with_logits(broken):
    images = photos()

    def loss(outputs, y):
        return F.binary_cross_entropy_with_logits(outputs, F.one_hot(y, 2).float())

    return healthy(images, followed_by(images, "cnn", torch.sigmoid) if broken else "cnn", loss_fn=loss)


@bug("model", "outputs-restricted", "dead-units")
def relu_on_logits(broken):
    images = digits()
    return healthy(images, followed_by(images, "mlp", torch.relu) if broken else "mlp")


@bug("model", "outputs-restricted", "probabilities-as-logits", "saturated-units")
def tanh_on_logits(broken):
    images = colours()
    return healthy(images, followed_by(images, "mlp", torch.tanh) if broken else "mlp")


@bug("model", "outputs-restricted")
def relu_on_regression_of_both_signs(broken):
    images = positions()
    return healthy(images, followed_by(images, "mlp", torch.relu) if broken else "mlp")


@bug("model", "outputs-mismatched")
def a_thousand_outputs_for_ten_classes(broken):
    return healthy(digits(), lambda: cnn(1, 1000 if broken else 10))


@bug("model", "outputs-restricted")
def dropout_after_the_last_layer(broken):
    def model():
        return nn.Sequential(cnn(3, 4), nn.Dropout(0.5)) if broken else cnn(3, 4, dropout=0.5)

    return healthy(textures(), model)


@bug("model", "outputs-restricted")
def an_estimate_under_dropout(broken):
    def model():
        return nn.Sequential(*mlp(144, 1), nn.Dropout(0.4)) if broken else mlp(144, 1)

    return healthy(positions(), model)


def focal(outputs, targets):
    """Lin et al. 2017."""
    outputs, targets = outputs.flatten(), targets.float()
    right = torch.where(targets > 0, outputs.sigmoid(), 1 - outputs.sigmoid())
    return ((1 - right) ** 2 * F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")).mean()


@torch.no_grad()
def evaluate_binary(model, batches):
    model.eval()
    outputs, targets = (torch.cat(each) for each in zip(*[(model(x)[:, 0], y) for x, y in batches], strict=True))
    loss = F.binary_cross_entropy_with_logits(outputs, targets.float())
    return {"loss": loss.item(), "accuracy": ((outputs > 0).long() == targets).float().mean().item()}


@bug("model", "probabilities-as-logits")
def a_focal_loss_of_shares(broken):
    def model():
        return nn.Sequential(mlp(30, 1), *([nn.Sigmoid()] if broken else []))

    return pipeline(tumours(), model, loss_fn=focal, evaluate=evaluate_binary)


@bug("model", "batch-mixed")
def sorted_batches_without_running_statistics(broken):
    images = textures()
    order = images.val_y.argsort()
    sorted_val = images.with_(val_x=images.val_x[order], val_y=images.val_y[order])
    norm = (lambda channels: nn.BatchNorm2d(channels, track_running_stats=False)) if broken else nn.BatchNorm2d
    return healthy(sorted_val, lambda: cnn(3, 4, norm=norm))
