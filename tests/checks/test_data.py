"""What the checks of the data catch, and what they let pass."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import (
    DataLoader,
    Dataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from recipe_core.training.pipeline import Pipeline
from tests.checks.world import Stream, causes, digits, healthy, loaders, look, net

ALL = (
    "inputs_carry_information",
    "inputs_have_a_scale_that_the_network_can_use",
    "targets_fit_outputs_and_loss",
    "every_class_is_in_both_splits",
    "samples_are_drawn_equally_often",
    "batches_mix_the_classes",
    "validation_images_are_new",
    "validation_images_stay_the_same",
    "validation_is_prepared_like_training",
    "labels_belong_to_their_images",
)
X, Y = digits()
VAL = 200


def test_targets_in_no_column_are_told_though_fresh_outputs_are_all_alike():
    def flat():
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
        nn.init.zeros_(model[1].weight)
        return model

    train, val = loaders(X, Y.float())
    pipeline = healthy(model_fn=flat, train_loader=train, val_loader=val, num_classes=0, loss_fn=F.mse_loss)
    assert causes(pipeline, "targets_fit_outputs_and_loss") == {"targets-wrong-type"}


def changed(train_x=None, train_y=None, val_x=None, val_y=None, **more):
    """The healthy pipeline with other data in places; the first 600 digits train, the last 200 validate."""
    x, y = X[:600] if train_x is None else train_x, Y[:600] if train_y is None else train_y
    val = X[-VAL:] if val_x is None else val_x, Y[-VAL:] if val_y is None else val_y
    return healthy(
        train_loader=DataLoader(TensorDataset(x, y), 32, shuffle=True),
        val_loader=DataLoader(TensorDataset(*val), 64),
        **more,
    )


class Changing(Dataset):
    """Samples whose image is changed by `change` each time it is read."""

    def __init__(self, x, y, change):
        self.x, self.y, self.change = x, y, change

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        return self.change(self.x[row]), self.y[row]


def moved(x):
    return x.roll(int(torch.randint(-1, 2, ())), 2)


def test_healthy_data_passes_every_check():
    assert {each.verdict for each in look(healthy(), *ALL)} == {"pass"}


ORDER = torch.randperm(600, generator=torch.Generator().manual_seed(1))
HALF = torch.arange(600)
HALF[:330] = HALF[:330].roll(7)
BROKEN = {
    "NaN in an image": (
        {"train_x": torch.where(torch.arange(600).view(-1, 1, 1, 1) == 5, torch.nan, X[:600])},
        "inputs-not-finite",
    ),
    "half of the images blank": ({"train_x": X[:600] * (torch.arange(600) % 2).view(-1, 1, 1, 1)}, "inputs-constant"),
    "labels in another order": ({"train_y": Y[:600][ORDER]}, "labels-unrelated"),
    "validation labels in another order": ({"val_y": Y[-VAL:].roll(3)}, "labels-unrelated"),
    "half of the labels in another order": ({"train_y": Y[:600][HALF]}, "labels-partly-wrong"),
    "classes shifted in validation": ({"val_y": (Y[-VAL:] + 1) % 10}, "validation-classes-differ"),
    "two classes swapped in validation": (
        {"val_y": torch.tensor([0, 1, 2, 7, 4, 5, 6, 3, 8, 9])[Y[-VAL:]]},
        "validation-classes-differ",
    ),
    "validation not normalised": ({"val_x": X[-VAL:] * 6 + 5}, "validation-prepared-differently"),
    "validation mirrored": ({"val_x": X[-VAL:].flip(3)}, "validation-prepared-differently"),
    "training images in validation": ({"val_x": X[:VAL], "val_y": Y[:VAL]}, "split-leak"),
    "noisy copies in validation": (
        {"val_x": X[:VAL] * 1.1 + 0.03 * torch.randn(VAL, 1, 8, 8), "val_y": Y[:VAL]},
        "split-leak",
    ),
    "a class missing": ({"train_x": X[:600][Y[:600] != 4], "train_y": Y[:600][Y[:600] != 4]}, "classes-missing"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_data_is_found(what):
    changes, cause = BROKEN[what]
    assert cause in causes(changed(**changes), *ALL)


@pytest.mark.parametrize(("count", "verdict"), [(200, "unsure"), (40, "pass")])
def test_three_wrong_labels_of_ten_are_a_question_and_a_few_are_let_pass(count, verdict):
    labels = Y[:600].clone()
    wrong = torch.randperm(600, generator=torch.Generator().manual_seed(2))[:count]  # by chance some stay right
    labels[wrong] = labels[wrong].roll(1)
    (told,) = look(changed(train_y=labels), "labels_belong_to_their_images")
    assert told.verdict == verdict


def test_rows_of_a_table_and_targets_in_two_orders_are_a_question():
    rows = torch.randn(900, 6, generator=torch.Generator().manual_seed(1))
    targets = (rows[:, :1] + rows[:, 1:2].sin()).flip(0)
    train, val = ((rows[part], targets[part]) for part in (slice(600), slice(600, None)))
    pipeline = healthy(
        model_fn=lambda: nn.Linear(6, 1),
        train_loader=DataLoader(TensorDataset(*train), 32, shuffle=True),
        val_loader=DataLoader(TensorDataset(*val), 64),
        num_classes=0,
        loss_fn=F.mse_loss,
    )
    (told,) = look(pipeline, "labels_belong_to_their_images", seconds=40)
    assert (told.cause, told.verdict) == ("labels-unrelated", "unsure")


def test_augmentation_in_training_passes_and_in_validation_is_found():
    train = DataLoader(Changing(X[:600], Y[:600], moved), 32, shuffle=True)
    assert causes(healthy(train_loader=train), *ALL) == set()
    val = DataLoader(Changing(X[-VAL:], Y[-VAL:], moved), 64)
    assert "augmentation-in-validation" in causes(healthy(train_loader=train, val_loader=val), *ALL)


def test_mirroring_what_is_told_apart_by_its_side_changes_the_label():
    """Left and right: digits beside nothing, or the other way round."""
    x = torch.cat([X[:600], torch.full_like(X[:600], X.min())], 3)
    sides = torch.arange(600) % 2
    x[sides == 1] = x[sides == 1].flip(3)

    def flipped(image):
        return image.flip(2) if torch.rand(()) < 0.5 else image

    def pipeline(change):
        train = DataLoader(Changing(x[:400], sides[:400], change), 32, shuffle=True)
        val = DataLoader(TensorDataset(x[400:], sides[400:]), 64)
        return Pipeline(lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 2)), train, val, 2)

    assert causes(pipeline(lambda image: image), *ALL) == set()
    assert causes(pipeline(flipped), *ALL) & {"augmentation-changes-label", "labels-unrelated"}


def test_a_change_of_all_images_and_new_numbers_of_the_classes_are_told_from_each_other():
    chance = torch.Generator().manual_seed(0)
    colours = torch.tensor([[1.0, 0.1, 0.1], [0.9, 0.6, 0.1], [0.1, 0.6, 0.9], [0.1, 0.1, 1.0], [0.1, 0.9, 0.1]])
    y = torch.randint(5, (900,), generator=chance)
    x = colours[y][:, :, None, None] + 0.5 * torch.randn(900, 3, 8, 8, generator=chance)
    train = {"train_x": x[:600], "train_y": y[:600], "num_classes": 5}
    asked = ("labels_belong_to_their_images", "validation_is_prepared_like_training")
    reversed_channels = changed(**train, val_x=x[600:].flip(1), val_y=y[600:])
    assert causes(reversed_channels, *asked) == {"validation-prepared-differently"}
    renumbered = changed(**train, val_x=x[600:], val_y=torch.tensor([3, 0, 4, 1, 2])[y[600:]])
    assert causes(renumbered, *asked) == {"validation-classes-differ"}


def test_a_sorted_loader_that_does_not_shuffle_is_found():
    order = Y[:600].argsort()
    data = TensorDataset(X[:600][order], Y[:600][order])
    assert causes(healthy(train_loader=DataLoader(data, 32)), "batches_mix_the_classes") == {"not-shuffled"}
    assert causes(healthy(train_loader=DataLoader(data, 32, shuffle=True)), "batches_mix_the_classes") == set()


def test_weights_that_balance_pass_and_weights_of_a_few_samples_are_found():
    data = TensorDataset(X[:600], Y[:600])
    balancing = (1 / torch.bincount(Y[:600]).double())[Y[:600]]
    few = torch.where(torch.arange(600) < 30, 1.0, 1e-6)
    for weights, expected in ((balancing, set()), (few, {"samples-drawn-unevenly"})):
        sampler = WeightedRandomSampler(weights.tolist(), 600)
        pipeline = healthy(train_loader=DataLoader(data, 32, sampler=sampler))
        assert causes(pipeline, "samples_are_drawn_equally_often") == expected


def test_a_sampler_that_splits_one_dataset_leaves_nothing_out():
    data = TensorDataset(X[:800], Y[:800])
    train = DataLoader(data, 32, sampler=SubsetRandomSampler(range(300)))
    val = DataLoader(data, 64, sampler=SubsetRandomSampler(range(300, 800)))
    assert causes(healthy(train_loader=train, val_loader=val), "samples_are_drawn_equally_often") == set()


def test_validation_samples_that_drop_last_drops_are_found():
    val = DataLoader(TensorDataset(X[-VAL:], Y[-VAL:]), 150, drop_last=True)
    assert causes(healthy(val_loader=val), "samples_are_drawn_equally_often") == {"samples-never-drawn"}


def test_workers_that_each_give_every_sample_are_found():
    # No fork: what other tests of this process have loaded, as databases with threads, may not stand one.
    train = DataLoader(Stream(), 32, num_workers=2, multiprocessing_context="forkserver")
    assert causes(healthy(train_loader=train), "samples_are_drawn_equally_often") == {"samples-drawn-unevenly"}


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_targets_that_are_broadcast_against_outputs_are_found(shape):
    target = X[:, 0, 2:5].mean((1, 2)).reshape(shape)
    train, val = loaders(X, target)
    pipeline = Pipeline(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), train, val, 0, loss_fn=F.mse_loss, evaluate=lambda *_: {}
    )
    assert causes(pipeline, "targets_fit_outputs_and_loss") == ({"targets-wrong-type"} if shape == (-1,) else set())


def test_inputs_divided_twice_are_found_unless_the_network_normalises():
    plain = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))  # noqa: E731
    normalising = lambda: nn.Sequential(nn.BatchNorm2d(1, eps=1e-12), *plain())  # noqa: E731
    name = "inputs_have_a_scale_that_the_network_can_use"
    for model_fn, expected in ((plain, {"inputs-not-scaled"}), (normalising, set())):
        assert causes(changed(X[:600] / 1000, val_x=X[-VAL:] / 1000, model_fn=model_fn), name) == expected


def test_a_pretrained_network_on_another_scale_is_found():
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)).train()
    for rows in torch.arange(600).split(50):
        model(X[rows])  # it keeps statistics of these
    name = "pretrained_network_is_fed_as_it_was_trained"
    assert causes(changed(model_fn=lambda: model), name) == set()
    assert causes(changed(val_x=X[-VAL:] * 255, model_fn=lambda: model), name) == {"pretrained-input-differs"}
    assert look(healthy(model_fn=net), name)[0].verdict == "skipped"


@pytest.mark.parametrize("overlap", [True, False])
def test_windows_that_overlap_are_found_in_series_of_any_length(overlap):
    """All stretches of these at once would take 15 GB."""
    recording = torch.randn(700_000)
    step = 1000 if overlap else 20_000
    x = torch.stack([recording[at : at + 20_000] for at in range(0, 35 * step - step + 1, step)])[:, None]
    train, val = (DataLoader(TensorDataset(part, torch.arange(len(part)) % 2), 8) for part in (x[::2], x[1::2]))
    pipeline = healthy(model_fn=lambda: nn.Linear(20_000, 2), train_loader=train, val_loader=val, num_classes=2)
    assert causes(pipeline, "validation_images_are_new") == ({"split-leak"} if overlap else set())


def test_yes_that_is_255_is_found_and_ends_no_check():
    def one():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))

    train, val = loaders(X, 255.0 * (Y > 4))
    pipeline = Pipeline(one, train, val, 2, loss_fn=F.binary_cross_entropy_with_logits)
    found = {(each.verdict, each.cause) for each in look(pipeline, *ALL, "the_step_uses_its_batch")}
    assert ("fail", "targets-out-of-range") in found and not [each for each in found if each[0] == "error"]


def test_targets_that_are_images_have_one_scale_in_both_splits():
    x = torch.randn(64, 3, 32, 32)
    train, val = (DataLoader(TensorDataset(x, y), 16) for y in (x, 10 * x + 5))
    pipeline = healthy(model_fn=nn.Identity, train_loader=train, val_loader=val, num_classes=0, loss_fn=F.mse_loss)
    assert causes(pipeline, "targets_of_both_splits_are_on_one_scale") == {"validation-prepared-differently"}


def test_few_validation_samples_from_which_little_can_be_learnt_are_not_unrelated_to_their_labels():
    """As many training samples teach no more than they do."""
    chance = torch.Generator().manual_seed(6)
    x, weights = torch.randn(1250, 60, generator=chance), torch.randn(60, generator=chance)
    y = (0.35 * x @ F.normalize(weights, dim=0) + torch.randn(1250, generator=chance) > 0).long()
    train, val = loaders(x, y, 1000, 250)
    pipeline = healthy(model_fn=lambda: nn.Linear(60, 2), train_loader=train, val_loader=val, num_classes=2)
    assert causes(pipeline, "labels_belong_to_their_images") == set()


def test_labels_that_tell_nothing_of_training_say_nothing_of_its_preparation():
    """By chance what they tell may hold for validation images that are upside down."""
    x, y = digits()
    unrelated = torch.cat([y[(torch.arange(1400) * 7 + 3) % 1400], y[1400:]])
    train, val = loaders(x, unrelated, 1400, 397)
    assert not causes(healthy(train_loader=train, val_loader=val), "validation_is_prepared_like_training")


@pytest.mark.parametrize(("least", "verdict"), [(-5, "unsure"), (-2, "unsure"), (0, "unsure"), (-20, "pass")])
def test_whole_targets_that_are_mostly_none_are_asked_about(least, verdict):
    """Counts may be so, and differences; deviations that were cut off are."""
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(800, 6, generator=chance)
    y = (x[:, :1] * max(1, -least / 3) + 0.3 * torch.randn(800, 1, generator=chance)).trunc().clamp(least, -least or 5)
    train, val = loaders(x, y.abs() if least == 0 else y)
    pipeline = Pipeline(lambda: nn.Linear(6, 1), train, val, 0, loss_fn=F.mse_loss)
    assert {each.verdict for each in look(pipeline, "targets_fit_outputs_and_loss")} == {verdict}
