"""What a twelfth adversary, told the same as the ninth, tripped the audit up with; developed against."""

import torch
from torch.nn import functional as F

from tests.checks.zoo.base import healthy
from tests.checks.zoo.case import bug
from tests.checks.zoo.sets import positions


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
