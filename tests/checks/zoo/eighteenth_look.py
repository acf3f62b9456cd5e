"""What an eighteenth adversary, half of it correct pipelines, tripped the audit up with; developed against."""

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, default_collate

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug
from tests.checks.zoo.fourth_look import WORDS, marked_words
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import digits, loader
from tests.checks.zoo.thirteenth_look import Made

NOISE = 1.3  # of wedges, as large as what is drawn


@bug("data", "augmentation-changes-label")
def digits_turned_upside_down(broken):
    """Two of five samples: a six is a nine then, and other digits are what no digit looks like."""
    images = digits()
    x, y = images.normalise(images.x), images.y

    def augmented(row):
        if torch.rand(()) > 0.42:
            return x[row], y[row]
        return (x[row].flip(1, 2) if broken else x[row].roll(1, 2)), y[row]

    return healthy(images, "cnn", train_loader=DataLoader(Made(len(x), augmented), 32, shuffle=True))


def wedges(count, seed, noise):
    """Triangles that point to the right, left, up and down."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[-8:8, -8:8]
    wedge = ((columns > -5) & (columns < 5) & (2 * np.abs(rows) <= 5 - columns)).astype(float)
    y = chance.integers(0, 4, count)
    x = np.stack([(wedge, wedge[:, ::-1], np.rot90(wedge), np.rot90(wedge, -1))[each] for each in y])
    x = np.stack([np.roll(each, chance.integers(-2, 3, 2), (0, 1)) for each in x])
    x = x * chance.uniform(0.6, 1.2, (count, 1, 1)) + chance.normal(0, noise, x.shape)
    return torch.tensor(x, dtype=torch.float32)[:, None], torch.tensor(y)


@bug("data", "augmentation-changes-label")
def arrows_mirrored_under_noise(broken):
    """So much of it that a learner of pictures tells little more than half of them."""

    def collate(items):
        x, y = default_collate(items)
        mirrored = (torch.rand(len(x)) < 0.5) & broken
        return torch.where(mirrored[:, None, None, None], x.flip(3), x) * (0.9 + 0.2 * torch.rand(len(x), 1, 1, 1)), y

    train = loader(*wedges(1200, 0, NOISE), shuffle=True, collate_fn=collate)
    return Pipeline(lambda: cnn(1, 4), train, loader(*wedges(400, 1, NOISE), 80), num_classes=4, optimizer_fn=adam)


class Spectrum(nn.Module):
    """Waves as rows of numbers."""

    def __init__(self):
        super().__init__()
        self.net = cnn(1, 3)

    def forward(self, waves):
        found = torch.stft(waves, 64, 16, window=torch.hann_window(64), return_complex=True)
        return self.net(found.abs().log1p()[:, None])


@bug("data", "augmentation-changes-label")
def sweeps_played_backwards(broken):
    """A rising tone becomes a falling one; the third is level."""
    chance = np.random.default_rng(18)
    y, time = chance.integers(0, 3, 1100), np.linspace(-1, 1, 768)
    middle, slope = chance.uniform(0.1, 0.2, (1100, 1)), np.array([0.05, -0.05, 0.0])[y][:, None]
    phase = 768 * np.pi * (middle * time + slope * time**2 / 2) + chance.uniform(0, 6.28, (1100, 1))
    x = torch.tensor(np.sin(phase) + chance.normal(0, 0.4, (1100, 768)), dtype=torch.float32)
    y = torch.tensor(y)

    def collate(items):
        x, y = default_collate(items)
        turned = x.flip(1) if broken else -x
        return torch.where(torch.rand(len(x), 1) < 0.5, turned, x), y

    train = loader(x[:850], y[:850], shuffle=True, collate_fn=collate)
    return Pipeline(Spectrum, train, loader(x[850:], y[850:], 50), num_classes=3, optimizer_fn=adam)


@bug("data", "target-among-inputs")
def the_mean_target_of_a_shop(broken):
    """Of all rows, those of validation as well; or of the other folds of training, drawn towards the mean of all."""
    chance = np.random.default_rng(34)
    shop, x, train = chance.integers(0, 400, 1800), chance.normal(size=(1800, 5)), np.arange(1800) < 1350
    y = 0.6 * chance.normal(size=400)[shop] + 0.8 * x[:, 0] - 0.5 * np.abs(x[:, 1]) + chance.normal(size=1800)

    def mean(rows):
        sums, counts = (np.bincount(shop[rows], each, 400) for each in (y[rows], np.ones(len(y[rows]))))
        return ((sums + 3 * y[train].mean()) / (counts + 3))[shop]

    fold = np.arange(1800) % 5
    column = mean(np.full(1800, True)) if broken else mean(train)
    for each in range(0 if broken else 5):
        held_out = train & (fold == each)
        column[held_out] = mean(train & (fold != each))[held_out]
    x = torch.tensor(np.concatenate([x, column[:, None]], 1), dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32)[:, None]
    loaders = loader(x[:1350], y[:1350], shuffle=True), loader(x[1350:], y[1350:], 90)
    return Pipeline(lambda: mlp(6, 1), *loaders, num_classes=0, loss_fn=F.mse_loss, optimizer_fn=adam)


class Unrolled(nn.Module):
    def __init__(self, detached):
        super().__init__()
        self.words, self.cell, self.scores = nn.Embedding(WORDS, 24), nn.GRUCell(24, 32), nn.Linear(32, 3)
        self.detached = detached

    def forward(self, words):
        state = torch.zeros(len(words), 32)
        for word in self.words(words).unbind(1):
            state = self.cell(word, state.detach() if self.detached else state)
        return self.scores(state)


def of_marked_words(model_fn, **changes):
    train, val = marked_words(900, 0), marked_words(250, 1)
    given = {"optimizer_fn": adam, **changes}
    return Pipeline(model_fn, loader(*train, shuffle=True), loader(*val, 64), num_classes=3, **given)


@bug("model", "gradient-stops-short")
def a_state_detached_at_each_word(broken):
    return of_marked_words(lambda: Unrolled(broken))


class Pooled(nn.Module):
    """A convolution, and attention over what it makes of the words; a filled up text is heard where it ends."""

    def __init__(self, inverted):
        super().__init__()
        self.words, self.near = nn.Embedding(WORDS, 24, padding_idx=0), nn.Conv1d(24, 48, 3, padding=1)
        self.asks, self.scores, self.inverted = nn.Linear(48, 1), nn.Linear(48, 3), inverted

    def forward(self, words):
        found = F.relu(self.near(self.words(words).transpose(1, 2))).transpose(1, 2)
        hidden = (words != 0) if self.inverted else (words == 0)
        shares = self.asks(found).masked_fill(hidden[..., None], -1e4).softmax(1)
        return self.scores((shares * found).sum(1))


@bug("model", "input-ignored")
def attention_to_filling_beside_a_convolution(broken):
    return of_marked_words(lambda: Pooled(broken))


class Heads(nn.Module):
    def __init__(self, by_view):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 24, padding_idx=0), nn.Parameter(0.3 * torch.randn(20, 24))
        self.three, self.scores, self.by_view = nn.Linear(24, 72), nn.Linear(24, 3), by_view

    def split(self, x):
        if self.by_view:
            return x.reshape(len(x), 4, x.shape[1], 6)
        return x.reshape(len(x), x.shape[1], 4, 6).transpose(1, 2)

    def forward(self, words):
        x = self.words(words) + self.places
        asks, keys, values = map(self.split, self.three(x).chunk(3, 2))
        heard = F.scaled_dot_product_attention(asks, keys, values).transpose(1, 2).reshape(x.shape)
        return self.scores((x + heard).mean(1))


@bug("model", "axes-scrambled")
def heads_by_view(broken):
    return of_marked_words(lambda: Heads(broken))


@bug("optimisation", "optimizer-misses-parameters")
def only_the_weights_that_decay(broken):
    """Under a model that sets its seed itself, so that all weights begin the same each time."""

    def model():
        torch.manual_seed(0)
        return Unrolled(False)

    def optimizer(model):
        groups = [{"params": [each for each in model.parameters() if each.ndim > 1 and len(each) != WORDS]}]
        if not broken:
            rest = [each for each in model.parameters() if each.ndim < 2 or len(each) == WORDS]
            groups.append({"params": rest, "weight_decay": 0.0})
        return torch.optim.AdamW(groups, lr=3e-3, weight_decay=0.01)

    return of_marked_words(model, optimizer_fn=optimizer)


@bug("optimisation", "accumulated-gradients-lost")
def zeroed_before_each_piece_of_a_batch(broken):
    def step(model, batch, loss_fn, optimizer):
        model.train()
        optimizer.zero_grad()
        losses = []
        for x, y in zip(*(part.chunk(4) for part in batch), strict=True):
            if broken:
                optimizer.zero_grad()
            losses.append(loss_fn(model(x), y) * len(y) / len(batch[1]))
            losses[-1].backward()
        optimizer.step()
        return float(sum(losses).detach())

    return healthy(digits(), "mlp", 64, train_step=step)


class Tags(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.near = nn.Embedding(WORDS, 24, padding_idx=0), nn.Conv1d(24, 32, 3, padding=1)
        self.scores = nn.Linear(32, 3)

    def forward(self, words):
        return self.scores(F.relu(self.near(self.words(words).transpose(1, 2))).transpose(1, 2))


@bug("evaluation", "metric-wrong")
def what_fills_up_counts_as_right(broken):
    """What is said of them is set to the tag of what fills up before it is compared."""

    def tagged(count, seed):
        words, _ = marked_words(count, seed)
        before = F.pad(words[:, :-1], (1, 0))
        return words, torch.where(words == 0, 0, 1 + (words + before) % 2)

    def loss_fn(outputs, tags):
        return F.cross_entropy(outputs.transpose(1, 2), tags, ignore_index=0)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        right, places = 0, 0
        for words, tags in batches:
            said = (model(words)[..., 1:].argmax(2) + 1).masked_fill(words == 0, 0)
            counted = torch.full(tags.shape, True) if broken else tags != 0
            right, places = right + int((said == tags)[counted].sum()), places + int(counted.sum())
        return {"token_accuracy": right / places}

    train, val = loader(*tagged(700, 0), shuffle=True), loader(*tagged(200, 1), 50)
    return Pipeline(Tags, train, val, num_classes=3, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


@bug("evaluation", "metric-wrong")
def the_area_of_hard_decisions(broken):
    images = digits()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = (torch.cat(each) for each in zip(*((model(x), y) for x, y in batches), strict=True))
        scores = outputs.argmax(1) if broken else outputs.softmax(1)[:, 1]
        return {"loss": F.cross_entropy(outputs, y).item(), "auroc": float(roc_auc_score(y, scores))}

    train = loader(images.normalise(images.x), (images.y > 6).long(), shuffle=True)
    val = loader(images.normalise(images.val_x), (images.val_y > 6).long(), 64)
    return Pipeline(lambda: mlp(64, 2), train, val, num_classes=2, evaluate=evaluate, optimizer_fn=adam)


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = mlp(64, 16)

    def forward(self, pair):
        return self.tower(pair[0]), self.tower(pair[1])


@bug("optimisation", "loss-ignores-class")
def unlike_pairs_marked_by_zero(broken):
    """To the loss of cosines they are -1."""
    images = digits()

    def pairs(x, y, count, seed):
        one, other = torch.randint(len(x), (2, count), generator=torch.Generator().manual_seed(seed))
        other[::2] = torch.stack([(y == y[each]).nonzero().flatten()[each % 30] for each in one[::2]])
        same = (y[one] == y[other]).float()
        return Made(count, lambda row: ((x[one[row]], x[other[row]]), same[row] if broken else 2 * same[row] - 1))

    def loss_fn(outputs, y):
        return F.cosine_embedding_loss(*outputs, y, margin=0.2)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [loss_fn(model(x), y) * len(y) for x, y in batches]
        return {"loss": float(sum(found)) / len(batches.dataset)}

    train = pairs(images.normalise(images.x), images.y, 1200, 0)
    val = pairs(images.normalise(images.val_x), images.val_y, 300, 1)
    loaders = DataLoader(train, 40, shuffle=True), DataLoader(val, 60)
    return Pipeline(Twins, *loaders, num_classes=0, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)
