"""Are the targets what the loss and the number of classes say they are?"""

import contextlib
import math
from collections.abc import Iterator

import torch

from recipe_core.checks.losses import rescales_targets
from recipe_core.checks.preparation import OTHERWISE
from recipe_core.checks.probe import names_classes, own_outputs
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import rehearsal
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import are_spread, can_say, labels_of, targets_are_read
from recipe_core.checks.wanted import is_error, right_outputs

IGNORED = -100  # the label that torch's losses leave out by default
SURE = 100.0  # logit
FAINT = 0.1  # of a share
LEAST_SHARE = 0.5  # that a target gives to its class
FEW_VALUES = 6  # of targets that may have been cut off
HARDLY_ANY = 2  # samples: of what is scaled to 0..1 and cut off, the largest alone is 1
MOST_TARGETS = 64  # of a sample
FEWEST, TIMES = 20, 3.0  # targets of a split; how many times as far, or as many deviations off
UNLIKELY = 1e-6  # that a class of the other split is missing by chance

WRONG_TYPE = Cause(
    "targets-wrong-type",
    "Targets have another shape or type than the outputs that they are compared with: they are broadcast against each "
    "other, so that each output is compared with all targets, or cut off to whole numbers.",
    "Give targets the shape and type of the outputs, for instance by targets.view_as(outputs).float(); fractions need "
    "floats from where the dataset makes them.",
    0.9,
)
OUT_OF_RANGE = Cause(
    "targets-out-of-range",
    "Targets lie outside of what the number of classes or the loss allows.",
    "Number classes from 0 to num_classes - 1; give shares between 0 and 1.",
    0.8,
)
NOT_FINITE = Cause(
    "targets-not-finite",
    "Targets hold NaN or infinity, which spreads to the loss and all weights.",
    "Leave out samples without a target, or mask their part of the loss.",
    1.0,
)
COUNTED = Cause(
    "ignored-targets-count",
    "Places that the targets mark to be left out count in the loss, as if they were of a class.",
    "Keep -100 as it is and give the loss ignore_index=-100, or multiply by a mask and divide by its sum.",
    0.7,
)
MISSING = Cause(
    "classes-missing",
    "A class has no samples in a split: it is never learnt, or never measured.",
    "Split by class (stratified) and after shuffling; check num_classes, and that class numbers begin with 0.",
    0.7,
    follows=("samples-drawn-unevenly", "samples-never-drawn", "validation-classes-differ", "targets-out-of-range"),
)


@check(family="data", stage=1, cost=0.3, causes=[WRONG_TYPE, OUT_OF_RANGE, COUNTED, NOT_FINITE])
def targets_fit_outputs_and_loss(subject: Subject) -> Iterator[Result]:
    """Each target is compared with its own output, and lies in the range that the loss is made for."""
    if broken := _not_finite(subject):
        yield broken
        return
    found = False
    for ask in (_range, _broadcast, _endless, _faint, _one_value, _left_out):  # the first needs no model that runs
        if result := ask(subject):
            found = True
            yield result
    if not found:
        yield passed("Targets have the shape of the outputs and values that the loss takes.")


def _not_finite(subject: Subject) -> Result | None:
    """Targets that are no finite numbers, unless the loss leaves them out."""
    for name, sample in (("training", subject.drawn_train), ("validation", subject.drawn_val)):
        for x, y in sample.batches:
            broken = ~y.isfinite().reshape(len(y), -1).all(1)
            if not bool(broken.any()):
                continue
            with torch.no_grad():
                loss = subject.loss(subject.model().eval(), (x, y))
            if bool(loss.isfinite().all()):
                return None
            count = int((~sample.y.isfinite().reshape(len(sample.y), -1).all(1)).sum())
            return NOT_FINITE.failed(
                f"{count} of {len(sample.y)} {name} targets are no finite numbers, nor is the loss."
            )
    return None


