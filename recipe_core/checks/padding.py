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
OFTEN, MUCH_MORE = 0.02, 5  # of the places; times as many in a row at the end as chance would leave there

PADDING = Cause(
    "padding-read",
    "What only fills up shorter texts changes the answer to them, though the loader gives a mask or lengths.",
    "Hand the mask to the attention and to the mean or maximum over places alike; pack sequences, or take the state at "
    "the last word.",
    0.5,
    follows=("model-keeps-state", "batch-mixed", "input-ignored"),
)


TAKEN = Cause(
    "word-taken-for-filling",
    "The number that fills up shorter texts stands for a word, too, which the model leaves out.",
    "Number words from 1 on, unknown ones as well, and keep 0 for what fills up.",
    0.5,
)


@check(family="data", stage=1, cost=0.5, causes=[TAKEN])
def no_word_is_taken_for_filling(subject: Subject) -> Result:
    """The number that fills up texts, and that the model leaves out, stands for no word between others."""
    splits = subject.drawn_train.x, subject.drawn_val.x
    if any(x.is_floating_point() or x.ndim != 2 for x in splits):
        return skipped("The inputs are no texts.")
    shares = [_share_inside(x) for x in splits]
    if min(shares) < OFTEN:
        return passed("It does not.")
    # Where zero means that nothing happened, as many are in a row at the end as elsewhere.
    if any(_behind(x) < MUCH_MORE * share / (1 - share) for x, share in zip(splits, shares, strict=True)):
        return passed("It is no more at the end of texts than within.")
    texts = _filled_up(subject.train.batches[0][0])
    change = _change(subject, subject.once(settled), texts) if len(texts) >= FEWEST else None
    if change is None or not change <= TOUCHED:
        return passed("The model does not leave it out.")
    return TAKEN.unsure(
        f"Of the numbers between the first and the last word of the texts {min(shares):.1%} are {FILLER}, which the "
        "model leaves out as what fills up. Are they a word of their own?"
    )


def _share_inside(x: torch.Tensor) -> float:
    """How many of the places up to the last word are like what fills up."""
    within = torch.arange(x.shape[1], device=x.device) < _lengths(x)[:, None]
    return float((x == FILLER)[within].float().mean())


def _behind(x: torch.Tensor) -> float:
    """How many places are filled up behind the last word, on average."""
    return float((x.shape[1] - _lengths(x)).float().mean())


@check(family="model", stage=2, cost=0.5, causes=[PADDING])
def padding_changes_nothing(subject: Subject) -> Result:
    """A text alone, without what fills it up, has the outputs that it has beside longer ones."""
    words = subject.train.batches[0][0]
    if not subject.parts.tell_filler(words):
        return skipped("No mask or length says which places of a text are filled up.")
    texts = _filled_up(words)
    if len(texts) < FEWEST:
        return skipped("Hardly a text is filled up behind its words.")
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


def _lengths(words: torch.Tensor) -> torch.Tensor:
    """(n,) how many places there are up to the last word."""
    return (words != FILLER).long().mul(torch.arange(1, words.shape[1] + 1, device=words.device)).max(1).values


def _filled_up(words: torch.Tensor) -> list[tuple[torch.Tensor, int]]:
    """Some texts that are filled up behind their words, and their lengths."""
    length = _lengths(words)
    found = ((length < words.shape[1]) & (length > 0) & (words[:, 0] != FILLER)).nonzero().flatten()[:MOST]
    return [(words[at], int(length[at])) for at in found.tolist()]


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
