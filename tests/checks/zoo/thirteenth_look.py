"""What a thirteenth adversary, of several tensors and regressions, tripped the audit up with; developed against."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.fourth_look import WORDS, marked_words
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import digits, loader, split, textures


class Made(Dataset):
    """(x, y) that `make` makes of a row's number."""

    def __init__(self, count, make):
        self.count, self.make = count, make

    def __len__(self):
        return self.count

    def __getitem__(self, row):
        return self.make(row)


def of_texts(beside, model_fn):
    """Texts with what `beside` makes of their words."""

    def read(count, seed):
        words, labels = marked_words(count, seed)
        return Made(count, lambda row: (beside(words[row]), labels[row]))

    train, val = DataLoader(read(900, 0), 32, shuffle=True), DataLoader(read(250, 1), 64)
    return Pipeline(model_fn, train, val, num_classes=3, optimizer_fn=adam)


class Recurrent(nn.Module):
    """The state behind the last word of each text."""

    def __init__(self, by_rows):
        super().__init__()
        self.words, self.read = nn.Embedding(WORDS, 24), nn.GRU(24, 32, batch_first=by_rows)
        self.scores = nn.Linear(32, 3)

    def forward(self, text):
        words, lengths = text
        return self.scores(self.read(self.words(words))[0][torch.arange(len(words)), lengths - 1])


@bug("model", "batch-mixed")
def a_recurrence_over_texts_with_lengths(broken):
    return of_texts(lambda words: (words, (words != 0).sum()), lambda: Recurrent(by_rows=not broken))


class Masked(nn.Module):
    """Attention of one question to the words that a mask names."""

    def __init__(self, inverted):
        super().__init__()
        self.inverted = inverted
        self.words, self.question = nn.Embedding(WORDS, 32), nn.Parameter(torch.randn(1, 1, 32))
        self.attention, self.scores = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 3)

    def forward(self, text):
        words, unseen = self.words(text["input_ids"]), text["attention_mask"].bool() == self.inverted
        asked = self.question.expand(len(words), -1, -1)
        return self.scores(self.attention(asked, words, words, key_padding_mask=unseen)[0][:, 0])


@bug("model", "input-ignored")
def inverted_attention_mask(broken):
    def beside(words):
        there = (words != 0).long()
        return {"input_ids": words, "attention_mask": there, "token_type_ids": torch.zeros_like(words)}

    return of_texts(beside, lambda: Masked(inverted=broken))


class Views(nn.Module):
    def __init__(self):
        super().__init__()
        self.large, self.small, self.scores = cnn(1, 16), cnn(1, 16), mlp(32, 10)

    def forward(self, views):
        return self.scores(torch.cat([F.relu(self.large(views[0])), F.relu(self.small(views[1]))], 1))


