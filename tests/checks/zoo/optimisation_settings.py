"""Bugs of the optimisation, second part: the optimizer, its parameters, its rate and its schedule."""

import math
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, MultiStepLR, OneCycleLR, StepLR

from tests.checks.zoo.base import adam, healthy, network, sgd
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import cnn, groups, no_norm, two_parts
from tests.checks.zoo.sets import colours, digits, photos, positions, sides, textures


@bug("optimisation", "optimizer-over-other-parameters", "step-does-nothing")
def an_optimizer_over_a_former_model(broken):
    images = digits()
    former = network("mlp", images)()
    return healthy(images, "mlp", optimizer_fn=lambda model: adam(former if broken else model))


@bug("optimisation", "optimizer-over-other-parameters", "step-does-nothing")
def an_optimizer_made_before_a_layer_was_replaced(broken):
    """The head was replaced after its parameters had been handed over."""

    def build(model):
        optimizer = adam(model)
        if broken:
            model.head = nn.Sequential(nn.Linear(128, 4))
        return optimizer

    return healthy(textures(), lambda: two_parts(3, 4, lambda h: h), optimizer_fn=build)


@bug("optimisation", "optimizer-misses-parameters")
def an_optimizer_over_the_head_only(broken):
    return healthy(digits(), "mlp", optimizer_fn=lambda model: adam(model[-1] if broken else model))


@bug("optimisation", "optimizer-misses-parameters")
def an_optimizer_that_forgets_a_layer(broken):
    def build(model):
        named = [{"params": model[0].parameters()}, {"params": model[-1].parameters(), "lr": 1e-3}]
        rest = [p for layer in model[1:-1] for p in layer.parameters()]
        return Adam(named if broken else [*named, {"params": rest}], lr=3e-3)

    return healthy(textures(), "cnn", optimizer_fn=build)


@bug("optimisation", "optimizer-misses-parameters")
def an_optimizer_over_what_is_not_decayed(broken):
    """Two groups, with and without decay; the first was built and never handed over."""

    def build(model):
        decayed = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        kept = [{"params": others, "weight_decay": 0.0}]
        return AdamW(kept if broken else [{"params": decayed}, *kept], lr=3e-3)

    return healthy(photos(), lambda: cnn(3, 2, norm=groups), optimizer_fn=build)


@bug("optimisation", "learning-rate-too-low", "step-does-nothing")
def a_rate_of_1e_8(broken):
    return healthy(digits(), "mlp", optimizer_fn=partial(adam, rate=1e-8 if broken else 1e-3))


@bug("optimisation", "learning-rate-too-low", "step-does-nothing")
def a_tiny_rate_for_sgd(broken):
    return healthy(textures(), "cnn", optimizer_fn=partial(sgd, rate=1e-7 if broken else 0.02))


@bug("optimisation", "learning-rate-too-high", "loss-rises")
def a_rate_of_10_for_sgd(broken):
    return healthy(digits(), "mlp", optimizer_fn=partial(sgd, rate=10 if broken else 0.02))


@bug("optimisation", "learning-rate-too-high", "loss-rises", "dead-units")
def a_rate_of_1_for_adam(broken):
    return healthy(colours(), "mlp", optimizer_fn=partial(adam, rate=1.0 if broken else 1e-3))


@bug("optimisation", "learning-rate-too-high", "loss-rises")
def a_rate_of_half_for_adam_and_a_convolution(broken):
    rate = 0.5 if broken else 3e-3
    return healthy(textures(), lambda: cnn(3, 4, norm=no_norm), optimizer_fn=partial(adam, rate=rate))


@bug("optimisation", "learning-rate-too-high", "loss-rises")
def the_sum_of_losses_at_a_rate_for_the_mean(broken):
    loss = nn.CrossEntropyLoss(reduction="sum" if broken else "mean")
    return healthy(digits(), "mlp", 128, loss_fn=loss, optimizer_fn=partial(sgd, rate=0.1))


