"""Bugs and unusual pipelines of masks and places: what a loss, a metric or an augmentation takes for what."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.sets import Made, loader
from tests.checks.zoo.several_answers import OfPixels, discs, of


def masks_of_discs(there: float, classes: int, **metrics) -> Pipeline:
    """Where a disc is, as a number in place of 1."""
    x, y = discs()
    loss = F.binary_cross_entropy_with_logits

    def model():
        return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))

    return of((x, (y == 1).float()[:, None] * there), model, classes, loss, {"loss": loss, **metrics})


@bug("data", "targets-out-of-range")
def masks_of_zero_and_255(broken):
    return masks_of_discs(255 if broken else 1, 2, accuracy=lambda z, t: ((z > 0) == (t > 0)).float().mean())


@bug("data", "targets-out-of-range")
def masks_of_255_without_classes(broken):
    chance = torch.Generator().manual_seed(0)
    centres = torch.randint(3, 9, (800, 2, 1, 1), generator=chance)
    rows, columns = torch.arange(12)[:, None], torch.arange(12)
    masks = ((rows - centres[:, 0]).square() + (columns - centres[:, 1]).square() < 8).float()[:, None]
    x, y = masks + 0.3 * torch.randn(masks.shape, generator=chance), masks * (255 if broken else 1)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, masks = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        return {"loss": F.binary_cross_entropy_with_logits(outputs, masks).item()}

    return Pipeline(
        lambda: nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)),
        loader(x[:600], y[:600], 32, shuffle=True),
        loader(x[600:], y[600:], 64),
        num_classes=0,
        loss_fn=F.binary_cross_entropy_with_logits,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@bug("data", "targets-out-of-range")
def discs_divided_twice(broken):
    """What says to be there is 1/255 where it should be 1: a network that never sees anything is right."""
    return masks_of_discs(1 / 255 if broken else 1, 0)


def cropped_discs(apart):
    """Windows of 12 of 16 pixels; pictures and masks from the same, or from one each. Validation is whole."""
    x, y = discs(800)

    def crop(row):
        windows = [torch.randint(0, 5, (2,)).tolist() for _ in range(2)]
        (top, left), (mask_top, mask_left) = windows[0], windows[apart]
        return (
            x[row, :, top : top + 12, left : left + 12],
            y[row, mask_top : mask_top + 12, mask_left : mask_left + 12],
        )

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        losses = [F.cross_entropy(model(x), y, reduction="none").mean((1, 2)) for x, y in batches]
        return {"loss": torch.cat(losses).mean().item()}

    train, val = DataLoader(Made(600, crop), 32, shuffle=True), loader(x[600:], y[600:], 64)
    return Pipeline(lambda: OfPixels(False), train, val, num_classes=3, optimizer_fn=adam, evaluate=evaluate)


@bug("data", "augmentation-changes-label")
def masks_cropped_by_a_window_of_their_own(broken):
    return cropped_discs(apart=int(broken))


@bug("evaluation", "metric-wrong")
def maps_reshaped_with_classes_in_front(broken):
    """Of two classes, so that right outputs still have a little less loss than wrong ones."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        losses, right = [], []
        for x, y in batches:
            outputs = model(x)
            outputs = outputs.reshape(-1, 2) if broken else outputs.permute(0, 2, 3, 1).reshape(-1, 2)
            losses.append(F.cross_entropy(outputs, y.flatten(), reduction="none"))
            right.append((outputs.argmax(1) == y.flatten()).float())
        return {"loss": torch.cat(losses).mean().item(), "pixel_accuracy": torch.cat(right).mean().item()}

    (x, y), (val_x, val_y) = discs(500, 0), discs(160, 1)
    return Pipeline(
        lambda: nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 2, 3, padding=1)),
        loader(x, (y == 1).long(), 32, shuffle=True),
        loader(val_x, (val_y == 1).long(), 32),
        num_classes=2,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@bug("evaluation", "loss-against-metric")
def rows_and_columns_for_x_and_y(broken):
    """Heat maps whose peak tells where a spot is."""
    chance = torch.Generator().manual_seed(3)
    centres, grid = torch.rand(800, 2, generator=chance) * 11 + 2, torch.arange(16.0)

    def maps(centres):
        across, down = (torch.exp(-((grid - centres[:, at, None]) ** 2) / 3) for at in (0, 1))
        return down[:, :, None] * across[:, None, :]

    def loss_fn(outputs, centres):
        return 30 * F.mse_loss(outputs[:, 0], maps(centres))

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, centres = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        at = outputs.flatten(1).argmax(1)
        peak = torch.stack([at // 16, at % 16] if broken else [at % 16, at // 16], 1)
        return {"loss": loss_fn(outputs, centres).item(), "pixel_error": (peak - centres).norm(dim=1).mean().item()}

    x = maps(centres)[:, None] + 0.2 * torch.randn(800, 1, 16, 16, generator=chance)
    loaders = loader(x[:600], centres[:600], shuffle=True), loader(x[600:], centres[600:], 64)
    return Pipeline(
        lambda: nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 1, 5, padding=2)),
        *loaders,
        0,
        loss_fn=loss_fn,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@unusual
def spots_as_heat_maps():
    """Up to five spots anywhere, and a small hill at the middle of each: of any pixel few samples say anything."""

    def spots(count, seed):
        chance, (rows, columns) = np.random.default_rng(seed), np.mgrid[:32, :32]
        x, y = chance.normal(0, 0.1, (count, 32, 32)), np.zeros((count, 32, 32))
        for number in range(count):
            for row, column in chance.integers(3, 29, (chance.integers(1, 6), 2)):
                apart = (rows - row) ** 2 + (columns - column) ** 2
                x[number] += np.exp(-apart / chance.uniform(4, 12))
                y[number] = np.maximum(y[number], np.exp(-apart / 2))
        return (torch.tensor(each[:, None], dtype=torch.float32) for each in (x, y))

    def loss_fn(outputs, hills):
        shares = outputs.sigmoid().clamp(1e-4, 1 - 1e-4)
        peaks = (hills == 1).float()
        loss = (
            peaks * (1 - shares) ** 2 * shares.log() + (1 - peaks) * (1 - hills) ** 4 * shares**2 * (1 - shares).log()
        )
        return -loss.sum() / peaks.sum()

    def model():
        net = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.ReLU()),
            nn.Conv2d(16, 1, 1),
        )
        nn.init.constant_(net[-1].bias, -2.2)
        return net

    loaders = loader(*spots(500, 0), 20, shuffle=True), loader(*spots(120, 1), 40)
    return Pipeline(model, *loaders, num_classes=0, loss_fn=loss_fn, optimizer_fn=adam)
