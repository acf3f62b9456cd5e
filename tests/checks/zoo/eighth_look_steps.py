"""What the eighth adversary tripped the audit up with in train steps, schedules and evaluations."""

import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline, default_evaluate
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import colours, digits, loader, photos, textures


def tagged(count, seed):
    x = torch.randint(20, (count, 14), generator=torch.Generator().manual_seed(seed))
    return x, x % 3 + 3 * (x.roll(-1, 1) > 9)


class Tagger(nn.Module):
    """A class for each word, by a recurrence of both ways."""

    def __init__(self, broken):
        super().__init__()
        self.broken, self.words = broken, nn.Embedding(20, 24)
        self.state, self.scores = nn.GRU(24, 24, batch_first=True, bidirectional=True), nn.Linear(48, 6)

    def forward(self, x):
        scores = self.scores(self.state(self.words(x))[0])
        return scores.view(len(x), 6, -1) if self.broken else scores.transpose(1, 2)


@torch.no_grad()
def accuracy_of(model, batches, right):
    model.eval()
    outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
    return {"accuracy": right(outputs, y)}


@bug("evaluation", "metric-wrong")
def a_cut_at_zero_behind_a_sigmoid(broken):
    images = photos()
    width = images.x[0].numel()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x)[:, 0], y) for x, y in batches), strict=True))
        said = outputs.sigmoid() > (0.0 if broken else 0.5)
        loss = F.binary_cross_entropy_with_logits(outputs, y.float())
        return {"loss": loss.item(), "accuracy": (said == y.bool()).float().mean().item()}

    return healthy(
        images,
        lambda: mlp(width, 1),
        loss_fn=lambda outputs, y: F.binary_cross_entropy_with_logits(outputs[:, 0], y.float()),
        evaluate=evaluate,
    )


@bug("evaluation", "metric-wrong")
def four_answers_for_each_sample(broken):
    images = textures()
    several = torch.stack([images.y % 2, images.y // 2, images.y == 1, images.y != 2], 1).float()
    val_several = torch.stack([images.val_y % 2, images.val_y // 2, images.val_y == 1, images.val_y != 2], 1).float()

    def right(outputs, y):
        return ((outputs > 0) == (y > 0)).sum().item() / (len(y) if broken else y.numel())

    return Pipeline(
        lambda: cnn(3, 4),
        loader(images.normalise(images.x), several, 32, shuffle=True),
        loader(images.normalise(images.val_x), val_several, 64),
        4,
        loss_fn=F.binary_cross_entropy_with_logits,
        optimizer_fn=adam,
        evaluate=lambda model, batches: accuracy_of(model, batches, right),
    )


@bug("evaluation", "metric-wrong")
def tags_counted_with_padding(broken):
    def filled(x, y):
        y = y.clone()
        for row, length in enumerate(torch.arange(len(y)) % 10 + 4):
            y[row, length:] = -100
        return x, y

    def right(outputs, y):
        return (outputs.argmax(1) == y).sum().item() / (y.numel() if broken else (y != -100).sum().item())

    return Pipeline(
        lambda: Tagger(False),
        loader(*filled(*tagged(900, 0)), shuffle=True),
        loader(*filled(*tagged(250, 1)), 64),
        6,
        optimizer_fn=adam,
        evaluate=lambda model, batches: accuracy_of(model, batches, right),
    )


@bug("optimisation", "train-step-ignores-batch")
def one_batch_kept_from_debugging(broken):
    images = digits()
    kept = images.normalise(images.x[:32]), images.y[:32]

    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        x, y = kept if broken else batch
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return healthy(images, "mlp", train_step=step)


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


class TwoHeads(nn.Module):
    """A head that trains and one that does not, as nothing asks for it yet."""

    def __init__(self):
        super().__init__()
        self.body, self.main, self.spare = mlp(64, 32), nn.Linear(32, 10), nn.Linear(32, 10)

    def forward(self, x):
        features = self.body(x)
        return {"main": self.main(features), "spare": self.spare(features)}


@bug("evaluation", "evaluates-other-output")
def spare_head_evaluated(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0])["main"], batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        head = "spare" if broken else "main"
        outputs, y = (torch.cat(each) for each in zip(*((model(x)[head], y) for x, y in batches), strict=True))
        return {
            "loss": F.cross_entropy(outputs, y).item(),
            "accuracy": (outputs.argmax(1) == y).float().mean().item(),
        }

    return healthy(digits(), TwoHeads, train_step=step, evaluate=evaluate, forward=lambda model, x: model(x)["main"])


@bug("evaluation", "validation-prepared-differently")
def evaluate_standardises_batches(broken):
    images = colours()
    order = images.val_y.argsort()

    def evaluate(model, batches):
        return default_evaluate(model, [((x - x.mean()) / x.std() if broken else x, y) for x, y in batches])

    return healthy(images.with_(val_x=images.val_x[order], val_y=images.val_y[order]), "cnn", evaluate=evaluate)


@bug("optimisation", "learning-rate-too-high")
def the_rate_grows_to_the_end(broken):
    return healthy(
        digits(),
        "mlp",
        optimizer_fn=lambda model: sgd(model, 0.02),
        scheduler_fn=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 1.02 if broken else 0.98),
        total_steps=600,
    )


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