@bug("optimisation", "learning-rate-too-high", "loss-rises")
def a_regression_that_explodes(broken):
    return healthy(positions(), "mlp", optimizer_fn=partial(sgd, rate=3.0 if broken else 0.01))


@bug("optimisation", "weight-decay-wins")
def decay_of_10(broken):
    decay = 10 if broken else 1e-4
    return healthy(digits(), "mlp", optimizer_fn=lambda model: SGD(model.parameters(), 0.05, weight_decay=decay))


@bug("optimisation", "weight-decay-wins")
def decay_of_1_in_adam(broken):
    """As L2 in the gradient it outweighs the data's, whatever the rate."""
    decay = 1 if broken else 1e-5
    return healthy(textures(), "cnn", optimizer_fn=lambda model: Adam(model.parameters(), 3e-3, weight_decay=decay))


@bug("optimisation", "weight-decay-wins")
def decay_of_200_in_adamw(broken):
    decay = 200 if broken else 0.05
    return healthy(colours(), "mlp", optimizer_fn=lambda model: AdamW(model.parameters(), 3e-3, weight_decay=decay))


@bug("optimisation", "schedule-ends-early")
def epochs_of_a_schedule_counted_in_steps(broken):
    """StepLR(30, 0.1) over 90 epochs is over after 90 steps."""
    schedule = partial(StepLR, step_size=30, gamma=0.1)
    interval = "step" if broken else "epoch"
    return healthy(digits(), "mlp", scheduler_fn=schedule, scheduler_interval=interval, total_steps=90 * 44)


@bug("optimisation", "schedule-ends-early")
def a_cosine_that_is_over_after_an_epoch(broken):
    """And comes back: a rate that goes up and down once in two epochs."""
    total = 20 * 24
    schedule = partial(CosineAnnealingLR, T_max=20 if broken else total)
    return healthy(textures(), "cnn", scheduler_fn=schedule, total_steps=total)


@bug("optimisation", "schedule-ends-early")
def a_rate_that_decays_at_each_step(broken):
    schedule = partial(ExponentialLR, gamma=0.9)
    interval = "step" if broken else "epoch"
    return healthy(photos(), "cnn", scheduler_fn=schedule, scheduler_interval=interval, total_steps=24 * 20)


@bug("optimisation", "schedule-ends-early")
def milestones_in_epochs_at_each_step(broken):
    schedule = partial(MultiStepLR, milestones=[30, 60, 80], gamma=0.1)
    interval = "step" if broken else "epoch"
    return healthy(colours(), "mlp", scheduler_fn=schedule, scheduler_interval=interval, total_steps=100 * 20)


@bug("optimisation", "schedule-ends-early", "learning-rate-too-low", "step-does-nothing")
def a_linear_decay_over_a_tenth(broken):
    length = 100 if broken else 1000

    def share(step):
        return max(0.0, 1 - step / length)

    return healthy(digits(), "cnn", scheduler_fn=lambda o: LambdaLR(o, share), total_steps=1000)


@bug("optimisation", "learning-rate-too-low", "schedule-ends-early", "step-does-nothing")
def a_warm_up_longer_than_the_training(broken):
    warm_up = 1_000_000 if broken else 100

    def share(step):
        return min(1.0, (step + 1) / warm_up)

    return healthy(textures(), "cnn", scheduler_fn=lambda o: LambdaLR(o, share), total_steps=1000)


@bug("optimisation", "schedule-ends-early", "learning-rate-too-low")
def one_cycle_for_a_tenth_of_the_steps_at_a_tiny_rate(broken):
    maximum = 1e-7 if broken else 1e-2
    schedule = partial(OneCycleLR, max_lr=maximum, total_steps=500)
    return healthy(colours(), "mlp", scheduler_fn=schedule, total_steps=500)


