"""Files with pipelines for audits: one with three bugs that nothing crashes on, one that is broken."""

from recipe_core.audits import EXAMPLE

# Sorted by class and never shuffled; the first layer in no optimizer; dropout on while it is evaluated.
THREE_BUGS = """
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from recipe_core import Pipeline


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))


@torch.no_grad()
def evaluate(model, loader):
    found = [(model(x).argmax(1) == y).float() for x, y in loader]
    return {"accuracy": torch.cat(found).mean().item()}


def pipeline() -> Pipeline:
    digits = load_digits()
    x = torch.tensor(digits.images[:, None], dtype=torch.float32)
    x, y = (x - x.mean()) / x.std(), torch.tensor(digits.target)
    order = y[:1400].argsort()
    return Pipeline(
        net,
        DataLoader(TensorDataset(x[order], y[order]), 32),
        DataLoader(TensorDataset(x[1400:], y[1400:]), 64),
        num_classes=10,
        optimizer_fn=lambda model: torch.optim.Adam(model[-1].parameters(), lr=1e-3),
        evaluate=evaluate,
    )
"""
CAUSES = {"not-shuffled", "optimizer-misses-parameters", "wrong-mode-in-evaluation"}
BROKEN = "def pipeline():\n    return 1 / 0\n"
FILES = {"healthy.py": EXAMPLE, "three_bugs.py": THREE_BUGS, "broken.py": BROKEN, "typo.py": "def pipeline(:\n"}


def put_files(workspace):
    """Put all of them where a server's owner would."""
    folder = workspace.folder / "pipelines"
    folder.mkdir()
    for name, code in FILES.items():
        (folder / name).write_text(code)
    return folder
