"""What does one train step do? Watched from inside: the batch it takes, the gradients it uses, what it moves."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from recipe_core.checks.probe import Replay
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import LossCall, Rehearsal, acts_by_mode, rehearsal, rehearse
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything

MOST_ACCUMULATED = 64  # batches before one update
ALONG = 0.1  # cosine with the gradient that no step downhill has
IDLE = 1e-3  # of the highest rate: what is tuned gets a tenth or a hundredth of it
OTHER_SEED = 12345
ROUNDING = 1e-3  # of the norm: gradients of equal weights and batches differ by rounding only

NOT_ZEROED = Cause(
    "gradients-not-zeroed",
    "Each update uses the gradients of earlier batches as well, which were taken at other weights.",
    "Call optimizer.zero_grad() once per update, before loss.backward().",
    0.8,
)
NOTHING = Cause(
    "step-does-nothing",
    "Training runs, and no weight moves.",
    "Let each train step do zero_grad(), loss.backward(), optimizer.step(), in this order and on the loss itself.",
    1.0,
    follows=("optimizer-over-other-parameters", "inputs-not-finite", "no-slope"),
)
OTHERS = Cause(
    "optimizer-over-other-parameters",
    "The optimizer moves tensors that are not the model's parameters, or the step uses an optimizer of its own.",
    "Make the optimizer once, from the parameters of the model as it is trained, and step that one.",
    1.0,
)
MISSES = Cause(
    "optimizer-misses-parameters",
    "Some layers stay at their random initial weights, as the optimizer was not given their parameters, or next to no "
    "rate for them.",
    "Give the optimizer all of model.parameters(), and each group a rate that moves it; or set requires_grad_(False) "
    "where layers are frozen on purpose.",
    0.7,
)
UPHILL = Cause(
    "loss-rises",
    "The step goes uphill: it makes the loss larger.",
    "Minimise the loss: check its sign, and whether the optimizer maximises.",
    1.0,
    follows=("targets-out-of-range",),
)
CLIPPED = Cause(
    "loss-clipped",
    "Where the loss is above a limit its gradient is zero: what the model gets most wrong teaches it nothing.",
    "Clip the gradient (torch.nn.utils.clip_grad_norm_), not the loss.",
    0.8,
    follows=("targets-wrong-type", "targets-out-of-range"),
)
MODE = Cause(
    "wrong-mode-in-training",
    "The model trains in evaluation mode: no dropout, and batch norm does not learn its statistics.",
    "Call model.train() at the start of each train step or epoch.",
    0.7,
)


@check(family="optimisation", stage=2, cost=0.5, causes=[OTHERS, MISSES])
def optimizer_holds_the_models_parameters(subject: Subject):
    """The optimizer holds every trainable parameter of the model, and the train step moves each."""
    run = subject.once(rehearsal)
    trainable = {name: each for name, each in run.model.named_parameters() if each.requires_grad}
    if not trainable:
        return skipped("The model has no trainable parameters.")
    model = subject.model()
    optimizer = subject.optimizer(model)
    held = {id(each) for group in optimizer.param_groups for each in group["params"]}
    with torch.no_grad():  # layers that a first forward pass makes come too late
        subject.forward(model, subject.train.batches[0][0].to(subject.device))
    missed = [name for name, each in model.named_parameters() if each.requires_grad and id(each) not in held]
    idle = [] if subject.pipeline.scheduler_fn else _without_rate(model, optimizer)
    missed += idle
    missed = [name for name in missed if not run.moved.get(name, False) or name in idle]
    late = sorted(set(missed) - run.before.keys())
    foreign = held - {id(each) for each in model.parameters()}
    stepped = {id(each.optimizer): each.optimizer for each in run.updates}
    if len(run.updates) > 4 and len(stepped) == len(run.updates):
        return OTHERS.failed(f"{len(stepped)} updates were made by as many optimizers: its state is lost each time.")
    if not missed:
        return passed(f"All {len(trainable)} trainable parameters are in the optimizer.")
    where = "in the optimizer at next to no rate" if set(missed) <= set(idle) else "not in the optimizer"
    told = f"{len(missed)} of {len(trainable)} trainable parameters are {where}: {_some(missed)}"
    if foreign:
        return OTHERS.failed(f"{told}; it holds {len(foreign)} tensors that are not the model's.", parameters=missed)
    if late:
        return MISSES.failed(f"{told}, which the first forward pass makes, after the optimizer.", parameters=missed)
    if not random_weights(subject, missed):
        return MISSES.unsure(f"{told}; they start from the same values each time, so that it may be on purpose.")
    return MISSES.failed(f"{told}, some of which start at random values.", parameters=missed)


def _without_rate(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Parameters in a group whose rate is next to nothing beside that of others."""
    most = max(float(group["lr"]) for group in optimizer.param_groups)
    still = {id(each) for group in optimizer.param_groups if group["lr"] < IDLE * most for each in group["params"]}
    return [name for name, each in model.named_parameters() if each.requires_grad and id(each) in still]


