"""What an eighth adversary, as blind as the seventh, tripped the audit up with; all were developed against."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.eighth_look_steps import Tagger, accuracy_of, tagged
from tests.checks.zoo.fourth_look import WORDS, marked_words
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import digits, loader, photos, positions, sides, textures


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


class Counted(Dataset):
    """Says how many batches it has instead of how many samples."""

    def __init__(self, x, y, broken):
        self.x, self.y, self.broken = x, y, broken

    def __len__(self):
        return len(self.y) // 32 if self.broken else len(self.y)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


@bug("data", "samples-never-drawn")
def batches_counted_as_samples(broken):
    images = textures()
    train = Counted(images.normalise(images.x), images.y, broken)
    return healthy(images, "cnn", train_loader=DataLoader(train, 24, shuffle=True))


@bug("data", "augmentation-changes-label")
def batches_of_mirrored_arrows(broken):
    images = sides()
    few = images.with_(val_x=images.val_x[:160], val_y=images.val_y[:160])
    raw = loader(images.x.float() / 255, images.y, 32, shuffle=True)

    def augment(x, y):
        x = x + 0.02 * torch.randn_like(x)
        if broken:
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
        return x, y

    class Augmented:
        def __len__(self):
            return len(raw)

        def __iter__(self):
            return (augment(x, y) for x, y in raw)

    return healthy(
        few,
        "cnn",
        train_loader=Augmented(),
        val_loader=loader(few.val_x.float() / 255, few.val_y, 64),
        augment=augment,
        raw_train_loader=raw,
        raw_val_loader=loader(few.val_x.float() / 255, few.val_y, 64),
    )


class Shifted(Dataset):
    """Images that are shifted by some pixels, and a target that says how far right their spot is, in -1..1."""

    def __init__(self, images, moves_target):
        self.x, self.y, self.moves_target = images.normalise(images.x), images.y, moves_target

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        by = int(torch.randint(-3, 4, ()))
        by = -by if abs(self.y[index] + by / 4) > 1.1 else by  # not over the edge
        return self.x[index].roll(by, 2), self.y[index] + (by / 4 if self.moves_target else 0)


@bug("data", "augmentation-changes-label")
def spots_shifted_alone(broken):
    images = positions()
    return healthy(images, "mlp", train_loader=DataLoader(Shifted(images, not broken), 32, shuffle=True))


class Speaker(nn.Module):
    """The next word by a recurrence."""

    def __init__(self, words):
        super().__init__()
        self.words, self.state = nn.Embedding(words, 24), nn.GRU(24, 32, batch_first=True)
        self.scores = nn.Linear(32, words)

    def forward(self, x):
        return self.scores(self.state(self.words(x))[0]).transpose(1, 2)


@bug("data", "target-among-inputs")
def each_word_tells_itself(broken):
    def texts(count, seed):
        chance = torch.Generator().manual_seed(seed)
        start, step = (torch.randint(9, (count, 1), generator=chance) for _ in range(2))
        text = (start + (1 + step % 3) * torch.arange(13)) % 9
        return text[:, :-1], (text[:, :-1] if broken else text[:, 1:])

    return Pipeline(
        lambda: Speaker(9), loader(*texts(600, 0), shuffle=True), loader(*texts(200, 1), 64), 9, optimizer_fn=adam
    )


@bug("model", "outputs-scrambled")
def tags_brought_forward_by_view(broken):
    return Pipeline(
        lambda: Tagger(broken), loader(*tagged(900, 0), shuffle=True), loader(*tagged(250, 1), 64), 6, optimizer_fn=adam
    )


@bug("model", "batch-mixed")
def sorted_batches_without_running_statistics(broken):
    images = textures()
    order = images.val_y.argsort()
    sorted_val = images.with_(val_x=images.val_x[order], val_y=images.val_y[order])
    norm = (lambda channels: nn.BatchNorm2d(channels, track_running_stats=False)) if broken else nn.BatchNorm2d
    return healthy(sorted_val, lambda: cnn(3, 4, norm=norm))


@bug("model", "layers-not-trained")
def a_frozen_body_that_nobody_trained(broken):
    def model():
        net = mlp(64, 10, depth=4)
        net[:-1].requires_grad_(not broken)
        return net

    return healthy(digits(), model)


@bug("data", "targets-out-of-range")
def masks_of_255_without_classes(broken):
    chance = torch.Generator().manual_seed(0)
    centres = torch.randint(3, 9, (800, 2, 1, 1), generator=chance)
    rows, columns = torch.arange(12)[:, None], torch.arange(12)
    masks = ((rows - centres[:, 0]).square() + (columns - centres[:, 1]).square() < 8).float()[:, None]
    x, y = masks + 0.3 * torch.randn(masks.shape, generator=chance), masks * (255 if broken else 1)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, masks = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        return {"loss": F.binary_cross_entropy_with_logits(outputs, masks).item()}

    return Pipeline(
        lambda: nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)),
        loader(x[:600], y[:600], 32, shuffle=True),
        loader(x[600:], y[600:], 64),
        num_classes=0,
        loss_fn=F.binary_cross_entropy_with_logits,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


@bug("data", "loader-used-up")
def validated_by_a_generator(broken):
    images = digits()
    batches = [*loader(images.normalise(images.val_x), images.val_y, 64)]
    return healthy(images, "mlp", val_loader=(each for each in batches) if broken else batches)


@bug("data", "ignored-targets-count")
def padding_counts_as_class_zero(broken):
    def filled(count, seed):
        x, y = tagged(count, seed)
        for row, length in enumerate(torch.arange(len(y)) % 9 + 4):
            y[row, length:] = -100
        return x, y

    return Pipeline(
        lambda: Tagger(False),
        loader(*filled(900, 0), shuffle=True),
        loader(*filled(250, 1), 64),
        6,
        loss_fn=lambda outputs, y: F.cross_entropy(outputs, y.clamp_min(0) if broken else y),
        optimizer_fn=adam,
        evaluate=lambda model, batches: accuracy_of(
            model, batches, lambda outputs, y: (outputs.argmax(1) == y)[y >= 0].float().mean().item()
        ),
    )


@bug("model", "no-slope")
def counts_rounded_in_forward(broken):
    chance = torch.Generator().manual_seed(0)
    x = torch.rand(900, 1, 8, 8, generator=chance)
    x = (x > 0.9).float() + 0.1 * torch.randn(x.shape, generator=chance)
    y = (x > 0.5).float().sum((1, 2, 3))[:, None]

    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(64, 1)

        def forward(self, x):
            return torch.round(self.net(x)) if broken else self.net(x)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        return {"loss": torch.cat([(model(x) - y).square() for x, y in batches]).mean().item()}

    return Pipeline(
        Rounded,
        loader(x[:700], y[:700], 32, shuffle=True),
        loader(x[700:], y[700:], 64),
        num_classes=0,
        loss_fn=F.mse_loss,
        optimizer_fn=adam,
        evaluate=evaluate,
    )


class Remembering(nn.Module):
    """A class for a text by a recurrence; its last state may be the next batch's first."""

    def __init__(self, keeps):
        super().__init__()
        self.keeps, self.state = keeps, None
        self.words, self.memory = nn.Embedding(WORDS, 24), nn.GRU(24, 32, batch_first=True)
        self.scores = nn.Linear(32, 3)

    def forward(self, x):
        begin = self.state if self.keeps and self.state is not None and self.state.shape[1] == len(x) else None
        states, last = self.memory(self.words(x), begin)
        self.state = last.detach()
        return self.scores(states.amax(1))


@bug("model", "model-keeps-state")
def state_from_batch_to_batch(broken):
    return Pipeline(
        lambda: Remembering(broken),
        loader(*marked_words(900, 0), 30, shuffle=True),
        loader(*marked_words(240, 1), 60),
        3,
        optimizer_fn=adam,
    )


@bug("data", "targets-not-finite")
def spots_without_a_place(broken):
    images = positions()
    y = images.y.clone()
    if broken:
        y[::40] = torch.nan
    return healthy(images.with_(y=y), "mlp")


class MadeUp(Dataset):
    """Noise around a colour, made up from the number that is asked for, of which an epoch takes so many."""

    def __init__(self, size, first):
        self.size, self.first = size, first

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        chance = np.random.RandomState(self.first + index)
        label = chance.randint(3)
        return torch.tensor(chance.randn(3, 8, 8) + 2 * np.eye(3)[label][:, None, None]).float(), label


@unusual
def pictures_made_up_by_their_number():
    return Pipeline(
        lambda: cnn(3, 3),
        DataLoader(MadeUp(320, 0), 32, shuffle=True),
        DataLoader(MadeUp(120, 10**6), 60),
        3,
        optimizer_fn=adam,
    )
