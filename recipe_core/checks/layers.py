"""Does every layer take part? Parameters are followed from registration to their first updates."""

from collections.abc import Callable

import torch
from torch import nn

from recipe_core.checks.optimisation import random_weights
from recipe_core.checks.probe import heard_and_returned, tensors_of
from recipe_core.checks.rates import course
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import Rehearsal, rehearsal
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.whole import Whole
from recipe_core.training.checkpoint import seed_everything

DEEP, VERY_DEEP = 3, 8  # layers of random weights: may be frozen by mistake; are so surely
LEARNED, MUCH_MORE = 0.2, 2.0  # of the loss, with nothing frozen; times what is learnt otherwise

UNREGISTERED = Cause(
    "layers-unregistered",
    "Layers take part in the forward pass that are no parameters of the model: no optimizer sees them, no checkpoint "
    "saves them.",
    "Keep layers in nn.ModuleList or nn.ModuleDict, tensors in nn.Parameter.",
    0.7,
)
UNUSED = Cause(
    "layers-unused",
    "Layers of the model have no influence on its outputs.",
    "Call them in forward and go on with what they return, or delete them.",
    0.4,
    follows=("input-ignored",),
)
CUT_OFF = Cause(
    "layers-not-trained",
    "Layers that shape the outputs get no gradient, and stay at their initial weights.",
    "Look for detach(), no_grad(), .data, NumPy or requires_grad_(False) on the way from the loss to them, or for two "
    "factors that both start at zero.",
    0.8,
    follows=("dead-units", "input-partly-ignored"),
)
NOT_LOADED = Cause(
    "weights-not-loaded",
    "load_state_dict(strict=False) has found nothing to load: the network that is taken for pretrained is random.",
    "Load with strict=True, or look at what it returns; strip prefixes such as 'module.' from the names.",
    0.9,
)


@check(family="model", stage=2, cost=0.3, causes=[UNREGISTERED])
def all_layers_are_registered(subject: Subject):
    """Every tensor that the outputs could be differentiated by is a parameter of the model."""
    model = subject.model().train()
    optimizer = subject.optimizer(model)
    strangers = _strangers(subject, model, {id(each) for group in optimizer.param_groups for each in group["params"]})
    loose = _loose_tensors(subject, model)
    if loose:
        return UNREGISTERED.failed(
            f"{named(loose)} random weights in plain tensors, which are neither parameters nor buffers."
        )
    if strangers:
        shapes = ", ".join(str(tuple(each.shape)) for each in strangers[:4])
        return UNREGISTERED.failed(
            f"{len(strangers)} trainable tensors take part in the outputs and are no parameters: shapes {shapes}."
        )
    return passed("All are.")


def _strangers(subject: Subject, model: nn.Module, known: set[int]) -> list[torch.Tensor]:
    """What outputs could be differentiated by and is no parameter, nor made of the inputs, whose derivative a model may
    want."""
    known |= {id(each) for each in model.parameters()}
    found, x = [], subject.train.batches[0][0]
    other = subject.train.batches[-1][0] if isinstance(x, Whole) else x.flip(0)
    for inputs in (x, other):
        seed_everything(0)
        outputs = subject.outputs(model, inputs)
        found.append([each for each in _leaves(outputs) if id(each) not in known])
    return [each for each, other in zip(*found, strict=False) if torch.equal(each, other)]


def _loose_tensors(subject: Subject, model: nn.Module) -> list[str]:
    """Plain tensors of two dimensions and more that start at random and that outputs follow."""
    torch.manual_seed(12345)
    other = dict(subject.pipeline.model_fn().named_modules())
    found, x = [], subject.some(16)
    for path, layer in model.named_modules():
        for name, value in list(vars(layer).items()):
            twin = vars(other[path]).get(name) if path in other else None
            if (
                not (isinstance(twin, torch.Tensor) and _is_weight(value) and _is_weight(twin))
                or value.shape != twin.shape
                or torch.equal(value, twin)
            ):
                continue
            changed = subject.copy(model).eval()
            setattr(changed.get_submodule(path), name, value + torch.randn_like(value))
            with torch.no_grad():
                plain, moved = (subject.outputs(each.eval(), x) for each in (subject.copy(model), changed))
            if not torch.equal(plain, moved):
                found.append(f"{path}.{name}".lstrip("."))
    return found


def _is_weight(value) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 1 and value.is_floating_point() and value.is_leaf


def _leaves(outputs: torch.Tensor) -> list[torch.Tensor]:
    """The tensors at the ends of its graph of gradients."""
    found, seen, wait = {}, set(), [outputs.grad_fn]
    while wait:
        node = wait.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        wait += [each for each, _ in node.next_functions]
    return list(found.values())


