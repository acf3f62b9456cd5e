"""The same bugs in other forms: on series, texts and tables, in losses, sums and steps that are written otherwise."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.checks.zoo.base import adam, evaluate_regression, healthy, sgd
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.other_data import pipeline, texts, tumours, waves
from tests.checks.zoo.sets import digits, loader, positions, sides


class Recurrent(nn.Module):
    """A GRU whose places are weighed; the other fields are bugs."""

    def __init__(self, axis: int = 1, torn: bool = False):
        super().__init__()
        self.axis, self.torn = axis, torn
        self.body, self.weigh, self.head = nn.GRU(3, 24, batch_first=True), nn.Linear(24, 1), nn.Linear(24, 4)

    def forward(self, x):
        seen, _ = self.body(x)
        seen = torch.tensor(seen.detach().numpy()) if self.torn else seen
        return self.head((self.weigh(seen).softmax(self.axis) * seen).sum(1))


# Developed against


@bug("data", "labels-unrelated")
def series_have_the_label_of_the_one_before(broken):
    x, y, val_x, val_y, classes = waves()
    y, val_y = (y.roll(1), val_y.roll(1)) if broken else (y, val_y)
    return pipeline((x, y, val_x, val_y, classes), Recurrent)


@bug("data", "targets-wrong-type")
def targets_in_no_column(broken):
    """Batch norm lets the fresh outputs be nearly equal, so that it hardly matters what they are compared with."""
    images = positions()
    y = images.y[:, 0] if broken else images.y
    train = loader(images.normalise(images.x), y, shuffle=True)
    return healthy(images, "cnn", train_loader=train, loss_fn=nn.SmoothL1Loss())


class Skipping(nn.Module):
    """Blocks that are skipped by chance."""

    def __init__(self, always: bool):
        super().__init__()
        self.always = always
        self.first, self.head = nn.Linear(64, 48), nn.Linear(48, 10)
        self.blocks = nn.ModuleList([nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.GELU()) for _ in range(4)])

    def forward(self, x):
        x = self.first(x.flatten(1))
        for block in self.blocks:
            if not ((self.always or self.training) and torch.rand(()) < 0.3):
                x = x + block(x)
        return self.head(x)


@bug("model", "random-in-evaluation")
def blocks_skipped_in_evaluation_too(broken):
    return healthy(digits(), lambda: Skipping(broken))


@unusual
def three_labels_of_ten_are_wrong():
    images, chance = digits(), torch.Generator().manual_seed(1)
    wrong = torch.rand(len(images.y), generator=chance) < 0.3
    others = (images.y + torch.randint(1, 10, images.y.shape, generator=chance)) % 10
    return healthy(images.with_(y=torch.where(wrong, others, images.y)), "mlp")


@unusual
def three_labels_of_ten_are_wrong_in_series():
    (x, y, *rest), chance = waves(), torch.Generator().manual_seed(3)
    wrong = torch.rand(len(y), generator=chance) < 0.3
    others = (y + torch.randint(1, 4, y.shape, generator=chance)) % 4
    return pipeline((x, torch.where(wrong, others, y), *rest), Recurrent)


@torch.no_grad()
def evaluate_after_a_look(model, batches):
    """Goes through the loader once for the largest output, then once more for the metrics."""
    model.eval()
    largest = max(model(x).abs().max() for x, _ in batches)
    outputs, targets = (torch.cat(each) for each in zip(*[(model(x), y) for x, y in batches], strict=True))
    right = (outputs.argmax(1) == targets).float().mean()
    return {"loss": F.cross_entropy(outputs, targets).item(), "accuracy": right.item(), "largest": largest.item()}


@unusual
def evaluated_in_two_passes_over_a_shuffled_loader():
    images = digits()
    val = loader(images.normalise(images.val_x), images.val_y, 64, shuffle=True)
    return healthy(images, "mlp", val_loader=val, evaluate=evaluate_after_a_look)


@torch.no_grad()
def evaluate_one_of_ten(model, batches):
    model.eval()
    outputs, targets = (torch.cat(each) for each in zip(*[(model(x), y) for x, y in batches], strict=True))
    right = (outputs.argmax(1) == targets.argmax(1)).float().mean()
    return {"loss": F.binary_cross_entropy(outputs, targets).item(), "accuracy": right.item()}


@unusual
def a_sigmoid_of_each_class():
    images = digits()
    y, val_y = (F.one_hot(each, 10).float() for each in (images.y, images.val_y))
    return healthy(
        images,
        lambda: nn.Sequential(mlp(64, 10), nn.Sigmoid()),
        train_loader=loader(images.normalise(images.x), y, shuffle=True),
        val_loader=loader(images.normalise(images.val_x), val_y, 64),
        loss_fn=F.binary_cross_entropy,
        evaluate=evaluate_one_of_ten,
    )


# Not developed against


@bug("data", "validation-classes-differ")
def validation_classes_numbered_as_they_appear(broken):
    images = digits()
    order = list(dict.fromkeys(images.val_y.tolist()))
    numbers = torch.tensor([order.index(each) for each in range(10)])
    return healthy(images.with_(val_y=numbers[images.val_y] if broken else images.val_y), "cnn")


@bug("data", "inputs-not-finite")
def logarithms_of_a_few_negative_values(broken):
    x, y, val_x, val_y, classes = waves()
    x, val_x = ((each + 2.2).log() if broken else (each.abs() + 1).log() for each in (x, val_x))
    return pipeline((x, y, val_x, val_y, classes), Recurrent)


class Mirrored(Dataset):
    """Half of the images of `positions` are mirrored; a spot's place then changes its sign."""

    def __init__(self, images, sign):
        self.x, self.y, self.sign = images.normalise(images.x), images.y, sign

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        x, y = self.x[row], self.y[row]
        return (x.flip(2), self.sign * y) if torch.rand(()) < 0.5 else (x, y)


