"""Does `evaluate` leave the model alone, in eval mode, on all the validation data and nothing else?"""

import contextlib
import math

import torch
from torch import nn

from recipe_core.checks.augmentation import IN_VALIDATION
from recipe_core.checks.metrics import PART
from recipe_core.checks.preparation import OTHERWISE, SCALE, SHIFT
from recipe_core.checks.probe import Trial, evaluate, marks, same, trained
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import Rehearsal, rehearsal
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything

DEPEND_ON_MODE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)

TRAIN_MODE = Cause(
    "wrong-mode-in-evaluation",
    "The model is evaluated in train mode: dropout drops, batch normalisation takes the statistics of each validation "
    "batch and stores them. The metrics are too low, noisy, and depend on the batch size.",
    "Call model.eval() at the start of evaluate (and model.train() in train_step).",
    0.7,
)
VALIDATION_TRAINS = Cause(
    "trains-on-validation",
    "The model learns the validation data, in evaluate or in the train step, and its metrics mean nothing.",
    "Put evaluate under torch.no_grad(), without loss.backward() and optimizer.step(); keep validation samples out of "
    "the train step.",
    0.9,
)
FREEZES = Cause(
    "evaluation-freezes-layers",
    "Evaluating switches requires_grad of layers and leaves it so: from the first evaluation on they do not train.",
    "Use torch.no_grad() in evaluate, and leave requires_grad alone.",
    0.8,
)
TRAINING_DATA = Cause(
    "evaluates-training-data",
    "evaluate measures on training samples: overfitting stays unseen.",
    "Let evaluate iterate over the loader that it is given, and give it the validation loader.",
    0.9,
)


OTHER_MODEL = Cause(
    "evaluates-other-model",
    "evaluate measures another model than the one it is given, or remembers what it measured before: the metrics say "
    "nothing about training.",
    "Use the model that evaluate is called with, and compute the metrics anew at each call.",
    0.8,
    follows=("targets-wrong-type",),
)
CHANGED_MUCH = 0.1  # of a deviation, that evaluate changes the inputs by
RENEWED = 30  # steps: averages of the weights are renewed in each, or every few
LEFT_OUT = 0.05  # share of samples that a copy or a duplicate may hide


@check(family="evaluation", stage=2, cost=1, causes=[TRAIN_MODE])
def evaluation_is_in_eval_mode(subject: Subject):
    """A model that comes out of a training step is switched to eval mode before it is evaluated: no layer works as in
    training, and the metrics are those of a model that was in eval mode already."""
    model = subject.copy(subject.once(trained)).train()
    trial = evaluate(subject, model)
    # A pass in train mode that only renews the statistics of an averaged model is no evaluation.
    wrong = trial.training - (set() if trial.only_training else trial.evaluating)
    if not wrong:
        return passed("All layers are in eval mode.")
    layers = dict(model.named_modules())
    hit = sorted(name for name in wrong if isinstance(layers.get(name), DEPEND_ON_MODE))
    if _on_purpose(trial, hit, layers):
        return passed("Dropout stays on, and each batch is evaluated several times: to average over it, as it seems.")
    if hit:
        shown = ", ".join(f"{name} ({type(layers[name]).__name__})" for name in hit[:3])
        work = "1 layer works" if len(hit) == 1 else f"{len(hit)} layers work"
        return TRAIN_MODE.failed(
            f"{work} as in training while the model is evaluated: {shown}{', ...' if len(hit) > 3 else ''}.", layers=hit
        )
    differs = _mode_matters(subject)
    if differs:
        return TRAIN_MODE.failed("The model is evaluated in train mode, in which its outputs are other ones.")
    return passed("The model stays in train mode, but none of its layers depends on it.")


def _on_purpose(trial: Trial, hit: list[str], layers: dict[str, nn.Module]) -> bool:
    """Whether only dropout works as in training, the model is in eval mode, and it is asked about each batch again and
    again (Gal & Ghahramani 2016)."""
    dropouts = all(isinstance(layers[name], nn.modules.dropout._DropoutNd) for name in hit)
    return bool(hit) and dropouts and not trial.batches[True] and trial.averages


def _mode_matters(subject: Subject) -> bool:
    """Whether the outputs of the model depend on its mode."""
    model, x = subject.copy(subject.once(trained)), subject.val.batches[0][0]
    with torch.no_grad():
        first, again = (subject.outputs(model.eval(), x) for _ in range(2))
        training = subject.outputs(model.train(), x)
    return torch.equal(first, again) and not torch.allclose(first, training, rtol=1e-3, atol=1e-5)


