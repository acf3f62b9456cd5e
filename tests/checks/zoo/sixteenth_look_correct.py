"""What a sixteenth adversary had accused, and a text whose mask need not be read; developed against."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import unusual
from tests.checks.zoo.fourth_look import WORDS
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import digits, loader
from tests.checks.zoo.sixteenth_look import with_mask
from tests.checks.zoo.thirteenth_look import Made, of_texts


@unusual
def a_sum_of_words_where_zero_says_nothing():
    """Its mask is not read, and need not be."""

    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.scores = nn.Embedding(WORDS, 32, padding_idx=0), nn.Linear(32, 3)

        def forward(self, text):
            return self.scores(self.words(text["input_ids"]).sum(1))

    return of_texts(with_mask, Summed)


@unusual
def digits_told_by_bits():
    """Fifteen outputs for ten classes: the nearest code counts (Dietterich & Bakiri 1995)."""
    codes = torch.randint(0, 2, (10, 15), generator=torch.Generator().manual_seed(2)).float()

    def loss_fn(outputs, y):
        return F.binary_cross_entropy_with_logits(outputs, codes[y])

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        said = torch.cdist(outputs.sigmoid(), codes).argmin(1)
        return {"loss": loss_fn(outputs, y).item(), "accuracy": (said == y).float().mean().item()}

    return healthy(digits(), lambda: mlp(64, 15), loss_fn=loss_fn, evaluate=evaluate)


class Tastes(nn.Module):
    """Scores of all things for a person."""

    def __init__(self):
        super().__init__()
        self.people, self.things = nn.Embedding(200, 12), nn.Embedding(80, 12)

    def forward(self, people):
        return self.people(people) @ self.things.weight.T


@unusual
def people_who_come_again():
    """Inputs are one number each, and come several times in training and again in validation."""
    chance = torch.Generator().manual_seed(107)
    taste = torch.randn(200, 3, generator=chance) @ torch.randn(3, 80, generator=chance)
    chosen = torch.multinomial(taste.softmax(1), 10, generator=chance)
    people = torch.arange(200)[:, None].expand(200, 10)
    train = loader(people[:, :8].flatten(), chosen[:, :8].flatten(), 64, shuffle=True)
    return Pipeline(Tastes, train, loader(people[:, 8:].flatten(), chosen[:, 8:].flatten(), 64), 80, optimizer_fn=adam)


class OfDomains(nn.Module):
    """Three classes, and from which of two domains."""

    def __init__(self):
        super().__init__()
        self.body, self.classes, self.domain = nn.Sequential(mlp(12, 24), nn.ReLU()), nn.Linear(24, 3), nn.Linear(24, 1)

    def forward(self, x):
        found = self.body(x)
        return torch.cat([self.classes(found), self.domain(found)], 1)


@unusual
def classes_known_in_one_domain_only():
    """Of the other domain they are -1 in training, and known in validation."""
    chance = torch.Generator().manual_seed(127)
    y, domain = (torch.randint(0, most, (1300,), generator=chance) for most in (3, 2))
    x = 1.6 * torch.randn(3, 12, generator=chance)[y] + torch.randn(1300, 12, generator=chance)
    x[:, :4] += 1.5 * domain[:, None]
    targets = torch.stack([y, domain], 1)
    known = targets[:1000].clone()
    known[domain[:1000] == 1, 0] = -1

    def loss_fn(outputs, targets):
        of_domain = F.binary_cross_entropy_with_logits(outputs[:, 3], targets[:, 1].float())
        return of_domain + F.cross_entropy(outputs[:, :3], targets[:, 0], ignore_index=-1)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        hits = outputs[:, :3].argmax(1) == y[:, 0]
        return {"loss": loss_fn(outputs, y).item(), "accuracy": hits.float().mean().item()}

    loaders = loader(x[:1000], known, shuffle=True), loader(x[1000:], targets[1000:], 64)
    return Pipeline(OfDomains, *loaders, 3, loss_fn=loss_fn, optimizer_fn=adam, evaluate=evaluate)


class Beside(nn.Module):
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
    return Pipeline(Beside, DataLoader(train, 32, shuffle=True), DataLoader(val, 64), 10, optimizer_fn=adam)
