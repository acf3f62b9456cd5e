"""Correct but unusual pipelines, fifth part: what a train step or an optimizer does, complex weights, new classes."""

import copy

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline, default_evaluate
from tests.checks.zoo.base import adam, healthy, plain_step, sgd, stepping
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import Residual, cnn, mlp
from tests.checks.zoo.optimisation_steps import accumulating
from tests.checks.zoo.sets import colours, digits, loader, sides, textures
from tests.checks.zoo.unusual_evaluation import waves


@unusual
def noisy_sums_of_clipped_gradients():
    """Each sample's gradient is clipped, and noise added to their sum (Abadi et al. 2016)."""

    def step(model, batch, loss_fn, optimizer):
        x, y = batch
        model.train()
        optimizer.zero_grad()
        weights = {name: each.detach() for name, each in model.named_parameters()}

        def loss_of_one(weights, x, y):
            loss = loss_fn(functional_call(model, weights, (x[None],)), y[None])
            return loss, loss

        slopes, losses = vmap(grad(loss_of_one, has_aux=True), (None, 0, 0))(weights, x, y)
        lengths = sum(each.flatten(1).square().sum(1) for each in slopes.values()).sqrt()
        for name, weight in model.named_parameters():
            summed = torch.einsum("n,n...->...", (1 / lengths).clamp_max(1), slopes[name])
            weight.grad = (summed + 0.3 * torch.randn_like(summed)) / len(x)
        optimizer.step()
        return losses.mean().item()

    return healthy(digits(), "mlp", train_step=step, optimizer_fn=lambda model: sgd(model, 0.3))


class Filtering(nn.Module):
    """Multiplies the frequencies of a series (Li et al. 2021)."""

    def __init__(self):
        super().__init__()
        self.widen, self.tell = nn.Conv1d(1, 12, 1), nn.Conv1d(12, 1, 1)
        self.weights = nn.Parameter(torch.randn(12, 12, 9, dtype=torch.complex64) / 12)

    def forward(self, x):
        wide = self.widen(x[:, None])
        waves = torch.fft.rfft(wide)[..., :9]
        filtered = torch.fft.irfft(torch.einsum("niw,iow->now", waves, self.weights), n=x.shape[1])
        return self.tell(F.gelu(wide + filtered))[:, 0]


@unusual
def weights_that_are_complex():
    train, val = (series.split(32, 1) for series in (waves(800, 0, 64), waves(250, 1, 64)))
    loaders = loader(*train, 40, shuffle=True), loader(*val, 50)
    return Pipeline(Filtering, *loaders, num_classes=0, loss_fn=F.mse_loss, optimizer_fn=adam)


