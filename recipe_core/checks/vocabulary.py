"""Texts: were the words of validation numbered by a vocabulary of its own?"""

import torch

from recipe_core.checks.preparation import OTHERWISE
from recipe_core.checks.registry import check
from recipe_core.checks.result import Result, passed, skipped
from recipe_core.checks.subject import Subject

SIGNS = 4  # numbers at the start that are no words: what fills up, what is unknown, where a text begins and ends
FEWEST, FEWEST_TEXTS = 20, 5  # words; texts with a word that is new
BY_CHANCE = -14.0  # logarithm of the probability that words of such frequencies come in this order: one in a million


@check(family="data", stage=1, cost=0.2, causes=[OTHERWISE])
def words_are_numbered_by_one_vocabulary(subject: Subject) -> Result:
    """The numbers of validation's words are not in the order of how often, or when, these words come in validation."""
    x = subject.drawn_val.x
    if x.is_floating_point() or x.ndim != 2 or not subject.drawn_val.complete:
        return skipped("The inputs are no texts, or too many to look at all.")
    for first in range(SIGNS + 1):
        numbers, counts = x[x >= first].unique(return_counts=True)
        if len(numbers) < FEWEST or int(numbers[-1]) - int(numbers[0]) != len(numbers) - 1:
            continue  # some numbers are of words that validation lacks
        if _sorted_by_chance(counts) < BY_CHANCE:
            return _failed("how often they are", len(numbers))
        if _by_appearance(x, first):
            return _failed("when they come first", len(numbers))
    return passed("They are not.")


def _failed(order: str, words: int) -> Result:
    return OTHERWISE.failed(
        f"The {words:,} words of validation are numbered without a gap in the order of {order} in validation: by "
        "a vocabulary of its own, in which a number is another word than in training."
    )


def _sorted_by_chance(counts: torch.Tensor) -> float:
    """The logarithm of the probability that words of such counts are in the order of these by chance; 0 where they are
    not in that order."""
    one, next_one = counts[:-1].double(), counts[1:].double()
    if bool((one < next_one).any()):
        return 0.0
    turned = torch.special.ndtr(-(one - next_one) / (one + next_one).sqrt())
    return float(torch.log1p(-turned)[one > next_one].sum())  # words may be as frequent by design


def _by_appearance(x: torch.Tensor, first: int) -> bool:
    """Whether each word that comes for the first time has the next number, though texts are no mere counting."""
    highest = x.flatten().clamp_min(first - 1).cummax(0).values
    steps = torch.cat([highest[:1] - (first - 1), highest.diff()])
    texts = (steps.reshape(x.shape) > 0).any(1)
    return bool((steps <= 1).all()) and int(texts.sum()) >= FEWEST_TEXTS
