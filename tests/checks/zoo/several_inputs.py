"""Inputs that are several tensors: a number, a code or another picture beside the image; sets with a mask."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import Made, Rows, digits, loader


class Parts(Dataset):
    """What `make` makes of an image and its label."""

    def __init__(self, x, y, make):
        self.x, self.y, self.make = x, y, make

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        return self.make(self.x[row], self.y[row]), self.y[row]


class Beside(nn.Module):
    """A convolutional net on the image, and a layer on what stands beside it."""

    def __init__(self, beside, reads=True):
        super().__init__()
        self.image, self.beside, self.reads = cnn(1, 32), beside, reads
        self.head = nn.Linear(40, 10)

    def forward(self, image, beside):
        seen = self.beside(beside)
        return self.head(F.relu(torch.cat([self.image(image), seen if self.reads else seen * 0], 1)))


def over(make, model_fn, **changes):
    images = digits()
    train = Parts(images.normalise(images.x), images.y, make)
    val = Parts(images.normalise(images.val_x), images.val_y, make)
    loaders = DataLoader(train, 32, shuffle=True), DataLoader(val, 64)
    return Pipeline(model_fn, *loaders, 10, optimizer_fn=adam, **changes)


def with_its_ink(image, label):
    return {"image": image, "beside": torch.stack([image.mean(), (label > 4) + image[0, 0, 0] * 0.1])}


@bug("model", "input-partly-ignored", "layers-unused")
def a_number_beside_the_image_is_ignored(broken):
    model_fn = partial(Beside, nn.Linear(2, 8), reads=not broken)
    return over(with_its_ink, model_fn, forward=lambda model, x: model(**x))


@bug("evaluation", "evaluates-training-data")
def two_views_of_each_digit(broken):
    """A tuple of a picture and a half of it, larger: no two parts of one size."""
    pipeline = over(
        lambda image, _: (image, F.interpolate(image[None, :, :, :4], scale_factor=2)[0]),
        partial(Beside, cnn(1, 8)),
        forward=lambda model, x: model(*x),
    )

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        hits = [model(*x).argmax(1) == y for x, y in (pipeline.train_loader if broken else batches)]
        return {"accuracy": torch.cat(hits).double().mean().item()}

    pipeline.evaluate = evaluate
    return pipeline


@unusual
def a_picture_and_its_code():
    """A whole number, to be looked up, from a table that ends."""
    return over(
        lambda image, label: {"pixels": image, "code": label % 3},
        lambda: Beside(nn.Embedding(3, 8)),
        forward=lambda model, x: model(x["pixels"], x["code"]),
        augment=lambda x, y: ({**x, "pixels": x["pixels"] + 0.1 * torch.randn_like(x["pixels"])}, y),
        preprocess_train=lambda x: x,
        preprocess_eval=lambda x: x,
    )


@unusual
def a_number_in_thousands():
    """Tens of thousands beside pixels of deviation 1; the model normalises it."""

    def with_an_income(image, label):
        return {"image": image, "beside": 50_000 + 20_000 * image[0, 2, :1] + 5_000 * label % 3}

    beside = partial(nn.Sequential, nn.BatchNorm1d(1), nn.Linear(1, 8))
    return over(with_an_income, lambda: Beside(beside()), forward=lambda model, x: model(**x))


class BothSides(nn.Module):
    """Whether two pictures show the same digit, by an encoder that they share."""

    def __init__(self, reads_second):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24))
        self.head, self.reads_second = nn.Sequential(nn.Linear(72, 48), nn.ReLU(), nn.Linear(48, 2)), reads_second

    def forward(self, pairs):
        one, other = self.encoder(pairs[:, 0]), self.encoder(pairs[:, int(self.reads_second)])
        return self.head(torch.cat([one, other, (one - other).abs()], 1))


@bug("model", "input-partly-ignored")
def the_same_picture_on_both_sides(broken):
    images = digits()

    def pairs(x, y, count, seed):
        chance = torch.Generator().manual_seed(seed)
        order = y.argsort(stable=True)  # neighbours in it are of one class
        first = torch.randint(0, len(y) - 1, (count,), generator=chance)
        second = torch.where(torch.rand(count, generator=chance) < 0.5, first + 1, first.flip(0))
        first, second = order[first], order[second]
        return torch.stack([images.normalise(x)[first], images.normalise(x)[second]], 1), (y[first] == y[second]).long()

    train, val = pairs(images.x, images.y, 1500, 0), pairs(images.val_x, images.val_y, 300, 1)
    return Pipeline(
        partial(BothSides, not broken), loader(*train, shuffle=True), loader(*val, 64), 2, optimizer_fn=adam
    )


class OfSets(nn.Module):
    def __init__(self):
        super().__init__()
        self.each, self.all = (
            nn.Sequential(nn.Linear(2, 48), nn.SiLU(), nn.Linear(48, 24)),
            mlp(24, 1, activation=nn.SiLU),
        )

    def forward(self, sets):
        there = sets["there"].unsqueeze(-1).float()
        return self.all((self.each(sets["points"]) * there).sum(1) / there.sum(1))


@unusual
def sets_of_points_with_a_mask():
    def made(count, seed):
        chance = torch.Generator().manual_seed(seed)
        points = torch.randn(count, 8, 2, generator=chance) * (0.4 + torch.rand(count, 1, 1, generator=chance))
        there = torch.arange(8) < torch.randint(3, 9, (count, 1), generator=chance)
        points = points * there[..., None]  # which makes -0.0, too
        spread = (points.square().sum(2).sum(1, keepdim=True) / there.sum(1, keepdim=True)).sqrt()
        return Rows({"points": points, "there": there}, spread - 1.2)

    train, val = DataLoader(made(900, 0), 32, shuffle=True), DataLoader(made(300, 1), 64)
    return Pipeline(OfSets, train, val, num_classes=0, loss_fn=F.mse_loss, optimizer_fn=adam)


class OfPicture(nn.Module):
    """Reads the picture of what its loader gives."""

    def __init__(self):
        super().__init__()
        self.net = mlp(64, 10)

    def forward(self, given):
        return self.net(given["image"])


@unusual
def a_size_and_a_number_that_nobody_reads():
    images = digits()

    def named(x, y):
        size = torch.tensor([8.0])
        return Made(
            len(y), lambda row: ({"image": x[row], "size": size, "number": torch.tensor([row / len(y)])}, y[row])
        )

    train, val = named(images.normalise(images.x), images.y), named(images.normalise(images.val_x), images.val_y)
    return Pipeline(OfPicture, DataLoader(train, 32, shuffle=True), DataLoader(val, 64), 10, optimizer_fn=adam)
