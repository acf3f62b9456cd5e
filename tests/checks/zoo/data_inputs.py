"""Bugs of the data, second part: what is done to the images on their way to the network."""

from functools import cache, partial

import torch
from torch import nn

from tests.checks.zoo.base import adam, healthy
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import cnn
from tests.checks.zoo.sets import colours, digits, lazily, loader, moons, photos, positions, sides, textures


def prepared(images, model, train, val, **changes):
    """A pipeline that prepares train and validation images by functions of its own."""
    return healthy(
        images,
        model,
        train_loader=lazily(images, train),
        val_loader=lazily(images, val, split="val", batch_size=64),
        preprocess_train=train,
        preprocess_eval=val,
        **changes,
    )


def augmented(images, model, augment, augment_val=None):
    return healthy(
        images,
        model,
        train_loader=lazily(images, images.normalise, augment),
        val_loader=lazily(images, images.normalise, augment_val, split="val", batch_size=64),
        augment=augment,
        preprocess_train=images.normalise,
        preprocess_eval=images.normalise,
    )


def unit(raw: torch.Tensor) -> torch.Tensor:
    return raw.float() / 255


@bug("data", "validation-prepared-differently")
def normalised_in_train_only(broken):
    images = textures()
    return prepared(images, "cnn", images.normalise, unit if broken else images.normalise)


@bug("data", "validation-prepared-differently")
def validation_normalised_twice(broken):
    images = photos()
    twice = images.normalise(images.val_x) * 2 - 1
    val = loader(twice if broken else images.normalise(images.val_x), images.val_y, 64)
    return healthy(images, "cnn", val_loader=val)


@bug("data", "validation-prepared-differently")
def validation_in_bgr(broken):
    images = colours()
    x = images.normalise(images.val_x)
    return healthy(images, "mlp", val_loader=loader(x.flip(1) if broken else x, images.val_y, 64))


@bug("data", "validation-prepared-differently")
def validation_transposed(broken):
    """Width and height change places on the validation images' way."""
    images = digits()
    val = (lambda raw: images.normalise(raw).transpose(2, 3)) if broken else images.normalise
    return prepared(images, "mlp", images.normalise, val)


@bug("data", "validation-prepared-differently")
def validation_not_centred(broken):
    images = digits()
    x = images.normalise(images.val_x)
    return healthy(images, "linear", val_loader=loader(x * 0.25 if broken else x, images.val_y, 64))


@bug("data", "inputs-not-scaled")
def divided_by_255_twice(broken):
    images = digits()
    prepare = (lambda raw: unit(raw) / 255) if broken else unit
    return prepared(images, "cnn", prepare, prepare)


@bug("data", "inputs-not-scaled")
def not_scaled_at_all(broken):
    images = colours()
    prepare = torch.Tensor.float if broken else images.normalise
    return prepared(images, "mlp", prepare, prepare)


@bug("data", "inputs-not-scaled", "inputs-constant")
def rounded_to_bytes_after_scaling(broken):
    """The picture in 0..1 as bytes: all black but for the purest white."""
    images = textures()
    prepare = (lambda raw: unit(raw).byte().float()) if broken else unit
    return prepared(images, "cnn", prepare, prepare)


@bug("data", "inputs-constant")
def all_images_are_the_last_one(broken):
    """Each image was read into one and the same buffer."""
    images = digits()
    x = images.normalise(images.x)
    return healthy(images, "mlp", train_loader=loader(x[-1:].expand_as(x) if broken else x, images.y, 32, True))


@bug("data", "inputs-not-finite")
def pixels_without_variance_divided_by_it(broken):
    images = digits()
    mean, std = images.x.float().mean(0), images.x.float().std(0)

    def prepare(raw):
        return (raw.float() - mean) / (std if broken else std + 1)

    return prepared(images, "mlp", prepare, prepare)


@bug("data", "inputs-not-finite")
def a_few_broken_images(broken):
    images = textures()
    x = images.normalise(images.x)
    if broken:
        x[::40] = float("nan")
    return healthy(images, "cnn", train_loader=loader(x, images.y, 32, shuffle=True))


