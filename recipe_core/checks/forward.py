"""What does the model do with a batch? Inputs are changed where outputs should follow, and where they should not."""

import torch
from torch import nn

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.rehearsal import rehearsal
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.training.checkpoint import seed_everything

MOST = 16  # samples of a batch
ROUNDING = 1e-4  # of the outputs' spread
IGNORED = 0.3  # of the rows or columns, side by side; what a stride leaves over is less, even of 8 x 8 pixels

MIXED = Cause(
    "batch-mixed",
    "The outputs for an image depend on the other images in its batch.",
    "Look for view or reshape where permute is meant, and for sums, means, softmax or attention over dimension 0.",
    0.9,
)
RANDOM = Cause(
    "random-in-evaluation",
    "In evaluation mode the model gives other outputs for the same images each time.",
    "Use nn.Dropout, or F.dropout(..., training=self.training), and draw noise in training only.",
    0.5,
)
DEAF = Cause(
    "input-ignored",
    "The outputs do not depend on the images.",
    "Follow the input through forward: it is overwritten, multiplied by zero or cut off on its way.",
    1.0,
)
PARTLY = Cause(
    "input-partly-ignored",
    "A large part of each image never reaches the outputs.",
    "Look for a slice, an index or a stride in forward that leaves out pixels or channels.",
    0.5,
)
AFFINE = Cause(
    "nonlinearity-missing",
    "Layers follow each other without a non-linearity between them: together they can do no more than one.",
    "Put an activation between them.",
    0.6,
)


def batch_of(subject: Subject) -> torch.Tensor:
    """A few training images on the device."""
    return subject.train.batches[0][0][:MOST].to(subject.device)


