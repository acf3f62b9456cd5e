"""What a sixteenth adversary tripped the audit up with, and texts whose masks are not heeded; developed against."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import bug
from tests.checks.zoo.fourth_look import WORDS, marked_words
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import digits, loader, textures
from tests.checks.zoo.several_answers import OfPixels, discs
from tests.checks.zoo.thirteenth_look import Made, of_texts


def with_mask(words):
    return {"input_ids": words, "attention_mask": (words != 0).long()}


class Encoder(nn.Module):
    """Attention among the words that a mask names, then the mean over them, or over all places."""

    def __init__(self, all_places):
        super().__init__()
        self.all_places = all_places
        self.words, self.places = nn.Embedding(WORDS, 32, padding_idx=0), nn.Embedding(20, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.attention, self.scores = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(32, 3)

    def forward(self, text):
        words, there = text["input_ids"], text["attention_mask"].bool()
        places = self.places(torch.arange(words.shape[1], device=words.device))
        found = self.attention(self.words(words) + places, src_key_padding_mask=~there)
        if self.all_places:
            return self.scores(found.mean(1))
        return self.scores((found * there[..., None]).sum(1) / there.sum(1, keepdim=True))


@bug("model", "padding-read")
def a_mean_over_places_that_are_filled_up(broken):
    return of_texts(with_mask, lambda: Encoder(all_places=broken))


class Last(nn.Module):
    """The state of a recurrence after the last word, or after all that fills up."""

    def __init__(self, at_the_end):
        super().__init__()
        self.at_the_end = at_the_end
        self.words, self.states, self.scores = (
            nn.Embedding(WORDS, 32),
            nn.GRU(32, 48, batch_first=True),
            nn.Linear(48, 3),
        )

    def forward(self, text):
        words, lengths = text
        states = self.states(self.words(words))[0]
        last = torch.full_like(lengths, -1) if self.at_the_end else lengths - 1
        return self.scores(states[torch.arange(len(words)), last])


@bug("model", "padding-read")
def the_last_state_after_filling(broken):
    return of_texts(lambda words: (words, (words != 0).sum()), lambda: Last(at_the_end=broken))


class Asking(nn.Module):
    """The state at a sign with which each text begins, that attends to words, or to what fills up."""

    def __init__(self, to_filling):
        super().__init__()
        self.to_filling = to_filling
        self.words, self.places = nn.Embedding(WORDS + 1, 32), nn.Parameter(0.02 * torch.randn(21, 32))
        self.attend = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.scores = nn.Linear(32, 3)

    def forward(self, words):
        hidden = words != 0 if self.to_filling else words == 0
        return self.scores(self.attend(self.words(words) + self.places, src_key_padding_mask=hidden)[:, 0])


@bug("model", "input-ignored")
def filling_attended_to_by_a_sign(broken):
    def read(count, seed):
        words, labels = marked_words(count, seed)
        return torch.cat([torch.full((count, 1), WORDS), words], 1), labels

    loaders = loader(*read(900, 0), shuffle=True), loader(*read(250, 1), 64)
    return Pipeline(lambda: Asking(broken), *loaders, num_classes=3, optimizer_fn=adam)


def shapes(count, seed, side=20):
    """Discs, squares, triangles or crosses of any colour and place on noisy grounds, (n, 3, side, side) in -1..1."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    x, y = np.zeros((count, 3, side, side)), chance.integers(0, 4, count)
    for number, label in enumerate(y):
        radius = chance.integers(3, 6)
        row, column = chance.integers(radius + 1, side - radius - 1, 2)
        down, right = rows - row, columns - column
        inside = (
            down**2 + right**2 < radius**2,
            np.maximum(abs(down), abs(right)) < radius,
            (abs(down) < radius) & (2 * abs(right) < radius + down),
            (np.minimum(abs(down), abs(right)) < 1.5) & (np.maximum(abs(down), abs(right)) < radius),
        )[label]
        x[number] = chance.uniform(20, 120, (3, 1, 1)) + chance.normal(0, 14, (3, side, side))
        x[number][:, inside] = chance.uniform(130, 255, (3, 1))
    return torch.tensor(x / 127.5 - 1, dtype=torch.float32), torch.tensor(y)


@bug("data", "labels-partly-wrong")
def a_file_left_out_of_the_pictures_only(broken):
    """From the third on the labels are those of the next picture, two thirds of all."""
    x, y = shapes(800, 5)
    kept = torch.arange(800) != 260
    labels = y[:-1] if broken else y[kept]
    train, val = loader(x[kept], labels, shuffle=True), loader(*shapes(250, 6), 64)
    return Pipeline(lambda: cnn(3, 4), train, val, num_classes=4, optimizer_fn=adam)


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


def temperatures():
    """Windows of a series in degrees, and the next value."""
    chance, time = np.random.default_rng(8), np.arange(3400)
    series = 61 + 8 * np.sin(2 * np.pi * time / 24) + 1.5 * chance.normal(size=3400)
    windows = torch.tensor(series, dtype=torch.float32).unfold(0, 25, 3)
    return (windows[:, :24] - 61) / 8, windows[:, 24:]