@bug("data", "augmentation-changes-label")
def flipped_arrows(broken):
    """A mirrored arrow points the other way, and its label says otherwise."""
    images = sides()
    mirrored = torch.tensor([2, 1, 0, 3])  # right and left change places

    def augment(x, y):
        flip = torch.rand(len(x)) < 0.5
        labels = y if broken else torch.where(flip, mirrored[y], y)
        return torch.where(flip[:, None, None, None], x.flip(3), x), labels

    return augmented(images, "cnn", augment)


@bug("data", "augmentation-changes-label")
def flipped_moons(broken):
    images = moons()

    def augment(x, y):
        turned = torch.rand(len(x)) < 0.5
        moved = x.flip((2, 3)) if broken else x.roll(1, 3)
        return torch.where(turned[:, None, None, None], moved, x), y

    return augmented(images, "mlp", augment)


@bug("data", "augmentation-changes-label")
def flipped_images_with_positions_as_they_were(broken):
    images = positions()

    def augment(x, y):
        flip = torch.rand(len(x)) < 0.5
        targets = y if broken else torch.where(flip[:, None], -y, y)
        return torch.where(flip[:, None, None, None], x.flip(3), x), targets

    return augmented(images, "cnn", augment)


@bug("data", "augmentation-changes-label")
def mixed_images_with_one_label(broken):
    """Mixup (Zhang et al. 2017) that forgets the other image's label."""
    images = colours()
    y = nn.functional.one_hot(images.y, images.classes).float()

    def augment(x, y):
        order, share = torch.randperm(len(x)), torch.distributions.Beta(1.0, 1.0).sample((len(x),))
        mixed = share[:, None, None, None] * x + (1 - share[:, None, None, None]) * x[order]
        return mixed, y if broken else share[:, None] * y + (1 - share[:, None]) * y[order]

    def evaluate(model, batches):
        model.eval()
        with torch.no_grad():
            found = [(model(x).argmax(1) == y.argmax(1)).float() for x, y in batches]
        return {"accuracy": torch.cat(found).mean().item()}

    hot = images.with_(y=y, val_y=nn.functional.one_hot(images.val_y, images.classes).float())
    pipeline = augmented(hot, "mlp", augment)
    pipeline.evaluate = evaluate
    return pipeline


@bug("data", "augmentation-changes-label", "inputs-constant")
def cut_out_until_nothing_is_left(broken):
    images = digits()

    def augment(x, y):
        x, row = x.clone(), int(torch.randint(0, 7, ()))
        x[:, :, 0 if broken else row : 8 if broken else row + 2] = 0
        return x, y

    return augmented(images, "cnn", augment)


@bug("data", "augmentation-in-validation")
def noise_in_validation(broken):
    images = textures()

    def augment(x, y):
        return (x.float() + torch.randn(x.shape) * 30).clamp(0, 255), y

    return augmented(images, "cnn", augment, augment if broken else None)


@bug("data", "augmentation-in-validation")
def random_crops_in_validation(broken):
    images = photos()

    def augment(x, y):
        down, right = torch.randint(-3, 4, (2,)).tolist()
        return x.roll((down, right), (2, 3)), y

    return augmented(images, "cnn", augment, augment if broken else None)


@cache
def _pretrained():
    """A network that knows the digits, in 0..1."""
    images = digits()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        model = cnn(1, 10)
        optimizer = adam(model, 3e-3)
        for _ in range(8):
            for x, y in loader(unit(images.x), images.y, 64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
    return model.state_dict()


def _fine_tuned(channels):
    model = cnn(channels, 10)
    model.load_state_dict(_pretrained())
    nn.init.normal_(model[-1].weight, std=0.01)
    nn.init.zeros_(model[-1].bias)
    return model


@bug("data", "pretrained-input-differs", "inputs-not-scaled")
def pretrained_on_units_fed_with_bytes(broken):
    images = digits()
    prepare = torch.Tensor.float if broken else unit
    return prepared(images, partial(_fine_tuned, 1), prepare, prepare)


@bug("data", "pretrained-input-differs")
def pretrained_on_units_fed_with_inverted(broken):
    """Ink is bright where the network learned it dark."""
    images = digits()
    prepare = (lambda raw: 1 - unit(raw)) if broken else unit
    return prepared(images, partial(_fine_tuned, 1), prepare, prepare)