@bug("data", "augmentation-changes-label")
def spots_mirrored_but_not_their_place(broken):
    images = positions()
    train = DataLoader(Mirrored(images, 1.0 if broken else -1.0), 32, shuffle=True)
    return healthy(images, "cnn", train_loader=train)


@bug("data", "validation-prepared-differently")
def series_from_0_to_1_in_validation(broken):
    x, y, val_x, val_y, classes = waves()
    val_x = (val_x - val_x.min()) / (val_x.max() - val_x.min()) if broken else val_x
    return pipeline((x, y, val_x, val_y, classes), Recurrent)


@bug("model", "batch-mixed")
def places_weighed_over_the_batch(broken):
    return pipeline(waves(), lambda: Recurrent(axis=0 if broken else 1))


@bug("model", "layers-not-trained")
def a_body_behind_numpy(broken):
    return pipeline(waves(), lambda: Recurrent(torn=broken))


class Patches(nn.Module):
    """One block of a transformer over patches of `sides`."""

    def __init__(self, bend):
        super().__init__()
        self.bend = bend
        self.patches, self.place = nn.Conv2d(1, 24, 3, 3), nn.Parameter(torch.randn(1, 16, 24) * 0.02)
        self.before, self.between = nn.LayerNorm(24), nn.LayerNorm(24)
        self.attend = nn.MultiheadAttention(24, 4, batch_first=True)
        self.widen, self.narrow, self.head = nn.Linear(24, 96), nn.Linear(96, 24), nn.Linear(24, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        seen = self.before(x)
        x = x + self.attend(seen, seen, seen)[0]
        return self.head((x + self.narrow(self.bend(self.widen(self.between(x))))).mean(1))


@bug("model", "nonlinearity-missing")
def a_transformer_that_bends_nothing(broken):
    return healthy(sides(), lambda: Patches(nn.Identity() if broken else nn.GELU()))


class Masked(nn.Module):
    """Words that are masked are not attended to."""

    def __init__(self, all_words: bool):
        super().__init__()
        self.all_words = all_words
        self.words, self.asks = nn.Embedding(200, 32), nn.Parameter(torch.randn(1, 1, 32) * 0.02)
        self.attend, self.head = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), nn.Linear(32, 4)

    def forward(self, x):
        first = torch.zeros(len(x), 1, dtype=torch.bool)
        mask = torch.cat([first, (x > 0) if self.all_words else (x == 0)], 1)
        words = torch.cat([self.asks.expand(len(x), -1, -1), self.words(x)], 1)
        return self.head(self.attend(words, src_key_padding_mask=mask)[:, 0])


