"""Series and texts: does the model see the order of the places, no place what comes after it, and the loss the classes
where they stand?"""

import torch

from recipe_core.checks.forward import MOST, ROUNDING, another, batch_of, most, outputs_of, settled, spread, stirred
from recipe_core.checks.giveaway import GIVEAWAY
from recipe_core.checks.known_outputs import axis_of_classes
from recipe_core.checks.learner import Learner
from recipe_core.checks.lessons import MOST as MOST_LEARNT
from recipe_core.checks.lessons import agreement
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of, loss_looks_ahead

FEWEST_PLACES = 4
ORDERS = 3  # random ones that are tried
WORDS = 24  # that are followed: the most frequent
LEARNT = 0.3  # of what there is to know; of shuffled labels hardly anything
MUCH_LESS = 0.3  # times what the order tells
MOST_PLACES = 32  # that are changed one after the other
MORE_ALIKE = 0.25
FOLLOWS = 1.5  # times as much as an average place, that a place changes with its own input

FUTURE = Cause(
    "future-leaks",
    "The model is to tell what comes next and sees it: in use, where nothing comes next, it knows nothing.",
    "Mask attention causally, and pad convolutions on the left only.",
    0.9,
)
TWICE = Cause(
    "targets-shifted-twice",
    "The targets are moved by one place in the data and once more in the loss: the model learns to skip a word.",
    "Move them in one place only: give the inputs themselves as targets to a loss that moves them.",
    0.8,
)
ORDER = Cause(
    "order-ignored",
    "The model cannot tell in which order its inputs come, and the targets depend on it.",
    "Add positions to what attention gets, or take a recurrence or a convolution; do not average before any of them.",
    0.8,
)
AXIS = Cause(
    "loss-over-wrong-axis",
    "The loss takes the places of the outputs for their classes, as there are as many of both.",
    "cross_entropy wants the classes second, (n, classes, places): transpose the outputs.",
    0.9,
)

SCRAMBLED = Cause(
    "outputs-scrambled",
    "The numbers of the outputs were put into another shape without moving them: what are taken for the scores of one "
    "place stem from many.",
    "Use transpose or permute to bring the classes to the front or the back, not view or reshape.",
    0.9,
)


@check(family="model", stage=2, cost=0.3, causes=[FUTURE, GIVEAWAY, TWICE])
def the_future_is_not_seen(subject: Subject):
    """Where each place is to tell the next one, outputs stay as they are when later places change; no place is to tell
    itself."""
    x, y = subject.train.batches[0][0][:MOST].to(subject.device), subject.train.batches[0][1][:MOST].to(subject.device)
    if x.ndim < 2 or x.shape != y.shape or x.shape[1] < 3:
        return skipped("There is not one target for each place.")
    is_copied = x.ndim == 2 and not x.is_floating_point() and torch.equal(x, y.to(x))
    is_next = torch.equal(x[:, 1:].float(), y[:, :-1].float())
    if not (is_copied or is_next):
        return skipped("The targets are not the inputs one place on.")
    looks_ahead = subject.once(loss_looks_ahead)
    if is_next and looks_ahead:
        return TWICE.failed(
            "The targets are the inputs one place on, and the loss compares outputs with the next target."
        )
    change, middle = _change_of_the_past(subject, x), x.shape[1] // 2
    if change is None:
        return skipped("The outputs are not one row per place.")
    if is_copied and not looks_ahead:
        return _copied(sees_all=change > ROUNDING * 10)
    if change > ROUNDING * 10:
        return FUTURE.failed(
            f"Other inputs from place {middle} on change the outputs before it by {change:.2g} of their spread.",
            change=change,
        )
    return passed("They stay as they are.")


def _change_of_the_past(subject: Subject, x: torch.Tensor) -> float | None:
    """By how much of their spread the outputs of the first places change with the inputs of later ones."""
    model = subject.once(settled)
    plain, middle = outputs_of(subject, model, x), x.shape[1] // 2
    axes = [axis for axis in range(1, plain.ndim) if plain.shape[axis] == x.shape[1]]  # the places stand along one
    if not axes:
        return None
    changed = outputs_of(subject, model, torch.cat([x[:, :middle], another(x)[:, middle:]], 1))
    change = min(most(changed.narrow(axis, 0, middle) - plain.narrow(axis, 0, middle)) for axis in axes)
    return change / spread(plain)


def _copied(sees_all: bool) -> Result:
    """Of a text to give back what stands in the same place: for what sees no later places there is nothing to learn."""
    told = "Each target is the input of its own place"
    if sees_all:
        return GIVEAWAY.unsure(f"{told}; is the network to give back what it gets, with no word left out?")
    return GIVEAWAY.failed(f"{told}, where it should be the next one: they are not shifted against each other.")