@check(family="evaluation", stage=2, cost=1, causes=[VALIDATION_TRAINS, FREEZES])
def evaluation_leaves_the_model_alone(subject: Subject):
    """Evaluating changes no weight of the model and nothing of what its next training step does."""
    model = subject.model()
    for _ in subject.steps(2, model):
        pass
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    gradients = {name: _copied(each.grad) for name, each in model.named_parameters()}
    trains = {name for name, each in model.named_parameters() if each.requires_grad}
    evaluate(subject, model)
    frozen = [name for name, each in model.named_parameters() if each.requires_grad != (name in trains)]
    if frozen and not _thawed(subject, model, trains):
        return FREEZES.failed(
            f"After an evaluation {len(frozen)} of {len(trains)} weight tensors that train have requires_grad "
            f"changed, {frozen[0]} first.",
            tensors=frozen[:20],
        )
    changed = [name for name, each in model.named_parameters() if not _same(each, before[name])]
    if changed and not frozen:
        return VALIDATION_TRAINS.failed(
            f"Evaluating changed {len(changed)} of {len(before)} weight tensors, {changed[0]} first.",
            tensors=changed[:20],
        )
    left = [name for name, each in model.named_parameters() if not _same(each.grad, gradients[name])]
    left = [name for name in left if dict(model.named_parameters())[name].grad is not None]
    if not left:
        return passed("Weights and gradients are the same before and after.")
    if _next_step_differs(subject):
        return VALIDATION_TRAINS.failed(
            f"Evaluating left gradients in {len(left)} of {len(before)} weight tensors; they change the next step.",
            tensors=left[:20],
        )
    return passed("Evaluating computes gradients, but the next training step drops them.")


def _thawed(subject: Subject, model: nn.Module, trains: set[str]) -> bool:
    """Whether the next train step itself lets all that trained train again."""
    with contextlib.suppress(RuntimeError):  # nothing is left that a loss could be differentiated by
        for _ in subject.steps(1, model):
            pass
    return all(each.requires_grad == (name in trains) for name, each in model.named_parameters())


@check(family="evaluation", stage=2, cost=0.3, causes=[VALIDATION_TRAINS])
def training_takes_no_validation_samples(subject: Subject):
    """What a train step learns from are the samples that it is given: none with their labels from validation."""
    run = subject.once(rehearsal)
    known = {
        mark: target
        for sample in (subject.drawn_val, subject.drawn_val_again)
        for x, y in sample.batches
        for mark, target in zip(marks(x), y, strict=True)
    }
    given = {mark for x, _ in run.batches for mark in marks(x)}
    for call in run.forwards:
        if not call.learns or not isinstance(call.x, torch.Tensor):
            continue
        found = [mark for mark in marks(call.x) if mark in known and mark not in given]
        if 2 * len(found) <= len(call.x):
            continue
        targets = marks(torch.stack([known[mark] for mark in found]))
        learnt = [each for each in run.calls if each.step == call.step and any(each.factors)]
        if any(isinstance(each.targets, torch.Tensor) and marks(each.targets) == targets for each in learnt):
            return VALIDATION_TRAINS.failed(
                f"Train step {call.step + 1} gives the model {len(found)} validation samples, and differentiates the "
                "loss of their labels.",
                step=call.step,
            )
    return passed("It takes none.")


def _next_step_differs(subject: Subject) -> bool:
    """Whether a training step after an evaluation gives other weights than the same step without one."""
    weights = []
    for evaluated in (False, True):
        with subject.untouched():
            torch.manual_seed(0)
            model = subject.model()
            optimizer = subject.optimizer(model)
            if evaluated:
                evaluate(subject, model)
            torch.manual_seed(0)
            batch = tuple(part.clone() for part in subject.train.batches[0])
            subject.pipeline.train_step(model, batch, subject.pipeline.loss_fn, optimizer)
            weights.append([each.detach().clone() for each in model.parameters()])
    return any(not torch.allclose(one, two, rtol=1e-3, atol=1e-7) for one, two in zip(*weights, strict=True))


def _copied(gradient: torch.Tensor | None) -> torch.Tensor | None:
    return None if gradient is None else gradient.clone()


