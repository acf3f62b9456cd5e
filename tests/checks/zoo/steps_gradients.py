"""Bugs of train steps: gradients zeroed, clipped or added up at the wrong place, updates taken back."""

import torch
from torch import nn

from tests.checks.zoo.base import healthy, sgd, stepping
from tests.checks.zoo.case import bug
from tests.checks.zoo.regressions import of_numbers
from tests.checks.zoo.sets import digits, textures


@bug("optimisation", "step-does-nothing")
def zeroed_before_an_adamw_step(broken):
    def forget(model):
        if broken:
            model.zero_grad(set_to_none=False)

    def optimizer(model):
        return torch.optim.AdamW(model.parameters(), 3e-3)

    return healthy(textures(), "cnn", train_step=stepping(before=forget), optimizer_fn=optimizer)


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


@bug("optimisation", "accumulated-gradients-lost")
def zeroed_before_each_piece_of_a_batch(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        losses = []
        for x, y in zip(*(part.chunk(4) for part in batch), strict=True):
            if broken:
                optimizer.zero_grad()
            losses.append(loss_fn(model(x), y) * len(y) / len(batch[1]))
            losses[-1].backward()
        optimizer.step()
        return float(sum(losses).detach())

    return healthy(digits(), "mlp", 64, train_step=step)


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


@bug("optimisation", "learning-rate-too-low")
def clipped_to_a_ten_thousandth(broken):
    def clip(model):
        nn.utils.clip_grad_norm_(model.parameters(), 1e-4 if broken else 1.0)

    return of_numbers(
        lambda: nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1)),
        train_step=stepping(before=clip),
        optimizer_fn=lambda model: sgd(model, 0.1),
    )


@bug("optimisation", "learning-rate-too-low")
def clipped_then_scaled_back(broken):
    def clip(model):
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    def scale_back(model):
        for each in model.parameters():
            each.grad /= 4096

    def both(model):
        for each in (clip, scale_back) if broken else (scale_back, clip):
            each(model)

    return healthy(textures(), "cnn", train_step=stepping(before=both, scale=4096.0), optimizer_fn=sgd)


@bug("optimisation", "clipped-after-step")
def clipped_after_the_step(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        if not broken:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        if broken:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        return loss.item()

    return healthy(digits(), "mlp", train_step=step)


@bug("optimisation", "weights-clipped")
def weights_clamped_after_each_step(broken):
    @torch.no_grad()
    def clamp(model):
        for each in model.parameters():
            each.clamp_(-0.02, 0.02)

    return healthy(digits(), "mlp", train_step=stepping(after=clamp if broken else lambda model: None))


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
