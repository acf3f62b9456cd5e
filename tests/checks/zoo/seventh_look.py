"""What a seventh adversary, as blind as the sixth, tripped the audit up with; all were developed against."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline, default_evaluate
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.fifth_look import stepping
from tests.checks.zoo.fourth_look import WORDS, marked_words
from tests.checks.zoo.nets import cnn, groups, mlp
from tests.checks.zoo.sets import colours, digits, loader, photos, textures
from tests.checks.zoo.sixth_look import table


@bug("optimisation", "update-taken-back")
def average_written_back_each_step(broken):
    averages = {}

    @torch.no_grad()
    def average(model):
        for name, each in model.named_parameters():
            known = averages.setdefault((id(model), name), each.clone())
            known.lerp_(each, 0.001)
            if broken:
                each.copy_(known)

    return healthy(textures(), "cnn", train_step=stepping(after=average))


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


@bug("optimisation", "learning-rate-too-high")
def momentum_of_four_nines(broken):
    return healthy(
        digits(), "mlp", optimizer_fn=lambda model: torch.optim.SGD(model.parameters(), 0.05, 0.9999 if broken else 0.9)
    )


@bug("optimisation", "learning-rate-too-low")
def still_warming_up_at_the_end(broken):
    return healthy(
        colours(),
        "cnn",
        optimizer_fn=lambda model: adam(model, 2e-3),
        scheduler_fn=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / (100_000 if broken else 40))
        ),
        total_steps=400,
    )


@bug("optimisation", "accumulation-not-scaled")
def sixteen_batches_added_up(broken):
    count = {"batches": 0}

    def step(model, batch, loss_fn, optimizer):
        model.train()
        loss = loss_fn(model(batch[0]), batch[1])
        (loss if broken else loss / 16).backward()
        count["batches"] += 1
        if count["batches"] % 16 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    return healthy(textures(), "cnn", batch_size=16, train_step=step, optimizer_fn=lambda model: sgd(model, 0.1))


@bug("model", "batchnorm-statistics-off")
def statistics_at_a_ten_thousandth(broken):
    def model():
        net = cnn(3, 4)
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d) and broken:
                layer.momentum = 1e-4
        return net

    return healthy(textures(), model)


@bug("model", "layers-not-trained")
def a_weight_without_its_gradient(broken):
    def model():
        net = mlp(64, 10)
        if broken:
            [each.weight for each in net.modules() if isinstance(each, nn.Linear)][1].register_hook(torch.zeros_like)
        return net

    return healthy(digits(), model)


class Inverted(nn.Module):
    """White on black becomes black on white, in training only where that was forgotten for evaluation."""

    def __init__(self, broken):
        super().__init__()
        self.broken, self.net = broken, mlp(64, 10)

    def forward(self, x):
        if self.training or not self.broken:
            x = 1 - x
        return self.net(x)


@bug("model", "other-path-in-evaluation")
def inverted_while_training_only(broken):
    images = digits()
    return healthy(
        images,
        lambda: Inverted(broken),
        train_loader=loader(images.x / 255.0, images.y, 32, shuffle=True),
        val_loader=loader(images.val_x / 255.0, images.val_y, 64),
    )


@bug("optimisation", "truth-hardly-pays")
def labels_smoothed_away(broken):
    return healthy(textures(), "cnn", loss_fn=nn.CrossEntropyLoss(label_smoothing=0.95 if broken else 0.1))


@bug("evaluation", "evaluation-freezes-layers")
def frozen_since_the_first_evaluation(broken):
    def evaluate(model, batches):
        for each in list(model.parameters())[:-2]:
            each.requires_grad_(False)
        found = default_evaluate(model, batches)
        if not broken:
            model.requires_grad_(True)
        return found

    return healthy(digits(), "mlp", evaluate=evaluate)


class ChannelsLast(nn.Module):
    """A network for pictures that come as rows, columns, channels."""

    def __init__(self, classes, broken):
        super().__init__()
        self.broken, self.net = broken, cnn(3, classes, norm=groups)

    def forward(self, x):
        count, rows, columns, channels = x.shape
        return self.net(x.reshape(count, channels, rows, columns) if self.broken else x.permute(0, 3, 1, 2))


@bug("model", "pixels-scrambled")
def viewed_to_channels_first_inside(broken):
    images = photos()
    return healthy(
        images,
        lambda: ChannelsLast(images.classes, broken),
        train_loader=loader(images.normalise(images.x).permute(0, 2, 3, 1), images.y, 32, shuffle=True),
        val_loader=loader(images.normalise(images.val_x).permute(0, 2, 3, 1), images.val_y, 64),
    )


class AskedOnce(nn.Module):
    """One question to all words of a text; texts without padding are asked without a mask."""

    def __init__(self, broken):
        super().__init__()
        self.broken, self.words = broken, nn.Embedding(WORDS, 32)
        self.question = nn.Parameter(0.1 * torch.randn(1, 1, 32))
        self.attention, self.head = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 3)

    def forward(self, x):
        mask = (x != 0) if self.broken else (x == 0)
        mask = mask & ~mask.all(1, keepdim=True)
        words = self.words(x)
        told, _ = self.attention(self.question.expand(len(x), -1, -1), words, words, key_padding_mask=mask)
        return self.head(torch.relu(told[:, 0]))


@bug("model", "input-ignored")
def mask_for_words_not_padding(broken):
    (x, y), (val_x, val_y) = marked_words(1200, 0), marked_words(400, 1)
    x[::8], val_x[::8] = x[::8].clamp_min(4), val_x[::8].clamp_min(4)  # an eighth fills the whole length
    y[::8], val_y[::8] = 0, 0
    return Pipeline(
        lambda: AskedOnce(broken), loader(x, y, 48, shuffle=True), loader(val_x, val_y, 64), 3, optimizer_fn=adam
    )


@bug("model", "vanishing-gradients")
def weights_of_one_over_fan_in(broken):
    def model():
        net = mlp(64, 10, depth=7)
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                fan = layer.in_features
                nn.init.normal_(layer.weight, std=1 / fan if broken else (2 / fan) ** 0.5)
                nn.init.zeros_(layer.bias)
        return net

    return healthy(digits(), model, optimizer_fn=lambda model: torch.optim.SGD(model.parameters(), 0.03, momentum=0.9))


@unusual
def counts_by_a_log_rate():
    (x, y), (val_x, val_y) = table(1200, 0), table(400, 1)
    chance = np.random.default_rng(0)
    counts, val_counts = (torch.tensor(chance.poisson(np.exp(0.7 * each.numpy()))).float() for each in (y, val_y))

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        loss = F.poisson_nll_loss(outputs.flatten(), targets.flatten())
        return {"loss": loss.item(), "mae": (outputs.exp() - targets).abs().mean().item()}

    return Pipeline(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)),
        loader(x, counts[:, 0], 32, shuffle=True),
        loader(val_x, val_counts, 64),
        num_classes=0,
        loss_fn=lambda outputs, y: F.poisson_nll_loss(outputs.flatten(), y.flatten()),
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@unusual
def fixed_filters_before_the_net():
    def model():
        net = cnn(8, 4, norm=groups)
        edges = nn.Conv2d(3, 8, 5, padding=2, bias=False)
        edges.weight.requires_grad_(False)
        return nn.Sequential(edges, net)

    return healthy(textures(), model)


@unusual
def squeezed_in_the_step():
    (x, y), (val_x, val_y) = table(1200, 0), table(400, 1)

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0])[:, 0], batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        return {"loss": torch.cat([(model(x)[:, 0] - y).square() for x, y in batches]).mean().item()}

    return Pipeline(
        lambda: nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)),
        loader(x, y[:, 0], 32, shuffle=True),
        loader(val_x, val_y[:, 0], 64),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        train_step=step,
        evaluate=evaluate,
    )


@unusual
def slow_weights_each_fifth_step():
    """Lookahead (Zhang et al. 2019): each fifth step goes half of the way back."""
    slow = {}

    @torch.no_grad()
    def look_ahead(model):
        kept = slow.setdefault(id(model), {"steps": 0, "weights": copy.deepcopy(model.state_dict())})
        kept["steps"] += 1
        if kept["steps"] % 5 == 0:
            for name, each in model.named_parameters():
                kept["weights"][name].lerp_(each, 0.5)
                each.copy_(kept["weights"][name])

    return healthy(colours(), "cnn", train_step=stepping(after=look_ahead))


@unusual
def half_without_labels():
    """The second half of each batch teaches by consistency with a noisy copy of itself (Sohn et al. 2020)."""

    def step(model, batch, loss_fn, optimizer):
        model.train()
        x, y = batch
        half = len(y) // 2
        optimizer.zero_grad()
        outputs = model(x)
        sure = outputs[half:].detach().softmax(1)
        noisy = model(x[half:] + 0.1 * torch.randn_like(x[half:]))
        loss = loss_fn(outputs[:half], y[:half]) + F.cross_entropy(noisy, sure)
        loss.backward()
        optimizer.step()
        return loss.item()

    return healthy(colours(), "cnn", train_step=step)


@unusual
def layers_thawed_by_the_step():
    def step(model, batch, loss_fn, optimizer):
        model.train().requires_grad_(True)
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    def evaluate(model, batches):
        model.requires_grad_(False)
        return default_evaluate(model, batches)

    return healthy(digits(), "mlp", train_step=step, evaluate=evaluate)