@bug("model", "input-ignored", "input-partly-ignored")
def a_mask_that_hides_the_words(broken):
    return pipeline(texts(), lambda: Masked(broken))


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


def _step(loss_of):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_of(model, batch, loss_fn)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


@bug("optimisation", "loss-rises")
def a_log_likelihood_without_its_sign(broken):
    sign = 1 if broken else -1

    def likelihood(model, batch, loss_fn):
        x, y = batch
        return sign * model(x).log_softmax(1).gather(1, y[:, None]).mean()

    return healthy(digits(), "mlp", train_step=_step(likelihood))


@bug("optimisation", "weight-decay-wins")
def squares_of_the_weights_times_five(broken):
    share = 5.0 if broken else 1e-4

    def penalised(model, batch, loss_fn):
        return loss_fn(model(batch[0]), batch[1]) + share * sum(each.square().sum() for each in model.parameters())

    return pipeline(waves(), Recurrent, train_step=_step(penalised))


@bug("optimisation", "schedule-ends-early")
def an_exponential_decay_by_the_batch(broken):
    def schedule(optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)

    interval = "step" if broken else "epoch"
    return healthy(sides(), "cnn", scheduler_fn=schedule, scheduler_interval=interval, total_steps=60 * 19)


@bug("evaluation", "metric-shuffled-labels")
def targets_of_another_pass(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        pairs = [(model(x), y) for x, y in batches]
        outputs, targets = torch.cat([each for each, _ in pairs]), torch.cat([y for _, y in pairs])
        targets = torch.cat([y for _, y in batches]) if broken else targets
        right = (outputs.argmax(1) == targets).float().mean()
        return {"loss": F.cross_entropy(outputs, targets).item(), "accuracy": right.item()}

    images = sides()
    val = loader(images.normalise(images.val_x), images.val_y, 64, shuffle=True)
    return healthy(images, "cnn", val_loader=val, evaluate=evaluate)


@bug("evaluation", "metric-scale")
def squared_errors_summed_over_the_batches(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        errors = [((model(x) - y) ** 2).sum().item() for x, y in batches]
        return {"loss": sum(errors) / len(errors)}

    return healthy(positions(), "cnn", evaluate=evaluate if broken else evaluate_regression)


@unusual
def a_net_that_is_sharpness_aware():
    """Foret et al. 2021: the gradient is taken where the loss is worst near the weights."""

    def step(model, batch, loss_fn, optimizer):
        model.train()
        x, y = batch
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        length = torch.stack([each.grad.norm() for each in model.parameters()]).norm() + 1e-12
        moves = [each.grad * (0.05 / length) for each in model.parameters()]
        with torch.no_grad():
            for each, move in zip(model.parameters(), moves, strict=True):
                each.add_(move)
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        with torch.no_grad():
            for each, move in zip(model.parameters(), moves, strict=True):
                each.sub_(move)
        optimizer.step()
        return loss.item()

    return healthy(sides(), lambda: cnn(1, 4), train_step=step, optimizer_fn=sgd)


class Adversarial(nn.Module):
    """Ganin et al. 2016: features of which a second head is to learn nothing."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU()), nn.Linear(48, 10)
        self.other = nn.Sequential(nn.Linear(48, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1))

    def forward(self, x):
        return self.head(self.body(x))


@unusual
def two_optimizers_against_each_other():
    def optimizers(model):
        own = adam(nn.ModuleList([model.body, model.head]))
        own.other = adam(model.other)
        return own

    def step(model, batch, loss_fn, optimizer):
        model.train()
        (x, y), bright = batch, (batch[0].mean((1, 2, 3)) > 0).float()
        optimizer.other.zero_grad()
        F.binary_cross_entropy_with_logits(model.other(model.body(x).detach())[:, 0], bright).backward()
        optimizer.other.step()
        optimizer.zero_grad()
        seen = model.body(x)
        loss = loss_fn(model.head(seen), y)
        fooled = F.binary_cross_entropy_with_logits(model.other(seen)[:, 0], 1 - bright)
        (loss + 0.1 * fooled).backward()
        optimizer.step()
        return loss.item()

    return healthy(digits(), Adversarial, optimizer_fn=optimizers, train_step=step)