def _broadcast(subject: Subject) -> Result | None:
    x, y = subject.train.batches[0]
    with torch.no_grad():
        outputs = subject.outputs(subject.model().eval(), x)
    y = y.to(outputs.device)
    if outputs.shape == y.shape or outputs.numel() != y.numel() or len(y) < 2 or _in_one_shape(subject):
        return None
    loss = subject.pipeline.loss_fn
    with contextlib.suppress(RuntimeError, ValueError, TypeError):
        # Targets that vary: of equal ones every pairing has the same loss.
        varied = y if len(y.unique()) > 1 else torch.arange(len(y)).to(y).reshape(y.shape)
        right = right_outputs(subject, varied.cpu()).reshape(outputs.shape).to(outputs)
        if float(loss(right, varied)) < float(loss(right, varied.reshape(outputs.shape))):
            return None  # the loss brings both into one shape by itself, and does not expect it of the targets
        # Outputs that vary as much, too: those of a fresh model may be nearly equal.
        for each in (outputs, right):
            given, paired = float(loss(each, varied)), float(loss(each, varied.reshape(outputs.shape)))
            if not math.isclose(given, paired, rel_tol=1e-4, abs_tol=1e-6):
                shapes = f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(y.shape)}"
                return WRONG_TYPE.failed(f"The loss of {shapes} is {given:.4g}, of both in one shape {paired:.4g}.")
    return None


def _in_one_shape(subject: Subject) -> bool:
    """Whether the train step itself brings outputs and targets into one shape before they enter the loss."""
    pairs = [(call.outputs, call.targets) for call in subject.once(rehearsal).calls if call.factors]
    known = [(one.shape, other.shape) for one, other in pairs if one is not None and other is not None]
    return bool(known) and all(one == other for one, other in known)


def _range(subject: Subject) -> Result | None:
    classes = subject.classes
    for name, sample in (("training", subject.drawn_train), ("validation", subject.drawn_val)):
        y = sample.y
        if not classes or not len(y):
            continue
        if y.ndim == 1 and not y.is_floating_point():
            wrong = ((y < 0) & (y != IGNORED)) | (y >= classes)
            wrong &= ~((y < 0) & _means_negatives(subject, sample))
            bounds = f"0 to {classes - 1}"
        elif classes == 2 and y.is_floating_point() and y.numel() == len(y):
            wrong = ((y < -1e-6) | (y > 1 + 1e-6)).flatten() & ~_hinge(y)
            bounds = "0 to 1"
        elif y.ndim == 2 and y.is_floating_point() and y.shape[1] == classes and not is_error(subject):
            wrong = ((y < -1e-6) | (y > 1 + 1e-6)).any(1) & ~_hinge(y)
            if labels_of(y, classes) is not None and 0 < float(y.sum(1).max()) < LEAST_SHARE:
                return OUT_OF_RANGE.failed(
                    f"The {name} targets name one class each, and give it {float(y.max()):.3g} where the whole is 1."
                )
            bounds = "0 to 1"
        else:
            continue
        if wrong.any():
            return OUT_OF_RANGE.failed(
                f"{int(wrong.sum())} of {len(y)} {name} targets lie outside of {bounds}: "
                f"{float(y.min()):g} to {float(y.max()):g}."
            )
    return None


@torch.no_grad()
def _means_negatives(subject: Subject, sample: Sample) -> bool:
    """Whether the loss takes classes below zero, and not for the last ones, counted from the end: for samples without a
    label, say."""
    batch = next(((x, y) for x, y in sample.batches if bool((y < 0).any())), None)
    if batch is None:
        return False
    outputs, y = subject.outputs(subject.model().eval(), batch[0]), batch[1].to(subject.device)
    from_the_end = torch.where(y < 0, y + subject.classes, y)
    with contextlib.suppress(RuntimeError, ValueError, IndexError, TypeError):
        own, last = (float(subject.pipeline.loss_fn(outputs, each).mean()) for each in (y, from_the_end))
        return math.isfinite(own) and not math.isclose(own, last, rel_tol=1e-6)
    return False


