"""Does what fills up a text change the answer to it, though the loader says which places are filled up?"""

import math

import torch
from torch import nn

from recipe_core.checks.forward import outputs_of, settled, spread
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject
from recipe_core.checks.texts import FILLER

MOST, FEWEST = 16, 4  # texts that are asked about
# Of the spread between texts. A maximum over places changes a little where a convolution ends, by .01 to .23; a mean
# or attention over all places, or the last state of a recurrence, by .28 to 5 (GRUs, convolutions, transformers).
CHANGED, TOUCHED = 0.3, 0.01

PADDING = Cause(
    "padding-read",
    "What only fills up shorter texts changes the answer to them, though the loader gives a mask or lengths.",
    "Hand the mask to the attention and to the mean or maximum over places alike; pack sequences, or take the state at "
    "the last word.",
    0.5,
    follows=("model-keeps-state", "batch-mixed", "input-ignored"),
)


@check(family="model", stage=2, cost=0.5, causes=[PADDING])
def padding_changes_nothing(subject: Subject) -> Result:
    """A text alone, without what fills it up, has the outputs that it has beside longer ones."""
    words = subject.train.batches[0][0]
    if not subject.parts.tell_filler(words):
        return skipped("No mask or length says which places of a text are filled up.")
    length = (words != FILLER).long().mul(torch.arange(1, words.shape[1] + 1, device=words.device)).max(1).values
    filled_up = ((length < words.shape[1]) & (length > 0) & (words[:, 0] != FILLER)).nonzero().flatten()[:MOST]
    if len(filled_up) < FEWEST:
        return skipped("Hardly a text is filled up behind its words.")
    texts = [(words[at], int(length[at])) for at in filled_up.tolist()]
    found = [_change(subject, model, texts) for model in (subject.model().eval(), subject.once(settled))]
    if any(each is None for each in found):
        return skipped("The model takes texts of one length only.")
    change = max(each for each in found if each is not None)
    if not math.isfinite(change):
        return skipped("The outputs are not finite.")
    told = f"Without what fills texts up, their outputs change by {change:.2g} times the spread between texts"
    if change > CHANGED:
        return PADDING.failed(f"{told}; their mask or length, which stands beside them, tells what to leave out.")
    if change > TOUCHED:
        return PADDING.unsure(f"{told}: little; is every mean, maximum or convolution over places kept to the words?")
    return passed(f"{told}.")


def _change(subject: Subject, model: nn.Module, texts: list[tuple[torch.Tensor, int]]) -> float | None:
    """How far outputs with and without filling are apart, in deviations between texts, or between places where each
    has outputs; None where they cannot be compared."""
    pairs = []
    for words, length in texts:
        try:
            # Twice: a model may drop the axis of a batch of one.
            both = [outputs_of(subject, model, each.expand(2, -1))[:1] for each in (words, words[:length])]
        except Exception:  # noqa: BLE001  # a model may raise anything for texts of a length that it was not made for
            return None
        differ = [
            axis for axis, sizes in enumerate(zip(*(each.shape for each in both), strict=False)) if len(set(sizes)) > 1
        ]
        if len({each.ndim for each in both}) > 1 or len(differ) > 1:
            return None
        if differ:
            both = [each.movedim(differ[0], 0)[:length] for each in both]
        pairs.append([each.reshape(len(each), -1) for each in both])
    padded, alone = (torch.cat(each) for each in zip(*pairs, strict=True))
    return float((padded - alone).square().mean().sqrt()) / spread(alone)
