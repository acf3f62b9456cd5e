"""What a pretrained network sees in pictures: pixels alone teach little about things at any place and of any colour.

both = subject.once(lessons_by_sight)  # like lessons(subject), of features where they tell more than pixels do
"""

import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.checks.lessons import Lessons, lesson, lessons
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.efficientnet import EfficientNetLite

SIDE = 64  # px that pictures are brought to: with 96 it takes twice as long and tells a tenth more
LEAST_SIDE = 12  # of pictures in which there is something to see
MOST = 600  # pictures of a sample: some 100 a second on a core
CHUNK = 32
EASY = 0.8  # of what there is to know, that is learnt from pixels
DARK, BRIGHT = 0.005, 0.995  # quantiles of all values, that are brought to 0 and 1
MOST_VALUES = 1_000_000  # that these are taken of


def lessons_by_sight(subject: Subject) -> Lessons:
    """Of both splits, as the pretrained network sees them, if more is learnt from that than from pixels."""
    pixels, eyes = subject.once(lessons), subject.once(sight)
    if eyes is None:
        return pixels
    splits = subject.drawn_train, subject.drawn_val
    features = Lessons(*(lesson(seen(subject, eyes, each), subject.classes) for each in splits))
    known = [each.train.known + each.val.known for each in (features, pixels)]
    return features if known[0] > known[1] else pixels


def sight(subject: Subject) -> nn.Module | None:
    """The network; None where there are no pictures with a class each, or pixels tell enough."""
    pixels, splits = subject.once(lessons), (subject.drawn_train, subject.drawn_val)
    if pixels.train.labels is None or pixels.val.labels is None or not all(_are_pictures(each.x) for each in splits):
        return None
    if max(pixels.train.known, pixels.val.known) > EASY:
        return None
    return EfficientNetLite(SIDE).eval()


def seen(subject: Subject, eyes: nn.Module, sample: Sample) -> Sample:
    """Features, (n, numbers), of some pictures of a sample in its order, and their targets."""
    rows = torch.arange(0, len(sample.x), -(-len(sample.x) // MOST))
    pictures, features = sample.x[rows].float(), []
    values = pictures.flatten()[:: 1 + pictures.numel() // MOST_VALUES]
    black, white = (float(values.quantile(each)) for each in (DARK, BRIGHT))
    for some in ((pictures - black) / max(white - black, 1e-12)).clamp(0, 1).split(CHUNK):
        subject.check_time()
        sized = F.interpolate(some, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1).expand(-1, 3, -1, -1)
        with torch.no_grad():
            features.append(eyes(sized.contiguous(memory_format=torch.channels_last)))
    return Sample([(torch.cat(features), sample.y[rows])], sample.complete, 0.0)


def _are_pictures(x: torch.Tensor) -> bool:
    return x.is_floating_point() and x.ndim == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) >= LEAST_SIDE
