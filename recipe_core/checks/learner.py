"""A reference learner: what can be learnt from images at all, without any part of the pipeline's model.

    learner = Learner(x, targets)
    learner.held_out            # predictions for its own images, each by a learner that did not see it
    learner.predict(other_x)

Kernel ridge regression on pooled pixels, pooled responses to random patches (Coates & Ng 2012) and, of long series, the
spectrum over time: it has a closed form, and so has leaving one sample out.
"""

import functools

import torch
from torch.nn import functional as F

MOST_SIDE = 32  # px; larger images are averaged down
MOST_PLACES, MOST_PIXELS = 4096, 256  # of a series, for its spectrum and for all else
LEAST_SPECTRUM, WINDOW = 128, 64  # places; of a series half as long as eight windows the half
BANDS, TIMES = 16, 8  # of the spectrum
ALIKE = 0.1  # correlation of neighbours up to four places away, in rows that are series; 0.01 by chance
MOST_COLUMNS = 6  # of one
WORDS = 256  # that are told apart
FILTERS = 64
CHUNK = 64  # images: what the filters give for so many fits into a cache
DECAYS = (1e-3, 1e-2, 1e-1, 1.0)  # of the ridge; the one that predicts held-out samples best is taken


def as_images(x: torch.Tensor) -> torch.Tensor:
    """float32 (n, channels, height, width) of what a network is fed.

    Rows of numbers become (n, numbers, 1, 1), rows of whole numbers, as of a text, with how often each occurs beside
    them; series become (n, columns, places, 1); of clips and volumes each plane is a channel.
    """
    if not x.is_floating_point() and x.ndim == 2:
        return torch.cat([x.float(), _counts(x)], 1)[:, :, None, None]
    x = x.float()
    if x.ndim > 4:
        x = x.flatten(1, -3)
    if x.ndim == 4 and x.shape[1] > 4 >= x.shape[3]:
        x = x.permute(0, 3, 1, 2)
    elif x.ndim == 3 and min(x.shape[1:]) < MOST_COLUMNS < max(x.shape[1:]):
        x = (x if x.shape[1] < x.shape[2] else x.transpose(1, 2))[..., None]
    elif x.ndim == 3:
        x = x[:, None]
    elif x.ndim != 4:
        x = x.reshape(len(x), -1, 1, 1)
    most = MOST_SIDE if x.shape[3] > 1 else MOST_PLACES
    sides = min(x.shape[2], most), min(x.shape[3], most)
    return x if sides == x.shape[2:] else F.adaptive_avg_pool2d(x, sides)


def _counts(x: torch.Tensor) -> torch.Tensor:
    """(n, WORDS) how often each word is in a row; zero, which mostly fills up, counts as any other."""
    counts = torch.zeros(len(x), WORDS)
    return counts.scatter_add_(1, x.long() % WORDS, torch.ones(x.shape)).sqrt()


