"""The pipeline's `evaluate` under control: which batches it gets, what the model answers, what it does to the model."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import torch
from torch import nn

from recipe_core.checks.reach import in_form, reach
from recipe_core.checks.result import Untold
from recipe_core.checks.sample import Sample
from recipe_core.checks.subject import Subject
from recipe_core.checks.targets import answers, labels_of
from recipe_core.checks.whole import Whole
from recipe_core.training.checkpoint import seed_everything

ASKED_CLASSES, ASKED_OUTPUTS = 8, 16
ROUNDING = 1e-3  # of a loss
PASSES = 4  # with dropout, to average over: a loss and an accuracy take two at most
WEIGHTS = 4  # models, of other weights each

Place = tuple  # of keys and numbers, that lead to one of a model's outputs
Answers = Callable[[Sample], torch.Tensor]  # a pass over the validation loader -> outputs for all its samples


class Replay:
    """Passes over a loader as they were recorded; in all else it is that loader."""

    def __init__(self, loader: Iterable, *passes: Sample):
        self._loader = loader
        self._passes = passes
        self._begun = 0
        self.given: list[tuple[int, int]] = []  # pass and position of the batches given
        self._asked = 0  # times that `rows` was
        self.asked_of = {True: 0, False: 0}  # whether inputs are samples that were given -> calls with such
        self._ahead = False  # whether a whole pass was drawn before the model saw any of it

    def __iter__(self) -> Iterator:
        number = self._begun % len(self._passes)
        self._begun += 1
        for position, (x, y) in enumerate(self._passes[number].batches):
            self.given.append((number, position))
            yield x.clone(), y.clone()

    def __len__(self) -> int:
        return len(self._passes[0].batches)

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" and not self._passes[0].complete:
            return range(len(self._passes[0]))  # as many samples as are given
        return getattr(self._loader, name)

    def rows(self, x: torch.Tensor) -> tuple[int, list[int]] | None:
        """The pass and its rows that inputs are; of inputs that are none (changed on the way), those given last, or in
        their order where all were drawn at first."""
        if not self.given:
            return None
        if not self._asked:
            self._ahead = len(self.given) == len(self._passes[0].batches) > 1
        number, position = self.given[self._asked if self._ahead and self._asked < len(self.given) else -1]
        self._asked += 1
        batch, _ = self._passes[number].batches[position]
        first = sum(self._passes[number].sizes[:position])
        last = list(range(first, first + self._passes[number].sizes[position]))
        known = self._known(number) if isinstance(batch, torch.Tensor) and not same(x.cpu(), batch.cpu()) else None
        found = [known.get(each) for each in marks(x)] if known else last
        self.asked_of[None not in found] += 1
        if None not in found:
            return number, [row for row in found if row is not None]
        times, rest = divmod(len(x), len(batch))
        return None if rest else (number, last * times)

    @functools.lru_cache  # noqa: B019  # lives as long as one call of evaluate
    def _known(self, number: int) -> dict[bytes, int]:
        rows = (mark for x, _ in self._passes[number].batches for mark in marks(x))
        return {mark: row for row, mark in enumerate(rows)}


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether all numbers are equal; a missing one (NaN) is like another."""
    return one.shape == other.shape and (torch.equal(one, other) or marks(one[None]) == marks(other[None]))


def marks(x: torch.Tensor) -> list[bytes]:
    """One for each row of a tensor: equal where the rows are, however far they are filled up with zeros."""
    x = x.detach().cpu()
    x = x + 0 if x.is_floating_point() else x  # -0.0 is 0.0
    rows = x.reshape(len(x), -1).contiguous().view(torch.uint8)  # NumPy has not all of torch's types
    return [blake2b(row.numpy().tobytes().rstrip(b"\0"), digest_size=16).digest() for row in rows]


