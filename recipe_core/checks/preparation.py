"""Are validation images prepared as training images are?"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch.nn import functional as F

from recipe_core.checks.augmentation import changes_from_pass_to_pass
from recipe_core.checks.leak import FAMILY, relatives
from recipe_core.checks.learner import Learner, as_images
from recipe_core.checks.lessons import Lessons, lesson, lessons
from recipe_core.checks.numbering import AS_GOOD, LEARNT, numbered
from recipe_core.checks.overlap import are_windows
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.undoing import ASKED, GAIN, best_change, gained, told_right

SURE = 5.0  # deviations
SHIFT, SCALE = 0.5, 1.6  # of mean (in deviations) and deviation, beyond which no other choice of samples is the reason
RESPLITS = 200  # of all images at random
MOSTLY_CONSTANT = 8.0  # times the score that begins to count
OF_TIMES = 5.0  # deviations, and times, by which a series' mean and deviation may change
NOISE_ASIDE = 0.2  # of the largest deviation of a column
FEW_VARY = 20  # samples whose numbers make a column's variance: by chance one split may have none of them
BEYOND_CHANCE = 1.5  # times the largest difference of these
PROBED = 250  # images of a split that a learner is to tell apart
FEWEST = 100  # fewer could be told apart by chance
APART = 0.95  # share of images; other shares of the classes, or another source, leave more in doubt
# Of all samples, how many more validation tells of itself than training tells of it, and training of itself than of
# validation: of 333 correct pipelines 0.08 and 0.16 at most, but for splits with relatives within.
LOST, LOST_IN_ROWS, MISSED = 0.2, 0.08, 0.3
BANDS = (0.2, 0.3, 0.4, 0.5)  # of frequencies, cycles a pixel
# Of the most in a band, that is in each: 0.89 and more where noise was added, 0.66 and less where photographs, textures
# and digits were blurred.
EVEN = 0.75
BLUR = 3.0  # times less fine detail, or colour
OTHER_SHARES = 0.2  # of the samples, which are of other classes in the other split
RARER = 0.3  # deviations, by which the mean of targets of yes or no is another one
GREY = 0.03  # share of the variance between channels; photographs in colour have 0.05 and more
BLUR_SURE = 1.8  # the same where no augmentation changes it

OTHERWISE = Cause(
    "validation-prepared-differently",
    "Validation samples reach the network in another form than training samples (other normalisation, order of "
    "channels, orientation, resolution), so that the metrics tell little.",
    "Use one function for what both splits have in common (decode, resize, normalise); augment in training only.",
    0.8,
    follows=("augmentation-changes-label", "classes-missing"),
)


@check(family="data", stage=1, cost=3, causes=[OTHERWISE])
def validation_is_prepared_like_training(subject: Subject) -> Iterator[Result]:
    """Pixels of both splits have about the same mean, deviation and sharpness, and what a reference learner learns from
    training holds best for validation images as they are, not turned, mirrored, inverted or with channels swapped."""
    both = subject.once(lessons)
    if not both.usable:
        yield skipped("All samples are the same, or some are no finite numbers.")
        return
    found = _declared(subject)
    if not found and len(both.train.images.unique(dim=0)) < len(both.train.images) / 2:
        yield skipped("Training shows the same few samples again and again, of which not much can be told.")
        return
    found = found or _statistics(subject, both) or _changed_back(subject, both)
    if _same_classes(both):
        found = found or _told_apart(subject, both) or _holds_less(subject, both)
        found = found or _codes_hold_less(subject)
    if found and not _beyond_any_time(both) and are_windows(subject.drawn_train.x):
        found = OTHERWISE.unsure(f"{found.message} All are windows of one series: is validation of a later time?", 0.3)
    yield found or passed("Pixel statistics are alike, and no other orientation or order of channels fits better.")


def _same_classes(both: Lessons) -> bool:
    """Whether both splits have samples of the same classes: others look and are told otherwise by themselves."""
    if both.train.labels is None or both.val.labels is None:
        return True
    return set(both.train.labels.tolist()) == set(both.val.labels.tolist())


def _statistics(subject: Subject, both: Lessons) -> Result | None:
    """Differences of the pixels that are beyond what samples, or chance, make."""
    if not subject.drawn_train.x.is_floating_point() and subject.drawn_train.x.ndim == 2:
        return None  # texts have no pixels
    train, val = both.train.images, both.val.images
    random = changes_from_pass_to_pass(subject)
    mean, deviation = _moments(train)
    val_mean, val_deviation = _moments(val)
    shift, scale = _apart((mean, deviation), (val_mean, val_deviation))
    error = train.mean((2, 3)).std(0) / deviation.clamp_min(1e-9) * math.sqrt(1 / len(train) + 1 / len(val))
    scores = _scores(shift, scale)
    sure = (shift.abs() > SHIFT + SURE * error) | (scale.log().abs() > math.log(SCALE) + SURE * error)
    sure &= (scores > BEYOND_CHANCE * _scores_by_chance(train, val)) & (_samples_that_vary(train, val) > FEW_VARY)
    if random:
        sure &= ~_by_noise(deviation, val_deviation) | (shift.abs() > SHIFT)
    worst = int(torch.where(sure, scores, 0).argmax())
    table = [
        {"split": name, "mean": each[0].tolist(), "deviation": each[1].tolist()}
        for name, each in (("training", (mean, deviation)), ("validation", (val_mean, val_deviation)))
    ]
    # Augmentation moves the statistics of training images by itself: then the learner must say so, too.
    if bool(sure.any()) and (
        not random or gained(both, _matched(mean, deviation, val_mean, val_deviation)) > 0 or _far(shift, scale)
    ):
        return OTHERWISE.failed(
            f"In channel {worst} training pixels have mean {float(mean[worst]):.3g} and deviation "
            f"{float(deviation[worst]):.3g}, validation pixels {float(val_mean[worst]):.3g} and "
            f"{float(val_deviation[worst]):.3g}.",
            table=table,
        )
    detail, val_detail = _detail(train), _detail(val)
    blur = BLUR if random else BLUR_SURE
    blurred = val_detail * blur < detail and not (random and _adds_noise(train, val))
    if blurred or (detail * blur < val_detail and not random):
        return OTHERWISE.failed(
            f"Fine detail makes up {val_detail:.2%} of the variance of validation images and {detail:.2%} of that of "
            "training images: one of them is blurred or scaled up."
        )
    colour, val_colour = _colour(train), _colour(val)
    # Augmentation makes pictures more colourful, too; grey ones have hardly any colour at all.
    if val_colour < min(GREY, colour / BLUR) or (colour < min(GREY, val_colour / BLUR) and not random):
        return OTHERWISE.failed(
            f"Channels differ by {val_colour:.2%} of the variance in validation images and by {colour:.2%} in training "
            "images: one of them is grey."
        )
    return None


Moments = tuple[torch.Tensor, torch.Tensor]  # mean and deviation of each channel


def _apart(one: Moments, other: Moments) -> Moments:
    """Of each channel by how many deviations the means differ, and how many times as large the other deviation is."""
    least = 1e-6 * float(torch.stack([one[1], other[1]]).max()) + 1e-30  # of a channel that is constant
    deviation = one[1].clamp_min(least)
    return (other[0] - one[0]) / deviation, other[1].clamp_min(least) / deviation


def _scores(shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """How far each channel is from where a difference begins to count, which is 1."""
    return (shift.abs() / SHIFT).maximum(scale.log().abs() / math.log(SCALE))


def _scores_by_chance(train: torch.Tensor, val: torch.Tensor) -> torch.Tensor:
    """Of each channel the largest score where the same images are split at random: what is hardly ever other than zero,
    as a rare category of a table, may be so in one split only."""
    images, chance = torch.cat([train, val]).double(), torch.Generator().manual_seed(0)
    means, squares = images.mean((2, 3)), images.square().mean((2, 3))
    first = torch.zeros(RESPLITS, len(images), dtype=torch.float64)  # whether it is in the first part of a split
    for each in first:
        each[torch.randperm(len(images), generator=chance)[: len(train)]] = 1

    def moments(within: torch.Tensor) -> Moments:
        count = within.sum(1, keepdim=True)
        mean = within @ means / count
        return mean, (within @ squares / count - mean.square()).clamp_min(0).sqrt()

    found = _scores(*_apart(moments(first), moments(1 - first)))
    # Of many columns one goes beyond its own chance: by how much, the farthest split of each tells beside the next.
    # What is constant in some splits may be so in any.
    highest, second = found.topk(2, 0).values
    usual = highest < MOSTLY_CONSTANT
    beyond = (highest / second.clamp_min(1e-9))[usual]
    return highest * (beyond.amax() if len(beyond) else 1.0)


def _colour(images: torch.Tensor) -> float:
    """The share of the variance that is between the first two channels."""
    if images.shape[1] != 3:
        return 1.0
    apart = (images[:, 0] - images[:, 1]).var() / images.var().clamp_min(1e-12)
    return float(apart)


def _changed_back(subject: Subject, both: Lessons) -> Result | None:
    """A change of validation images after which what was learnt in training holds much better for them, and better than
    under other class numbers."""
    undone = subject.once(best_change)
    renumbered = subject.once(numbered) if undone.best else []
    if (
        not undone.best
        or undone.right < GAIN
        or any(each.evidence["in_validation"] > undone.right + AS_GOOD for each in renumbered)
    ):
        return None
    if min(both.train.strength, both.val.strength) < LEARNT:
        return None  # labels of one that tell nothing hold for the other by chance
    of = "validation images" if both.val.labels is not None else "variance of the validation targets"
    return OTHERWISE.failed(
        f"What is learnt in training tells {undone.right:.0%} of the {of} when images are {undone.best}, "
        f"{max(0.0, undone.before):.0%} as they are.",
        table=[{"validation images": name, "gain": gain} for name, gain in undone.gains.items()],
    )


def _declared(subject: Subject) -> Result | None:
    """The pipeline's two preparations of the same raw images."""
    pipeline, raw = subject.pipeline, subject.raw_train
    if pipeline.preprocess_train is None or pipeline.preprocess_eval is None or raw is None:
        return None
    x = raw.x[:ASKED]
    one, other = (as_images(prepare(x.clone())) for prepare in (pipeline.preprocess_train, pipeline.preprocess_eval))
    if one.shape[1] != other.shape[1]:
        return None
    (mean, deviation), (val_mean, val_deviation) = _moments(one), _moments(other)
    shift, scale = _apart((mean, deviation), (val_mean, val_deviation))
    scores = _scores(shift, scale)
    if not bool((scores > 1).any()):
        return None
    worst = int(scores.argmax())
    return OTHERWISE.failed(
        f"Of the same raw images preprocess_train makes pixels of mean {float(mean[worst]):.3g} and deviation "
        f"{float(deviation[worst]):.3g}, preprocess_eval of {float(val_mean[worst]):.3g} and "
        f"{float(val_deviation[worst]):.3g}."
    )


