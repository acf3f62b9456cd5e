"""What does the model do with a batch? Inputs are changed where outputs should follow, and where they should not."""

import torch
from torch import nn

from recipe_core.checks.lessons import lesson
from recipe_core.checks.probe import evaluate, marks
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import rehearsal
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything

MOST = 16  # samples of a batch
ROUNDING = 1e-4  # of the outputs' spread
ALL_BUT_EQUAL = 1e-6  # of the outputs
FAINT = 1e-5  # of them: all but rounding, and less than what a constant of thousands leaves
REPEATS = 6  # chance may do the same twice, as where it skips one of few layers
PARTS = 16  # of a text that are changed one after the other
RGB, ONE_MIXTURE = 3, 1e-6  # channels; of the largest variance of their gradients, that is left of the second
SURE = 6.0  # deviations of what shuffled labels give
MOST_DEAF = 0.5  # of the texts: those that nothing fills up may be heard all the same
FEWEST_FILLED = 4  # texts
FADED = 1e-4  # of the largest influence
AXES = {2: ("columns",), 3: ("places", "columns"), 4: ("channels", "rows", "columns")}
AXES[5] = ("pictures", "frames", "rows", "columns")  # several pictures, or a clip with its channels before or behind
IGNORED = 0.3  # of the rows or columns, side by side; what a stride leaves over is less, even of 8 x 8 pixels

STATE = Cause(
    "model-keeps-state",
    "The model carries something over from one call to the next: the outputs for a sample depend on which batches came "
    "before.",
    "Begin each batch with a fresh state, or pass the state in and out of forward and detach it.",
    0.8,
)
RANDOM = Cause(
    "random-in-evaluation",
    "In evaluation mode the model gives other outputs for the same samples each time.",
    "Use nn.Dropout, or F.dropout(..., training=self.training), and draw noise in training only.",
    0.5,
    follows=("model-keeps-state", "layers-unregistered"),
)
DEAF = Cause(
    "input-ignored",
    "The outputs do not depend on the inputs, or so little that nothing can be learnt.",
    "Follow the input through forward: it is overwritten, multiplied by zero or cut off on its way, hidden by a mask "
    "the wrong way round, or forgotten over padding before the last state of a recurrence is read.",
    1.0,
    follows=("dead-units", "no-slope", "batch-mixed"),
)
PARTLY = Cause(
    "input-partly-ignored",
    "A large part of each input never reaches the outputs.",
    "Look for a slice, an index or a stride in forward that leaves out pixels or channels, or an argument never used.",
    0.5,
    follows=("batch-mixed",),
)


def batch_of(subject: Subject) -> torch.Tensor:
    """A few training images on the device."""
    return subject.some(MOST).to(subject.device)


