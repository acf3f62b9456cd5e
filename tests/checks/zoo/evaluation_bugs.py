"""Bugs of the evaluation: what it measures, in which mode, on what, and what it leaves behind."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import default_evaluate
from tests.checks.zoo.base import adam, evaluate_regression, healthy
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import cnn, mlp
from tests.checks.zoo.sets import colours, digits, loader, photos, positions, textures


def measured(metrics, mode=True):
    """An evaluation by `metrics(outputs, targets) -> dict` of all outputs at once."""

    @torch.no_grad()
    def evaluate(model, batches):
        if mode:
            model.eval()
        outputs, targets = zip(*[(model(x), y) for x, y in batches], strict=True)
        return metrics(torch.cat(outputs), torch.cat(targets))

    return evaluate


def usual(outputs, y):
    accuracy = (outputs.argmax(1) == y).float().mean().item()
    return {"loss": F.cross_entropy(outputs, y).item(), "accuracy": accuracy}


@bug("evaluation", "wrong-mode-in-evaluation", "trains-on-validation")
def evaluated_in_train_mode_with_batchnorm(broken):
    return healthy(textures(), "cnn", evaluate=measured(usual, mode=not broken))


@bug("evaluation", "wrong-mode-in-evaluation")
def evaluated_in_train_mode_with_dropout(broken):
    return healthy(digits(), lambda: mlp(64, 10, dropout=0.5), evaluate=measured(usual, mode=not broken))


@bug("evaluation", "evaluates-training-data")
def evaluated_on_the_train_loader(broken):
    """The loader comes from the surroundings, not from the argument."""
    pipeline = healthy(digits(), "mlp")
    if broken:
        pipeline.evaluate = lambda model, batches: default_evaluate(model, pipeline.train_loader)
    return pipeline


@bug("evaluation", "evaluates-training-data", "split-leak")
def the_validation_loader_is_the_train_loader(broken):
    pipeline = healthy(textures(), "cnn")
    if broken:
        pipeline.val_loader = pipeline.train_loader
    return pipeline


@bug("evaluation", "evaluates-training-data", "evaluates-part")
def another_loader_than_the_one_given(broken):
    images = colours()
    aside = loader(images.normalise(images.val_x[:60]), images.val_y[:60], 32)

    def evaluate(model, batches):
        return default_evaluate(model, aside if broken else batches)

    return healthy(images, "mlp", evaluate=evaluate)


def averaged_by_batch(broken, batch_size, images, model):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        found = [(len(y), usual(model(x), y)) for x, y in batches]
        weights = [1 if broken else count for count, _ in found]
        return {
            name: sum(weight * each[name] for weight, (_, each) in zip(weights, found, strict=True)) / sum(weights)
            for name in ("loss", "accuracy")
        }

    val = loader(images.normalise(images.val_x), images.val_y, batch_size)
    return healthy(images, model, evaluate=evaluate, val_loader=val)


@bug("evaluation", "ragged-average")
def mean_of_the_means_of_ragged_batches(broken):
    return averaged_by_batch(broken, 64, digits(), "mlp")  # 397 = 6 * 64 + 13


@bug("evaluation", "ragged-average")
def mean_of_means_with_one_image_in_the_last_batch(broken):
    images = textures()
    images = images.with_(val_x=images.val_x[:193], val_y=images.val_y[:193])
    return averaged_by_batch(broken, 64, images, "cnn")


@bug("evaluation", "metric-scale", "ragged-average", "metric-wrong")
def losses_added_up(broken):
    def metrics(outputs, y):
        loss = F.cross_entropy(outputs, y, reduction="sum" if broken else "mean")
        return {"loss": loss.item(), "accuracy": (outputs.argmax(1) == y).float().mean().item()}

    return healthy(digits(), "cnn", evaluate=measured(metrics))


@bug("evaluation", "metric-scale", "metric-wrong")
def a_loss_divided_by_the_samples_twice(broken):
    def metrics(outputs, y):
        found = usual(outputs, y)
        return found | {"loss": found["loss"] / len(y)} if broken else found

    return healthy(colours(), "mlp", evaluate=measured(metrics))


@bug("evaluation", "metric-scale", "metric-wrong")
def hits_divided_by_batches(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        hits = [(model(x).argmax(1) == y).sum().item() for x, y in batches]
        return {"accuracy": sum(hits) / (len(hits) if broken else len(batches.dataset))}

    return healthy(textures(), "cnn", evaluate=evaluate)


@bug("evaluation", "metric-scale", "metric-wrong")
def a_loss_of_probabilities(broken):
    """The validation loss is taken of softmax outputs, the training loss of logits: two scales on one chart."""

    def metrics(outputs, y):
        loss = F.cross_entropy(outputs.softmax(1) if broken else outputs, y)
        return {"loss": loss.item(), "accuracy": (outputs.argmax(1) == y).float().mean().item()}

    return healthy(digits(), "mlp", evaluate=measured(metrics))


@bug("evaluation", "metric-scale", "metric-wrong")
def a_root_where_training_has_the_square(broken):
    def metrics(outputs, y):
        loss = F.mse_loss(outputs, y)
        return {"loss": (loss * len(y) if broken else loss).item()}

    return healthy(positions(), "mlp", evaluate=measured(metrics))


@bug("evaluation", "evaluates-part")
def returned_after_the_first_batch(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = [], []
        for x, y in batches:
            outputs.append(model(x))
            targets.append(y)
            if broken:
                break
        return usual(torch.cat(outputs), torch.cat(targets))

    return healthy(digits(), "cnn", evaluate=evaluate)


@bug("evaluation", "evaluates-part")
def the_last_batch_overwrites_the_others(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        hits = count = 0
        for x, y in batches:
            if broken:
                hits = count = 0
            hits += (model(x).argmax(1) == y).sum().item()
            count += len(y)
        return {"accuracy": hits / count}

    return healthy(photos(), "cnn", evaluate=evaluate)


@bug("evaluation", "metric-wrong")
def the_best_sample_of_each_class(broken):
    """argmax over the batch: which image is most like class 3?"""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        hits, count = 0, 0
        for x, y in batches:
            outputs = model(x)
            best = outputs.argmax(0)[:1].expand_as(y) if broken else outputs.argmax(1)
            hits += (best == y).sum().item()
            count += len(y)
        return {"accuracy": hits / count}

    return healthy(digits(), "mlp", evaluate=evaluate)


@bug("evaluation", "metric-wrong", "metric-scale")
def softmax_over_the_batch(broken):
    def metrics(outputs, y):
        log = outputs.log_softmax(0 if broken else 1)
        return {"loss": F.nll_loss(log, y).item(), "accuracy": (log.argmax(1) == y).float().mean().item()}

    return healthy(textures(), "cnn", evaluate=measured(metrics))


@bug("evaluation", "metric-wrong", "metric-shuffled-labels", "metric-scale")
def columns_compared_with_rows(broken):
    """(n, 1) == (n,) compares every prediction with every label."""

    def metrics(outputs, y):
        predicted = outputs.argmax(1, keepdim=broken)
        return {"loss": F.cross_entropy(outputs, y).item(), "accuracy": (predicted == y).float().mean().item()}

    return healthy(colours(), "mlp", evaluate=measured(metrics))


@bug("evaluation", "metric-wrong", "metric-scale")
def among_the_five_best_of_five(broken):
    """Top-k with k the number of classes is always right."""

    def metrics(outputs, y):
        best = outputs.topk(5 if broken else 1, 1).indices
        return {"accuracy": (best == y[:, None]).any(1).float().mean().item()}

    return healthy(colours(), "mlp", evaluate=measured(metrics))


@bug("evaluation", "metric-shuffled-labels", "metric-wrong")
def labels_of_another_pass(broken):
    """Predictions come from one pass over a shuffled loader, labels from the next."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = zip(*[(model(x), y) for x, y in batches], strict=True)
        if broken:
            targets = [y for _, y in batches]
        return usual(torch.cat(outputs), torch.cat(targets))

    images = digits()
    val = loader(images.normalise(images.val_x), images.val_y, 64, shuffle=True)
    return healthy(images, "mlp", evaluate=evaluate, val_loader=val)