def _same(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    if first is None or second is None:
        return first is second
    first, second = (each.to_dense() if each.is_sparse else each for each in (first, second))
    return same(first, second)


@check(family="evaluation", stage=2, cost=1, causes=[TRAINING_DATA, PART])
def evaluation_sees_all_validation_data(subject: Subject):
    """The model sees every batch of the loader that is to be evaluated, and no sample of the training data."""
    trial = evaluate(subject, subject.copy(subject.once(trained)))
    if subject.val.is_whole:
        return _of_all_batches(subject, trial) if trial.given else _elsewhere(0.0, False)
    seen = {mark for x in trial.inputs for mark in marks(x)}
    train = {mark for x, _ in subject.drawn_train.batches for mark in marks(x)}
    val = {
        mark for sample in (subject.drawn_val, subject.drawn_val_again) for x, _ in sample.batches for mark in marks(x)
    }
    foreign = len((seen & train) - val)
    missed = 1 - len(seen & val) / len({mark for x, _ in subject.val.batches for mark in marks(x)})
    if foreign:
        told = f"{foreign} of the {len(seen)} samples that the model saw in evaluate are training samples"
        if not missed:
            return TRAINING_DATA.unsure(f"{told}, beside all of validation; are these compared with them?", 0.3)
        return TRAINING_DATA.failed(f"{told}.", training_samples=foreign, seen=len(seen))
    if not trial.given:
        return _elsewhere(missed, bool(seen & val))
    drawn = _of_all_batches(subject, trial)
    if drawn.verdict == "pass" and seen & val and missed > LEFT_OUT:
        return PART.failed(f"The model saw {1 - missed:.0%} of the samples that evaluate was given.")
    return drawn


def _of_all_batches(subject: Subject, trial: Trial) -> Result:
    """Whether evaluate drew every batch."""
    batches, drawn = len(subject.val.batches), {position for number, position in trial.given if number == 0}
    if batches > 1 and len(drawn) == 1:
        return PART.failed(
            f"evaluate took 1 of {batches} batches, {subject.val.sizes[0] / len(subject.val):.0%} of the samples."
        )
    if len(drawn) < batches:
        return PART.unsure(f"evaluate took {len(drawn)} of {batches} batches; is that on purpose?", 0.3)
    return passed(f"The samples of all {batches} batches were seen.")


def _elsewhere(missed: float, is_validation: bool):
    said = "evaluate takes its data from elsewhere than the loader that it is given"
    if is_validation and missed > LEFT_OUT:
        return PART.failed(f"{said}, and looks at {1 - missed:.0%} of the validation samples.")
    return skipped(f"{said}.")


@check(family="evaluation", stage=2, cost=1, causes=[OTHER_MODEL])
def metrics_depend_on_the_model(subject: Subject):
    """The metrics of a model change when its weights do, or after some training."""
    model = subject.model()
    first = evaluate(subject, model).metrics
    with torch.no_grad():
        before = subject.outputs(model.eval(), subject.val.batches[0][0])
        for each in model.parameters():
            each.add_(torch.randn_like(each) * (0.5 * each.std().nan_to_num(nan=1.0) + 0.1))
        after = subject.outputs(model.eval(), subject.val.batches[0][0])
    if not before.isfinite().all():
        return skipped("The model's outputs are no finite numbers.")
    if torch.allclose(before, after):
        return skipped("The model's outputs do not depend on its weights.")
    if not _alike(evaluate(subject, model).metrics, first):
        return _stands_still(subject) or passed("They do.")
    for _ in subject.steps(20, model):  # an average of the weights, kept aside, follows training only
        pass
    if not _alike(evaluate(subject, model).metrics, first):
        return passed("They follow its training.")
    return OTHER_MODEL.failed(
        "The metrics stay exactly the same when the model is given other weights, and when it is trained.",
        metrics=first,
    )


def _stands_still(subject: Subject):
    """A failure where training changes what the model says in train mode and nothing of what it says in eval mode, as
    of an averaged copy of the weights that is never renewed."""
    if subject.is_large:
        return None
    model, x = subject.model(), subject.val.batches[0][0]

    def said(train: bool) -> torch.Tensor:
        seed_everything(0)
        with torch.no_grad():
            return subject.outputs(subject.copy(model).train(train), x).float()

    before = {train: said(train) for train in (False, True)}
    for _ in subject.steps(RENEWED, model):
        pass
    if not torch.equal(said(False), before[False]) or torch.allclose(said(True), before[True], rtol=1e-2, atol=1e-3):
        return None
    return OTHER_MODEL.failed(
        f"After {RENEWED} steps the model says in eval mode what it said before them, to the last digit, and other "
        "things in train mode: it is evaluated with weights that training does not renew."
    )


def _alike(first: dict[str, float], second: dict[str, float]) -> bool:
    return str(first) == str(second)  # NaN is like NaN here


@check(family="evaluation", stage=2, cost=1, causes=[IN_VALIDATION, OTHERWISE])
def evaluation_prepares_inputs_as_training_does(subject: Subject):
    """The model sees the same inputs whenever the same batches are evaluated, and of a training batch about the same
    pixels in evaluate as in the train step."""
    model = subject.model()
    trials = [evaluate(subject, model, passes=[subject.val], seed=seed) for seed in (0, 1)]
    first, again = (trial.inputs for trial in trials)
    if len(first) != len(again) or not first or not all(trial.given for trial in trials):
        return skipped("The model is not called the same way each time, or with other data than are given.")
    changed = sum(not same(one, two) for one, two in zip(first, again, strict=True))
    if changed > len(first) / 2:
        return IN_VALIDATION.failed(
            f"In evaluate chance changes the inputs: {changed} of {len(first)} batches reach the model with others the "
            "second time.",
            changed=changed,
        )
    run = subject.once(rehearsal)
    stepped = [call.x for call in run.forwards if isinstance(call.x, torch.Tensor) and call.x.is_floating_point()]
    given = Sample([(x, _as_in_validation(subject, y)) for x, y in run.batches], False, 0.0)
    seen = evaluate(subject, model, passes=[given]).inputs if stepped else []
    if not seen or any(each.shape[1:] != seen[0].shape[1:] for each in (*seen, *stepped)):
        return skipped("Inputs of training and evaluation cannot be compared.")
    one, other = (torch.cat([each.detach().cpu().float() for each in part]) for part in (stepped, seen))
    mean, deviation = float(one.mean()), float(one.std())
    shift, scale = float(other.mean()) - mean, float(other.std()) / max(deviation, 1e-9)
    if not (math.isfinite(shift) and math.isfinite(scale) and deviation):
        return skipped("Inputs are not finite, or all the same.")
    told = f"Training batches reach the model with mean {mean:.3g} and deviation {deviation:.3g} in the train step, "
    told += f"with {float(other.mean()):.3g} and {float(other.std()):.3g} in evaluate"
    off = not 1 / SCALE < scale < SCALE and not _grown_by_noise(run, stepped, seen)
    if abs(shift) > SHIFT * deviation or off:
        return OTHERWISE.failed(f"{told}.")
    if _standardised_by_batch(subject, first) and all(
        map(same, (x.cpu() for x in stepped), (x for x, _ in run.batches))
    ):
        return OTHERWISE.failed(
            "evaluate gives each batch a mean and deviation of its own, whatever they were; the train step does not."
        )
    return passed(f"{told}.")


def _as_in_validation(subject: Subject, y: torch.Tensor) -> torch.Tensor:
    """As many targets of validation, as they do not matter here and those of training may have another form; but maps
    of the size of the pictures."""
    usual = subject.val.y
    is_map = y.ndim == usual.ndim > 2 and y.dtype == usual.dtype
    return y if is_map else usual[torch.arange(len(y)) % len(usual)]


def _standardised_by_batch(subject: Subject, seen: list[torch.Tensor]) -> bool:
    """Whether evaluate changes validation batches, and makes the same of batches that are twice as bright."""
    given = [x.float() for x, _ in subject.val.batches]
    if not subject.val.x.is_floating_point() or [x.shape for x in seen] != [x.shape for x in given]:
        return False
    deviation = float(subject.val.x.std())
    changed = max(float((one.cpu() - other).abs().mean()) for one, other in zip(seen, given, strict=True))
    if changed < CHANGED_MUCH * deviation:
        return False
    brighter = Sample([(2 * x + deviation, y) for x, y in subject.val.batches], subject.val.complete, 0.0)
    inputs = evaluate(subject, subject.model(), passes=[brighter]).inputs
    return len(inputs) == len(seen) and all(map(_about_the_same, inputs, seen))


def _about_the_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.float(), other.float(), rtol=1e-2, atol=1e-3)


def _grown_by_noise(run: Rehearsal, stepped: list[torch.Tensor], seen: list[torch.Tensor]) -> bool:
    """Whether the pixels of the batches themselves reach the model at the same scale in both: what is added to them in
    the train step has nothing to do with them."""
    given = [x.cpu().float() for x, _ in run.batches]
    if any([each.shape for each in part] != [x.shape for x in given] for part in (stepped, seen)):
        return False
    x = torch.cat([each.flatten() for each in given])
    x = x - x.mean()
    one, other = (
        float((torch.cat([each.cpu().float().flatten() for each in part]) * x).sum()) for part in (stepped, seen)
    )
    return one > 0 and 1 / SCALE < other / one < SCALE
