"""Can a network learn from its inputs as they are: finite, different from each other, on a scale it can work with?"""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import labels_of

NOTHING_LEFT = 0.3  # share of images without any contrast that no healthy preparation leaves
FEWEST_TEXTS, HARDLY_ANY, ALL_BUT_ALL = 100, 0.1, 0.95  # texts; of them that differ; of their words
NEARLY_ALL = 0.98
MOST_CHANNELS, LEAST_SIDE = 4, 8
SMOOTHER = 0.65  # of the roughness: one order is right, and any other mixes rows or channels
FEW = 16  # numbers of an input, which may all be one by chance
HALF = 0.5  # of the variance
LEVELS = 3  # so few values in all images together
# Of the signal that inputs of mean 0 and deviation 1 would give: pixels in 0..1 give a quarter.
WEAK, STRONG = 0.04, 25.0
PROBED = 128  # images
PILED = 0.1  # share of the numbers that are the least, and that are the greatest: less than that a photograph may have
FADES, AS_CHANCE = 0.1, 0.7  # share of pixels cut off in some of their colours; of what they would differ if by chance
LEAST_BETWEEN = 24  # different numbers between the two: paint has few
SAME = 1e-3  # of a length
LEAST_VARIED = 0.05  # of the mean: what varies less is of one length whatever it is

NOT_FINITE = Cause(
    "inputs-not-finite",
    "Inputs hold NaN or infinity, which spreads to the loss and all weights.",
    "Look for a division by a deviation of zero or a logarithm of zero in the preparation, and for broken files.",
    1.0,
)
CONSTANT = Cause(
    "inputs-constant",
    "Many images reach the network without any contrast, so that it cannot tell them apart.",
    "Look at a batch as the network sees it, for integer arithmetic, rounding, or an augmentation that wipes all out.",
    0.9,
)
NOT_SCALED = Cause(
    "inputs-not-scaled",
    "The numbers that the network is fed are so small or large that its first layers pass almost nothing on or run off "
    "scale: divided by 255 twice, rounded, or never normalised.",
    "Scale inputs once, to a mean of about 0 and a deviation of about 1.",
    0.6,
)


CLIPPED = Cause(
    "inputs-clipped",
    "Most numbers of the inputs are the least or the greatest there is: what was darker or brighter was cut off.",
    "Limit pixels to their range before they are normalised, not after; look at a batch as the network sees it.",
    0.7,
)
SCRAMBLED = Cause(
    "pixels-scrambled",
    "The numbers of each image were put into another shape without moving them: what are neighbours in the picture are "
    "none for the network.",
    "Use permute(2, 0, 1) (or transpose) to bring channels to the front, not view or reshape.",
    0.7,
)


@check(family="data", stage=1, cost=0.5, causes=[NOT_FINITE, CONSTANT, CLIPPED])
def inputs_carry_information(subject: Subject) -> Iterator[Result]:
    """All inputs are finite numbers, and images have contrast."""
    found = [
        each
        for name, sample in (("training", subject.drawn_train), ("validation", subject.drawn_val))
        for each in (_not_finite(subject, name, sample), _constant(subject, name, sample), _clipped(name, sample))
        if each
    ]
    yield from found or [passed("All inputs are finite, and the images have contrast.")]


def _not_finite(subject: Subject, name: str, sample: Sample) -> Result | None:
    broken = ~torch.isfinite(sample.x.float().reshape(len(sample.x), -1)).all(1)
    bad = int(broken.sum())
    if not bad or _takes(subject, (sample.x[broken][:PROBED], sample.y[broken][:PROBED])):
        return None
    return NOT_FINITE.failed(
        f"{bad} of {len(sample.x)} {name} inputs hold values that are no finite numbers.", samples=bad
    )