def _told_apart(subject: Subject, both: Lessons) -> Result | None:
    """A learner that tells of nearly every image which split it is from: of splits made by chance it knows nothing."""
    if changes_from_pass_to_pass(subject):
        return None
    size = min(len(both.train.images), len(both.val.images), PROBED)
    if size < FEWEST:
        return None
    images = torch.cat([both.train.images[:size], both.val.images[:size]])
    sides = torch.cat([torch.ones(size), -torch.ones(size)])[:, None]
    right = (Learner(images, sides).held_out * sides > 0).double().mean()
    # Of a family in one split, each is known by the others.
    if float(right) < APART or any(relatives(each.images) > FAMILY for each in (both.train, both.val)):
        return None
    return OTHERWISE.failed(
        f"By the samples alone a learner tells for {float(right):.0%} of them whether they are for training or for "
        "validation; of splits made by chance it would be half.",
        told_apart=float(right),
    )


def _holds_less(subject: Subject, both: Lessons) -> Result | None:
    """What `_lost` says, unless images come in families: relatives tell of each other what is no knowledge of anything
    else. Texts have none. What is learnt under noise that chance adds in training only need not hold without."""
    found = _lost(subject, both)
    if not found or not subject.drawn_train.x.is_floating_point():
        return found
    noisy = changes_from_pass_to_pass(subject) and _adds_noise(both.train.images, both.val.images)
    return None if noisy or any(relatives(split.images) > FAMILY for split in (both.train, both.val)) else found