def _endless(subject: Subject) -> Result | None:
    """Shares beyond 0 and 1, as masks of 0 and 255: surer outputs have less and less loss, far below zero."""
    x, y = subject.train.batches[0]
    with torch.no_grad():
        outputs = subject.outputs(subject.model().eval(), x)
    y = y.to(outputs.device)
    if outputs.shape != y.shape or not y.is_floating_point() or bool(((y >= 0) & (y <= 1)).all()):
        return None
    said, shares = torch.where(y > y.mean(), 1.0, -1.0), (y - y.min()) / (y.max() - y.min()).clamp_min(1e-9)
    with contextlib.suppress(RuntimeError, ValueError, TypeError):
        sure, surer, of_shares = (
            float(subject.pipeline.loss_fn(by * said, targets).mean())
            for by, targets in ((SURE, y), (10 * SURE, y), (SURE, shares))
        )
        # What is below zero for shares, too, is no loss of shares.
        if surer < 5 * sure < 0 <= of_shares:
            return OUT_OF_RANGE.failed(
                f"Targets lie between {float(y.min()):g} and {float(y.max()):g}, where the loss wants 0 to 1: it falls "
                f"without end, to {sure:.4g} for outputs of {SURE:g} and to {surer:.4g} for ten times as sure ones.",
                sure=sure,
                surer=surer,
            )
    return None


@torch.no_grad()
def _faint(subject: Subject) -> Result | None:
    """Shares that are nothing or next to nothing, as masks that were divided by 255 twice: the most that is said of a
    place is that it is hardly there."""
    x, y = subject.train.batches[0]
    outputs, values = subject.outputs(subject.model().eval(), x), subject.train.y.unique()
    y = y.to(outputs.device)
    if outputs.shape != y.shape or len(values) != 2 or float(values[0]) != 0 or not float(values[1]) < FAINT:
        return None
    there, high = (y > 0).float(), float(values[1])
    with contextlib.suppress(RuntimeError, ValueError, TypeError):
        for right in (SURE * (2 * there - 1), there):  # logits, or shares
            own, of_shares = (abs(float(subject.pipeline.loss_fn(right, each).mean())) for each in (y, there))
            if of_shares < FAINT and of_shares < FAINT * own:
                return OUT_OF_RANGE.failed(
                    f"All targets are 0 or {high:.4g}, where the loss wants up to 1: outputs that say surely which are "
                    f"above 0 have a loss of {own:.4g}, and of {of_shares:.4g} if these were 1."
                )
    return None


def _hinge(y: torch.Tensor) -> bool:
    """Whether targets are -1 and 1, as hinge losses have them."""
    return bool((y.abs() == 1).all())


def _left_out(subject: Subject) -> Result | None:
    """Whether other outputs at places whose target is -100 change the loss."""
    batches = [(x, y) for x, y in subject.train.batches if not y.is_floating_point() and bool((y == IGNORED).any())]
    if not batches:
        return None
    x, y = batches[0]
    with torch.no_grad():
        outputs = subject.outputs(subject.model().eval(), x)
    y = y.to(outputs.device)
    axes = [axis for axis in range(1, outputs.ndim) if outputs.shape[:axis] + outputs.shape[axis + 1 :] == y.shape]
    changes = []
    for axis in axes:
        places = (y == IGNORED).unsqueeze(axis)
        others = torch.where(places, outputs.flip(axis) - 3 * outputs, outputs)
        with contextlib.suppress(RuntimeError, ValueError, TypeError, IndexError):
            one, other = (float(subject.pipeline.loss_fn(each, y).mean()) for each in (outputs, others))
            changes.append((one, other))
    if not changes or any(math.isclose(one, other, rel_tol=1e-5) for one, other in changes):
        return None
    share = float((y == IGNORED).float().mean())
    return COUNTED.failed(
        f"{share:.0%} of the targets are {IGNORED}, and the loss goes from {changes[0][0]:.4g} to {changes[0][1]:.4g} "
        "when only the outputs there are others.",
        share=share,
    )