def _takes(subject: Subject, batch: tuple[torch.Tensor, torch.Tensor]) -> bool:
    """Whether the model fills in what is missing: its outputs and their gradients are finite all the same."""
    model = subject.model().eval()
    outputs = subject.outputs(model, batch[0])
    if not outputs.requires_grad or not bool(outputs.isfinite().all()):
        return False
    outputs.float().sum().backward()
    return all(each.grad is None or bool(each.grad.isfinite().all()) for each in model.parameters())


def _constant(subject: Subject, name: str, sample: Sample) -> Result | None:
    x = sample.x.float().reshape(len(sample.x), -1)
    if x.shape[1] < 2:
        return None
    if len(x) > 1 and bool((x == x[:1]).all()):
        return CONSTANT.failed(f"All {len(x)} {name} samples are the same.", share=1.0)
    for part, value in subject.parts.flat(sample.x).items():
        told = f"{part} is {value:.3g} everywhere in all {len(x)} {name} samples"
        may_mean_something = value in (0, 1)  # as a mask of which nothing is hidden
        return CONSTANT.unsure(f"{told}; is that meant?") if may_mean_something else CONSTANT.failed(f"{told}.")
    if x.shape[1] < FEW:
        return None
    if not sample.x.is_floating_point() and sample.x.ndim == 2 and (told := _one_word(sample.x)):
        return CONSTANT.failed(f"{told} of the {name} texts.")
    flat = (x.max(1).values - x.min(1).values) < 1e-6 * x.abs().max().clamp_min(1e-30)
    share = float(flat.double().mean())
    if share > NOTHING_LEFT and not _are_a_class(flat, labels_of(sample.y, subject.classes)):
        return CONSTANT.failed(f"{share:.0%} of {len(x)} {name} images have one value everywhere.", share=share)
    return None


def _one_word(x: torch.Tensor) -> str:
    """Whether texts consist of one word, but for what fills them up, and differ by little more than their length."""
    words, counts = x[x != 0].unique(return_counts=True)
    different = len(x.unique(dim=0)) / len(x)
    if not len(words) or len(x) < FEWEST_TEXTS or different > HARDLY_ANY:
        return ""
    share = float(counts.max() / counts.sum())
    return f"Number {int(words[counts.argmax()])} makes up {share:.0%}" if share > ALL_BUT_ALL else ""


def _are_a_class(flat: torch.Tensor, labels: torch.Tensor | None) -> bool:
    """Whether to be blank is what makes a class, as of tiles with nothing on them."""
    if labels is None or len(labels) != len(flat):
        return False
    of_it = labels == labels[flat].mode().values
    return float((of_it == flat).double().mean()) > NEARLY_ALL


def _clipped(name: str, sample: Sample) -> Result | None:
    """Colour pictures whose numbers pile up at two bounds, not all colours of a pixel together as in paint, and
    neighbours alike, as noise would not be."""
    x = sample.x[:PROBED].float()
    if not _are_images(x) or x.shape[1] != 3:
        return None
    least, most = x == x.amin((0, 2, 3), keepdim=True), x == x.amax((0, 2, 3), keepdim=True)
    low, high, cut = float(least.float().mean()), float(most.float().mean()), least | most
    share = float(cut.float().mean())
    in_part = float((cut.any(1) & ~cut.all(1)).float().mean())
    apart = float((cut[..., 1:] != cut[..., :-1]).float().mean())
    by_paint = in_part < FADES or len(x[~cut].unique()) < LEAST_BETWEEN
    if min(low, high) < PILED or by_paint or apart > AS_CHANCE * 2 * share * (1 - share):
        return None
    return CLIPPED.failed(
        f"In {name} {low:.0%} of the pixels' numbers are the least there is and {high:.0%} the greatest, {in_part:.0%} "
        "of the pixels in one colour and not in another: they were cut off.",
        share=share,
    )


