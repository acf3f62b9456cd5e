"""How much is it worth to be right, by the loss?"""

import math

import torch

from recipe_core.checks.objective import objective
from recipe_core.checks.registry import Cause, check
from recipe_core.checks.result import passed, skipped
from recipe_core.checks.subject import Subject

MARGINS = [0.0, *(10 ** (power / 4) for power in range(-8, 7))]  # of the right class's output over the others', to 30
LEAST_WON = 0.03  # of the loss of no opinion; to smooth labels by a half leaves ten times as much to be won

HARDLY = Cause(
    "truth-hardly-pays",
    "By the loss the best answer is hardly better than none: the model learns to have no opinion.",
    "Lower label_smoothing (0.1 is usual), or look at what softens the targets.",
    0.6,
)


@check(family="optimisation", stage=2, cost=0.3, causes=[HARDLY])
def to_be_right_is_worth_something(subject: Subject):
    """The best that outputs can do for the right class lowers the loss by far, from that of outputs that are all
    equal."""
    asked = subject.once(objective)
    by_sample = asked.labels is not None and asked.targets.ndim == 1  # of a text the axis of classes may be mistaken
    if not by_sample or asked.like.ndim != 2 or asked.like.shape[1] < 2 or asked.truth is None:
        return skipped("There is no right class with an output of its own.")
    losses = [asked.loss(margin * asked.truth.float()) for margin in MARGINS]
    if not all(map(math.isfinite, losses)) or losses[0] <= 0:
        return skipped("The loss of such outputs is no positive number.")
    won = 1 - min(losses) / losses[0]
    best = MARGINS[int(torch.tensor(losses).argmin())]
    told = f"From {losses[0]:.3g} for outputs that are all equal it falls to {min(losses):.3g} at best"
    if 0 < won < LEAST_WON and 0 < best < MARGINS[-1]:
        return HARDLY.failed(f"{told}, where the right class is {best:.2g} above the others.")
    return passed(f"{told}.")