@dataclass
class Trial:
    """One call of `evaluate`.

    Attributes:
        metrics: what it returned.
        given: pass and position of the batches it drew.
        inputs: the tensors that the model saw, in order.
        training: names of the layers that were called in train mode.
        evaluating: names of those that were called in eval mode.
        batches: whether the model was in train mode -> which of the batches it saw so.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    given: list[tuple[int, int]] = field(default_factory=list)
    inputs: list[torch.Tensor] = field(default_factory=list)
    training: set[str] = field(default_factory=set)
    evaluating: set[str] = field(default_factory=set)
    batches: dict[bool, set] = field(default_factory=lambda: {False: set(), True: set()})

    @property
    def averages(self) -> bool:
        """Whether the model saw its samples again and again, as where the mean of what chance makes of them is told."""
        in_one_pass = len({position for _, position in self.given})
        return len(self.inputs) >= min(2 * len(self.given), PASSES * in_one_pass) > 0

    @property
    def only_training(self) -> bool:
        """Whether there are batches that the model saw in train mode only, and others that it saw in eval mode."""
        return bool(self.batches[False]) and bool(self.batches[True] - self.batches[False])


def evaluate(
    subject: Subject,
    model: nn.Module,
    answers: Answers | None = None,
    passes: Sequence[Sample] = (),
    seed: int = 0,
    place: Place | None = None,
) -> Trial:
    """Evaluate a model on the recorded validation batches.

    Args:
        answers: the outputs that the model seems to give; its own by default.
        passes: what one pass after the other gives, instead of what was recorded.
        seed: of chance within evaluate.
        place: where among several outputs the answers are given; everywhere that they fit by default.

    Raises:
        Untold: evaluate fails on these answers or passes, asks parts of the model and never the whole, or asks about
            samples and the same ones changed, whose outputs are no classes.
    """
    asked, passes = passes, passes or [subject.val, subject.val_again]
    trial, replay = Trial(), Replay(subject.pipeline.val_loader, *passes)
    trial.given = replay.given
    given = [answers(each) for each in passes] if answers else []
    names = {module: name or type(module).__name__ for name, module in model.named_modules()}

    def answer(module: nn.Module, args: tuple, kwargs: dict, outputs: Any) -> Any:
        seen = subject.parts.seen(args, kwargs)
        trial.inputs += [each.detach().cpu().clone() for each in seen]
        rows = replay.rows(seen[0]) if given and seen else None
        return outputs if rows is None else _replaced(outputs, given[rows[0]][rows[1]], place)

    def look(module: nn.Module, inputs: Any) -> None:
        if module is model and replay.given:
            trial.batches[module.training].add(replay.given[-1])
        if module in names:
            (trial.training if module.training else trial.evaluating).add(names[module])

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    # A hook, not another forward: a copy that evaluate makes of the model takes it along.
    answering = model.register_forward_hook(answer, with_kwargs=True)
    seed_everything(seed)
    try:
        returned = subject.pipeline.evaluate(model, replay)
    except Exception as error:
        if not trial.given or not (given or asked):
            raise
        line = str(error).strip().partition("\n")[0].rstrip(".")
        what = "outputs that are made up" if given else "batches but its own"
        raise Untold(f"evaluate takes no {what}: {type(error).__name__}: {line}.") from error
    finally:
        handle.remove()
        answering.remove()
    if given and not trial.inputs and trial.training | trial.evaluating:
        raise Untold("evaluate asks layers of the model by themselves: its outputs cannot be replaced.")
    if given and all(replay.asked_of.values()) and not (subject.classes and given[0].ndim == 2):
        raise Untold("evaluate asks about mirrored or otherwise changed samples, too, whose right outputs are changed.")
    numbers = {str(name): _number(value) for name, value in dict(returned).items()}
    trial.metrics = {name: value for name, value in numbers.items() if value is not None}
    return trial


def asks_layers(subject: Subject, name: str, answers: Answers) -> bool:
    """Whether a metric changes with the weights though all outputs are made up: evaluate calls layers of the model by
    themselves, as what says word after word does."""
    found = set()
    for number in range(WEIGHTS):
        model = subject.model()
        with torch.no_grad():
            for each in model.parameters() if number else ():
                each.add_(torch.randn_like(each) * each.std().nan_to_num(nan=1.0))
        found.add(evaluate(subject, model, answers, [subject.val]).metrics.get(name))
    return len(found) > 1


def own_outputs(subject: Subject) -> torch.Tensor:
    """Outputs of the form that the fresh model gives for the first validation batch, in eval mode, on the CPU."""
    with torch.no_grad():
        own = subject.outputs(subject.model().eval(), subject.val.batches[0][0]).detach().cpu().float()
    return in_form(subject, own)


def of_pairs(subject: Subject) -> bool:
    """Whether a sample has the more outputs the more samples are in its batch, as similarities to all of these."""
    model, x = subject.model().eval(), subject.val.batches[0][0]
    if isinstance(x, Whole) or len(x) < 4:
        return False
    with torch.no_grad():
        found = [subject.outputs(model, x[:count]).shape for count in (len(x), len(x) // 2)]
    return all(len(shape) == 2 for shape in found) and found[0][1] != found[1][1]


def answers_are_heard(subject: Subject) -> bool:
    """Whether the pipeline's `forward` gives what a model's outputs were replaced by, for each sample by itself, and
    all batches are of one size of images."""
    if subject.once(of_pairs) or len(subject.val.y) < len(subject.val):
        return False
    model, like = subject.model().eval(), subject.once(own_outputs)
    answer = torch.linspace(0.1, 0.9, like.numel()).reshape(like.shape)
    own = model.forward
    model.forward = lambda *args, **kwargs: _replaced(own(*args, **kwargs), answer)
    try:
        with torch.no_grad():
            heard = subject.outputs(model, subject.val.batches[0][0])
    finally:
        del model.forward
    return heard.shape == like.shape and torch.allclose(heard.detach().cpu().float(), answer, atol=1e-2)


def names_classes(subject: Subject) -> bool:
    """Whether outputs stand for classes.

    To the loss of embeddings all that counts is who is near whom, so that right answers are worth no more than the same
    answers with all classes renamed; to that of distances, small ones may be right where there are two classes.
    """
    classes, (_, y) = subject.classes, subject.val.batches[0]
    labels, like = labels_of(y.cpu(), classes), subject.once(own_outputs)
    if labels is None:
        return True
    if not subject.once(_classes_have_outputs_of_their_own):
        return False
    with contextlib.suppress(RuntimeError, ValueError, IndexError, TypeError):
        right, renamed = (
            float(
                subject.pipeline.loss_fn(
                    answers((labels + by) % classes, like).to(subject.device), y.to(subject.device)
                ).mean()
            )
            for by in (0, 1)
        )
        can = subject.once(reach)
        distances = like.numel() == len(like) and can.low >= 0 and (can.high > 1.001 or can.kind == "free")
        return not math.isclose(right, renamed, rel_tol=1e-3) and not (distances and right > renamed >= 0)
    return True


def _classes_have_outputs_of_their_own(subject: Subject) -> bool:
    """Whether for samples of most classes one output is told from all others by the loss, as the best to be high, or
    their own as the worst; of a code of bits several are equally good."""
    classes, (_, y) = subject.classes, subject.val.batches[0]
    labels, like = labels_of(y.cpu(), classes), subject.once(own_outputs)
    if labels is None or like.ndim != 2 or like.shape[1] < max(3, classes):
        return True
    some = torch.linspace(0, like.shape[1] - 1, min(like.shape[1], ASKED_OUTPUTS)).long().tolist()
    told = []
    for label in labels.unique()[:ASKED_CLASSES].tolist():
        others = [_loss_of_saying(subject, each, like, y[labels == label]) for each in some if each != label]
        own = _loss_of_saying(subject, label, like, y[labels == label])
        losses = sorted([own, *others])
        near = ROUNDING * abs(losses[-1] - losses[0])
        best = sum(each <= losses[0] + near for each in losses)
        told.append(best in (1, len(losses)) or own > max(others) + near or math.isnan(near))
    return 2 * sum(told) >= len(told)


def _loss_of_saying(subject: Subject, label: int, like: torch.Tensor, y: torch.Tensor) -> float:
    """The loss where all samples are said to be of one class; NaN where it cannot be told."""
    with contextlib.suppress(RuntimeError, ValueError, IndexError, TypeError):
        said = answers(torch.full((len(y),), label), like)
        return float(subject.pipeline.loss_fn(said.to(subject.device), y.to(subject.device)).float().mean())
    return math.nan


def trained(subject: Subject) -> nn.Module:
    """The model after a few steps of the pipeline's own training, so that its outputs differ from sample to sample."""
    model = subject.model()
    for _ in subject.steps(8, model):
        pass
    return subject.copy(model)


