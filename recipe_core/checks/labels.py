"""Do the labels belong to the images? A reference learner finds out, split by split and from one to the other."""

import math
import time
from collections.abc import Iterator

import torch
from torch import nn

from recipe_core.checks.augmentation import CHANGED, changes_from_pass_to_pass, items_change
from recipe_core.checks.blocks import wrong_block
from recipe_core.checks.confusions import (
    MOST_CLASSES,
    called_another,
    never_told_apart,
    parted_by_augmentation,
    surely_taken_for_each_other,
    taken_for_each_other,
)
from recipe_core.checks.leak import FAMILY, relatives, shared_by_the_splits
from recipe_core.checks.lessons import NOTHING, Lesson, Lessons, agreement, lesson, lessons
from recipe_core.checks.numbering import NUMBERED, numbered
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.sight import lessons_by_sight
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of
from recipe_core.checks.wanted import takes_the_opposite

FOUND = 6.0  # deviations of what shuffled labels give: sure that something can be learnt
ENOUGH = 200  # samples from which nothing learnt means that there is nothing to learn
MOST_OUTPUTS = 64  # targets of a sample that are looked at one by one
PER_CLASS = 10
FEW = 50
SHARE_OF_TIME = 0.15  # of the budget, that the model may be trained for
MOST_STEPS = 5000
STEPS_BETWEEN = 100  # looks at what a model in training says
PROBES = 8  # batches that a trained model is asked about
RARE = 0.02  # share of right labels that the learner contradicts most
# Share of wrong labels: a third is found in data from search engines, and training stands it.
NOISE = 0.34
RANDOM = 0.65  # of what labels drawn at random get wrong: of two classes that is little more than a third in all
DOUBTED = 0.12  # share that is worth a question
TOLD = 0.4  # share of a target's variance
SHARED = 0.2  # of the validation images

UNRELATED = Cause(
    "labels-unrelated",
    "The labels have nothing to do with their inputs: inputs and labels were ordered or shuffled apart.",
    "Shuffle, sort and split inputs and labels by the same indices; look at a batch with its labels.",
    1.0,
    follows=("targets-wrong-type", "inputs-constant"),
)
PARTLY = Cause(
    "labels-partly-wrong",
    "A large part of the labels do not belong to their inputs.",
    "Look at samples whose label the others contradict; find the part of the data where labels and inputs went apart.",
    0.7,
    follows=("validation-prepared-differently", "samples-drawn-unevenly", "samples-never-drawn"),
)


@check(family="data", stage=1, cost=5, causes=[UNRELATED, PARTLY, NUMBERED, CHANGED])
def labels_belong_to_their_images(subject: Subject) -> Iterator[Result]:
    """What a reference learner learns from most samples of a split holds for the others of it, and what it learns from
    the training split holds for validation under the same class numbers."""
    both = subject.once(lessons)
    if not both.usable:
        yield skipped("All samples are the same, or some are no finite numbers.")
        return
    found = False
    # What was learnt by heart of images that both splits have says nothing of the others' labels.
    known = shared_by_the_splits(subject) > SHARED
    seen = subject.once(lessons_by_sight)
    doubts = () if known else (*_partly(subject, seen), *_ambiguous(subject, seen))
    for each in (*_unrelated(subject, seen), *subject.once(numbered), *doubts):
        found = True
        yield each
        if each.cause == UNRELATED.id or each.cause == NUMBERED.id:
            return
    if not found and not known and seen.train.strength > FOUND and (block := wrong_block(subject)):
        found = True
        yield PARTLY.failed(
            f"Of training samples {block.first:,} to {block.last:,}, in the order of the dataset, held-out ones tell "
            f"{block.within:.0%} of the labels, as guessing does; of the others {block.outside:.0%}.",
            0.7,
            first=block.first,
            last=block.last,
        )
    if not found and not known and (doubt := _noisy(subject, seen)):
        found = True
        yield doubt
    if not found:
        said = "can be learnt" if seen.train.strength > NOTHING else "are too hard to learn to tell"
        strength = f"{seen.train.strength:.1f} deviations above what shuffled labels give"
        yield passed(f"The labels of held-out samples {said}: {strength} in training.")