@check(family="model", stage=2, cost=0.2, causes=[NOT_LOADED])
def loaded_weights_fit(subject: Subject):
    """Where the model loads weights, some of them are its own by name."""
    loads: list[tuple[int, int, str]] = []
    plain = nn.Module.load_state_dict

    def watched(module: nn.Module, state_dict, *more, **named):
        own, example = module.state_dict().keys(), next(iter(state_dict), "")
        loads.append((len(own & state_dict.keys()), len(state_dict), example))
        return plain(module, state_dict, *more, **named)

    nn.Module.load_state_dict = watched  # type: ignore[method-assign,assignment]
    try:
        model = subject.model()
    finally:
        nn.Module.load_state_dict = plain  # type: ignore[method-assign]
    if not loads:
        return skipped("The model loads no weights.")
    for fitting, given, example in loads:
        if not fitting:
            own = next(iter(model.state_dict()), "none")
            return NOT_LOADED.failed(
                f"Of {given} weights that are loaded none has a name of the model's: they begin with {example!r}, the "
                f"model's with {own!r}."
            )
    return passed(f"{sum(each[0] for each in loads)} weights are loaded.")


@check(family="model", stage=2, cost=1, causes=[UNUSED, CUT_OFF])
def all_layers_are_trained(subject: Subject):
    """Every layer has an influence on the outputs, and gets a gradient, unless it was frozen on purpose."""
    run = subject.once(rehearsal)
    model = subject.model().train()
    seed_everything(0)
    loss = subject.loss(model, subject.train.batches[0])
    if loss.requires_grad:
        loss.float().mean().backward()
    layers = layers_of(model)
    still = [name for name, own in layers.items() if own and not any(_has_gradient(each, run, model) for each in own)]
    if run.touched:  # a gradient that is zero in every step is none
        still += [name for name, own in layers.items() if name not in still and not run.touched.intersection(own)]
    if not still:
        return _deaf_weights(subject, run, layers) or passed(f"All {len(layers)} layers get gradients.")
    effect = {name: _has_effect(subject, model, layers[name]) for name in still}
    unused = [name for name in still if not effect[name] and _trainable(model, layers[name])]
    cut = [name for name in still if effect[name] and _trainable(model, layers[name])]
    frozen = [name for name in still if effect[name] and not _trainable(model, layers[name])]
    results = []
    beside = [name for name in unused if _has_effect(subject, model, layers[name], _returned)]
    unused = [name for name in unused if name not in beside]
    if unused:
        results.append(UNUSED.failed(f"{named(unused)} no influence on the outputs.", layers=unused))
    if beside:
        told = f"{named(beside)} an influence only on what forward leaves out of all that the model returns"
        results.append(UNUSED.unsure(f"{told}, and no gradient; is it not to be trained?", layers=beside))
    if cut:
        results.append(
            CUT_OFF.failed(f"{named(cut)} an influence on the outputs and no gradient but zero.", layers=cut)
        )
    results += _frozen(subject, model, layers, frozen)
    return results or passed(f"{named(still)} no gradient, on purpose as it seems.")


def _deaf_weights(subject: Subject, run: Rehearsal, layers: dict[str, list[str]]) -> Result | None:
    """A failure where a layer's bias has gradients, so that its outputs matter, and its weight has none, though
    something other than zero enters it."""
    named = dict(run.model.named_parameters())
    deaf = [
        name
        for own in layers.values()
        for name in own
        if named[name].ndim > 1 and named[name].requires_grad and name not in run.touched and run.touched & {*own}
    ]
    deaf = [name for name in deaf if _gets_anything(subject, run.model, name.rpartition(".")[0])]
    if not deaf:
        return None
    told = f"Weight {deaf[0]} has" if len(deaf) == 1 else f"{len(deaf)} weights ({', '.join(deaf[:4])}) have"
    return CUT_OFF.failed(f"{told} no gradient but zero, though others of the same layer have.", layers=deaf)


@torch.no_grad()
def _gets_anything(subject: Subject, model: nn.Module, layer: str) -> bool:
    """Whether anything but zeros enters a layer; of one that is not called as a module it is taken for granted."""
    twin = subject.copy(model).eval()
    seen: list[bool] = []
    twin.get_submodule(layer).register_forward_pre_hook(
        lambda _, inputs: seen.extend(bool(each.any()) for each in inputs if isinstance(each, torch.Tensor))
    )
    subject.outputs(twin, subject.train.batches[0][0])
    return any(seen) or not seen


def _frozen(subject: Subject, model: nn.Module, layers: dict[str, list[str]], frozen: list[str]):
    """Frozen on purpose is what was loaded, or comes first and is shallow; not random weights behind layers that train,
    nor a deep body that was never trained."""
    order = [name for name in _order(subject, model) if name in layers]
    first = next((at for at, name in enumerate(order) if name not in frozen and _is_weighty(model, name)), len(order))
    behind = [name for name in order[first:] if name in frozen and _is_weighty(model, name)]
    behind = [name for name in behind if not _is_adapted(subject, model, name)]
    if behind and random_weights(subject, [each for name in behind for each in layers[name]]):
        yield CUT_OFF.failed(f"{named(behind)} random initial weights, which are frozen though layers before train.")
        return
    body = [name for name in order[:first] if name in frozen and _is_weighty(model, name)]
    if len(body) >= DEEP:
        body = [name for name in body if random_weights(subject, layers[name])]
    if len(body) >= DEEP:
        told = f"{named(body)} random initial weights, which are frozen: nothing was loaded"
        yield CUT_OFF.failed(f"{told}.") if len(body) >= VERY_DEEP else _never_trained(subject, told)


