"""docs/audit.md, written from the checks themselves: python -m recipe_core.checks.docs > docs/audit.md"""

from recipe_core.checks.registry import FAMILIES, checks
from recipe_core.checks.subject import MOST_SAMPLES

INTRO = """# What the audit finds

`python -m recipe_core audit my_training.py` runs these experiments on a pipeline. Each states first what a healthy
pipeline does, then measures. What it finds has a cause, whose id is stable: scripts may rely on it, and `--waive CAUSE`
accepts one that is there on purpose. What may well follow from another failure is told as unsure, and names that one.
Written from the code by `python -m recipe_core.checks.docs > docs/audit.md`.

## What it does not catch

- what shows only after many epochs (overfitting, a momentum of 0.999, a rate that is wrong by a factor of three, or too
  low by what a long training makes up for);
- a leak between samples that are alike without being copies (the same patient twice), of fewer than one in a hundred,
  or of copies of simple drawings where training itself holds as many;
- labels of which a simple learner learns nothing even where they are right, as of a puzzle that the model does not
  solve at once either. It learns from pixels, or, where that teaches more, from what EfficientNet-Lite0, which ships
  with Recipe, sees in pictures of 12 px and more;
- up to a third of wrong labels (of two classes three in ten, as where two in three are drawn at random), which hard
  data and many hands leave, too, and which are a question then, unless they lie together in a stretch of the dataset;
- an augmentation that makes another class of few samples only;
- values that were rounded before the loader, if two or three are left and nobody knows of more (targets that were, and
  are mostly 0 then, are a question);
- targets that have run over (256 stored as 0);
- gates of a recurrence that are saturated;
- a few samples drawn again and again by a loader that does not tell how many there are;
- a target that stands among the inputs less than exactly, as its mean over the rows of training alone;
- a table whose rows and targets stand in two orders, one block used in place of several, and a word with the number of
  what fills up, which stay questions;
- copies of pictures of 8x8 that were moved;
- attention that is several times too sharp;
- a network that cannot tell the order of anything but words;
- what is wrong with metrics of a name of their own ("acc@5"), if it neither depends on the batches nor is an area under
  a curve;
- a gradient that stops after some places of a series, as truncation makes it;
- padding that is read where nothing beside the words says what it is;
- a smoothed column that reaches into the future;
- a rate that a train step lowers by hand, without one of torch's schedules, after more than 40 steps;
- whatever needs more than the budget or the {samples} samples of a split that are looked at.

## What it takes

Inputs may be a dict, a tuple or a list of tensors: of texts with masks, lengths or positions that follow from the words
(0 fills up) the words are looked at; of words in one row with the offsets where texts begin, each text; images, with
numbers beside them, as channels of one image, a smaller one with zeros around it; all else as columns of one table.
What is sparse is made dense, and sparse again for the model. Inputs of any other kind (graphs joined to one table of
nodes, episodes of support and query, lists of images of many sizes, strings, objects of a library) go to the model as
they are: what needs whole batches only is tried (steps, gradients, modes, rates, the loss, the metrics), and what looks
at single samples is skipped and says so. The same holds for targets that are several tensors (a dict of two answers,
boxes). Leave out what the model and the loss do not need, as names of files.

`num_classes` is the number of classes of each target, or of each place of a text or a picture; where it is 0, that of
places is read off the outputs and the loss. A pipeline whose first training step raises fails for that, and only its
data are looked at.

Models compiled to TorchScript take no hooks, so that most checks cannot be done on them.
"""


def document() -> str:
    """Markdown: every cause of every family, with what it is, how it is found, how to fix it and its stage."""
    parts = [INTRO.format(samples=f"{MOST_SAMPLES:,}")]
    for family in FAMILIES:
        parts += [f"\n## {family.capitalize()}\n", *_family(family)]
    return "\n".join(parts) + "\n"


def _family(family: str) -> list[str]:
    finders: dict[str, list] = {}
    known = {}
    for check in sorted(checks(), key=lambda each: (each.stage, each.name)):
        if check.family == family:
            for cause in check.causes:
                known[cause.id] = cause
                finders.setdefault(cause.id, []).append(check)
    lines = []
    for name, cause in known.items():
        found = " ".join(f"Expected: {check.hypothesis}" for check in finders[name])
        lines += [f"### `{name}`\n", f"{cause.about}\n", f"{found}\n"]
        lines += [f"Fix: {cause.fix} (Stage {finders[name][0].stage}, harm {cause.harm:g}.)\n"]
    return lines


if __name__ == "__main__":
    print(document(), end="")
