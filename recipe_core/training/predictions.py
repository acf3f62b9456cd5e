"""What a model says of pictures, and what exactly it is given: whole splits, a fixed batch over the steps.

probabilities, labels = predict(model, pipeline.val_loader, pipeline.forward)
fit(pipeline, spec, folder, recorder, on_evaluation=FixedBatch(pipeline, spec.seed, folder / "artifacts"))
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from recipe_core.training.batches import Batches
from recipe_core.training.pipeline import Pipeline, on_device_of

FIXED = 16  # samples of the validation set that are followed
MEASURED = 256  # samples whose tensors are measured


@torch.no_grad()
def predict(
    model: nn.Module, loader: Iterable, forward: Callable, check: Callable[[], None] = lambda: None
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, float32 (samples, classes), and labels, int64 (samples,), of all that a loader gives.

    Args:
        check: called before each batch; may raise Stopped.
    """
    model.eval()
    probabilities, labels = [], []
    for batch in loader:
        check()
        x, y = on_device_of(model, batch)
        probabilities.append(forward(model, x).float().softmax(1))
        labels.append(y)
    return torch.cat(probabilities).cpu().numpy(), torch.cat(labels).cpu().numpy()


class FixedBatch:
    """Follows the predictions for a few validation samples, the same at every evaluation.

    `<folder>/fixed_batch.npz` holds rows (of the split), labels, steps and probabilities (steps, samples, classes);
    it is whole at any time and goes on after a resume.
    """

    def __init__(self, pipeline: Pipeline, seed: int, folder: Path):
        loader = pipeline.val_loader
        assert isinstance(loader, Batches)
        samples = len(loader.labels)
        self.rows = np.sort(np.random.default_rng(seed).choice(samples, min(FIXED, samples), replace=False))
        self.path = folder / "fixed_batch.npz"
        self._batch = loader.take(self.rows)
        self._forward = pipeline.forward
        self._seen = load_fixed_batch(self.path)

    def __call__(self, step: int, model: nn.Module) -> None:
        """Keep what the model says at this step."""
        probabilities, labels = predict(model, [self._batch], self._forward)
        self._seen[step] = probabilities
        steps = sorted(self._seen)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_suffix(".partial")
        with half.open("wb") as file:
            together = np.stack([self._seen[each] for each in steps])
            np.savez(file, rows=self.rows, labels=labels, steps=np.array(steps), probabilities=together)
        half.replace(self.path)


def learnt_by_heart(
    model: nn.Module, batches: Batches, forward: Callable, check: Callable[[], None]
) -> dict[str, np.ndarray]:
    """What a model tells of the very samples that it was trained on.

    Returns:
        rows of the split (n,), labels (n,), probabilities (n, classes).
    """
    parts = np.array_split(batches.rows, -(-len(batches.rows) // MEASURED))
    probabilities, labels = predict(model, map(batches.take, parts), forward, check)
    return {"rows": batches.rows, "labels": labels, "probabilities": probabilities}


def load_fixed_batch(path: Path) -> dict[int, np.ndarray]:
    """Probabilities (samples, classes) by step, as kept so far."""
    if not path.exists():
        return {}
    with np.load(path) as kept:
        return dict(zip(kept["steps"].tolist(), kept["probabilities"], strict=True))


def just_before_the_net(batches: Batches, limit: int = 16) -> dict[str, np.ndarray]:
    """Tensors exactly as the network sees them, of samples drawn from a loader, decoded back to pictures.

    Returns:
        At most `limit` each: pictures uint8 (n, size, size, 3), labels (n,), rows of the split (n,). Per channel (3,),
        of the tensors of up to 256 samples: mean and std, near 0 and 1 if well normalised, min and max.
    """
    drawn = np.random.default_rng(batches.seed).permutation(batches.rows)[:MEASURED]
    x, y = batches.take(drawn)
    channels = x.transpose(0, 1).reshape(3, -1)
    statistics = {"mean": channels.mean(1), "std": channels.std(1), "min": channels.amin(1), "max": channels.amax(1)}
    return {
        "pictures": batches.pictures(x[:limit]),
        "labels": y[:limit].cpu().numpy(),
        "rows": drawn[:limit],
        **{name: values.cpu().numpy() for name, values in statistics.items()},
    }