@bug("data", "inputs-constant")
def a_view_cast_before_it_is_scaled(broken):
    """Two pictures of each digit, the second a part of the first; scaled before it is cast, it is black."""
    images = digits()

    def views(x, y):
        def make(row):
            part = x[row, :, 1:7, 1:7]
            part = (part.long() // 256).float() if broken else part.float() / 255
            return (images.normalise(x[row : row + 1])[0], part - 0.3), y[row]

        return Made(len(y), make)

    loaders = (
        DataLoader(views(images.x, images.y), 32, shuffle=True),
        DataLoader(views(images.val_x, images.val_y), 64),
    )
    return Pipeline(Views, *loaders, 10, optimizer_fn=adam)


@unusual
def ratings_of_users_and_films():
    """Two codes and nothing else, of tables that end."""
    chance = torch.Generator().manual_seed(0)
    tastes, films = torch.randn(30, 3, generator=chance), torch.randn(80, 3, generator=chance)
    user, film = torch.randint(30, (2600,), generator=chance), torch.randint(80, (2600,), generator=chance)
    rating = (tastes[user] * films[film]).sum(1) + 0.1 * torch.randn(2600, generator=chance)

    class Factors(nn.Module):
        def __init__(self):
            super().__init__()
            self.users, self.films = nn.Embedding(30, 6), nn.Embedding(80, 6)

        def forward(self, x):
            return (self.users(x["user"]) * self.films(x["film"])).sum(1)

    def rows(first, count):
        at = range(first, first + count)
        return Made(count, lambda row: ({"user": user[at[row]], "film": film[at[row]]}, rating[at[row]]))

    loaders = DataLoader(rows(0, 2200), 32, shuffle=True), DataLoader(rows(2200, 400), 64)
    return Pipeline(Factors, *loaders, 0, loss_fn=F.mse_loss, optimizer_fn=lambda model: adam(model, 0.01))


def pairs_of_digits(make, count, seed):
    """Pairs of different digits, half of them of one class; `make` makes an item of two rows and whether they are."""
    images, chance = digits(), np.random.default_rng(seed)
    labels = images.y.numpy()
    first, same = chance.integers(0, len(labels), count), chance.random(count) < 0.5
    others = [np.flatnonzero((labels == labels[row]) == each) for row, each in zip(first, same, strict=True)]
    second = [int(chance.choice(each)) for each in others]
    x = images.normalise(images.x)
    return Made(count, lambda row: make(x[first[row]], x[second[row]], int(same[row])))


class Apart(nn.Module):
    """The distance between the embeddings of two pictures."""

    def __init__(self):
        super().__init__()
        self.embed = cnn(1, 8)

    def forward(self, pair):
        return F.pairwise_distance(self.embed(pair[0]), self.embed(pair[1]))


def contrastive(distance, same, margin=2.0):
    """Near where they are the same, a margin apart where not (Hadsell et al. 2006)."""
    return (same * distance**2 + (1 - same) * F.relu(margin - distance) ** 2).mean()


@unusual
def two_pictures_by_their_distance():
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        distance, same = (torch.cat(each) for each in zip(*[(model(x), y) for x, y in batches], strict=True))
        hits = (distance < 1) == (same == 1)
        return {"loss": contrastive(distance, same).item(), "accuracy": hits.double().mean().item()}

    def pair(one, other, same):
        return (one, other), same

    train = DataLoader(pairs_of_digits(pair, 1500, 0), 32, shuffle=True)
    val = DataLoader(pairs_of_digits(pair, 400, 1), 64)
    return Pipeline(Apart, train, val, 2, contrastive, optimizer_fn=adam, evaluate=evaluate)


@unusual
def a_tower_less_itself():
    """One tower and one head for two pictures; that both are linear at their seam is how the difference works."""

    class Difference(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.head = (
                nn.Sequential(cnn(1, 48), nn.ReLU(), nn.Linear(48, 24)),
                nn.Linear(24, 1, bias=False),
            )

        def forward(self, pair):
            return self.head(self.tower(pair["before"])) - self.head(self.tower(pair["after"]))

    def pair(one, other, _):
        return {"before": one, "after": other}, (one.mean() - other.mean())[None] * 4

    train = DataLoader(pairs_of_digits(pair, 1200, 0), 32, shuffle=True)
    val = DataLoader(pairs_of_digits(pair, 300, 1), 64)
    return Pipeline(Difference, train, val, 0, F.mse_loss, optimizer_fn=adam)


def spots_on_the_left(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright spot on a dim slope, and where it is, from left to right: in the left third."""
    chance = np.random.default_rng(seed)
    at = chance.uniform(-1, -0.4, (count, 2))
    rows, columns = np.mgrid[-1:1:12j, -1:1:12j]
    far = (columns - at[:, 0, None, None]) ** 2 + (rows - at[:, 1, None, None]) ** 2
    x = 150 * np.exp(-far / 0.05) + 40 * columns + chance.normal(60, 8, far.shape)
    return x.clip(0, 255).astype(np.uint8)[:, None], at[:, :1].astype(np.float32)


@unusual
def spots_mirrored_with_places():
    """Mirrored in training only, targets too: they are spread much further there than in validation."""
    images = split(*spots_on_the_left(900, 0), 250)

    def mirrored(row):
        x, y = images.normalise(images.x[row : row + 1])[0], images.y[row]
        return (x.flip(2), -y) if torch.rand(()) < 0.5 else (x, y)

    train = DataLoader(Made(len(images.x), mirrored), 32, shuffle=True)
    return healthy(images, "cnn", train_loader=train)


def focal(outputs, targets):
    """Lin et al. 2017."""
    sure = F.log_softmax(outputs, 1).gather(1, targets[:, None])[:, 0]
    return (-((1 - sure.exp()) ** 2) * sure).mean()


@unusual
def a_focal_loss_behind_maxima():
    """Maxima of normalised maps are far from zero, and such a loss of scores a little off far from that of a guess."""

    def net():
        body = nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        )  # fmt: skip
        return nn.Sequential(body, nn.Linear(32, 2))

    return healthy(textures(2), net, loss_fn=focal)


def drawn(count: int, seed: int, side: int, least: int, draw) -> tuple[np.ndarray, list]:
    """Noisy pictures on a ground of up to `least` that `draw(pen, chance)` draws on, and what it gives."""
    chance = np.random.default_rng(seed)
    pictures, told = [], []
    for _ in range(count):
        picture = Image.new("L", (side, side), int(chance.integers(0, least)))
        told.append(draw(ImageDraw.Draw(picture), chance))
        pictures.append(np.asarray(picture) + chance.normal(0, 8, (side, side)))
    return np.stack(pictures).clip(0, 255).astype(np.uint8)[:, None], told


def arrow(pen, chance) -> int:
    """To the left, right, top or bottom of 32x32 pixels."""
    to = int(chance.integers(4))
    across, down = [(-1, 0), (1, 0), (0, -1), (0, 1)][to]
    x, y, half, ink = *chance.uniform(13, 19, 2), chance.uniform(8, 12), int(chance.integers(150, 256))
    tip = (x + across * half, y + down * half)
    pen.line([x - across * half, y - down * half, *tip], fill=ink, width=int(chance.integers(2, 4)))
    for side in (-5, 5):
        pen.line([*tip, tip[0] - 5 * across + side * down, tip[1] - 5 * down + side * across], fill=ink, width=2)
    return to


@unusual
def arrows_erased_and_shifted():
    """A fifth of each picture is erased in training: it is harder to tell then, and nothing else than before."""
    pictures, told = drawn(1500, 0, 32, 80, arrow)
    images = split(pictures, np.array(told), 300)

    def changed(row):
        x = images.x[row].float() / 255 * float(torch.empty(()).uniform_(0.4, 1.3)) + 0.12 * torch.randn(1, 32, 32)
        top, left, down, across = (int(torch.randint(each, ())) for each in (19, 19, 9, 9))
        x[:, top : top + 14, left : left + 14] = torch.rand(())
        return (x.roll((down - 4, across - 4), (1, 2)) - 0.3) / 0.25, images.y[row]

    train = DataLoader(Made(len(images.x), changed), 60, shuffle=True)
    val = loader((images.val_x / 255 - 0.3) / 0.25, images.val_y, 60)
    return healthy(images, "mlp", train_loader=train, val_loader=val)


def dial(pen, chance) -> float:
    """A ring and a needle on 28x28 pixels, and its angle in radians."""
    angle, (x, y), radius = chance.uniform(-2.2, 2.2), 14 + chance.uniform(-0.5, 0.5, 2), 11.8
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], outline=150)
    pen.line([x, y, x + radius * 0.9 * np.sin(angle), y - radius * 0.9 * np.cos(angle)], fill=240, width=2)
    return angle


@unusual
def dials_and_angles():
    """One number is nearly all that they differ by: each has neighbours that look like copies, at other angles."""
    pictures, told = drawn(1800, 241, 28, 60, dial)
    return healthy(split(pictures, np.array(told, np.float32)[:, None], 300), "cnn")
