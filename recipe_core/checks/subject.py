"""What the checks of one audit share: samples of the loaders, fresh models, the time that is left.

subject = Subject(pipeline, seconds=60)
subject.train.x, subject.val.y      # a bounded sample
subject.model()                     # fresh, the same weights every time
for step in subject.steps(20): ...  # the pipeline's own training
"""

import contextlib
import copy
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import IterableDataset, default_collate

from recipe_core.checks.episodes import are_episodes
from recipe_core.checks.keep import Kept
from recipe_core.checks.packed import columns_are_codes, over_packed
from recipe_core.checks.parts import Parts
from recipe_core.checks.result import Untold
from recipe_core.checks.sample import Sample, rows_of
from recipe_core.checks.targets import classes_of_places
from recipe_core.checks.texts import longest_first
from recipe_core.checks.whole import Whole
from recipe_core.training.checkpoint import seed_everything
from recipe_core.training.fit import endless
from recipe_core.training.pipeline import Pipeline, on_device_of

MOST_SAMPLES = 2048  # of a split: enough for all that is tested, and quick to draw
MOST_INDICES = 200_000
MOST_BYTES = 2**28
SHARE_OF_TIME = 0.05  # of the budget, that drawing one sample may take
BATCH_SHARE, SPLIT_SHARE = 0.01, 0.04  # of the budget, that a model may take for a batch, and for a split
FEWEST_ROWS, FEWEST_BATCHES = 4, 3
TIMED = (2, 2, 16)  # images that the pace of a model is measured on; the first pass warms up


class OutOfTime(BaseException):
    """The budget is spent. No Exception, so that a pipeline's own `except Exception` lets it through."""


def shared(make: Callable[["Subject"], Any]) -> property:
    """A property that is made once; see Subject.once."""
    return property(lambda subject: subject.once(make), doc=make.__doc__)


@dataclass(frozen=True)
class Step:
    """One step of the pipeline's own training, after it was taken."""

    index: int
    batch: Any
    loss: float  # as train_step returned it
    rate: float  # the first group's learning rate that it used
    model: nn.Module
    optimizer: torch.optim.Optimizer