def place_of_forward(subject: Subject) -> Place | None:
    """Where what the pipeline's `forward` gives stands among other outputs of its shape; None without others."""
    heard, returned = heard_and_returned(subject, subject.model().eval(), subject.val.batches[0][0])
    found = [(place, each) for place, each in tensors_of(returned) if each.shape == heard.shape]
    places = [place for place, each in found if torch.equal(each, heard)]
    return places[0] if len(places) == 1 < len(found) else None


@torch.no_grad()
def heard_and_returned(subject: Subject, model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """What the pipeline's `forward` gives, and all that the model returns, which is the same where nobody calls it."""
    returned: list[Any] = []
    handle = model.register_forward_hook(lambda module, inputs, outputs: returned.append(outputs))
    try:
        heard = subject.outputs(model, x)
    finally:
        handle.remove()
    return heard, returned[0] if returned else heard


def tensors_of(outputs: Any, place: Place = ()) -> Iterator[tuple[Place, torch.Tensor]]:
    """The tensors of what a model returns, and where each stands."""
    if isinstance(outputs, torch.Tensor):
        yield place, outputs
    elif isinstance(outputs, dict | tuple | list):
        for name, each in outputs.items() if isinstance(outputs, dict) else enumerate(outputs):
            yield from tensors_of(each, (*place, name))


def _replaced(outputs: Any, answer: torch.Tensor, place: Place | None = None, at: Place = ()) -> Any:
    """The outputs with the answer in place of each tensor that has as many numbers for each sample, or of the one."""
    if isinstance(outputs, torch.Tensor):
        fits = outputs.ndim > 0 and len(outputs) == len(answer) and outputs.numel() == answer.numel()
        if not fits or place not in (None, at):
            return outputs
        answer = answer.to(outputs).reshape(outputs.shape)
        return answer + 0 * outputs.nan_to_num() if outputs.requires_grad else answer  # for an evaluate with backward()
    if isinstance(outputs, dict):
        return type(outputs)({name: _replaced(value, answer, place, (*at, name)) for name, value in outputs.items()})
    if isinstance(outputs, tuple | list):
        changed = [_replaced(each, answer, place, (*at, number)) for number, each in enumerate(outputs)]
        return type(outputs)(*changed) if hasattr(outputs, "_fields") else type(outputs)(changed)
    return outputs


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