@torch.no_grad()
def _outputs(subject: Subject, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    seed_everything(0)
    return subject.outputs(model, x.clone()).detach().float()


def _spread(outputs: torch.Tensor) -> float:
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


@check(family="model", stage=2, cost=0.5, causes=[MIXED])
def images_do_not_see_each_other(subject: Subject):
    """In evaluation mode the outputs for an image stay as they are when all other images of the batch change."""
    x = batch_of(subject)
    if len(x) < 4 or not x.is_floating_point():
        return skipped("The batches are too small.")
    found = []
    for model in (subject.once(settled), stirred(subject)):
        half = len(x) // 2
        other = torch.cat([x[:half], x[half:].flip(0) * 0.5 + torch.randn_like(x[half:])])
        plain, changed = _outputs(subject, model, x), _outputs(subject, model, other)
        if len(plain) != len(x):
            return skipped("The outputs are not one row per image.")
        found.append(float((plain[:half] - changed[:half]).abs().max()) / _spread(plain))
    if max(found) > ROUNDING * 10:
        return MIXED.failed(
            f"Other images in the second half of a batch change the outputs of the first half, by {max(found):.2g} of "
            "their spread.",
            change=max(found),
        )
    return passed("They stay as they are.")


@check(family="model", stage=2, cost=0.3, causes=[RANDOM])
def evaluation_is_not_random(subject: Subject):
    """In evaluation mode the model gives the same outputs for the same images twice."""
    model, x = subject.once(settled), batch_of(subject)
    with torch.no_grad():
        first, second = (subject.outputs(model, x.clone()).float() for _ in range(2))
    change = float((first - second).abs().max()) / _spread(first)
    if change > ROUNDING * 10:
        return RANDOM.failed(f"The same images give outputs {change:.2g} of their spread apart.", change=change)
    return passed("It does.")


@check(family="model", stage=2, cost=0.5, causes=[DEAF, PARTLY])
def outputs_follow_the_input(subject: Subject):
    """Every channel and nearly every pixel of the input has an influence on the outputs."""
    x = batch_of(subject)
    if not x.is_floating_point() or x.ndim != 4:
        return skipped("The inputs are no images of floating-point numbers.")
    model = stirred(subject)
    noise = torch.randn_like(x)
    outputs = _outputs(subject, model, x)
    if not outputs.isfinite().all() or not outputs.any():
        return skipped("The outputs are not finite, or all zero.")
    if torch.equal(_outputs(subject, model, noise), _outputs(subject, model, noise * 0.3 + 1)):
        return DEAF.failed("Quite different noise gives exactly the same outputs.")
    asked = (noise + 0.1).requires_grad_()
    outputs = subject.outputs(model, asked).float()
    if not outputs.requires_grad:
        return skipped("No gradient reaches the input.")
    (gradient,) = torch.autograd.grad(outputs.square().sum() + outputs.sum(), asked, allow_unused=True)
    if gradient is None:
        return skipped("No gradient reaches the input.")
    used = gradient.abs().sum(0) > 0
    used = used | _matters(subject, model, noise, ~used)
    channels, pixels = used.flatten(1).any(1), used.any(0)
    lost = [number for number, each in enumerate(channels.tolist()) if not each]
    if lost and not _are_copies(x):
        told = f"channel {lost[0]} has" if len(lost) == 1 else f"{len(lost)} of {len(channels)} channels have"
        return PARTLY.failed(f"The inputs' {told} no influence on the outputs.", channels=lost)
    share = max(_longest(~pixels.any(side)) / pixels.shape[1 - side] for side in (0, 1))
    if share > IGNORED:
        return PARTLY.failed(f"{share:.0%} of each image, side by side, have no influence on the outputs.", share=share)
    return passed("All channels and regions have an influence.")


def _matters(subject: Subject, model: nn.Module, x: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Those pixels again, if outputs change with them after all: a maximum has a gradient at one place only."""
    changed = torch.where(where, x * 10 + 3 * torch.randn_like(x), x)
    return where & (not torch.equal(_outputs(subject, model, x), _outputs(subject, model, changed)))


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


@check(family="model", stage=2, cost=0.5, causes=[AFFINE])
def layers_are_not_merely_linear(subject: Subject):
    """No two linear layers follow each other directly (but for a bottleneck), and a deep model is not affine."""
    model, x = subject.once(settled), batch_of(subject)
    trace = _Trace(model)
    seed_everything(0)
    with torch.no_grad():
        subject.outputs(model, x)
    trace.close()
    pairs = [(one, two) for one, two in trace.pairs if one.out_features >= min(one.in_features, two.out_features)]
    weighty = [layer for layer in trace.called if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)]
    if (pairs or len(set(weighty)) > 2) and x.is_floating_point() and _is_affine(subject, x):
        return AFFINE.failed(f"{len(set(weighty))} layers together are an affine function of the input.")
    told = [
        f"A linear layer of {one.in_features} inputs and {one.out_features} outputs ({trace.names[one]}) is followed "
        f"directly by one of {two.out_features} outputs ({trace.names[two]})."
        for one, two in pairs
    ]
    for (_, second), sentence in zip(pairs, told, strict=True):
        if second is not weighty[-1]:
            return AFFINE.failed(sentence)
    if told:
        return AFFINE.unsure(f"{told[0]} Is the first meant as an embedding?", harm=0.2)
    return passed("No two linear layers follow each other, and the model is not affine.")


def _is_affine(subject: Subject, x: torch.Tensor) -> bool:
    """Whether the outputs for the middle of two inputs are always the middle of their outputs."""
    model = stirred(subject)
    if not _outputs(subject, model, x).std():
        return False
    first, second = torch.randn_like(x), torch.randn_like(x)
    middle = (_outputs(subject, model, first) + _outputs(subject, model, second)) / 2
    bend = (_outputs(subject, model, (first + second) / 2) - middle).abs().max()
    return float(bend) < ROUNDING * 10 * _spread(middle)


class _Trace:
    """Which linear layers got the very output of another one."""

    def __init__(self, model: nn.Module):
        self.names = {layer: name for name, layer in model.named_modules()}
        self.called: list[nn.Module] = []
        self.pairs: list[tuple[nn.Linear, nn.Linear]] = []
        self._given: list[tuple[torch.Tensor, nn.Module]] = []  # holds the tensors, so that memory stays theirs
        leaves = [layer for layer in model.modules() if not list(layer.children())]
        self._handles = [layer.register_forward_hook(self._look) for layer in leaves]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _look(self, layer: nn.Module, inputs, outputs) -> None:
        self.called.append(layer)
        if not isinstance(layer, nn.Linear):
            # What a layer that changes nothing in evaluation (dropout, identity) hands on keeps its origin.
            return
        x = inputs[0]
        for tensor, origin in self._given:
            if tensor.data_ptr() == x.data_ptr() and tensor.numel() == x.numel() and isinstance(origin, nn.Linear):
                self.pairs.append((origin, layer))
        self._given.append((outputs, layer))