class Subject:
    """A pipeline under audit. Nothing here is the caller's to keep: see `untouched`."""

    def __init__(self, pipeline: Pipeline, seconds: float = 60):
        self.parts = Parts(*(functools.partial(ask, pipeline) for ask in (columns_are_codes, are_episodes)))
        self.pipeline = over_packed(pipeline, self.parts)
        self.device = torch.device(pipeline.device)
        self.budget = seconds
        self.deadline = time.monotonic() + seconds
        self._made: dict[Callable, Any] = {}
        self._failed: dict[Callable, BaseException] = {}
        self._kept = Kept(pipeline)
        self._models: list[nn.Module] = []  # those that model_fn gave, to notice if it gives one twice

    def untouched(self):
        """A context: what is done inside is undone after it."""
        return self._kept.untouched()

    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def check_time(self) -> None:
        """Raises OutOfTime when the budget is spent."""
        if self.left() <= 0:
            raise OutOfTime

    def once(self, make: Callable[["Subject"], Any]) -> Any:
        """What `make` gives of this subject: made when first asked for, under a fixed seed, then kept.

        What failed once fails again at once. A model in it must be a copy.
        """
        if make in self._failed:
            raise self._failed[make]
        if make not in self._made:
            seed_everything(0)
            try:
                self._made[make] = make(self)
            except (Exception, OutOfTime) as error:
                self._failed[make] = error
                raise
        return self._made[make]

    # Data

    @property
    def drawn_train(self) -> Sample:
        """The first batches of a pass over the training loader."""
        return self._train[0]

    @property
    def drawn_train_again(self) -> Sample:
        """The first batches of the pass after that."""
        return self._train[1]

    @property
    def drawn_val(self) -> Sample:
        """The first batches of a pass over the validation loader."""
        return self._val[0]

    @property
    def drawn_val_again(self) -> Sample:
        """The first batches of the pass after that."""
        return self._val[1]

    @property
    def train(self) -> Sample:
        """What the model has the time for of `drawn_train`: all of it, unless the model is large."""
        return self._afforded[0]

    @property
    def val(self) -> Sample:
        """The same of `drawn_val`."""
        return self._afforded[1]

    @property
    def val_again(self) -> Sample:
        """The same of `drawn_val_again`."""
        return self._afforded[2]

    @shared
    def _afforded(self) -> list[Sample]:
        drawn = [self.drawn_train, self.drawn_val, self.drawn_val_again]
        per_image = self._pace()
        if not per_image:
            return drawn
        rows = max(FEWEST_ROWS, int(BATCH_SHARE * self.budget / per_image))
        images = SPLIT_SHARE * self.budget / per_image
        sizes = [each.sizes[0] if each.is_whole else min(rows, each.sizes[0]) for each in drawn]
        return [
            each.cut(rows, max(FEWEST_BATCHES, int(images / size))) for each, size in zip(drawn, sizes, strict=True)
        ]

    def _pace(self) -> float:
        """Seconds that the forward pass of an image takes; 0 where there is none, which the checks then tell.

        The less of time and processor time: other work on the machine makes no model large.
        """
        found = []
        with contextlib.suppress(Exception), torch.no_grad():
            model = self.model().eval()
            (x, _), size = self.drawn_train.batches[0], self.drawn_train.sizes[0]
            for most in TIMED:
                count = size if self.drawn_train.is_whole else min(most, size)
                asked = x if self.drawn_train.is_whole else x[:count]
                started = time.monotonic(), time.process_time()
                self.outputs(model, asked).sum().item()  # waits for a GPU
                found.append(min(time.monotonic() - started[0], time.process_time() - started[1]) / count)
                if found[-1] * count > BATCH_SHARE * self.budget:
                    break
        return min(found, default=0.0)

    @property
    def classes(self) -> int:
        """Of each target, or of each place of it; 0 for regression and all else."""
        return self.pipeline.num_classes or self.once(classes_of_places)

    @property
    def is_large(self) -> bool:
        """Whether the model has not the time for all that was drawn."""
        return self.train is not self.drawn_train

    @shared
    def _train(self) -> list[Sample]:
        return self._two_passes(self.pipeline.train_loader)

    @shared
    def _val(self) -> list[Sample]:
        return self._two_passes(self.pipeline.val_loader)

    def _two_passes(self, loader: Iterable) -> list[Sample]:
        """One pass after the other; the first twice where the loader has nothing left."""
        first, again = self.draw(loader), self.draw(loader)
        return [first, again if again.batches else first]

    @shared
    def raw_train(self) -> Sample | None:
        """Raw training batches; None where there are none to be had."""
        return self._raw(self.pipeline.raw_train_loader, self.pipeline.train_loader)

    @shared
    def raw_val(self) -> Sample | None:
        """Raw validation batches; None where there are none to be had."""
        return self._raw(self.pipeline.raw_val_loader, self.pipeline.val_loader)

    def some(self, count: int) -> Any:
        """The inputs of so many training samples; of a whole batch, where they have no row for each."""
        x = self.train.batches[0][0]
        return x if isinstance(x, Whole) else x[:count]

    def draw(self, loader: Iterable, samples: int = MOST_SAMPLES) -> Sample:
        """A pass over a loader, cut off after so many samples, so much memory or time."""
        seconds, spent = max(1.0, SHARE_OF_TIME * self.budget), 0.0
        batches: list = []
        drawn = size = 0
        complete = False
        iterator = iter(loader)
        while not (drawn >= samples or size >= MOST_BYTES or (batches and spent > seconds)):
            self.check_time()
            started = time.monotonic()
            try:
                given = next(iterator)
            except StopIteration:
                complete = True
                break
            spent += time.monotonic() - started
            x, y = (part.clone() for part in self.batch(given))  # a copy: a loader may fill the same tensor again
            batches.append((x, y))
            drawn += rows_of(x, y)
            size += x.nbytes
        else:
            complete = _is_at_end(loader, len(batches))
        if any(isinstance(x, Whole) for x, _ in batches):  # then all are, so that no check sees some of either kind
            batches = [(x if isinstance(x, Whole) else Whole(self.parts.taken_apart(x)), y) for x, y in batches]
        return Sample(batches, complete, spent)

    def batch(self, drawn: Any) -> tuple[Any, Any]:
        """(x, y) that a loader or a dataset gave, one tensor each, or a Whole."""
        if not isinstance(drawn, tuple | list) or len(drawn) != 2:
            parts = f" of {len(drawn)}" if isinstance(drawn, Sized) else ""
            raise TypeError(f"it gave a {type(drawn).__name__}{parts}; let a collate_fn make a pair of it")
        x, y = drawn
        for name, part in (("x", x), ("y", y)):
            if isinstance(part, torch.Tensor) and not part.ndim:
                raise TypeError(f"its {name} is a single number; give one for each sample, of shape (n,)")
        return (self.parts.packed(x, len(y)), y) if isinstance(y, torch.Tensor) else (self.parts.packed(x), Whole(y))

    def _raw(self, given: Iterable | None, loader: Iterable) -> Sample | None:
        if given is not None:
            return self.draw(given)
        dataset: Any = getattr(loader, "dataset", None)
        if not by_index(dataset):
            return None
        drawn = _indices(loader) or range(len(dataset))
        rows = [drawn[at] for at in torch.randperm(len(drawn))[:MOST_SAMPLES].tolist()]
        return self.read(dataset, rows)

    def read(self, dataset: Any, rows: Sequence[int]) -> Sample | None:
        """Samples of a dataset; None where they are no pairs that can be stacked, and only the loader joins them."""
        with contextlib.suppress(RuntimeError, TypeError, ValueError, AttributeError):
            return self.draw(
                default_collate([dataset[row] for row in rows[at : at + 64]]) for at in range(0, len(rows), 64)
            )
        return None

    # Models

    def model(self, seed: int = 0) -> nn.Module:
        """A fresh model on its device; of equal weights each time, for one seed.

        Where model_fn gives the same object each time, it is that object as it was found: an earlier one is then
        the same.
        """
        seed_everything(seed)
        with torch.enable_grad():  # it may train what it gives
            model = self.pipeline.model_fn()
        if any(model is each for each in self._models):
            self._kept.restore()
        self._models.append(model)
        return model.to(self.device)

    def copy(self, model: nn.Module) -> nn.Module:
        """One more model of the same weights, without gradients."""
        try:
            twin = copy.deepcopy(model)
        except RuntimeError:  # a weight that is computed from others, as of the older weight norm
            twin = self.model()
            twin.load_state_dict(model.state_dict())
            for mine, theirs in zip(twin.modules(), model.modules(), strict=True):
                mine.training = theirs.training
        twin.zero_grad(set_to_none=True)
        return twin

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return self.pipeline.optimizer_fn(model)

    def outputs(self, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """(n, classes) of a batch, by the pipeline's `forward`, in the mode the model is in.

        Raises:
            Untold: what `forward` gives is a tuple, a dict or the like.
        """
        outputs = self.forward(model, x.to(self.device))
        if not isinstance(outputs, torch.Tensor):
            raise Untold(
                f"The model returns a {type(outputs).__name__}: give the Pipeline a `forward` that takes its output."
            )
        return outputs

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """The pipeline's loss of one batch, in the mode the model is in."""
        x, y = on_device_of(model, batch)
        return self.pipeline.loss_fn(self.forward(model, x), y)

    def forward(self, model: nn.Module, x: torch.Tensor) -> Any:
        """What the pipeline's own `forward` gives, for texts in any order."""
        return longest_first(functools.partial(self.pipeline.forward, model), x)

    def steps(self, count: int, model: nn.Module | None = None) -> Iterator[Step]:
        """The pipeline's own training on its first batches, schedule included; told after each step."""
        pipeline = self.pipeline
        model = self.model() if model is None else model
        optimizer = self.optimizer(model)
        scheduler = pipeline.scheduler_fn(optimizer) if pipeline.scheduler_fn else None
        batches = endless(self.train.batches)
        for index in range(count):
            self.check_time()
            batch = tuple(part.clone() for part in next(batches))  # a step may change what it is given
            rate = float(optimizer.param_groups[0]["lr"])
            loss = float(pipeline.train_step(model, batch, pipeline.loss_fn, optimizer))
            yield Step(index, batch, loss, rate, model, optimizer)
            per_epoch = len(self.train.batches)
            if scheduler and (pipeline.scheduler_interval == "step" or (index + 1) % per_epoch == 0):
                scheduler.step()


def by_index(dataset: Any) -> bool:
    """Whether a dataset gives the sample that one asks for."""
    asked = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    return asked and not isinstance(dataset, IterableDataset)


def _indices(loader: Iterable) -> Sequence[int] | None:
    """What a pass of a loader's sampler draws; None where it does not tell."""
    sampler = getattr(loader, "batch_sampler", None)
    if sampler is None:
        return None
    drawn = list(itertools.islice((row for each in sampler for row in each), MOST_INDICES))
    return drawn if drawn and all(isinstance(each, int) for each in drawn) else None


def _is_at_end(loader: Iterable, batches: int) -> bool:
    """Whether a loader that says how many batches it has, has given them all."""
    try:
        return len(loader) <= batches  # type: ignore[arg-type]
    except TypeError:
        return False