def _unrelated(subject: Subject, both: Lessons) -> Iterator[Result]:
    for name, split, other in (("training", both.train, both.val), ("validation", both.val, both.train)):
        if not _enough(split) or not both.says_nothing(split, other):
            continue
        told = {"deviations": split.strength, "other_split": other.strength, "samples": len(split.images)}
        said = f"Nothing can be learnt about held-out samples of the {name} split"
        if other.first(len(split.images)).strength > FOUND:  # of as many samples: of fewer, less can be learnt
            flipped = name == "training" and _augmented(subject)
            yield (CHANGED if flipped else UNRELATED).failed(
                f"{said} ({split.strength:.1f} deviations above shuffled labels), much in the other split "
                f"({other.strength:.1f}).",
                **told,
            )
        elif (
            name == "training"
            and other.strength < NOTHING
            and all(_enough(each) and _others(each) >= FEW for each in (split, other))
            and not _model_learns(subject)
        ):
            said += f" nor of the other: labels do no better than shuffled ones ({split.strength:.1f} and "
            said += f"{other.strength:.1f} deviations)"
            # Pictures and series say something of what they are labelled by; the columns of a table need not.
            if _structured(subject) and not subject.once(takes_the_opposite):
                yield UNRELATED.failed(f"{said}.", **told)
            else:
                yield UNRELATED.unsure(f"{said}; is there so little to learn, or are rows and labels of two orders?")


def _enough(split: Lesson) -> bool:
    if not split.targets.any():
        return False  # all are the same
    classes = 1 if split.labels is None else len(split.labels.unique())
    return len(split.images) >= max(ENOUGH, PER_CLASS * classes) and (split.labels is None or classes > 1)


def _others(split: Lesson) -> int:
    """Samples that are not of the most frequent class: of a few nothing can be learnt however right they are."""
    return len(split.images) - (0 if split.labels is None else int(split.labels.bincount().max()))


def _model_learns(subject: Subject) -> bool:
    """Whether from what the pipeline's own model, after a while, says of validation images labels can be told: of a
    puzzle the reference learner learns nothing, the model may."""
    model, started = subject.model(), time.monotonic()
    seconds, every = SHARE_OF_TIME * subject.budget, len(subject.train.batches)
    for step in subject.steps(MOST_STEPS, model):
        late = time.monotonic() - started > seconds
        if not late and (step.index + 1) % every:
            continue
        with torch.no_grad():
            outputs = torch.cat([subject.outputs(subject.copy(model).eval(), x).cpu() for x, _ in subject.val.batches])
        said = lesson(Sample([(outputs.float(), subject.val.y)], True, 0.0), subject.classes)
        if said.usable and said.strength > FOUND:
            return True
        if late:
            break
    return False


def _own_errors(subject: Subject) -> float:
    """The least share of training images, augmented anew, that the pipeline's own model takes for another class while
    it is trained; 1 where that is not to be had."""
    model, clocks = subject.model(), (time.monotonic, time.process_time)
    started, least = [clock() for clock in clocks], 1.0
    for step in subject.steps(MOST_STEPS, model):
        # The less of both: neither other work on the machine nor many threads make a label wrong.
        spent = min(clock() - at for clock, at in zip(clocks, started, strict=True))
        late = spent > SHARE_OF_TIME * subject.budget
        if late or (step.index + 1) % STEPS_BETWEEN == 0:
            least = min(least, _mistaken(subject, subject.copy(model).eval()))
        if late or least <= NOISE:
            break
    return least


@torch.no_grad()
def _mistaken(subject: Subject, model: nn.Module) -> float:
    """The share of training images, augmented anew, that a model takes for another class; 1 where it says none."""
    classes, drawn = subject.classes, subject.drawn_train_again.batches[:PROBES]
    outputs = torch.cat([subject.outputs(model, x).float().cpu() for x, _ in drawn])
    labels = labels_of(torch.cat([y for _, y in drawn]), classes)
    if labels is None or outputs.ndim != 2 or outputs.shape[1] != classes:
        return 1.0
    return float((outputs.argmax(1) != labels).float().mean())


