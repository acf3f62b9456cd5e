"""Correct but unusual pipelines, fifth part: gradients of single samples, complex weights, classes that are new."""

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy, sgd
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import digits, loader
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