@bug("evaluation", "metric-shuffled-labels", "metric-wrong")
def labels_sorted_before_they_are_compared(broken):
    def metrics(outputs, y):
        return usual(outputs, y.sort().values if broken else y)

    return healthy(textures(), "cnn", evaluate=measured(metrics))


@bug("evaluation", "metric-shuffled-labels", "metric-wrong")
def outputs_of_the_batch_before(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = zip(*[(model(x), y) for x, y in batches], strict=True)
        late = torch.cat(outputs)
        return usual(late.roll(64, 0) if broken else late, torch.cat(targets))

    return healthy(digits(), "cnn", evaluate=evaluate)


@bug("evaluation", "trains-on-validation")
def stepped_on_validation_batches(broken):
    optimizers = {}

    def evaluate(model, batches):
        if broken:
            optimizer = optimizers.setdefault(id(model), adam(model))
            for x, y in batches:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        return default_evaluate(model, batches)

    return healthy(digits(), "mlp", evaluate=evaluate)


@bug("evaluation", "trains-on-validation")
def gradients_left_by_the_evaluation(broken):
    """The step zeroes after it has stepped, so that what the evaluation leaves goes into the next update."""

    def evaluate(model, batches):
        model.eval()
        losses, count = 0.0, 0
        for x, y in batches:
            with torch.set_grad_enabled(broken):
                loss = F.cross_entropy(model(x), y)
            if broken:
                loss.backward()
            losses, count = losses + loss.item() * len(y), count + len(y)
        return {"loss": losses / count}

    def train_step(model, batch, loss_fn, optimizer):
        model.train()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return healthy(textures(), "cnn", evaluate=evaluate, train_step=train_step)


@bug("evaluation", "trains-on-validation", "wrong-mode-in-evaluation")
def statistics_updated_by_validation_batches(broken):
    """A pass in train mode before the measurement: batch norm learns the validation split's statistics."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.train(broken)
        for x, _ in batches:
            model(x)
        return default_evaluate(model, batches)

    return healthy(photos(), partial(cnn, 3, 2), evaluate=evaluate)


@bug("evaluation", "evaluation-keeps-state", "metric-wrong", "evaluates-other-model")
def a_copy_from_before_the_training(broken):
    copies: dict[int, nn.Module] = {}
    images = digits()

    def evaluate(model, batches):
        if broken and not copies:
            copies[0] = mlp(64, 10)
        return default_evaluate(copies.get(0, model), batches)

    return healthy(images, "mlp", evaluate=evaluate)


@bug("evaluation", "evaluation-keeps-state", "metric-wrong", "evaluates-other-model")
def measured_once_and_remembered(broken):
    found: dict[str, float] = {}

    def evaluate(model, batches):
        if not (broken and found):
            found.update(default_evaluate(model, batches))
        return dict(found)

    return healthy(colours(), "mlp", evaluate=evaluate)


@bug("evaluation", "metric-shuffled-labels", "metric-wrong", "metric-scale")
def a_regression_measured_against_all_targets(broken):
    """Outputs (n, 1) against targets (n,): the loss is about the variance, whatever the model does."""

    @torch.no_grad()
    def evaluate(model, batches):
        if not broken:
            return evaluate_regression(model, batches)
        model.eval()
        found = [((model(x) - y[:, 0]) ** 2).mean().item() for x, y in batches]
        return {"loss": sum(found) / len(found)}

    images = positions()
    val = loader(images.normalise(images.val_x), images.val_y, 50)
    return healthy(images, "mlp", evaluate=evaluate, val_loader=val)