@check(family="data", stage=1, cost=0.2, causes=[SCRAMBLED])
def neighbouring_pixels_belong_together(subject: Subject) -> Result:
    """Images are smoother as they are than with their numbers read in another order of rows, columns and channels."""
    found = [_in_order(x.float()) for x in (subject.drawn_train.x[:PROBED], *_convolved(subject)) if _are_images(x)]
    return next(
        (each for each in found if each.verdict == "fail"), found[0] if found else skipped("The inputs are no images.")
    )


def _are_images(x: torch.Tensor) -> bool:
    return x.ndim == 4 and x.shape[1] <= MOST_CHANNELS and min(x.shape[2:]) >= LEAST_SIDE and bool(x.isfinite().all())


@torch.no_grad()
def _convolved(subject: Subject) -> list[torch.Tensor]:
    """What the first convolution gets, if those are the numbers of the inputs, maybe in another order."""
    model, x = subject.copy(subject.model()).eval(), subject.train.batches[0][0][:PROBED]
    seen: list[torch.Tensor] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().cpu()))
    subject.outputs(model, x)
    return [each for each in seen[:1] if each.ndim == 4 and each.numel() == x.numel()]


def _in_order(x: torch.Tensor) -> Result:
    count, channels, height, width = x.shape
    orders = {
        "channels last": x.reshape(count, height, width, channels).permute(0, 3, 1, 2),
        "rows as long as columns are": x.reshape(count, channels, width, height),
        "both": x.reshape(count, width, height, channels).permute(0, 3, 1, 2),
    }
    own = _roughness(x)
    others = {name: _roughness(each) for name, each in orders.items()}
    best = min(others, key=lambda name: others[name])
    table = [{"order": name, "roughness": value} for name, value in {"as they are": own, **others}.items()]
    told = f"Neighbouring pixels differ by {own:.2f} deviations"
    if others[best] < SMOOTHER * own:
        return SCRAMBLED.failed(f"{told}; read with {best} by {others[best]:.2f}.", table=table)
    return passed(f"{told}, and no other order is smoother by far.", table=table)


def _roughness(images: torch.Tensor) -> float:
    """Mean difference of neighbours along rows and columns, in deviations of the channel."""
    steps = images.diff(dim=2).abs().mean((0, 2, 3)) + images.diff(dim=3).abs().mean((0, 2, 3))
    return float((steps / 2 / images.std((0, 2, 3)).clamp_min(1e-9)).mean())


@check(family="data", stage=1, cost=1, causes=[NOT_SCALED])
def inputs_have_a_scale_that_the_network_can_use(subject: Subject) -> Result:
    """What the network's layers make of the inputs varies from one to the next about as much as for inputs of mean 0
    and deviation 1."""
    x = subject.train.x[:PROBED]
    if not (torch.isfinite(x).all() and x.float().std() > 0):
        return passed("There is no scale to judge.")
    levels = len(subject.train.x[:PROBED].unique()) if x.numel() < 10**7 else LEVELS + 1
    told = {"mean": float(x.float().mean()), "deviation": float(x.float().std()), "levels": levels}
    raw = subject.raw_train
    raw_levels = len(raw.x[:PROBED].unique()) if raw is not None and raw.x.numel() < 10**8 else levels
    if levels <= LEVELS and raw_levels > 10 * LEVELS:
        return NOT_SCALED.failed(
            f"The network is fed {levels} different values only, made from images with {raw_levels}.", 0.9, **told
        )
    if not x.is_floating_point():
        return passed("Inputs are whole numbers, for the model to scale.", **told)
    if cut := _cut_to_whole_numbers(subject, x):
        return cut
    usual = _signal(subject, subject.parts.standardised(x))
    if not usual:
        return passed("The network's first outputs do not depend on its inputs: nothing to compare.", **told)
    given = _signal(subject, x)
    # What is too weak is so for the first layer, though a later one may normalise; what is too strong runs through.
    share = given[0] / usual[0] if given and given[0] < WEAK * usual[0] else given[-1] / usual[-1] if given else 0.0
    told["signal"] = share
    said = f"Inputs of mean {told['mean']:.3g} and deviation {told['deviation']:.3g} give {share:.3g} times the signal"
    if WEAK < share < STRONG or _scaled_by_the_model(subject, x):
        return passed(f"{said} that standardised ones give.", **told)
    if _of_one_length(x.float().reshape(len(x), -1)):
        return passed(f"{said} that standardised ones give; all have the same length, on purpose as it seems.", **told)
    return NOT_SCALED.failed(f"{said} in the network that standardised ones give.", **told)