def _structured(subject: Subject) -> bool:
    """Whether neighbouring pixels, or places of a series, are alike, as in pictures and not in noise."""
    images = subject.once(lessons).train.images
    images = images - images.mean(0)
    if images.shape[3] == 1:
        images = images.transpose(2, 3)
    if images.shape[3] < 4 or 1 < images.shape[2] < 4:
        return False
    return float((images[..., 1:] * images[..., :-1]).mean() / images.square().mean().clamp_min(1e-12)) > 0.2


def _partly(subject: Subject, both: Lessons) -> Iterator[Result]:
    if both.train.labels is None or both.val.labels is None:
        return
    for name, split, other, said_of_other in (
        ("training", both.train, both.val, both.across),
        ("validation", both.val, both.train, both.back),
    ):
        # Of training samples little is learnt where as many of validation teach much; of fewer little may be learnt.
        known = other.first(len(split.images)) if name == "training" else split
        if min(other.strength, max(split.strength, known.strength)) < FOUND:
            continue
        share, error, where = _wrong_share(split, other, said_of_other)
        if share - 2 * error <= min(NOISE, RANDOM * _luckless(split)):
            continue
        told = {"share": share, "error": error}
        said = f"About {share:.0%} of the {name} labels{where} contradict their inputs"
        if name == "training" and _augmented(subject):
            # Images that are harder now may be so on purpose: of those nothing says clearly what they are instead, and
            # the pipeline's own model may learn them all the same.
            if _surely_another(both) > share / 3 and _own_errors(subject) > NOISE:
                yield CHANGED.failed(f"{said} as they are after augmentation.", 0.4 + 0.6 * min(1, share), **told)
        else:
            yield PARTLY.failed(
                f"{said}, judged by how what is learnt from them holds for the other split.",
                0.4 + 0.6 * min(1, share),
                **told,
            )


def _surely_another(both: Lessons) -> float:
    """The share of training samples for which what is learnt from validation is half as sure of another class, or
    more, as it mostly is of the right one of its own."""
    own = both.val.margins(both.val.learner.held_out)
    usual = own[own > 0].median() if bool((own > 0).any()) else own.new_zeros(())
    return float((both.train.margins(both.back) < -usual / 2).double().mean())


def _noisy(subject: Subject, both: Lessons) -> Result | None:
    """A question about wrong labels that may be known noise."""
    asked = both.train.labels is not None and both.val.labels is not None
    if not asked or both.val.strength < FOUND or changes_from_pass_to_pass(subject):
        return None
    if max(both.train.strength, both.val.first(len(both.train.images)).strength) < FOUND:
        return None
    share, error, where = _wrong_share(both.train, both.val, both.across)
    if share - 3 * error <= DOUBTED:
        return None
    return PARTLY.unsure(
        f"About {share:.0%} of the training labels{where} contradict their inputs, judged by how what is learnt from "
        "them holds for the other split: noise that was known, or did some inputs and labels go apart? A look at those "
        "that the others contradict settles it.",
        share=share,
        error=error,
    )


def _ambiguous(subject: Subject, both: Lessons) -> Iterator[Result]:
    """Two classes that are told apart in validation but each taken for the other in training, as after flips that
    leave the label; one of which most has another's label; or a target of which training tells nothing."""
    if min(both.train.strength, both.val.strength) < FOUND:
        return
    # Of a family in one split, as frames of a clip, each knows the others better than any of the other split does.
    pixels = subject.once(lessons)
    alone = not any(relatives(split.images) > FAMILY for split in (pixels.train, pixels.val))
    if alone and not changes_from_pass_to_pass(subject) and (said := called_another(both)):
        yield PARTLY.failed(said)
    elif said := (
        taken_for_each_other(both)
        or surely_taken_for_each_other(both)
        or (never_told_apart(both) if alone else "")
        or _untold(both)
    ):
        cause = CHANGED if _augmented(subject) else PARTLY
        yield cause.failed(said)
    elif said := _parted(subject):
        yield CHANGED.failed(said)


def _parted(subject: Subject) -> str:
    raw = _raw(subject) if changes_from_pass_to_pass(subject) else None
    return "" if raw is None else parted_by_augmentation(raw, subject.once(lessons).train)


