"""What an eighteenth adversary, half of it correct pipelines, tripped the audit up with; developed against."""

import torch
from torch.utils.data import DataLoader

from tests.checks.zoo.base import healthy
from tests.checks.zoo.case import bug
from tests.checks.zoo.sets import digits
from tests.checks.zoo.thirteenth_look import Made


@bug("data", "augmentation-changes-label")
def digits_turned_upside_down(broken):
    """Of every second sample: a six is a nine then, and other digits are what no digit looks like."""
    images = digits()
    x, y = images.normalise(images.x), images.y

    def augmented(row):
        if torch.rand(()) > 0.5:
            return x[row], y[row]
        return (x[row].flip(1, 2) if broken else x[row].roll(1, 2)), y[row]

    return healthy(images, "cnn", train_loader=DataLoader(Made(len(x), augmented), 32, shuffle=True))