class Features:
    """(n, channels, height, width) to (n, features), by what the given images are like."""

    def __init__(self, images: torch.Tensor):
        self._has_spectrum, self._loudness = _is_long_series(images), images.std().clamp_min(1e-12)
        small = self._small(images)
        channels, height, width = small.shape[1:]
        self._mean = small.mean((0, 2, 3), keepdim=True)
        self._std = _where_any(small.std((0, 2, 3), keepdim=True))
        self._patch = tuple(5 if side >= 16 else 3 if side >= 6 else 1 for side in (height, width))
        if self._patch != (1, 1):
            self._filters, self._bias = self._made_filters((small - self._mean) / self._std)
        raw = self._raw(images)
        self._centre, self._scale = raw.mean(0), _where_any(raw.std(0))
        pixels = min(8, height) * min(8, width) * channels
        spectrum = self._spectrum(images[:1]).shape[1] if self._has_spectrum else 0
        # Pixels, patches and the spectrum weigh the same, however many numbers each has.
        for part in self._scale.split([pixels, raw.shape[1] - pixels - spectrum, spectrum]):
            part *= max(1, len(part)) ** 0.5

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return (self._raw(images) - self._centre) / self._scale

    def _raw(self, images: torch.Tensor) -> torch.Tensor:
        spectrum = [self._spectrum(images)] if self._has_spectrum else []
        images = (self._small(images) - self._mean) / self._std
        height, width = images.shape[2:]
        parts = [F.adaptive_avg_pool2d(images, (min(8, height), min(8, width))).flatten(1)]
        if self._patch != (1, 1):
            parts.append(torch.cat([self._responses(each) for each in images.split(CHUNK)]))
        return torch.cat([*parts, *spectrum], 1)

    @staticmethod
    def _small(images: torch.Tensor) -> torch.Tensor:
        """Long series averaged down."""
        is_long = images.shape[3] == 1 and images.shape[2] > MOST_PIXELS
        return F.adaptive_avg_pool2d(images, (MOST_PIXELS, 1)) if is_long else images

    def _spectrum(self, images: torch.Tensor) -> torch.Tensor:
        """How much of each band of frequencies there is at each time."""
        if images.shape[2] == 1:
            images = images.transpose(1, 2)  # rows that are series
        window = WINDOW if images.shape[2] >= 8 * WINDOW else WINDOW // 2
        series = (images / self._loudness)[..., 0].flatten(0, 1)
        found = torch.stft(series, window, window // 4, window=torch.hann_window(window), return_complex=True)
        return F.adaptive_avg_pool2d(found.abs().log1p()[:, None], (BANDS, TIMES)).reshape(len(images), -1)

    def _responses(self, images: torch.Tensor) -> torch.Tensor:
        """How much of each filter, and of its opposite, there is in each ninth of the picture."""
        found = F.conv2d(images, self._filters, -self._bias, stride=1 if images.shape[3] < 24 else 2)
        ninths = min(3, found.shape[2]), min(3, found.shape[3])
        mean = F.adaptive_avg_pool2d(found, ninths).flatten(1)
        positive = F.adaptive_avg_pool2d(found.relu_(), ninths).flatten(1)
        return torch.cat([positive, positive - mean], 1)

    def _made_filters(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Random patches, whitened; the bias takes the mean patch away."""
        size, numbers = self._patch, images.shape[1] * self._patch[0] * self._patch[1]
        chance = torch.Generator().manual_seed(0)
        rows = torch.randperm(len(images), generator=chance)[:300]
        patches = F.unfold(images[rows], size).transpose(1, 2).reshape(-1, numbers)
        patches = patches[torch.randperm(len(patches), generator=chance)[:5000]]
        mean = patches.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T).reshape(len(mean), len(mean)))
        whiten = vectors @ torch.diag((values.clamp_min(0) + 0.1).rsqrt()) @ vectors.T
        chosen = (patches[:FILTERS] - mean) @ whiten
        filters = F.normalize(chosen, dim=1) @ whiten
        return filters.reshape(-1, images.shape[1], *size), filters @ mean


def _is_long_series(images: torch.Tensor) -> bool:
    """Of (n, columns, places, 1), or of rows (n, places, 1, 1) whose neighbours are alike, as those of a table are not
    by themselves."""
    columns, height, width = images.shape[1:]
    if width > 1 or height > 1:
        return width == 1 and height >= LEAST_SPECTRUM
    if columns < LEAST_SPECTRUM:
        return False
    rows = images[..., 0, 0] - images[..., 0, 0].mean(0)
    rows = rows / _where_any(rows.std(0))
    return max(abs(float((rows[:, by:] * rows[:, :-by]).mean())) for by in (1, 2, 3, 4)) > ALIKE


def _where_any(deviation: torch.Tensor) -> torch.Tensor:
    """What is the same in all images says nothing, and is left as it is."""
    return torch.where(deviation < 1e-6, 1.0, deviation)


class Learner:
    """Learns targets (n, outputs) from images (n, channels, height, width)."""

    def __init__(self, images: torch.Tensor, targets: torch.Tensor):
        self.features = Features(images)
        self._seen = self.features(images).double()
        self.targets = targets.double()
        distances = torch.cdist(self._seen, self._seen).square()
        self._width = distances.flatten()[:: max(1, distances.numel() // 100_000)].median().clamp_min(1e-12)
        self._values, self._vectors = torch.linalg.eigh(torch.exp(-distances / self._width))
        self._squares = self._vectors.square()
        self.decay = min(DECAYS, key=lambda decay: float((self._leave_one_out(decay) - self.targets).square().sum()))
        shrunk = self._vectors @ ((self._vectors.T @ self._centred) / (self._values + self.decay)[:, None])
        self._weights = shrunk

    @functools.cached_property
    def held_out(self) -> torch.Tensor:
        """(n, outputs): for each image what a learner says that saw all others."""
        return self._leave_one_out(self.decay)

    def held_out_if(self, targets: torch.Tensor) -> torch.Tensor:
        """The same had the targets been these, e.g. shuffled ones: what chance alone gives."""
        return self._leave_one_out(self.decay, targets.double())

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """(n, outputs) for images it has not seen."""
        kernel = torch.exp(-torch.cdist(self.features(images).double(), self._seen).square() / self._width)
        return kernel @ self._weights + self.targets.mean(0)

    @property
    def _centred(self) -> torch.Tensor:
        return self.targets - self.targets.mean(0)

    def _leave_one_out(self, decay: float, targets: torch.Tensor | None = None) -> torch.Tensor:
        targets = self.targets if targets is None else targets
        centred = targets - targets.mean(0)
        shrink = self._values.clamp_min(0) / (self._values.clamp_min(0) + decay)
        fitted = self._vectors @ (shrink[:, None] * (self._vectors.T @ centred))
        leverage = (self._squares @ shrink).clamp_max(1 - 1e-6)[:, None]
        return targets - (centred - fitted) / (1 - leverage)