@bug("optimisation", "schedule-has-no-effect")
def a_schedule_of_another_optimizer(broken):
    """The rate that decays is that of an optimizer that never steps."""

    def schedule(optimizer):
        parameters = [torch.nn.Parameter(torch.zeros(1))]
        return ExponentialLR(SGD(parameters, 0.1) if broken else optimizer, 0.99)

    return healthy(digits(), "mlp", scheduler_fn=schedule, total_steps=400)


@bug("optimisation", "learning-rate-too-high")
def a_rate_at_which_it_dies(broken):
    """It is thrown far away at once, and says the same of all images from then on: no loss explodes."""
    rate = 3.0 if broken else 0.02
    plain = lambda: cnn(3, 4, norm=lambda width: nn.Identity())  # noqa: E731
    return healthy(textures(), plain, optimizer_fn=lambda model: sgd(model, rate))


@bug("optimisation", "learning-rate-too-high")
def adamw_at_a_rate_of_a_third(broken):
    """Something is learnt after the explosion, without weight decay by chance more."""
    return healthy(
        textures(), "vit", optimizer_fn=lambda model: torch.optim.AdamW(model.parameters(), 0.3 if broken else 1e-3)
    )


@bug("optimisation", "learning-rate-too-high")
def momentum_of_four_nines(broken):
    return healthy(
        digits(), "mlp", optimizer_fn=lambda model: torch.optim.SGD(model.parameters(), 0.05, 0.9999 if broken else 0.9)
    )


@bug("optimisation", "learning-rate-too-low")
def momentum_at_two_in_a_hundred_thousand(broken):
    """Of a training whose length is not told: an epoch has 44 batches, and none has thousands of epochs."""
    return healthy(digits(), "cnn", optimizer_fn=partial(sgd, rate=2e-5 if broken else 2e-2))


@bug("optimisation", "learning-rate-too-low")
def divided_by_all_samples_again(broken):
    images = textures()
    return healthy(
        images,
        "cnn",
        loss_fn=lambda outputs, y: F.cross_entropy(outputs, y) / (len(images.y) if broken else 1),
        optimizer_fn=lambda model: sgd(model, 0.1),
        total_steps=500,
    )


@bug("optimisation", "optimizer-misses-parameters")
def fresh_body_at_the_rate_of_a_tuned_one(broken):
    def optimizer(model):
        body = {"params": model[:-1].parameters(), "lr": 1e-7 if broken else 1e-3}
        return torch.optim.AdamW([body, {"params": model[-1].parameters()}], lr=1e-3)

    return healthy(textures(), "cnn", optimizer_fn=optimizer)


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


@bug("optimisation", "learning-rate-too-high")
def the_rate_grows_to_the_end(broken):
    return healthy(
        digits(),
        "mlp",
        optimizer_fn=lambda model: sgd(model, 0.02),
        scheduler_fn=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 1.02 if broken else 0.98),
        total_steps=600,
    )


@bug("optimisation", "schedule-ends-early")
def an_exponential_decay_by_the_batch(broken):
    def schedule(optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)

    interval = "step" if broken else "epoch"
    return healthy(sides(), "cnn", scheduler_fn=schedule, scheduler_interval=interval, total_steps=60 * 19)


@bug("optimisation", "schedule-ends-early")
def drops_counted_in_batches(broken):
    """To a hundredth of the rate in all, which is no more than is usual in the last epochs."""
    images = textures()
    return healthy(
        images,
        "cnn",
        scheduler_fn=lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [8, 12], gamma=0.1),
        scheduler_interval="step" if broken else "epoch",
        total_steps=15 * math.ceil(len(images.x) / 32),
    )


@bug("optimisation", "learning-rate-too-high")
def sgd_at_a_rate_of_one(broken):
    """Nothing explodes where there is much noise: it only comes to nothing."""
    images = textures(8, noise=140)

    def model():
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 8),
        )  # fmt: skip

    return healthy(images, model, optimizer_fn=lambda model: sgd(model, 1.0 if broken else 0.05))