def _one_value(subject: Subject) -> Result | None:
    y, val = subject.drawn_train.y.float(), subject.drawn_val.y.float()
    if not subject.classes and min(len(y), len(val)) >= 20:
        whole, there = (float((each == each.round()).float().mean()) for each in (y, val))
        if max(whole, there) == 1 and min(whole, there) < 0.5:
            name = "training" if whole == 1 else "validation"
            return WRONG_TYPE.failed(f"All {name} targets are whole numbers and few of the others: were they cut off?")
        values, counts = torch.cat([y.flatten(), val.flatten()]).unique(return_counts=True)
        rare, usual = int(counts.min()), float(values[counts.argmax()])
        if whole == there == 1 and len(values) == 2 and rare <= HARDLY_ANY < len(y) / 50 and is_error(subject):
            return WRONG_TYPE.failed(
                f"All but {rare} of {int(counts.sum())} targets are {usual:g}, as where numbers between 0 and 1 are "
                "cut off to whole ones."
            )
        mostly_none = usual == 0 and 2 < len(values) <= FEW_VALUES * (2 if float(values[0]) < 0 else 1)
        if whole == there == 1 and mostly_none and y.numel() == len(y) and is_error(subject):
            return WRONG_TYPE.unsure(
                f"Targets are whole numbers, {len(values)} of them, mostly 0; are they counts or differences, or were "
                "they cut off?"
            )
    constant = len(y) >= 20 and bool((y == y[:1]).all())
    if subject.classes or not constant or not subject.once(targets_are_read):
        return None
    told = f"All {len(y)} training targets are {float(y.flatten()[0]):g}"
    if not is_error(subject):
        if bool((val != val[:1]).any()):
            return WRONG_TYPE.unsure(f"{told}, those of validation are not; is training of one kind on purpose?")
        if bool(y.any()):  # what is cut off is mostly 0
            return WRONG_TYPE.unsure(f"{told}, and those of validation; do they only say which of a pair comes first?")
    if any(_has_other(call.targets, y.flatten()[0]) for call in subject.once(rehearsal).calls):
        return WRONG_TYPE.unsure(f"{told}, and the train step adds others; are samples of one kind on purpose?")
    return WRONG_TYPE.failed(f"{told}; were they cut off to whole numbers?")


def _has_other(targets: object, value: torch.Tensor) -> bool:
    return isinstance(targets, torch.Tensor) and bool((targets.cpu() != value).any())


