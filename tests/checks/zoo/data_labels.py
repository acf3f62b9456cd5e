"""Bugs of the data, first part: labels, classes and splits."""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch.nn import functional as F
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam, evaluate_regression, healthy, sgd
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import colours, digits, imbalanced, loader, photos, positions, textures


def shuffled(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


@bug("data", "labels-unrelated")
def labels_in_another_order(broken):
    images = textures()
    y = images.y[shuffled(len(images.y))] if broken else images.y
    return healthy(images.with_(y=y), "cnn")


@bug("data", "labels-unrelated", "labels-partly-wrong")
def labels_of_the_next_image(broken):
    """One line too many was skipped in the table of labels."""
    images = digits()
    return healthy(images.with_(y=images.y.roll(1), val_y=images.val_y.roll(1)) if broken else images, "mlp")


@bug("data", "labels-unrelated")
def labels_unrelated_in_two_classes(broken):
    images = photos()
    y = images.y[shuffled(len(images.y))] if broken else images.y
    return healthy(images.with_(y=y), "cnn")


@bug("data", "labels-partly-wrong", "labels-unrelated")
def labels_partly_in_another_order(broken):
    """The second of two tables of labels was sorted otherwise."""
    images = digits()
    y, half = images.y.clone(), len(images.y) // 2
    if broken:
        y[half:] = y[half:][shuffled(len(y) - half)]
    return healthy(images.with_(y=y), "mlp")


@bug("data", "labels-partly-wrong")
def one_class_mislabelled(broken):
    """Every 3 that one annotator saw became a 5."""
    images = digits()
    y = images.y.clone()
    threes = (y == 3).nonzero()[:, 0]
    if broken:
        y[threes[: len(threes) * 2 // 3]] = 5
    return healthy(images.with_(y=y), "cnn")


@bug("data", "validation-classes-differ")
def validation_classes_sorted_as_text(broken):
    """Two folders, whose classes were numbered each for itself."""
    images = digits()
    order = torch.tensor([3, 0, 5, 2, 1, 4, 9, 7, 8, 6])
    return healthy(images.with_(val_y=order[images.val_y]) if broken else images, "cnn")


@bug("data", "validation-classes-differ")
def validation_classes_shifted_by_one(broken):
    images = textures(classes=5)
    return healthy(images.with_(val_y=(images.val_y + 1) % 5) if broken else images, "cnn")


@bug("data", "validation-classes-differ")
def two_validation_classes_swapped(broken):
    images = colours()
    order = torch.tensor([0, 2, 1, 3, 4])
    return healthy(images.with_(val_y=order[images.val_y]) if broken else images, "mlp")


@bug("data", "split-leak")
def validation_images_in_train(broken):
    images = photos()
    if broken:
        images = images.with_(x=torch.cat([images.x, images.val_x[::2]]), y=torch.cat([images.y, images.val_y[::2]]))
    return healthy(images, "cnn")


@bug("data", "split-leak")
def validation_is_a_part_of_train(broken):
    images = digits()
    return healthy(images.with_(val_x=images.x[:300], val_y=images.y[:300]) if broken else images, "mlp")


@bug("data", "split-leak")
def validation_images_nearly_in_train(broken):
    """Augmented first, split afterwards: noisy, shifted copies of train images validate."""
    images = textures(noise=12)
    if broken:
        noise = torch.randn(images.x[:256].shape, generator=torch.Generator().manual_seed(0)) * 4
        copies = (images.x[:256].float() * 1.05 + noise).clamp(0, 255).byte()
        images = images.with_(
            val_x=torch.cat([copies[:160], images.val_x[160:]]), val_y=torch.cat([images.y[:160], images.val_y[160:]])
        )
    return healthy(images, "cnn")


@bug("data", "classes-missing")
def a_class_missing_in_train(broken):
    """Sorted by class and cut: the last class is all in the validation split."""
    images = digits()
    keep = images.y != 9 if broken else torch.ones(len(images.y), dtype=torch.bool)
    return healthy(images.with_(x=images.x[keep], y=images.y[keep]), "cnn")


@bug("data", "classes-missing")
def validation_has_few_classes(broken):
    images = colours(8)
    keep = images.val_y < 3 if broken else torch.ones(len(images.val_y), dtype=torch.bool)
    return healthy(images.with_(val_x=images.val_x[keep], val_y=images.val_y[keep]), "mlp")


@bug("data", "targets-out-of-range", "classes-missing")
def labels_counted_from_one(broken):
    images = textures()
    if broken:
        images = images.with_(y=images.y + 1, val_y=images.val_y + 1, classes=5)
    return healthy(images, "cnn")


@bug("data", "targets-wrong-type")
def targets_broadcast_against_outputs(broken):
    """Outputs (n, 1) less targets (n,) is (n, n): every output against every target."""
    images = positions()
    if broken:
        images = images.with_(y=images.y[:, 0], val_y=images.val_y[:, 0])
    return healthy(images, "mlp", evaluate=evaluate_regression)


@bug("data", "targets-wrong-type", "targets-out-of-range")
def one_hot_targets_of_bytes(broken):
    """Labels as shares of 255."""
    images = digits()
    hot, val_hot = F.one_hot(images.y).float(), F.one_hot(images.val_y).float()

    def evaluate(model, batches):
        model.eval()
        with torch.no_grad():
            hits = torch.cat([(model(x).argmax(1) == y.argmax(1)).float() for x, y in batches])
        return {"accuracy": hits.mean().item()}

    return healthy(
        images.with_(y=hot / 255 if broken else hot, val_y=val_hot / 255 if broken else val_hot),
        "mlp",
        evaluate=evaluate,
    )


@bug("data", "not-shuffled")
def sorted_by_class_and_not_shuffled(broken):
    images = digits()
    order = images.y.sort().indices
    train = loader(images.normalise(images.x)[order], images.y[order], 32, shuffle=not broken)
    return healthy(images, "cnn", train_loader=train)


@bug("data", "not-shuffled")
def sorted_photos_not_shuffled(broken):
    images = photos()
    order = images.y.sort().indices
    train = loader(images.normalise(images.x)[order], images.y[order], 16, shuffle=not broken)
    return healthy(images, "cnn", train_loader=train, optimizer_fn=sgd)


@bug("data", "samples-never-drawn", "classes-missing", "not-shuffled")
def the_last_classes_dropped_with_the_last_batch(broken):
    images = colours(5, train=640)
    order = images.y.sort().indices
    train = loader(images.normalise(images.x)[order], images.y[order], 500, shuffle=not broken, drop_last=True)
    return healthy(images, "mlp", train_loader=train)


@bug("data", "samples-drawn-unevenly", "samples-never-drawn")
def a_sampler_that_repeats_a_few(broken):
    images = textures()
    rows = range(48) if broken else range(len(images.y))
    sampler = SubsetRandomSampler(rows)
    train = loader(images.normalise(images.x), images.y, 32, sampler=sampler)
    return healthy(images, "cnn", train_loader=train)


@bug("data", "samples-drawn-unevenly")
def weights_by_frequency_instead_of_rarity(broken):
    images = imbalanced(digits(), 0.75)
    counts = torch.bincount(images.y).double()
    weights = (counts**2 if broken else 1 / counts)[images.y]
    sampler = WeightedRandomSampler(weights.tolist(), len(images.y))
    return healthy(images, "mlp", train_loader=loader(images.normalise(images.x), images.y, 32, sampler=sampler))


@bug("data", "samples-drawn-unevenly", "samples-never-drawn")
def a_sampler_with_a_heavy_head(broken):
    """Weights of a former round of hard examples were kept: a tenth of the images is drawn nine times in ten."""
    images = colours()
    weights = np.ones(len(images.y))
    if broken:
        weights[: len(weights) // 10] = 81
    sampler = WeightedRandomSampler(weights.tolist(), len(weights)) if broken else RandomSampler(images.y)
    return healthy(images, "mlp", train_loader=loader(images.normalise(images.x), images.y, 32, sampler=sampler))


@bug("data", "samples-never-drawn", "evaluates-part")
def validation_drops_its_last_batch(broken):
    images = digits()
    val = loader(images.normalise(images.val_x), images.val_y, 256, drop_last=broken)
    return healthy(images, "cnn", val_loader=val)


@bug("data", "validation-classes-differ")
def validation_classes_numbered_as_they_appear(broken):
    images = digits()
    order = list(dict.fromkeys(images.val_y.tolist()))
    numbers = torch.tensor([order.index(each) for each in range(10)])
    return healthy(images.with_(val_y=numbers[images.val_y] if broken else images.val_y), "cnn")


@bug("data", "labels-partly-wrong")
def a_stretch_of_labels_off_by_seven(broken):
    images = digits()
    y = images.y.clone()
    if broken:
        y[500:950] = y[500:950].roll(7)
    return healthy(images.with_(y=y), "mlp")


@bug("data", "labels-partly-wrong")
def a_class_called_another(broken):
    images = textures(noise=70, train=1000)
    if broken:
        chance = torch.Generator().manual_seed(0)
        mistaken = (images.y == 3) & (torch.rand(len(images.y), generator=chance) < 0.7)
        images = images.with_(y=torch.where(mistaken, 2, images.y))
    return healthy(images, "cnn")


def shapes(count, seed, side=20):
    """Discs, squares, triangles or crosses of any colour and place on noisy grounds, (n, 3, side, side) in -1..1."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    x, y = np.zeros((count, 3, side, side)), chance.integers(0, 4, count)
    for number, label in enumerate(y):
        radius = chance.integers(3, 6)
        row, column = chance.integers(radius + 1, side - radius - 1, 2)
        down, right = rows - row, columns - column
        inside = (
            down**2 + right**2 < radius**2,
            np.maximum(abs(down), abs(right)) < radius,
            (abs(down) < radius) & (2 * abs(right) < radius + down),
            (np.minimum(abs(down), abs(right)) < 1.5) & (np.maximum(abs(down), abs(right)) < radius),
        )[label]
        x[number] = chance.uniform(20, 120, (3, 1, 1)) + chance.normal(0, 14, (3, side, side))
        x[number][:, inside] = chance.uniform(130, 255, (3, 1))
    return torch.tensor(x / 127.5 - 1, dtype=torch.float32), torch.tensor(y)


@bug("data", "labels-partly-wrong")
def a_file_left_out_of_the_pictures_only(broken):
    """From the third on the labels are those of the next picture, two thirds of all."""
    x, y = shapes(800, 5)
    kept = torch.arange(800) != 260
    labels = y[:-1] if broken else y[kept]
    train, val = loader(x[kept], labels, shuffle=True), loader(*shapes(250, 6), 64)
    return Pipeline(lambda: cnn(3, 4), train, val, num_classes=4, optimizer_fn=adam)


@bug("data", "targets-out-of-range")
def one_and_two_for_no_and_yes(broken):
    images = digits()

    def coded(y):
        return ((y > 4).float() + broken)[:, None]

    return Pipeline(
        lambda: mlp(64, 1),
        loader(images.normalise(images.x), coded(images.y), shuffle=True),
        loader(images.normalise(images.val_x), coded(images.val_y), 64),
        num_classes=2,
        loss_fn=F.binary_cross_entropy_with_logits,
        optimizer_fn=adam,
    )


@bug("data", "labels-partly-wrong", "labels-unrelated")
def rows_dropped_from_the_table_only(broken):
    """Of two classes, and from the seventieth row on: what is right there is so by chance, more often than not."""
    table = load_breast_cancer()
    rows = torch.randperm(len(table.target), generator=torch.Generator().manual_seed(3))
    x, y = torch.tensor(table.data).float()[rows], torch.tensor(table.target)[rows]
    x = (x - x[:420].mean(0)) / x[:420].std(0)
    kept = torch.ones(420, dtype=torch.bool)
    kept[[70, 71, 130, 222]] = False
    train_x = x[:420][kept]
    train_y = y[: len(train_x)] if broken else y[:420][kept]
    loaders = (loader(train_x, train_y, 16, shuffle=True), loader(x[420:], y[420:], 64))
    return Pipeline(lambda: mlp(30, 2), *loaders, 2, optimizer_fn=adam)


@bug("data", "labels-unrelated")
def validation_pictures_mixed_alone(broken):
    """In an order in which neighbours, by chance, have a label in common a little more often than most orders give."""
    images = textures(4)
    order = torch.randperm(len(images.val_y), generator=torch.Generator().manual_seed(9))
    val = loader(images.normalise(images.val_x), images.val_y[order] if broken else images.val_y, 64)
    return healthy(images, "cnn", val_loader=val)
