"""Batches from a folder of decoded images (uint8, memory-mapped): shuffled by seed and epoch, resumable anywhere.

batches = Batches(folder, "train", batch_size=64, seed=0)
for x, y in batches: ...            # one epoch; the next `for` is the next epoch
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

FLAT_STD = 1e-6  # a channel of one value everywhere is centred only


class Batches:
    """(x, y) as the network sees them: x float32 (n, 3, size, size), normalised by the train split's mean and std per
    channel; y int64 (n,).

    A shuffled epoch leaves out what does not fill a last batch, unless there is but one.

    Args:
        folder: holds `<split>_images.npy` (uint8, (n, size, size, 3)), `<split>_labels.npy` and `meta.json`.
        split: "train" or "val".
        shuffle: by seed and epoch; by default the train split only.
        rows: the subset of the split's rows to give, by default all.
        zero_input: zeros instead of the images.
        device: where x and y are made; images travel as uint8.
        share: (k, n): of each batch every n-th sample from the k-th on, for the k-th of n processes.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        batch_size: int = 64,
        *,
        seed: int = 0,
        shuffle: bool | None = None,
        rows: Sequence[int] | np.ndarray | None = None,
        zero_input: bool = False,
        device: str = "cpu",
        channels_last: bool = False,
        share: tuple[int, int] = (0, 1),
    ):
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        self.size: int = meta["size"]
        self._images = np.load(folder / f"{split}_images.npy", mmap_mode="r")
        self._labels = np.load(folder / f"{split}_labels.npy")
        self.rows = np.arange(len(self._labels)) if rows is None else np.asarray(rows, dtype=np.int64)
        self.batch_size = min(batch_size, len(self.rows))
        self.seed = seed
        self.shuffle = split == "train" if shuffle is None else shuffle
        self.zero_input = zero_input
        self.device = device
        self.share = share
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        mean, std = np.array(meta["channel_mean"]), np.array(meta["channel_std"])
        std = np.where(std < FLAT_STD, 1.0, std)
        self._scale = _per_channel(1 / (255 * std)).to(device)
        self._shift = _per_channel(-mean / std).to(device)
        self._at = self._next = (0, 0)  # epoch, batches of it that were given

    def __len__(self) -> int:
        """Batches per epoch."""
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole if self.shuffle else whole + bool(rest)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        epoch, start = self._next
        self._next = (epoch + 1, 0)
        order = self._order(epoch)
        for position in range(start, len(self)):
            self._at = (epoch, position + 1)
            yield self._batch(self._slice(order, position))

    def raw(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The same samples as the next `for` gives, but as uint8 (n, 3, size, size); it moves no epoch on."""
        epoch, start = self._next
        order = self._order(epoch)
        for position in range(start, len(self)):
            rows = self._slice(order, position)
            yield self._pixels(rows), torch.from_numpy(self._labels[rows])

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (n, 3, size, size) as the network's input."""
        x = pixels.to(self.device).to(torch.float32, memory_format=self._format)
        return x.mul_(self._scale).add_(self._shift)

    def pictures(self, x: torch.Tensor) -> np.ndarray:
        """The network's input decoded back to pictures: uint8 (n, size, size, 3)."""
        pixels = ((x - self._shift) / self._scale).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).cpu().numpy()

    def rows_of_batch(self, epoch: int, position: int) -> np.ndarray:
        """The split's rows of one batch, in its order."""
        return self._slice(self._order(epoch), position)

    def take(self, rows: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Named rows of the split, as one batch."""
        return self._batch(np.asarray(rows, dtype=np.int64))

    @property
    def is_subset(self) -> bool:
        """Whether it gives some of its split's samples only."""
        return len(self.rows) < len(self._labels)

    @property
    def labels(self) -> np.ndarray:
        """int64 labels of all rows given, in the order of the split."""
        return self._labels[self.rows]

    def state(self) -> dict[str, int]:
        """Where it is, for `restore`: the epoch and how many of its batches were given."""
        epoch, position = self._at
        return {"epoch": epoch, "position": position}

    def restore(self, state: dict[str, int]) -> None:
        """Let the next `for` go on from there."""
        self._at = self._next = (state["epoch"], state["position"])

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.rows) if self.shuffle else self.rows

    def _slice(self, order: np.ndarray, position: int) -> np.ndarray:
        # Sorted: the memory map is then read forwards.
        batch = np.sort(order[position * self.batch_size : (position + 1) * self.batch_size])
        return batch[self.share[0] :: self.share[1]]

    def _batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.from_numpy(self._labels[rows]).to(self.device)
        if self.zero_input:
            return torch.zeros(len(rows), 3, self.size, self.size, device=self.device), labels
        return self.normalise(self._pixels(rows)), labels

    def _pixels(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self._images[rows]).permute(0, 3, 1, 2)


def _per_channel(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)