@check(family="model", stage=2, cost=1, causes=[AXIS])
def the_loss_finds_the_classes(subject: Subject):
    """Where outputs have as many places as classes, the axis that the loss takes for the classes is not the one that
    follows the places of the input."""
    x, y = batch_of(subject), subject.train.batches[0][1]
    count, axis = y.shape[1] if y.ndim == 2 else 0, subject.once(axis_of_classes)
    along = [each for each in range(1, x.ndim) if x.shape[each] == count]
    model = subject.once(settled)
    plain = outputs_of(subject, model, x)
    if axis not in (1, 2) or plain.ndim != 3 or plain.shape[1:] != (count, count) or not along:
        return skipped("The outputs have no class for each place, or another number of classes than of places.")
    own = torch.zeros(2)
    for place in range(count):
        changed = x.movedim(along[0], 0).clone()
        changed[place] = another(x).movedim(along[0], 0)[place]
        found = (outputs_of(subject, model, changed.movedim(0, along[0])) - plain).abs().sum(0)
        for at in (0, 1):
            per_place = found.sum(1 - at)
            own[at] += float(per_place[place] / per_place.mean().clamp_min(1e-12)) / count
    if own[axis - 1] > FOLLOWS * max(1.0, float(own[2 - axis])):
        return AXIS.failed(
            f"Along axis {axis}, which the loss takes for the classes, outputs follow the places of the input: each "
            f"changes {float(own[axis - 1]):.2g} times as much with its own place as the average, along the other axis "
            f"{float(own[2 - axis]):.2g} times."
        )
    return passed("It is the other axis that follows the places.")


@check(family="model", stage=2, cost=1, causes=[SCRAMBLED])
def scores_of_a_place_belong_together(subject: Subject):
    """The scores of all classes at one place of the outputs depend on the places of the inputs in the same way, as they
    come from one state of the network."""
    x, axis = batch_of(subject), subject.once(axis_of_classes)
    model = subject.once(settled)
    plain = outputs_of(subject, model, x)
    if axis is None or plain.ndim != 3:
        return skipped("The outputs have no classes for each place of a series.")
    classes, places = plain.shape[axis], plain.shape[3 - axis]
    along = [each for each in range(1, x.ndim) if x.shape[each] == places]
    if not along or min(classes, places - 2) < 2 or classes == places:
        return skipped("The outputs are of few places, or of others than the inputs, or of as many as classes.")
    influence = []
    for place in torch.linspace(0, places - 1, min(places, MOST_PLACES)).round().long().tolist():
        changed = x.movedim(along[0], 0).clone()
        changed[place] = another(x).movedim(along[0], 0)[place]
        influence.append((outputs_of(subject, model, changed.movedim(0, along[0])) - plain).abs().mean(0))
    found = torch.stack(influence)  # (changed places, and two axes in the order of the outputs)
    by_place = found if axis == 2 else found.transpose(1, 2)
    if axis == 2:
        otherwise = found.reshape(len(found), classes, places).transpose(1, 2)
    else:
        otherwise = found.reshape(len(found), places, classes)
    own, other = _alike(by_place), _alike(otherwise)
    told = f"The scores of one place are alike in what they depend on by {own:.2f} (1 would be the same)"
    if other > own + MORE_ALIKE:
        return SCRAMBLED.failed(f"{told}, read with places and classes in the other order by {other:.2f}.")
    return passed(f"{told}.")


def _alike(influence: torch.Tensor) -> float:
    """How alike a place's classes are in what they depend on: (changed places, places, classes) -> mean cosine."""
    centred = influence - influence.mean(0)
    unit = centred / centred.norm(dim=0).clamp_min(1e-12)
    classes = influence.shape[2]
    pairs = unit.sum(2).square().sum(0) - classes  # the sum of the cosines of all pairs, each twice
    return float(pairs.mean()) / (classes * (classes - 1))


@check(family="model", stage=2, cost=2, causes=[ORDER])
def order_is_seen_where_it_matters(subject: Subject):
    """Where the targets depend on the order of the words, so do the outputs."""
    x, labels = subject.drawn_train.x, labels_of(subject.drawn_train.y, subject.classes)
    if x.is_floating_point() or x.ndim != 2 or x.shape[1] < FEWEST_PLACES or labels is None:
        return skipped("The inputs are no texts with a class each.")
    asked = batch_of(subject)
    for model in (subject.once(settled), stirred(subject)):
        plain = outputs_of(subject, model, asked)
        for _ in range(ORDERS):
            other = asked[:, torch.randperm(asked.shape[1], device=asked.device)]
            if most(outputs_of(subject, model, other) - plain) > ROUNDING * 10 * spread(plain):
                return passed("The outputs change with the order.")
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:MOST_LEARNT]
    by_words, by_order = (_known(each, labels[rows]) for each in _features(x[rows]))
    told = f"{by_order:.0%} of it from which word comes before which, {by_words:.0%} from the words alone"
    if by_order > LEARNT and by_words < MUCH_LESS * by_order:
        return ORDER.failed(
            f"In any order the same words give the same outputs, and a learner of the class knows {told}."
        )
    return passed(f"The outputs do not change with the order; of the class a learner knows {told}.")


def _features(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How often each of the frequent words is in a text, and how often one comes before another."""
    words, counts = x.unique(return_counts=True)
    words = words[counts.argsort(descending=True)[:WORDS]]
    there = (x[:, :, None] == words).float()
    before = there.cumsum(1) - there
    return there.sum(1).sqrt(), torch.einsum("npa,npb->nab", before, there).flatten(1).sqrt()


def _known(features: torch.Tensor, labels: torch.Tensor) -> float:
    """What a learner knows of the classes of texts that it did not see, 0 to 1."""
    targets = torch.nn.functional.one_hot(labels.clamp_min(0)).float()
    return max(0.0, agreement(Learner(features[:, :, None, None], targets).held_out, targets))
