"""Label errors: samples whose label the other samples speak against.

Each sample's label is predicted from all others: kernel ridge regression on the labels, whose leave-one-out answers
have a closed form (Allen 1974), so that no sample is judged by a model that saw its label. The answers become
probabilities by a model of how labels are made: the picture tells the true class with a softmax whose sharpness is
fitted, and a label is then mistaken at a rate and into classes that are fitted with it, by expectation maximisation
(Dawid and Skene 1979). So the rate of errors, and with it the number of findings, is the data's own. A second round
learns from what the first believes in place of the labels.
"""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from recipe_core.data.embeddings import Embeddings
from recipe_core.data.embeddings.segments import Vectors
from recipe_core.data.embeddings.space import main_axes

DIMS = 512  # principal components of the vectors
LANDMARKS = 2000  # pictures whose likeness to a picture are the features that the regression sees (Nystroem)
RIDGE = 0.3
ROUNDS, STEPS = 2, 40
FIRST_RATE = 0.3  # of errors; from a low one the fit may end where the pictures tell little and few labels are wrong
CANDIDATES = 20  # classes that are considered of each sample, its own among them
SHARPNESS = np.exp(np.linspace(-1, 2.5, 25))
PAIRED_CLASSES = 300  # up to so many, which class is mistaken for which is learned; beyond, only how often
SMALLEST_CLASS = 5  # samples below which nothing is said of a class
SUSPECTS = 20_000  # of which the pictures that speak for either label are kept
SHOWN = 4
BLOCK = 2048


def label_errors(embedded: Embeddings) -> pa.Table:
    """What speaks against each label, as analyses.LABEL_ERRORS has it.

    `wrong` is 0 to 1, null where nothing can be said; `for_given` and `for_suggested` are contents, the nearest first.
    """
    names, classes = embedded.classes
    counts = np.append(np.bincount(classes[classes >= 0], minlength=len(names)), 0)  # the last: without a label
    rows = np.flatnonzero(counts[classes] >= SMALLEST_CLASS)
    wrong, suggested = np.full(len(classes), np.nan), np.full(len(classes), -1)
    near: list[list[list[str]]] = [[[] for _ in range(len(classes))] for _ in range(2)]
    kept, labels = np.unique(classes[rows], return_inverse=True)
    if len(kept) > 1:
        points = components(embedded.vectors, rows)
        wrong[rows], other = judge(points, labels)
        suggested[rows] = kept[other]
        worst = np.argsort(-wrong[rows], kind="stable")[:SUSPECTS]
        for place, spoken_for in enumerate((labels, other)):
            for row, found in zip(worst, _nearest_of(points, labels, worst, spoken_for[worst]), strict=True):
                near[place][rows[row]] = embedded.contents[rows[found]].tolist()
    return pa.table(
        {
            "content": embedded.rows["content"],
            "given": embedded.rows["label"],
            "wrong": pa.array(wrong, from_pandas=True),
            "suggested": pa.array([names[number] if number >= 0 else None for number in suggested], pa.string()),
            "for_given": pa.array(near[0], pa.list_(pa.string())),
            "for_suggested": pa.array(near[1], pa.list_(pa.string())),
        }
    )


def components(vectors: Vectors, rows: np.ndarray) -> np.ndarray:
    """The vectors of some rows, roots of all numbers standardised, by principal components: float32 (rows, dims)."""
    width = vectors.shape[1]
    total, squares = torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64)
    for start in range(0, len(rows), BLOCK):
        block = _roots(vectors[rows[start : start + BLOCK]])
        total += block.sum(0)
        squares += (block.T @ block).double()
    mean = total / len(rows)
    covariance = squares / len(rows) - torch.outer(mean, mean)
    spread = covariance.diagonal().clamp(min=1e-8).sqrt()
    axes = torch.from_numpy(main_axes((covariance / torch.outer(spread, spread)).numpy(), DIMS).copy())
    axes = (axes / spread[:, None]).float()
    points = np.empty((len(rows), axes.shape[1]), np.float32)
    for start in range(0, len(rows), BLOCK):
        points[start : start + BLOCK] = (_roots(vectors[rows[start : start + BLOCK]]) - mean.float()) @ axes
    return points


def _roots(block: np.ndarray) -> torch.Tensor:
    found = torch.from_numpy(block)
    return found.sign() * found.abs().sqrt()


