"""What an eighth adversary, as blind as the seventh, tripped the audit up with; all were developed against."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.checks.zoo.base import healthy
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import digits, loader, photos, textures


class Prepared(Dataset):
    """Images kept as floats, each normalised when it is asked for."""

    def __init__(self, x, y, in_place):
        self.x, self.y, self.in_place = x.float(), y, in_place

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        image = self.x[index] if self.in_place else self.x[index].clone()
        image -= 110
        image /= 60
        return image.clone(), self.y[index]


@bug("data", "samples-drift")
def prepared_in_place(broken):
    images = photos()
    return healthy(
        images,
        "cnn",
        train_loader=DataLoader(Prepared(images.x, images.y, broken), 32, shuffle=True),
        val_loader=DataLoader(Prepared(images.val_x, images.val_y, broken), 64),
    )


@bug("data", "labels-partly-wrong")
def a_class_called_another(broken):
    images = textures(noise=70, train=1000)
    if broken:
        chance = torch.Generator().manual_seed(0)
        mistaken = (images.y == 3) & (torch.rand(len(images.y), generator=chance) < 0.7)
        images = images.with_(y=torch.where(mistaken, 2, images.y))
    return healthy(images, "cnn")


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


class Whole(nn.Module):
    """Scales pixels itself, and cuts off what is behind the point where a cast came first."""

    def __init__(self, broken):
        super().__init__()
        self.broken, self.net = broken, mlp(64, 10)

    def forward(self, x):
        return self.net(x.int().float() if self.broken else x)


@bug("model", "inputs-not-scaled")
def cast_to_integers_in_forward(broken):
    images = digits()
    x, val_x = (each.float() / 254 for each in (images.x, images.val_x))
    return healthy(
        images,
        lambda: Whole(broken),
        train_loader=loader(x, images.y, 32, shuffle=True),
        val_loader=loader(val_x, images.val_y, 64),
    )
