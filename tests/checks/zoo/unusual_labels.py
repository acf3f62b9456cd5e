"""Correct but unusual labels: some wrong, missing, unknown or rare, or a kind that training never shows."""

import copy

import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, gathered, healthy
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import colours, digits, loader, sides


@unusual
def three_labels_of_ten_are_wrong():
    images, chance = digits(), torch.Generator().manual_seed(1)
    wrong = torch.rand(len(images.y), generator=chance) < 0.3
    others = (images.y + torch.randint(1, 10, images.y.shape, generator=chance)) % 10
    return healthy(images.with_(y=torch.where(wrong, others, images.y)), "mlp")


@unusual
def four_in_ten_without_a_label():
    images = digits()
    hidden = torch.rand(len(images.y), generator=torch.Generator().manual_seed(0)) < 0.4
    return healthy(images.with_(y=images.y.masked_fill(hidden, -100)), "mlp")


class Taught(nn.Module):
    """A network that trains, and the average of its weights, which is used (Tarvainen & Valpola 2017)."""

    def __init__(self):
        super().__init__()
        self.student = mlp(64, 10, dropout=0.1)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, x):
        return self.student(x) if self.training else self.teacher(x)


@unusual
def labels_for_a_third():
    """Two of three samples have no label, -1, which the loss leaves out; the step calls the parts by themselves."""
    images = digits()
    y = torch.where(torch.arange(len(images.y)) % 3 == 0, images.y, -1)

    def loss_fn(outputs, y):
        return F.cross_entropy(outputs, y, ignore_index=-1)

    def step(model, batch, loss_fn, optimizer):
        model.train()
        x, y = batch
        with torch.no_grad():
            wanted = model.teacher(x + 0.1 * torch.randn_like(x)).softmax(1)
        outputs = model.student(x)
        loss = loss_fn(outputs, y) + F.mse_loss(outputs.softmax(1), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for mean, each in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
                mean.lerp_(each, 0.05)
        return loss.item()

    return Pipeline(
        Taught,
        loader(images.normalise(images.x), y, 48, shuffle=True),
        loader(images.normalise(images.val_x), images.val_y, 64),
        num_classes=10,
        loss_fn=loss_fn,
        train_step=step,
        optimizer_fn=lambda model: adam(model.student),
    )


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


@unusual
def some_digits_are_unknown():
    """Eight and nine are -1, of which training shows the one; for them the loss wants even scores."""
    images = digits()
    seen = images.y < 9
    y, val_y = (torch.where(each < 8, each, -1) for each in (images.y[seen], images.val_y))

    def loss_fn(outputs, y):
        logs = outputs.log_softmax(1)
        known = -logs.gather(1, y.clamp_min(0)[:, None])[:, 0]
        return torch.where(y >= 0, known, -logs.mean(1)).mean()

    def evaluate(model, batches):
        outputs, y = gathered(model.eval(), batches)
        right = (outputs.argmax(1) == y)[y >= 0].float().mean()
        return {"loss": loss_fn(outputs, y).item(), "known_acc": right.item()}

    loaders = (
        loader(images.normalise(images.x[seen]), y, shuffle=True),
        loader(images.normalise(images.val_x), val_y, 64),
    )
    return Pipeline(lambda: cnn(1, 8), *loaders, num_classes=8, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


class Error(nn.Module):
    """How far off a picture comes out of a narrow network."""

    def __init__(self):
        super().__init__()
        self.net = mlp(64, 64, width=12)

    def forward(self, x):
        return (self.net(x) - x.flatten(1)).square().mean(1)


@unusual
def learnt_from_what_is_usual():
    """Training has digits of one kind only, labelled 0; the others are to stand out in validation."""
    images = digits()
    x, val_x = images.normalise(images.x)[images.y < 5], images.normalise(images.val_x)

    def loss_fn(errors, unusual):
        return errors[unusual == 0].sum() / (unusual == 0).sum().clamp_min(1)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        errors, unusual = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        return {"loss": loss_fn(errors, unusual).item(), "auc": float(roc_auc_score(unusual, errors))}

    return Pipeline(
        Error,
        loader(x, torch.zeros(len(x)), shuffle=True),
        loader(val_x, (images.val_y > 4).float(), 64),
        num_classes=0,
        loss_fn=loss_fn,
        evaluate=evaluate,
        optimizer_fn=adam,
    )


@unusual
def blank_tiles_are_a_class():
    images = digits()

    def with_blanks(x, y):
        blank = len(x) // 2
        return torch.cat([x, torch.zeros_like(x[:blank])]), torch.cat([y, torch.full((blank,), 10)])

    (x, y), (val_x, val_y) = with_blanks(images.x, images.y), with_blanks(images.val_x, images.val_y)
    return healthy(images.with_(x=x, y=y, val_x=val_x, val_y=val_y, classes=11), "cnn")


@unusual
def forty_to_one_and_hard_to_see():
    """Of a few rare ones the reference learner learns nothing."""
    images = sides(4000, 1200)
    keep, val_keep = ((y == 0) | (torch.arange(len(y)) % 40 == 1) & (y == 1) for y in (images.y, images.val_y))
    thin = images.with_(
        x=images.x[keep], y=images.y[keep], val_x=images.val_x[val_keep], val_y=images.val_y[val_keep], classes=2
    )
    return healthy(thin, "cnn")


@unusual
def waves_told_hardly():
    """Sines, squares, saws and triangles at any phase: of two of them the reference learner knows little."""

    def waves(count, seed):
        chance = torch.Generator().manual_seed(seed)
        y = torch.randint(4, (count,), generator=chance)
        times, begins = 2 + 3 * torch.rand(count, 1, generator=chance), torch.rand(count, 1, generator=chance)
        turn = (torch.arange(64) / 64 * times + begins) % 1
        shapes = [torch.sin(2 * torch.pi * turn), torch.sign(turn - 0.5), 2 * turn - 1, 4 * (turn - 0.5).abs() - 1]
        x = torch.stack(shapes, 1)[torch.arange(count), y]
        x = x * (0.7 + 0.6 * torch.rand(count, 1, generator=chance))
        return x + 0.12 * torch.randn(count, 64, generator=chance), y

    def model():
        layers = nn.Conv1d(1, 24, 5, 2, 2), nn.ReLU(), nn.Conv1d(24, 32, 5, 2, 2), nn.ReLU()
        return nn.Sequential(nn.Unflatten(1, (1, 64)), *layers, nn.Flatten(), nn.Linear(512, 4))

    train, val = loader(*waves(1000, 8), shuffle=True), loader(*waves(300, 9), 50)
    return Pipeline(model, train, val, 4, optimizer_fn=adam)