def judge(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How likely each label is wrong, and which class is the likeliest other one.

    Args:
        points: float32 (n, dims), as `components` gives them.
        labels: int (n,), 0 to k - 1, at least two classes.

    Returns:
        Probabilities (n,), and int (n,).
    """
    features, classes = _Landmarks.among(points), int(labels.max()) + 1
    belief, among = torch.ones(len(labels), 1), torch.from_numpy(labels)[:, None]
    for _ in range(ROUNDS):
        scores, rest, among = features.left_out(among, belief, labels, classes)
        belief = _believed(scores, rest, among, classes)
    other = among.gather(1, belief[:, 1:].argmax(1, keepdim=True) + 1)[:, 0]
    return (1 - belief[:, 0]).double().clamp(0, 1).numpy(), other.numpy()


@dataclass(frozen=True)
class _Landmarks:
    """Features of a Gaussian kernel by landmarks (Williams and Seeger 2001), and the regression on them."""

    points: torch.Tensor
    marks: torch.Tensor
    width: float
    half: torch.Tensor  # of the inverse of the kernel between landmarks

    @classmethod
    def among(cls, points: np.ndarray) -> "_Landmarks":
        chosen = np.random.default_rng(0).permutation(len(points))[:LANDMARKS]
        marks = torch.from_numpy(points[chosen])
        squared = torch.cdist(marks, marks) ** 2
        width = float(squared.median().clamp(min=1e-6))
        values, axes = torch.linalg.eigh(torch.exp(-squared / width).double())
        return cls(torch.from_numpy(points), marks, width, (axes * values.clamp(min=1e-6).rsqrt()).float())

    def blocks(self):
        for start in range(0, len(self.points), BLOCK):
            squared = torch.cdist(self.points[start : start + BLOCK], self.marks) ** 2
            yield slice(start, start + BLOCK), torch.exp(-squared / self.width) @ self.half

    def left_out(
        self, among: torch.Tensor, belief: torch.Tensor, labels: np.ndarray, classes: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What all others say of each sample.

        Returns:
            The scores of CANDIDATES classes, the given one first; the mean score of all other classes; and which
            classes they are.
        """
        width = self.half.shape[1]
        square = RIDGE * torch.eye(width, dtype=torch.float64)
        product = torch.zeros(width, classes)
        share = torch.zeros(classes).index_add_(0, among.flatten(), belief.flatten()) / len(belief)
        for rows, block in self.blocks():
            square += block.T @ block
            product += block.T @ _targets(among[rows], belief[rows], share)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(square)).float()
        weights, given = inverse @ product, torch.from_numpy(labels)[:, None]
        scores, rests, which = [], [], []
        for rows, block in self.blocks():
            own = ((block @ inverse) * block).sum(1, keepdim=True).clamp(max=0.999)
            left = (block @ weights - own * _targets(among[rows], belief[rows], share)) / (1 - own)
            total, first = left.sum(1, keepdim=True), left.gather(1, given[rows])
            left.scatter_(1, given[rows], -torch.inf)
            best = left.topk(min(CANDIDATES, classes) - 1)
            scores.append(torch.cat([first, best.values], 1))
            rests.append((total - scores[-1].sum(1, keepdim=True)) / max(1, classes - scores[-1].shape[1]))
            which.append(torch.cat([given[rows], best.indices], 1))
        return torch.cat(scores), torch.cat(rests), torch.cat(which)


def _targets(among: torch.Tensor, belief: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(among), len(share)).scatter_(1, among, belief) - share


def _believed(scores: torch.Tensor, rest: torch.Tensor, among: torch.Tensor, classes: int) -> torch.Tensor:
    """How likely each candidate is the true class, given the label, which is the first candidate: (n, candidates)."""
    middle = scores.mean(1, keepdim=True)
    scale = (scores - middle).max(1).values.mean().clamp(min=1e-6)
    scores, rest, others = (scores - middle) / scale, (rest - middle) / scale, classes - scores.shape[1]

    def softmax(by: float) -> torch.Tensor:
        # The classes that are no candidates count, too: else a softmax that tells little would fit many classes best.
        logits = torch.cat([scores * by, rest * by + (math.log(others) if others else -math.inf)], 1)
        return torch.softmax(logits, 1)[:, :-1]

    given, paired = among[:, :1].expand_as(among), classes <= PAIRED_CLASSES
    pair = among * classes + given
    rate, mistaken = FIRST_RATE, torch.full((classes * classes,), 1 / (classes - 1)) if paired else None
    for _ in range(STEPS):
        taken = mistaken[pair] if mistaken is not None else torch.full_like(scores, 1 / (classes - 1))
        link = rate * taken
        link[:, 0] = 1 - rate
        told = [(softmax(float(by)) * link).sum(1).clamp(min=1e-9).log().mean() for by in SHARPNESS]
        joint = softmax(float(SHARPNESS[int(torch.stack(told).argmax())])) * link
        belief = joint / joint.sum(1, keepdim=True).clamp(min=1e-12)
        rate = float(1 - belief[:, 0].mean())
        if mistaken is not None:
            count = torch.zeros(classes * classes).index_add_(0, pair[:, 1:].flatten(), belief[:, 1:].flatten())
            count = (count + 0.1 + 2 * count.sum() / (classes * (classes - 1))).view(classes, classes)
            count.fill_diagonal_(0)
            mistaken = (count / count.sum(1, keepdim=True)).flatten()
    return belief


def _nearest_of(points: np.ndarray, labels: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """The SHOWN nearest of each of these rows among the others with the wanted label, nearest first."""
    found: dict[int, np.ndarray] = {}
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(labels.max() + 2))
    for label in np.unique(wanted):
        members = order[ends[label] : ends[label + 1]]
        mine = np.flatnonzero(wanted == label)
        for start in range(0, len(mine), 256):
            some = rows[mine[start : start + 256]]
            far = torch.cdist(torch.from_numpy(points[some]), torch.from_numpy(points[members]))
            far[torch.from_numpy(some)[:, None] == torch.from_numpy(members)[None]] = torch.inf
            near = far.topk(min(SHOWN + 1, len(members)), largest=False)
            for number, which, away in zip(mine[start : start + 256], near.indices, near.values, strict=True):
                found[int(number)] = members[which[torch.isfinite(away)][:SHOWN].numpy()]
    return [found[number] for number in range(len(rows))]
