"""Bugs of metrics: cut, averaged or scaled wrongly, of other targets, or of what evaluation made of inputs."""

import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline, default_evaluate
from tests.checks.zoo.base import accuracy, adam, evaluate_regression, healthy
from tests.checks.zoo.case import bug
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import colours, digits, loader, photos, positions, sides


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


@bug("evaluation", "metric-wrong", "metric-shuffled-labels")
def a_softmax_over_the_batch_in_evaluate(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        right, count = 0, 0
        for x, y in batches:
            right += int((model(x).softmax(0 if broken else 1).argmax(1) == y).sum())
            count += len(y)
        return {"accuracy": right / count}

    return healthy(digits(), "mlp", evaluate=evaluate)


@bug("evaluation", "metric-shuffled-labels")
def compared_with_the_labels_of_training(broken):
    images = digits()

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, y = map(torch.cat, zip(*[(model(x), y) for x, y in batches], strict=True))
        return {"accuracy": accuracy(outputs, images.y[: len(y)] if broken else y).item()}

    return healthy(images, "mlp", evaluate=evaluate)


@bug("evaluation", "metric-shuffled-labels")
def targets_of_another_pass(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        pairs = [(model(x), y) for x, y in batches]
        outputs, targets = torch.cat([each for each, _ in pairs]), torch.cat([y for _, y in pairs])
        targets = torch.cat([y for _, y in batches]) if broken else targets
        right = (outputs.argmax(1) == targets).float().mean()
        return {"loss": F.cross_entropy(outputs, targets).item(), "accuracy": right.item()}

    images = sides()
    val = loader(images.normalise(images.val_x), images.val_y, 64, shuffle=True)
    return healthy(images, "cnn", val_loader=val, evaluate=evaluate)


def measured(loss_of):
    """Digits whose loss is added up by hand."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        total, hits, count = 0.0, 0, 0
        for x, y in batches:
            outputs = model(x)
            total += loss_of(outputs, y, batches)
            hits, count = hits + (outputs.argmax(1) == y).sum().item(), count + len(y)
        return {"loss": total / count, "accuracy": hits / count}

    return healthy(digits(), "mlp", evaluate=evaluate)


@bug("evaluation", "metric-scale")
def evaluated_at_a_teachers_temperature(broken):
    by = 8.0 if broken else 1.0
    return measured(lambda outputs, y, _: F.cross_entropy(outputs / by, y, reduction="sum").item())


@bug("evaluation", "metric-scale", "ragged-average")
def each_batch_counted_as_a_whole_one(broken):
    return measured(
        lambda outputs, y, batches: F.cross_entropy(outputs, y).item() * (batches.batch_size if broken else len(y))
    )


@bug("evaluation", "metric-scale")
def squared_errors_summed_over_the_batches(broken):
    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        errors = [((model(x) - y) ** 2).sum().item() for x, y in batches]
        return {"loss": sum(errors) / len(errors)}

    return healthy(positions(), "cnn", evaluate=evaluate if broken else evaluate_regression)


def standard(values):
    return (values - values.mean()) / values.std()


@bug("evaluation", "metric-wrong")
def an_error_without_a_scale(broken):
    """Outputs and targets are each standardised by their own mean and deviation before they are compared."""

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        outputs, targets = (torch.cat(each) for each in zip(*[(model(x), y) for x, y in batches], strict=True))
        if broken:
            outputs, targets = standard(outputs), standard(targets)
        return {"loss": F.mse_loss(outputs, targets).item(), "mae": (outputs - targets).abs().mean().item()}

    return healthy(positions(), "cnn", evaluate=evaluate)


@bug("evaluation", "validation-prepared-differently")
def evaluate_standardises_batches(broken):
    images = colours()
    order = images.val_y.argsort()

    def evaluate(model, batches):
        return default_evaluate(model, [((x - x.mean()) / x.std() if broken else x, y) for x, y in batches])

    return healthy(images.with_(val_x=images.val_x[order], val_y=images.val_y[order]), "cnn", evaluate=evaluate)
