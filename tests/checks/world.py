"""A small healthy pipeline, and ways to look for what an audit finds in a changed one."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from recipe_core.checks.audit import run_check
from recipe_core.checks.registry import checks
from recipe_core.checks.subject import Subject
from recipe_core.training.pipeline import Pipeline


def digits():
    """x float32 (1797, 1, 8, 8) of mean 0 and deviation 1, y int64; shuffled."""
    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(found.images[:, None], dtype=torch.float32)[order], torch.tensor(found.target)[order]
    return (x - x.mean()) / x.std(), y


class Stream(IterableDataset):
    """Each worker gives all samples, as if it were alone."""

    def __iter__(self):
        x, y = digits()
        return iter(zip(x[:300], y[:300], strict=True))


def net():
    layers = [nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)]
    return nn.Sequential(*layers)


def loaders(x, y, train=600, val=200, batch_size=32):
    train_set, val_set = TensorDataset(x[:train], y[:train]), TensorDataset(x[-val:], y[-val:])
    return DataLoader(train_set, batch_size, shuffle=True), DataLoader(val_set, 64)


def healthy(**changes):
    train, val = loaders(*digits())
    return Pipeline(**{"model_fn": net, "train_loader": train, "val_loader": val, "num_classes": 10, **changes})


def look(pipeline, *names, seconds=600):
    """The results of some checks, by name."""
    subject = Subject(pipeline, seconds)
    return [result for check in checks() if check.name in names for result in run_check(check, subject)]


def causes(pipeline, *names):
    """What some checks accuse a pipeline of."""
    return {each.cause for each in look(pipeline, *names) if each.verdict == "fail"}