def _untold(both: Lessons) -> str:
    """For regression: one of the targets."""
    outputs = both.train.targets.shape[1]
    if both.train.labels is not None or outputs != both.val.targets.shape[1] or outputs > MOST_OUTPUTS:
        return ""  # of the pixels of a map one or the other is untold by chance
    across = both.across
    for place in range(outputs):
        one = slice(place, place + 1)
        train = agreement(both.train.learner.held_out[:, one], both.train.targets[:, one])
        val = agreement(both.val.learner.held_out[:, one], both.val.targets[:, one])
        on_val = agreement(across[:, one], both.val.targets[:, one])
        both_vary = bool(both.places[place])
        if both_vary and val > TOLD and max(train, on_val) < val / 3 and _tells(both.val, place):
            return (
                f"Of target {place} held-out samples tell {val:.0%} of the variance in validation, but "
                f"{max(0, train):.0%} in training."
            )
    return ""


def _tells(split: Lesson, place: int) -> bool:
    """Whether what is learnt of one target is beyond what chance gives: a few samples may be all of its variance."""
    one = slice(place, place + 1)
    return Lesson(split.images, None, split.targets[:, one]).strength > FOUND


def _augmented(subject: Subject) -> bool:
    """Whether it is augmentation that parts labels and images: raw ones belong together, or there are none."""
    if not changes_from_pass_to_pass(subject):
        return False
    before, after = _raw(subject), subject.once(lessons).train
    if before is None:
        return True
    return before.known > after.known


def _raw(subject: Subject) -> Lesson | None:
    """What is learnt of raw training images; None where there are none that augmentation left alone."""
    if subject.raw_train is None or items_change(subject, subject.pipeline.train_loader):
        return None
    return lesson(subject.raw_train, subject.classes)


def _wrong_share(split: Lesson, other: Lesson, clean_scores: torch.Tensor) -> tuple[float, float, str]:
    """The share of wrong labels of a split, its standard error and where, if the other split's labels are right.

    A learner of the split is asked about held-out samples of it, and about the other split. By how much less its
    scores agree with the labels; and by how many labels it contradicts more than all but a few right ones (Northcutt
    et al. 2021 count those, too), of all classes or of one.

    Args:
        clean_scores: (n, classes) what is learnt from the split says of the other.
    """
    assert split.labels is not None and other.labels is not None
    scores = split.learner.held_out
    agree, wanted = agreement(scores, split.targets), agreement(clean_scores, other.targets)
    if wanted <= 0 or split.targets.shape[1] != other.targets.shape[1]:
        return 0.0, 1.0, ""
    count = min(len(split.images), len(other.images))
    # What agrees no more is drawn at random, as it were.
    luckless = _luckless(split)
    error = (agree / wanted + 0.1) / math.sqrt(count * max(wanted, 0.01))
    found = [(luckless * (1 - agree / wanted), luckless * error, "")]
    margins, bound = split.margins(scores), other.margins(clean_scores).quantile(RARE)
    contradicted = (margins < bound).double()
    found.append((*_share(contradicted), ""))
    if split.targets.shape[1] <= MOST_CLASSES:
        for each in split.labels.unique().tolist():
            own = contradicted[split.labels == each]
            usual = (other.margins(clean_scores)[other.labels == each] < bound).double()
            if len(own) >= 2 * PER_CLASS and len(usual) >= PER_CLASS:
                share, error = _share(own)
                # One class of several must be surer, and is measured by what is usual for it.
                found.append((share - float(usual.mean()), 2 * error, f" of class {each}"))
    return max(found, key=lambda each: each[0] - 2 * each[1])


def _luckless(split: Lesson) -> float:
    """The share of labels drawn at random that are wrong: by chance some are right."""
    assert split.labels is not None
    return 1 - float((torch.bincount(split.labels) / len(split.labels)).square().sum())


def _share(contradicted: torch.Tensor) -> tuple[float, float]:
    share = (float(contradicted.mean()) - RARE) / (1 - RARE)
    return share, math.sqrt(max(share * (1 - share), 0.02) / len(contradicted))