def _lost(subject: Subject, both: Lessons) -> Result | None:
    """Fewer validation images that tell more of each other than all of training does: each split can be learnt, and
    what is learnt from one does not hold for the other."""
    splits = (both.train, both.val)
    few = min(len(split.images) for split in splits) < FEWEST
    if few or not both.comparable or _are_told_otherwise(subject, both):
        return None
    own = told_right(both.train, both.train.learner.held_out, both.places)
    among = told_right(both.val, both.val.learner.held_out, both.places)
    across = told_right(both.val, both.across_in_units, both.places)
    told = max(0.0, float(across.mean()))  # less is no knowledge, either
    lost, missed = float(among.mean()) - told, float(own.mean()) - told
    error = float((among - across).std()) / math.sqrt(len(across))
    most = LOST_IN_ROWS if subject.drawn_train.x.ndim == 2 else LOST
    if not (lost > max(most, SURE * error) and missed > most) and not (missed > MISSED and lost > -error):
        return None
    if subject.once(numbered):
        return None
    return OTHERWISE.failed(
        f"What is learnt of {len(own)} training samples tells {float(own.mean()):.0%} of others of them and "
        f"{told:.0%} of validation samples, {len(among)} of which tell "
        f"{float(among.mean()):.0%} of each other.",
        lost=lost,
    )