@bug("evaluation", "metric-wrong", "metric-scale")
def degrees_less_standard_units(broken):
    """The loss scales the targets; evaluate compares outputs with degrees, scaled back or not."""
    x, y = temperatures()
    mean, deviation = y[:880].mean(), y[:880].std()

    def loss_fn(outputs, targets):
        return F.mse_loss(outputs, (targets - mean) / deviation)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        degrees = outputs if broken else outputs * deviation + mean
        return {"loss": (F.mse_loss if broken else loss_fn)(outputs, y).item(), "mae": F.l1_loss(degrees, y).item()}

    loaders = loader(x[:880], y[:880], shuffle=True), loader(x[920:], y[920:], 64)
    return Pipeline(lambda: mlp(24, 1), *loaders, 0, loss_fn=loss_fn, optimizer_fn=adam, evaluate=evaluate)


class Factors(nn.Module):
    """Ratings by people and things."""

    def __init__(self):
        super().__init__()
        self.people, self.things = nn.Embedding(60, 8), nn.Embedding(40, 8)
        self.liking, self.liked = nn.Embedding(60, 1), nn.Embedding(40, 1)
        for each, spread in ((self.people, 0.3), (self.things, 0.3), (self.liking, 0.0), (self.liked, 0.0)):
            nn.init.normal_(each.weight, std=spread)

    def forward(self, pairs):
        people, things = pairs.T
        own = self.liking(people) + self.liked(things)
        return own[:, 0] + (self.people(people) * self.things(things)).sum(1)


@bug("optimisation", "weight-decay-wins")
def factors_that_fade(broken):
    chance = torch.Generator().manual_seed(61)
    people, things = torch.randn(60, 3, generator=chance), torch.randn(40, 3, generator=chance)
    chosen = torch.randperm(2400, generator=chance)[:2000]
    pairs = torch.stack([chosen // 40, chosen % 40], 1)
    ratings = 0.7 * (people[pairs[:, 0]] * things[pairs[:, 1]]).sum(1) + 0.2 * torch.randn(2000, generator=chance)
    ratings += 0.4 * (people[pairs[:, 0], 0] + things[pairs[:, 1], 0])
    return Pipeline(
        Factors,
        loader(pairs[:1600], ratings[:1600], 80, shuffle=True),
        loader(pairs[1600:], ratings[1600:], 100),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=lambda model: torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=0.1 if broken else 1e-4),
        total_steps=600,
    )


class Distance(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = mlp(64, 16)

    def forward(self, pair):
        return F.pairwise_distance(self.tower(pair[0]), self.tower(pair[1]))


@bug("evaluation", "loss-against-metric")
def equal_digits_are_pushed_apart(broken):
    """Label 1 says same; a loss of the other convention takes it for different."""
    images = digits()

    def pairs(x, y, count, seed):
        chance = np.random.default_rng(seed)
        first, same = chance.integers(0, len(y), count), chance.integers(0, 2, count)
        second = [
            chance.choice(np.flatnonzero((y == y[i]).numpy() == bool(s))) for i, s in zip(first, same, strict=True)
        ]
        x = images.normalise(x)
        return Made(count, lambda row: ((x[first[row]], x[second[row]]), torch.tensor(float(same[row]))))

    def contrastive(distance, same):
        pulled = 1 - same if broken else same
        return (pulled * distance**2 + (1 - pulled) * F.relu(1.5 - distance) ** 2).mean()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        far, same = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        return {"loss": contrastive(far, same).item(), "accuracy": ((far < 0.75) == same.bool()).float().mean().item()}

    train, val = pairs(images.x, images.y, 1500, 1), pairs(images.val_x, images.val_y, 400, 2)
    loaders = DataLoader(train, 50, shuffle=True), DataLoader(val, 100)
    return Pipeline(Distance, *loaders, 0, loss_fn=contrastive, optimizer_fn=adam, evaluate=evaluate)


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


def measured(loss_of):
    """Digits whose loss is added up by hand."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        total, hits, count = 0.0, 0, 0
        for x, y in batches:
            outputs = model(x)
            total += loss_of(outputs, y, batches)
            hits, count = hits + (outputs.argmax(1) == y).sum().item(), count + len(y)
        return {"loss": total / count, "accuracy": hits / count}

    return healthy(digits(), "mlp", evaluate=evaluate)


@bug("evaluation", "metric-scale")
def evaluated_at_a_teachers_temperature(broken):
    by = 8.0 if broken else 1.0
    return measured(lambda outputs, y, _: F.cross_entropy(outputs / by, y, reduction="sum").item())


@bug("evaluation", "metric-scale", "ragged-average")
def each_batch_counted_as_a_whole_one(broken):
    return measured(
        lambda outputs, y, batches: F.cross_entropy(outputs, y).item() * (batches.batch_size if broken else len(y))
    )


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