def _cut_to_whole_numbers(subject: Subject, x: torch.Tensor) -> Result | None:
    """What a cast to integers leaves of fractions before they reach the first layer."""
    fed, x = _fed_to_the_first_layer(subject, x), x.float()
    if fed.numel() != x.numel() or not torch.equal(fed.flatten(), x.trunc().flatten()):
        return None
    kept = float(torch.corrcoef(torch.stack([fed.flatten(), x.flatten()]))[0, 1].nan_to_num()) ** 2
    if kept > HALF:
        return None
    return NOT_SCALED.failed(
        f"The first layer gets the inputs without their fractions, {len(fed.unique())} values of {len(x.unique())}, "
        f"which tell {kept:.0%} of their variance: a cast to integers comes first.",
        0.9,
        kept=kept,
    )


def _of_one_length(rows: torch.Tensor) -> bool:
    """Whether each input is scaled by itself, as embeddings of length 1 and histograms are; not if all but constant."""
    if float(rows.std()) < LEAST_VARIED * float(rows.mean().abs()):
        return False
    lengths = (rows.norm(dim=1), rows.sum(1))
    return any(float(each.std()) < SAME * float(each.mean()) for each in lengths)


def _signal(subject: Subject, x: torch.Tensor) -> list[float]:
    """The deviations over images of what layers with weights give, from the first to the last that varies at all."""
    model = subject.model().eval()
    # A net that normalises by the batch does so in train mode; dropout would only add noise.
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.train()
    varied: list[float] = []

    def look(layer: nn.Module, inputs: object, outputs: object) -> None:
        if isinstance(outputs, torch.Tensor) and outputs.is_floating_point() and len(outputs) == len(x):
            deviation = float(outputs.detach().float().reshape(len(x), -1).std(0).mean())
            varied.extend([deviation] if deviation > 0 else [])

    hooks = [each.register_forward_hook(look) for each in model.modules() if _has_weights(each)]
    with torch.no_grad(), contextlib.ExitStack() as after:
        for hook in hooks:
            after.callback(hook.remove)
        subject.outputs(model, x)
    return varied


def _scaled_by_the_model(subject: Subject, x: torch.Tensor) -> bool:
    """Whether the model or `forward` scales its inputs before the first layer with weights."""
    got = _fed_to_the_first_layer(subject, x)
    if not got.numel() or (got.shape == x.shape and torch.equal(got, x.float())):
        return False
    return 0.1 < float(got.std()) < 10 and abs(float(got.mean())) < 3 * float(got.std())


def _fed_to_the_first_layer(subject: Subject, x: torch.Tensor) -> torch.Tensor:
    """What the first layer with weights gets for these inputs; empty where there is none."""
    got: list[torch.Tensor] = []

    def look(layer: nn.Module, inputs: tuple) -> None:
        got.extend(each.detach().to_dense().float().cpu() for each in inputs[:1] if isinstance(each, torch.Tensor))

    model = subject.model().eval()
    hooks = [each.register_forward_pre_hook(look) for each in model.modules() if _has_weights(each)]
    with torch.no_grad(), contextlib.ExitStack() as after:
        for hook in hooks:
            after.callback(hook.remove)
        subject.outputs(model, x)
    return got[0] if got else torch.empty(0)


def _has_weights(layer: nn.Module) -> bool:
    return any(each.ndim > 1 for each in layer.parameters(recurse=False))