def _are_told_otherwise(subject: Subject, both: Lessons) -> bool:
    """Whether targets of several whole numbers have values in one split, as -1 where nothing is known, that the other
    lacks, or classes are more frequent in one, as where rare ones are drawn more often."""
    labels = both.train.labels, both.val.labels
    if labels[0] is not None and labels[1] is not None:
        size = int(torch.cat([each for each in labels if each is not None]).max()) + 1
        shares = [each.clamp_min(0).bincount(minlength=size) / len(each) for each in labels if each is not None]
        by_chance = math.sqrt(size / (2 * math.pi) * sum(1 / len(each) for each in labels if each is not None))
        return float((shares[0] - shares[1]).abs().sum()) / 2 > OTHER_SHARES + by_chance
    splits = [sample.y.flatten() for sample in (subject.drawn_train, subject.drawn_val)]
    if not subject.classes:
        shift = splits[0].float().mean() - splits[1].float().mean()
        return len(torch.cat(splits).unique()) == 2 and abs(float(shift)) > RARER * float(splits[0].float().std())
    known = [set(each.unique().tolist()) for each in splits]
    return known[0] != known[1] and not any(each.is_floating_point() for each in splits)


def _by_noise(deviation: torch.Tensor, val_deviation: torch.Tensor) -> torch.Tensor:
    """Of which columns the deviation in training is that of validation with noise added, as much as to the others: of
    what hardly varies that makes many times as much."""
    noise = (deviation.square() - val_deviation.square()).median().clamp_min(0)
    without = (deviation.square() - noise).clamp_min(0).sqrt()
    return (noise > 0) & ((without - val_deviation).abs() < NOISE_ASIDE * deviation.max())


def _far(shift: torch.Tensor, scale: torch.Tensor) -> bool:
    """Farther apart than any usual augmentation moves them."""
    return bool((shift.abs() > 4 * SHIFT).any() or (scale.log().abs() > 4 * math.log(SCALE)).any())


def _samples_that_vary(train: torch.Tensor, val: torch.Tensor) -> torch.Tensor:
    """About how many samples make the variance of a channel."""
    means = torch.cat([train, val]).double().mean((2, 3))
    squares = (means - means.mean(0)).square()
    return squares.sum(0).square() / squares.square().sum(0).clamp_min(1e-30)


def _codes_hold_less(subject: Subject) -> Result | None:
    """The same as of all inputs, of tables whose codes are told apart: to a learner they are numbers otherwise."""
    samples = subject.drawn_train, subject.drawn_val
    spelled = [subject.parts.spelled_out(sample.x) for sample in samples]
    if any(x is None for x in spelled):
        return None
    pairs = zip(spelled, samples, strict=True)
    both = Lessons(*(lesson(Sample([(x, sample.y)], True, 0.0), subject.classes) for x, sample in pairs))
    return _lost(subject, both) if both.usable else None


def _beyond_any_time(both: Lessons) -> bool:
    """Whether pixels of the splits are farther apart than one series' own of two times."""
    shift, scale = _apart(_moments(both.train.images), _moments(both.val.images))
    return bool((shift.abs() > OF_TIMES).any() or (scale.log().abs() > math.log(OF_TIMES)).any())


def _moments(images: torch.Tensor) -> Moments:
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


def _matched(mean, deviation, val_mean, val_deviation) -> Callable[[torch.Tensor], torch.Tensor]:
    """Gives validation images the moments of training images."""
    shape = (1, -1, 1, 1)
    ratio = deviation / val_deviation.clamp_min(1e-9)
    return lambda x: (x - val_mean.view(shape)) * ratio.view(shape) + mean.view(shape)


def _adds_noise(train: torch.Tensor, val: torch.Tensor) -> bool:
    """Whether training images have as much more than validation images of each of the finer frequencies, as where white
    noise is added: what blurring takes away are rather the coarser ones of these, of which pictures have more."""
    more = [one - other for one, other in zip(_spectrum(train), _spectrum(val), strict=True)]
    return min(more) > EVEN * max(more) > 0


def _spectrum(images: torch.Tensor) -> list[float]:
    """The mean power of images in bands of frequency, from a fifth of a cycle a pixel to the finest."""
    images = images - images.mean((2, 3), keepdim=True)
    power = torch.fft.fft2(images).abs().square().mean((0, 1)) / images[0, 0].numel()
    down, across = (torch.fft.fftfreq(side, device=images.device).abs() for side in images.shape[2:])
    frequency = torch.maximum(down[:, None], across[None])
    return [float(power[(frequency >= low) & (frequency <= high)].mean()) for low, high in pairwise(BANDS)]


def _detail(images: torch.Tensor) -> float:
    """The share of the variance that averaging over 3 x 3 pixels takes away."""
    if min(images.shape[2:]) < 6:
        return 1.0
    images = images - images.mean((2, 3), keepdim=True)
    fine = images - F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    return float(fine.square().mean() / images.square().mean().clamp_min(1e-12))