def random_weights(subject: Subject, names: list[str]) -> bool:
    """Whether a model made with another seed has other values there; loaded weights have not.

    A model_fn that sets a seed of its own gives the same values all over: then that seed is another one, too.
    """
    first = {name: each.detach().clone() for name, each in subject.model().named_parameters() if not is_lazy(each)}
    torch.manual_seed(OTHER_SEED)
    differ = _differing(first, subject.pipeline.model_fn())
    if not differ:
        with _other_seeds():
            differ = _differing(first, subject.pipeline.model_fn())
    return not differ.isdisjoint(names)


def _differing(values: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    named = dict(model.named_parameters())
    return {name for name, value in values.items() if not torch.equal(value, named[name].detach().to(value))}


@contextlib.contextmanager
def _other_seeds() -> Iterator[None]:
    """Within the block torch.manual_seed sets another seed than it is given."""
    usual = torch.manual_seed
    torch.manual_seed = lambda seed: usual(int(seed) + OTHER_SEED)
    try:
        yield
    finally:
        torch.manual_seed = usual


@check(family="optimisation", stage=2, cost=0.5, causes=[NOTHING, CLIPPED])
def training_moves_the_weights(subject: Subject):
    """After a few train steps the weights have changed."""
    run = subject.once(rehearsal)
    by_data = not run.updates or run.touched or not _same_whatever_the_batch(subject)
    if not run.moved or (any(run.moved.values()) and by_data):
        return passed(f"{sum(run.moved.values())} of {len(run.moved)} parameters moved.")
    if not any(each.requires_grad for each in run.model.parameters()):
        return skipped("The model has no trainable parameters.")
    if run.touched and not any(group["lr"] for group in run.optimizer.param_groups):
        if not subject.pipeline.scheduler_fn:
            return NOTHING.failed("The learning rate is zero.")
        return NOTHING.unsure("The learning rate was zero in the steps that were watched; a longer run would tell.")
    if _clipped(subject):
        return CLIPPED.failed("At its present size the loss has no gradient; a thousandth of it has.")
    if not run.updates:
        rehearsed = len(run.losses)
        return NOTHING.failed(f"In {rehearsed} train steps no optimizer stepped.")
    if run.touched:
        return NOTHING.failed(f"{len(run.updates)} updates with gradients have moved no weight.")
    if any(any(each.factors) for each in run.calls) and _is_flat(subject):
        return CLIPPED.failed("The loss of the first batch has no gradient by the outputs.")
    used = "was differentiated" if any(each.factors for each in run.calls) else "was not differentiated"
    told = f"In {len(run.updates)} updates all gradients were zero or missing when the optimizer stepped"
    if any(run.moved.values()):
        return NOTHING.failed(f"{told}; the weights move in the same way whatever the batch, as by weight decay.")
    return NOTHING.failed(f"{told}; the loss {used}.")


def _same_whatever_the_batch(subject: Subject) -> bool:
    """Whether a train step leaves the same weights after another batch."""
    weights = []
    for batch in (subject.train.batches[0], subject.train.batches[-1]):
        with subject.untouched():
            weights.append(list(rehearse(subject, 1, batches=[batch], scheduled=False).model.parameters()))
    return all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


@check(family="optimisation", stage=2, cost=2, causes=[NOT_ZEROED])
def gradients_are_zeroed(subject: Subject):
    """The second update is the same whether or not the gradients that the first left behind are deleted before it."""
    with subject.untouched():  # counters of the train step go back to their start
        first = rehearse(subject, MOST_ACCUMULATED, until_updates=1)
    second = len(first.losses) if first.updates else 0
    if not second:
        return skipped("No optimizer stepped.")

    def run(clear: bool) -> Rehearsal:
        def after(step: int, model: nn.Module) -> None:
            if clear and step == second:
                model.zero_grad(set_to_none=True)

        with subject.untouched():
            return rehearse(subject, 2 * MOST_ACCUMULATED, until_updates=2 * len(first.updates), after=after)

    kept, cleared = run(clear=False), run(clear=True)
    if len(kept.losses) != len(cleared.losses):
        return skipped("There was no time for as many steps twice.")
    change = kept.change
    other = {
        name: float((each.detach() - dict(cleared.model.named_parameters())[name].detach()).norm())
        for name, each in kept.model.named_parameters()
        if name in kept.before
    }
    far = math.sqrt(sum(each**2 for each in other.values()))
    if not math.isfinite(far) or not change or far <= ROUNDING * change:
        return passed("They leave no trace in the next update.")
    if _differ(run(clear=False), kept) > ROUNDING * change:
        return skipped("The same steps do not give the same weights twice.")
    worst = sorted(other, key=other.__getitem__, reverse=True)
    return NOT_ZEROED.failed(
        f"Without the gradients that the first update left, the second differs by {far / change:.0%} of both, most in "
        f"{_some(worst[:3])}.",
        difference=far / change,
    )


def _differ(one: Rehearsal, other: Rehearsal) -> float:
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return math.sqrt(sum(float((a - b).detach().square().sum()) for a, b in pairs))


@check(family="optimisation", stage=2, cost=0.5, causes=[UPHILL])
def the_step_goes_downhill(subject: Subject):
    """What is differentiated grows with the loss that the loss function returns, and the weights move against its
    gradient."""
    run = subject.once(rehearsal)
    calls = [call for call in run.calls if call.factors]
    negative = [call for call in calls if max(call.factors) < 0]
    if calls and len(negative) == len(calls):
        factor = negative[0].factors[0]
        return UPHILL.failed(f"The train step differentiates {factor:.3g} times the loss, so that it goes uphill.")
    away = [call for call in negative if _has_targets_of_its_batch(call, run)]
    if len({call.step for call in away}) == len({call.step for call in calls if call.step < len(run.batches)}) > 1:
        return UPHILL.failed(
            f"Of the losses that the train step adds up, one enters {away[0].factors[0]:.3g} times, and compares "
            "outputs with the targets of the batch: these are driven away from what is right."
        )
    cosines = [each for each in (_along_the_gradient(subject, batch) for batch in subject.train.batches[:3]) if each]
    if cosines and min(cosines) > ALONG:
        return UPHILL.failed(
            f"The step moves the weights along the gradient of the loss (cosine {min(cosines):.2f}), not against it."
        )
    return passed("The loss enters with a positive sign, and the weights move against its gradient.")


def _has_targets_of_its_batch(call: LossCall, run: Rehearsal) -> bool:
    targets = call.targets
    if not isinstance(targets, torch.Tensor) or call.step >= len(run.batches):
        return False
    own = run.batches[call.step][1].to(targets.device)
    return targets.shape == own.shape and torch.equal(targets, own)


def _along_the_gradient(subject: Subject, batch) -> float:
    """The cosine between what one step does to the weights and the gradient of its loss; 0 if it does nothing."""
    seed_everything(0)
    model = subject.model().train()
    loss = subject.loss(model, batch).float().mean()
    if not loss.requires_grad:
        return 0.0
    loss.backward()
    gradients = {name: each.grad.detach().clone() for name, each in model.named_parameters() if each.grad is not None}
    with subject.untouched():
        run = rehearse(subject, 1, batches=[batch], scheduled=False)
    product = far = steep = 0.0
    for name, each in run.model.named_parameters():
        if name in gradients and name in run.before and gradients[name].shape == each.shape:
            pair = each.detach() - run.before[name], gradients[name]  # a complex weight is two numbers
            change, slope = (torch.view_as_real(part) if part.is_complex() else part.double() for part in pair)
            product += float((change * slope).sum())
            far += float(change.square().sum())
            steep += float(slope.square().sum())
    return product / math.sqrt(far * steep) if far and steep and math.isfinite(far * steep) else 0.0


@check(family="optimisation", stage=2, cost=1, causes=[CLIPPED])
def the_whole_loss_is_differentiated(subject: Subject):
    """A loss a thousand times as large still has a gradient."""
    run = subject.once(rehearsal)
    if not any(call.factors for call in run.calls):
        return skipped("The train step does not differentiate the loss function that it is given.")
    if all(not any(call.factors) for call in run.calls[:3]) or _zero_when(subject, 1000.0):
        limit = "as it is" if not any(run.calls[0].factors) else "when it is a thousand times as large"
        return CLIPPED.failed(f"The loss has no gradient {limit}, and has one when it is a thousandth.")
    return passed("It has a gradient at any size.")


def _zero_when(subject: Subject, scale: float) -> bool:
    run = rehearse(subject, 1, scale=scale)
    calls = [call for call in run.calls if math.isfinite(call.value)]
    return bool(calls) and all(call.factors and not any(call.factors) for call in calls)


def _is_flat(subject: Subject) -> bool:
    """Whether other outputs would leave the loss as it is."""
    x, y = subject.train.batches[0]
    outputs = subject.outputs(subject.model().train(), x).detach().requires_grad_()
    loss = subject.pipeline.loss_fn(outputs, y.to(subject.device)).float().mean()
    return loss.requires_grad and not bool(torch.autograd.grad(loss, outputs)[0].any())


def _clipped(subject: Subject) -> bool:
    run = rehearse(subject, 1, scale=1e-3)
    return any(any(call.factors) for call in run.calls) and _zero_when(subject, 1.0)


@check(family="optimisation", stage=2, cost=1, causes=[MODE])
def trains_in_train_mode(subject: Subject):
    """In a train step that follows an evaluation the model is in train mode again."""
    model = subject.model()
    layers = {name: each for name, each in model.named_modules() if acts_by_mode(each)}
    if not layers:
        return skipped("No layer of the model acts by mode.")
    trained = [each for each in model.parameters() if each.requires_grad]
    if 2 * sum(each.numel() for each in trained) < sum(each.numel() for each in model.parameters()):
        return skipped("Most of the model is frozen: evaluation mode may be what it needs.")

    def evaluate(step: int, model: nn.Module) -> None:
        if step < 2:  # once more after the first step, as a step may care for the mode only then
            subject.pipeline.evaluate(model, Replay(subject.pipeline.val_loader, subject.val))

    evaluate(0, model)
    run = rehearse(subject, 3, model=model, after=evaluate)
    calls = [call for call in run.forwards if call.learns]  # evaluation, in between, mostly does not
    if not calls:
        return skipped("The train step does not call the model as a whole.")
    later = [call for call in calls if call.step] or calls
    if any(call.training or any(call.modes.values()) for call in later):
        return passed("It is in train mode.")
    first = subject.once(rehearsal).forwards
    always = first and not any(call.training for call in first)
    told = "The model is in evaluation mode during training" + ("" if always else " from the first evaluation on")
    return MODE.failed(f"{told}; {len(layers)} of its layers act by mode: {_some(list(layers))}.")


def _some(names: list[str], shown: int = 3) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