def _never_trained(subject: Subject, told: str) -> Result:
    """Random features may do on purpose; not where the same steps learn far more once nothing is frozen."""
    if subject.is_large:
        return CUT_OFF.unsure(f"{told}; are random features enough?")
    frozen, thawed = course(subject), course(subject, model=subject.model().train().requires_grad_(True))
    told += f". {len(frozen.run.losses)} steps take the loss from {frozen.before:.3g} to {frozen.after:.3g}, "
    told += f"with nothing frozen to {thawed.after:.3g}"
    if 1 - thawed.share > max(LEARNED, MUCH_MORE * (1 - frozen.share)):
        return CUT_OFF.failed(f"{told}.")
    return CUT_OFF.unsure(f"{told}; are random features enough?")


@torch.no_grad()
def _is_adapted(subject: Subject, model: nn.Module, name: str) -> bool:
    """Whether trainable weights take another way around a layer, from the input of the module that it is in: how far
    two inputs' outputs are apart follows them, though the layer itself gives nothing."""
    twin = subject.copy(model).eval()
    whole, layer = twin.get_submodule(name.rpartition(".")[0]), twin.get_submodule(name)
    given: list[tuple] = []
    handle = whole.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    subject.outputs(twin, subject.some(4))
    handle.remove()
    x = given[0][0] if given and len(given[0]) == 1 else None
    if whole is twin or not isinstance(x, torch.Tensor) or not x.is_floating_point():
        return False
    layer.register_forward_hook(lambda _, inputs, out: torch.zeros_like(out) if isinstance(out, torch.Tensor) else out)
    if not isinstance(whole(x), torch.Tensor):
        return False
    apart = []
    for _ in range(2):
        for each in whole.parameters():
            each.add_(torch.randn_like(each) * 0.1 if each.requires_grad else 0.0)
        apart.append(whole(x + 1) - whole(x))
    return not torch.allclose(apart[0], apart[1], rtol=1e-3, atol=1e-5)


def _is_weighty(model: nn.Module, name: str) -> bool:
    """Has weights of two or more dimensions: norms are often frozen on their own."""
    named = dict(model.named_parameters())
    own = [named[name]] if name in named else model.get_submodule(name).parameters(recurse=False)
    return any(each.ndim > 1 for each in own)


def layers_of(model: nn.Module) -> dict[str, list[str]]:
    """Layer -> its own parameters' names; of weights that layers share, those of the first."""
    found, known = {}, dict(model.named_parameters())
    for name, layer in model.named_modules():
        own = [f"{name}.{each}" if name else each for each, _ in layer.named_parameters(recurse=False)]
        own = [each for each in own if each in known]
        if name and own:
            found[name] = own
        elif own:
            found |= {each: [each] for each in own}
    return found


def _has_gradient(name: str, run, model: nn.Module) -> bool:
    given = dict(model.named_parameters()).get(name)
    return given is None or given.grad is not None or name in run.touched


def _trainable(model: nn.Module, names: list[str]) -> bool:
    return any(dict(model.named_parameters())[name].requires_grad for name in names)


Read = Callable[[Subject, nn.Module, torch.Tensor], list[torch.Tensor]]


def _heard(subject: Subject, model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    return [subject.outputs(model, x)]


def _returned(subject: Subject, model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    return [each for _, each in tensors_of(heard_and_returned(subject, model, x)[1])]


@torch.no_grad()
def _has_effect(subject: Subject, model: nn.Module, names: list[str], read: Read = _heard) -> bool:
    """Whether other values of these parameters change the outputs, or what else is read."""
    twin, x = subject.copy(model).eval(), subject.some(16)
    for each in twin.parameters():  # nothing that hides behind a layer that starts at zero
        each.add_(torch.randn_like(each) * 0.05)
    seed_everything(0)
    plain = [each.clone() for each in read(subject, twin, x)]
    own = dict(twin.named_parameters())
    for _ in range(3):
        for name in names:
            own[name].add_(torch.randn_like(own[name]) + 0.5)
        seed_everything(0)
        if not all(map(torch.equal, read(subject, twin, x), plain)):
            return True
    return False


def _order(subject: Subject, model: nn.Module) -> list[str]:
    """The layers in the order in which they are called."""
    called: list[str] = []
    handles = [
        layer.register_forward_pre_hook(lambda _, __, name=name: called.append(name))
        for name, layer in model.named_modules()
    ]
    with torch.no_grad():
        subject.outputs(model, subject.some(4))
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(called))


def named(layers: list[str]) -> str:
    return f"Layer {layers[0]} has" if len(layers) == 1 else f"{len(layers)} layers ({', '.join(layers[:4])}) have"
