"""A pipeline whose functions take and give packed inputs; its own functions get what its loaders give.

parts = Parts(functools.partial(columns_are_codes, pipeline))
over_packed(pipeline, parts)  # the same pipeline, but for that
"""

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from recipe_core.checks.keep import as_found
from recipe_core.checks.parts import Parts
from recipe_core.checks.result import Untold
from recipe_core.checks.whole import Whole
from recipe_core.training.pipeline import Pipeline


def over_packed(pipeline: Pipeline, parts: Parts) -> Pipeline:
    """Its loaders are left as they are."""
    augment, step, evaluate, forward, loss_fn = (
        pipeline.augment, pipeline.train_step, pipeline.evaluate, pipeline.forward, pipeline.loss_fn,
    )  # fmt: skip

    def augmented(x: Any, y: Any) -> tuple[Any, Any]:
        images, targets = augment(parts.taken_apart(x), _own(y))  # type: ignore[misc]
        return parts.packed(images), targets

    def judged(outputs: Any, y: Any, *more: Any, **named: Any) -> Any:
        try:
            return loss_fn(outputs, _own(y), *more, **named)
        except Exception as error:  # a loss may raise anything for targets that only the train step reads
            if isinstance(y, Whole):
                raise Untold(f"loss_fn takes no y that is a {type(y.x).__name__}.") from error
            raise

    def stepped(model, batch, *rest, **named):
        return step(model, (parts.taken_apart(batch[0]), _own(batch[1])), *rest, **named)

    def prepared(prepare: Callable | None) -> Callable | None:
        return prepare and (lambda images: parts.packed(prepare(parts.taken_apart(images))))

    return replace(
        pipeline,
        forward=lambda model, x: forward(model, parts.taken_apart(x)),
        loss_fn=judged,
        train_step=stepped,
        evaluate=lambda model, loader: evaluate(model, _Apart(loader, parts)),
        augment=augmented if augment else None,
        preprocess_train=prepared(pipeline.preprocess_train),
        preprocess_eval=prepared(pipeline.preprocess_eval),
    )


def _own(y: Any) -> Any:
    """Targets as the loader gave them."""
    return y.x if isinstance(y, Whole) else y


class _Apart:
    """A loader whose inputs are taken apart; in all else it is that loader."""

    def __init__(self, loader: Any, parts: Parts):
        self._loader, self._parts = loader, parts

    def __iter__(self) -> Iterator:
        return ((self._parts.taken_apart(x), _own(y)) for x, y in self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def columns_are_codes(pipeline: Pipeline, x: torch.Tensor) -> bool:
    """Whether the model looks up the numbers of each column in a table of its own, which has no row for another's."""
    x = x.cpu()
    with as_found(), torch.no_grad(), contextlib.suppress(Exception):  # as of a model that cannot be made
        model = copy.deepcopy(pipeline.model_fn()).cpu().eval()
        tried = [_refusal(pipeline, model, each) for each in (x, x.flip(1), x.roll(1, 1))]
        return tried[0] is None and any(isinstance(each, IndexError) for each in tried[1:])
    return False


def _refusal(pipeline: Pipeline, model: torch.nn.Module, x: torch.Tensor) -> Exception | None:
    try:
        pipeline.forward(model, x)
    except Exception as error:  # noqa: BLE001  # a model may raise anything for what it was never asked
        return error
    return None