@torch.no_grad()
def outputs_of(subject: Subject, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    seed_everything(0)
    return subject.outputs(model, x.clone()).detach().float()


def spread(outputs: torch.Tensor) -> float:
    """Their standard deviation over the batch, at least that of rounding."""
    return max(float(outputs.std(0).mean()), 1e-4 * float(outputs.abs().max()), 1e-12)


def settled(subject: Subject) -> nn.Module:
    """The model after a few steps, in eval mode; without batch norms that have no statistics of their own."""
    model = subject.copy(subject.once(rehearsal).model)
    if not all(bool(each.isfinite().all()) for each in model.parameters()):
        model = subject.model()
    return _without_batch_statistics(model.eval())


def stirred(subject: Subject) -> nn.Module:
    """The fresh model with random weights added to its own, so that nothing hides behind what starts as zero."""
    model = _without_batch_statistics(subject.model().eval())
    with torch.no_grad():
        for each in model.parameters():
            each.add_(torch.randn_like(each) * 0.1)
    return model


def _without_batch_statistics(model: nn.Module) -> nn.Module:
    """Batch norms that see the batch even in evaluation do so on purpose; all else is looked at without them."""
    for layer in list(model.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and not child.track_running_stats:
                setattr(layer, name, nn.Identity())
    return model


def another(x: torch.Tensor) -> torch.Tensor:
    """Inputs of the same kind and quite different values."""
    if x.is_floating_point() and x.ndim > 2:
        return x.flip(0) * 0.5 + torch.randn_like(x)
    if x.is_floating_point():  # rows of a table: each number from another row, as some may be codes
        return torch.stack([column[torch.randperm(len(column), device=x.device)] for column in x.unbind(1)], 1)
    known = x[x != 0] if bool((x != 0).any()) else x.flatten()  # zero is mostly what fills up
    return known[torch.randint(len(known), x.shape, device=x.device)]


@check(family="model", stage=2, cost=0.3, causes=[RANDOM, STATE])
def evaluation_is_not_random(subject: Subject):
    """In evaluation mode the model gives the same outputs for the same samples each time."""
    model, x = subject.once(settled), batch_of(subject)
    twin = subject.copy(model)
    first, later = (outputs_of(subject, twin, x) for _ in range(2))  # with the same chance: what differs was kept
    kept = most(later - first) / spread(first)
    if kept > ROUNDING * 10:
        return STATE.failed(
            f"Called again on the same samples, with the same chance, it gives outputs {kept:.2g} of their spread off."
        )
    with torch.no_grad():
        first = subject.outputs(model, x.clone()).float()
        for _ in range(REPEATS):
            change = float((first - subject.outputs(model, x.clone()).float()).abs().max()) / spread(first)
            if change > ROUNDING * 10:
                told = f"The same samples give outputs {change:.2g} of their spread apart"
                if _gives_back(subject):  # what is hidden may be drawn in evaluation, too
                    return RANDOM.unsure(f"{told}; is what the model is to give back hidden by chance, on purpose?")
                if evaluate(subject, subject.copy(model)).averages:  # Gal & Ghahramani 2016
                    return RANDOM.unsure(f"{told}, and evaluate takes the mean of several; is that on purpose?")
                return RANDOM.failed(f"{told}.", change=change)
    return passed("It does.")


def _gives_back(subject: Subject) -> bool:
    """Whether the targets are the inputs."""
    x, y = subject.train.batches[0]
    return isinstance(x, torch.Tensor) and x.shape == y.shape and torch.equal(x.float(), y.float())


@check(family="model", stage=2, cost=0.5, causes=[DEAF, PARTLY])
def outputs_follow_the_input(subject: Subject):
    """Every channel and nearly every pixel, column or place of the input has an influence on the outputs."""
    x = batch_of(subject)
    if x.ndim < 2 or len(x) < 2:
        return skipped("The inputs have one number each.")
    model = stirred(subject)
    first, second = another(x), another(another(x))
    outputs = outputs_of(subject, model, x)
    if not outputs.isfinite().all() or not outputs.any():
        return skipped("The outputs are not finite, or all zero.")
    if torch.equal(first, second):
        return skipped("All inputs are the same.")
    farthest = float((outputs - outputs[:1]).abs().max())
    if not torch.equal(x, x[:1].expand_as(x)) and farthest <= ALL_BUT_EQUAL * float(outputs.abs().max()):
        return DEAF.failed(f"All {len(x)} inputs of a batch give the same outputs.")
    arrives = max(apart(outputs_of(subject, each, x)) for each in (subject.model().eval(), subject.once(settled)))
    if not torch.equal(x, x[:1].expand_as(x)) and 0 < arrives < FAINT:
        return DEAF.failed(
            f"Inputs differ, and outputs by {arrives:.1g} of their size, before some steps of training and after: "
            "what is in the input fades on its way."
        )
    if torch.equal(outputs_of(subject, model, first), outputs_of(subject, model, second)):
        return DEAF.failed("Quite different inputs give exactly the same outputs.")
    # What fills up a text stays, and what is at its place in all, as a sign where it begins; words become others.
    if not x.is_floating_point():
        other = outputs_of(subject, model, torch.where((x == 0) | (x == x[:1]).all(0), x, first))
        same = (other == outputs).reshape(len(x), -1).all(1) if len(other) == len(x) else (other == outputs).all()[None]
        if float(same.float().mean()) > MOST_DEAF:
            return DEAF.failed(
                f"For {float(same.float().mean()):.0%} of the texts other words leave the outputs exactly as they are: "
                "only where they are filled up counts."
            )
        if x.ndim == 2 and (told := _heard_beside_filling(subject, model, x, outputs)):
            return DEAF.failed(told)
    influence = _influence(subject, model, first)
    if influence is None:
        return skipped("No gradient reaches the input.")
    influence = influence.cpu() + _constant_parts(subject)  # there is nothing to hear of those
    for planes in _parts_of_the_step(subject, x):
        influence[planes] += 1
    if told := _colour_is_lost(subject, model, x):
        return PARTLY.failed(told)
    if unread := _parts_are_lost(subject, x, influence):
        return unread
    for axis, name in enumerate(AXES.get(x.ndim, ())):
        per_slice = influence.movedim(axis, 0).reshape(influence.shape[axis], -1).sum(1)
        lost = [number for number, each in enumerate(per_slice.tolist()) if not each]
        if name == "channels" and lost and not _are_copies(x):
            told = f"channel {lost[0]} has" if len(lost) == 1 else f"{len(lost)} of {len(per_slice)} channels have"
            return PARTLY.failed(f"The inputs' {told} no influence on the outputs.", channels=lost)
        share = len(lost) / len(per_slice) if x.ndim == 2 else _longest(per_slice == 0) / len(per_slice)
        if name != "channels" and share > IGNORED and not _fades(per_slice):
            side = "" if x.ndim == 2 else ", side by side,"
            return PARTLY.failed(
                f"{share:.0%} of the inputs' {name}{side} have no influence on the outputs.", share=share
            )
    return passed("All channels and regions have an influence.")


def _heard_beside_filling(subject: Subject, model: nn.Module, x: torch.Tensor, outputs: torch.Tensor) -> str:
    """Whether texts that are filled up are deaf to their first third, whatever it is, as others are not."""
    places, length = torch.arange(x.shape[1], device=x.device), (x != 0).sum(1)
    of_others = x[torch.roll(torch.arange(len(x), device=x.device), 1)]
    begins = (places < length[:, None] // 3) & (x != 0) & (of_others != 0)
    other = outputs_of(subject, model, torch.where(begins, of_others, x))
    if len(other) != len(x):
        return ""
    deaf = (other == outputs).reshape(len(x), -1).all(1)
    changed = ((of_others != x) & begins).any(1)
    whole = changed & (x != 0).all(1)
    filled_up = changed & (x[:, 0] != 0) & (x[:, -1] == 0)
    if int(filled_up.sum()) < FEWEST_FILLED or not bool(deaf[filled_up].all()) or bool(deaf[whole].any()):
        return ""
    return (
        f"Of {int(filled_up.sum())} texts that are filled up other words in their first third leave the outputs just "
        "as they are: only what lies beside the filling counts."
    )


def _parts_are_lost(subject: Subject, x: torch.Tensor, influence: torch.Tensor) -> Result | None:
    """What stands beside the images and is never read: it should be, if the targets can be told by it."""
    lost = (influence.flatten(1).sum(1) == 0 if influence.ndim > 1 else influence == 0).nonzero().flatten().tolist()
    parts, sample = subject.parts.lost(x, lost), subject.drawn_train
    if not parts:
        return None
    said = f"Of the inputs {', '.join(parts)} has no influence on the outputs"
    for part in parts:
        alone = Sample([(subject.parts.named(sample.x)[part], sample.y)], sample.complete, 0.0)
        learnt = lesson(alone, subject.classes)
        if learnt.usable and learnt.strength > SURE:
            return PARTLY.failed(f"{said}, and by {part} alone something of the targets can be told.", parts=parts)
    return PARTLY.unsure(
        f"{said}, nor do the targets seem to depend on it; does it stand there for other reasons?", parts=parts
    )


def _parts_of_the_step(subject: Subject, x: torch.Tensor) -> list[list[int]]:
    """The planes of parts that the train step gives to the model by themselves, as another view of each sample."""
    run, planes = subject.once(rehearsal), subject.parts.planes(x)
    if len(planes) < 2:
        return []
    calls = [call for call in run.forwards if isinstance(call.x, torch.Tensor) and call.step < len(run.batches)]
    given = [(set(marks(call.x)), subject.parts.named(run.batches[call.step][0])) for call in calls]
    taken = {
        name
        for seen, parts in given
        for name, part in parts.items()
        if 2 * sum(mark in seen for mark in marks(part)) > len(part)
    }
    return [planes[name] for name in taken & planes.keys()]


def _constant_parts(subject: Subject) -> torch.Tensor:
    """(columns,) or (planes, 1, 1): which of inputs of several tensors are the same in all samples."""
    x = subject.drawn_train.x
    if not subject.parts.named(x):
        return torch.zeros(())
    same = (x == x[:1]).flatten(2).all(2).all(0) if x.ndim > 2 else (x == x[:1]).all(0)
    return same.reshape(-1, *[1] * (x.ndim - 2)).float()


def _colour_is_lost(subject: Subject, model: nn.Module, x: torch.Tensor) -> str:
    """Whether all that reaches the outputs of each pixel is one mixture of its channels, and the targets need more."""
    if x.ndim != 4 or x.shape[1] != RGB or not x.is_floating_point() or _are_copies(x):
        return ""
    asked = x.clone().requires_grad_()
    outputs = subject.outputs(model, asked).float()
    if not outputs.requires_grad:
        return ""
    (gradient,) = torch.autograd.grad((outputs * torch.randn_like(outputs)).sum(), asked)
    weights, mixtures = torch.linalg.eigh(torch.cov(gradient.transpose(0, 1).flatten(1).double().cpu(), correction=0))
    if weights[-2] > ONE_MIXTURE * weights[-1]:
        return ""
    sample, mixture = subject.drawn_train, mixtures[:, -1].float()
    one = Sample([(torch.einsum("nchw,c->nhw", x.float(), mixture)[:, None], y) for x, y in sample.batches], False, 0.0)
    by_colour, by_mixture = (lesson(each, subject.classes) for each in (sample, one))
    if not (by_colour.usable and by_mixture.usable):
        return ""
    known, left = (max(0.0, each.known) for each in (by_colour, by_mixture))
    if left > known / 2 or by_colour.strength < SURE:
        return ""
    return (
        f"One mixture of the channels is all that reaches the outputs: a learner of it knows {left:.0%} of what there "
        f"is to know about other samples, of all channels {known:.0%}."
    )


def _influence(subject: Subject, model: nn.Module, x: torch.Tensor) -> torch.Tensor | None:
    """How much the outputs change with each number of an input."""
    if not x.is_floating_point():
        return _influence_of_tokens(subject, model, x)
    asked = (x + 0.1 if x.ndim > 2 else x.clone()).requires_grad_()
    outputs = subject.outputs(model, asked).float()
    if not outputs.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(outputs.square().sum() + outputs.sum(), asked, allow_unused=True)
    if gradient is None:
        return None
    found = gradient.abs().sum(0)
    # Once more, if outputs change with the others after all: a maximum has a gradient at one place only.
    if found.all():
        return found
    moved = x * 10 + 3 * torch.randn_like(x) if x.ndim > 2 else another(x)
    changed = torch.where(found == 0, moved, x)
    same = torch.equal(outputs_of(subject, model, x), outputs_of(subject, model, changed))
    constant = (x == x[:1]).all(0) if x.ndim == 2 else torch.zeros_like(found, dtype=torch.bool)
    return found if same and not constant.any() else found + 1.0


def _influence_of_tokens(subject: Subject, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """By changing a part of the places after the other."""
    found = torch.zeros(x.shape[1:], device=x.device)
    plain = outputs_of(subject, model, x)
    for part in torch.arange(x.shape[1]).tensor_split(min(PARTS, x.shape[1])):
        changed = x.clone()
        changed[:, part] = another(x)[:, part]
        found[part] = (outputs_of(subject, model, changed) - plain).abs().sum()
    return found


def apart(outputs: torch.Tensor) -> float:
    """How far outputs of different inputs are apart, as a share of their size."""
    size = float(outputs.square().mean().sqrt())
    return float(outputs.std(0).mean()) / size if size else 1.0


def _fades(per_slice: torch.Tensor) -> bool:
    """Whether influence becomes less and less before it ends, as in a long recurrence, and is not cut off."""
    used = per_slice[per_slice > 0]
    return len(used) == 0 or float(used.min()) < FADED * float(used.max())


def most(difference: torch.Tensor) -> float:
    return float(difference.abs().max())


def _longest(lost: torch.Tensor) -> int:
    """The longest run of true values."""
    best = run = 0
    for each in lost.tolist():
        run = run + 1 if each else 0
        best = max(best, run)
    return best


def _are_copies(x: torch.Tensor) -> bool:
    """Whether all channels are the same, as of a grey image."""
    return bool((x - x[:, :1]).abs().max() < 1e-6)