@check(family="data", stage=1, cost=0.2, causes=[OTHERWISE])
def targets_of_both_splits_are_on_one_scale(subject: Subject) -> Result:
    """Targets of a regression spread about as far in validation as in training, around about the same middle."""
    train, val = (sample.y.float().reshape(len(sample.y), -1) for sample in (subject.drawn_train, subject.drawn_val))
    train, val = (each[:, :: max(1, each.shape[1] // MOST_TARGETS)] for each in (train, val))  # some pixels of images
    if subject.classes or train.shape[1] != val.shape[1] or min(len(train), len(val)) < FEWEST:
        return skipped("There are no targets of a regression, or too few.")
    if not subject.once(targets_are_read) or not bool((train != train[:1]).any()):
        return skipped("The loss does not look at the targets, or those of training are all the same.")
    quarters = torch.tensor([0.25, 0.5, 0.75])
    (low, middle, high), (val_low, val_middle, val_high) = train.quantile(quarters, 0), val.quantile(quarters, 0)
    spread, val_spread = (high - low).clamp_min(1e-9), (val_high - val_low).clamp_min(1e-9)
    deviation, val_deviation = train.std(0).clamp_min(1e-9), val.std(0).clamp_min(1e-9)
    # Both the quarters and the deviations must say so: a few large ones move these, many equal ones those.
    far = torch.minimum((val_spread / spread).log().abs(), (val_deviation / deviation).log().abs()) > math.log(TIMES)
    far |= (val_middle - middle).abs() > TIMES * torch.maximum(deviation, val_deviation)
    told = (
        f"The training targets have mean {float(train.mean()):.3g} and deviation {float(train.std()):.3g}, those of "
        f"validation {float(val.mean()):.3g} and {float(val.std()):.3g}."
    )
    least, most = train.amin(0), train.amax(0)
    edge = (most - least) / 10
    within = bool((val >= least - edge).all() and (val <= most + edge).all())
    if not bool(far.all()) or subject.once(rescales_targets) or (within and _targets_change(subject)):
        return passed(told)
    return OTHERWISE.failed(told)


def _targets_change(subject: Subject) -> bool:
    """Whether augmentation gives training other targets in each pass, as mirroring does where they are places."""
    first, again = subject.drawn_train, subject.drawn_train_again
    complete = first.complete and again.complete and first.y.shape == again.y.shape
    return complete and not torch.equal(first.y.sort(0).values, again.y.sort(0).values)


@check(family="data", stage=1, cost=0.4, causes=[MISSING])
def every_class_is_in_both_splits(subject: Subject) -> Iterator[Result]:
    """Every class has samples in training and in validation."""
    classes = subject.classes
    train, val = (labels_of(sample.y, classes) for sample in (subject.drawn_train, subject.drawn_val))
    if train is None or val is None or are_spread(subject.drawn_train.y):
        yield skipped("There are no classes, or targets are shares of several.")
        return
    size = max(classes, int(train.max()) + 1, int(val.max()) + 1)
    counts = {
        "training": torch.bincount(train.clamp_min(0), minlength=size),
        "validation": torch.bincount(val.clamp_min(0), minlength=size),
    }
    if not bool(((counts["training"] > 0) & (counts["validation"] > 0)).any()) and not _is_told(subject):
        yield passed(
            "All classes of validation are new, for a model whose outputs stand for none.", table=_table(counts)
        )
        return
    found = [
        each
        for name, sample, other in (
            ("training", subject.drawn_train, "validation"),
            ("validation", subject.drawn_val, "training"),
        )
        if (each := _missing(subject, name, sample, counts[name], counts[other]))
    ]
    yield from found or [passed("No class is missing.", table=_table(counts))]


def _is_told(subject: Subject) -> bool:
    """Whether outputs stand for classes, and are no embeddings, by which new ones are told apart."""
    return can_say(subject.once(own_outputs), subject.classes) and names_classes(subject)


def _chance_of_none(drawn: int, shares: torch.Tensor, classes: int) -> float:
    """At most how likely it is that some set of so many classes has none of the samples drawn (union bound)."""
    absent, left = len(shares), 1 - float(shares.sum())
    if not absent or left <= 0:
        return float(not absent)
    sets = math.lgamma(classes + 1) - math.lgamma(absent + 1) - math.lgamma(classes - absent + 1)  # log of how many
    return math.exp(min(0.0, sets + drawn * math.log(left)))


def _missing(subject: Subject, name: str, sample: Sample, here: torch.Tensor, there: torch.Tensor) -> Result | None:
    """Classes without samples here that cannot be missing by chance, given how frequent they are in the other split."""
    if not sample.complete:  # a part may be in order: then more of it, at random
        raw = subject.raw_train if name == "training" else subject.raw_val
        more = labels_of(raw.y, subject.classes) if raw else None
        if more is None:
            return None
        here = here + torch.bincount(more.clamp_min(0), minlength=len(here))[: len(here)]
    empty = (here == 0).nonzero().flatten().tolist()
    if not empty:
        return None
    drawn, share = int(here.sum()), there.double() / max(1, int(there.sum()))
    elsewhere = [each for each in empty if there[each]]
    surprising = [each for each in elsewhere if (1 - float(share[each])) ** drawn < UNLIKELY]
    if not surprising and _chance_of_none(drawn, share[elsewhere], len(here)) < UNLIKELY:
        surprising = elsewhere
    # In no split at all: either the number of classes is wrong, or nothing is known of them.
    nowhere = [each for each in empty if not there[each]] if drawn > 20 * len(here) and name == "training" else []
    told = surprising or nowhere
    if not told:
        return None
    shown = ", ".join(map(str, told[:8])) + (", ..." if len(told) > 8 else "")
    one = len(told) == 1
    return MISSING.failed(
        f"{'Class' if one else 'Classes'} {shown} {'has' if one else 'have'} none of the {drawn} {name} samples"
        + (" and none of the others." if not surprising else f", but {int(there[told].sum())} in the other split."),
        table=_table({name: here, "other split": there}),
    )


def _table(counts: dict[str, torch.Tensor]) -> list[dict[str, int]]:
    size = min(200, *(len(each) for each in counts.values()))
    return [{"class": number, **{name: int(each[number]) for name, each in counts.items()}} for number in range(size)]