@unusual
def people_never_seen_before():
    """Embeddings of people; those of validation are others than those of training."""
    faces = torch.randn(40, 30, generator=torch.Generator().manual_seed(8))

    def pictures(people, each, seed):
        chance = torch.Generator().manual_seed(seed)
        y = torch.tensor(people).repeat(each)  # the same people in each batch of as many
        return faces[y] + 0.7 * torch.randn(len(y), 30, generator=chance), y

    class Embed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp(30, 16)

        def forward(self, x):
            return F.normalize(self.body(x), dim=1)

    def loss(outputs, y):
        """Of the hardest pairs (Hermans et al. 2017)."""
        apart, same = torch.cdist(outputs, outputs), y[:, None] == y
        farthest = torch.where(same, apart, 0).amax(1)
        nearest = torch.where(same, torch.inf, apart).amin(1)
        return F.softplus(farthest - nearest).mean()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        pairs = [(model(x), y) for x, y in batches]
        losses = [loss(*pair) for pair in pairs]
        outputs, y = (torch.cat(each) for each in zip(*pairs, strict=True))
        nearest = (torch.cdist(outputs, outputs) + 9 * torch.eye(len(y))).argmin(1)
        return {"loss": torch.stack(losses).mean().item(), "recall": (y[nearest] == y).double().mean().item()}

    train, val = pictures(range(24), 40, 0), pictures(range(24, 40), 12, 1)
    return Pipeline(
        Embed,
        loader(*train, 48, shuffle=True),
        loader(*val, 64),
        num_classes=40,
        loss_fn=loss,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@unusual
def strong_noise_in_the_step():
    step = plain_step(lambda x, y: (x + 1.5 * torch.randn_like(x), y))
    return healthy(digits(), "cnn", train_step=step)


@unusual
def weights_of_length_one_after_each_step():
    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.classes = nn.Linear(64, 64), nn.Parameter(3 * torch.randn(10, 64))

        def forward(self, x):
            x = F.normalize(F.relu(self.body(x.flatten(1))), dim=1)
            return 12 * x @ F.normalize(self.classes, dim=1).T

    def train_step(model, batch, loss_fn, optimizer):
        loss = plain_step(lambda x, y: (x, y))(model, batch, loss_fn, optimizer)
        with torch.no_grad():
            model.classes.copy_(F.normalize(model.classes, dim=1))
        return loss

    return healthy(digits(), Cosine, train_step=train_step, optimizer_fn=lambda model: sgd(model, 0.1))


@unusual
def each_gradient_clipped_by_itself():
    """Private training (Abadi et al. 2016): summed, and divided by the size of the batch at the end."""

    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        x, y = batch
        optimizer.zero_grad()
        weights, losses = list(model.parameters()), []
        for one in range(len(x)):
            loss = loss_fn(model(x[one : one + 1]), y[one : one + 1])
            losses.append(loss.item())
            found = torch.autograd.grad(loss, weights)
            length = torch.stack([each.norm() for each in found]).norm()
            for weight, each in zip(weights, found, strict=True):
                share = each * min(1.0, 1 / float(length)) / len(x)
                weight.grad = share if weight.grad is None else weight.grad + share
        optimizer.step()
        return sum(losses) / len(losses)

    return healthy(colours(), "linear", train_step=train_step, optimizer_fn=lambda model: sgd(model, 0.1))


@unusual
def batches_added_up_for_adam():
    """Adam divides by the size of the gradient: a sum is as good as a mean."""
    return healthy(textures(), "cnn", 16, train_step=accumulating(4, scaled=False))


@unusual
def a_slow_start_under_sgd():
    """As behind a head that starts small."""

    def model():
        net = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2048, 10),
        )
        nn.init.normal_(net[-1].weight, 0, 0.01)
        return net

    images = digits()
    return healthy(
        images,
        model,
        train_loader=loader(images.x / 255, images.y, 32, shuffle=True),
        val_loader=loader(images.val_x / 255, images.val_y, 64),
        optimizer_fn=lambda model: torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9),
        total_steps=1000,
    )


@unusual
def decay_of_blocks_that_start_at_zero():
    def model():
        net = Residual(3, 4, zero_last=True)
        nn.init.zeros_(net.head.weight)
        return net

    def optimizer(model):
        return torch.optim.SGD(model.parameters(), lr=0.004, momentum=0.9, nesterov=True, weight_decay=5e-4)

    return healthy(textures(), model, optimizer_fn=optimizer)


@unusual
def slow_weights_each_fifth_step():
    """Lookahead (Zhang et al. 2019): each fifth step goes half of the way back."""
    slow = {}

    @torch.no_grad()
    def look_ahead(model):
        kept = slow.setdefault(id(model), {"steps": 0, "weights": copy.deepcopy(model.state_dict())})
        kept["steps"] += 1
        if kept["steps"] % 5 == 0:
            for name, each in model.named_parameters():
                kept["weights"][name].lerp_(each, 0.5)
                each.copy_(kept["weights"][name])

    return healthy(colours(), "cnn", train_step=stepping(after=look_ahead))


@unusual
def layers_thawed_by_the_step():
    def step(model, batch, loss_fn, optimizer):
        model.train().requires_grad_(True)
        optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    def evaluate(model, batches):
        model.requires_grad_(False)
        return default_evaluate(model, batches)

    return healthy(digits(), "mlp", train_step=step, evaluate=evaluate)


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


class Both(torch.optim.Optimizer):
    """Two optimizers behind one face."""

    def __init__(self, *optimizers):
        self.optimizers = optimizers
        super().__init__([group for each in optimizers for group in each.param_groups], {})
        self.param_groups = [group for each in optimizers for group in each.param_groups]

    def zero_grad(self, set_to_none=True):
        for each in self.optimizers:
            each.zero_grad(set_to_none)

    def step(self, closure=None):
        for each in self.optimizers:
            each.step()


@unusual
def one_optimizer_for_two():
    def optimizer(model):
        *body, head = model
        weights = [each for layer in body for each in layer.parameters()]
        return Both(torch.optim.SGD(weights, 0.05, momentum=0.9), torch.optim.Adam(head.parameters(), 1e-3))

    return healthy(digits(), "mlp", optimizer_fn=optimizer)


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
