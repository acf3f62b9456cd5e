"""A dataset that trains in a second: 60 pictures of 16 x 16 px in three classes that have colours of their own."""

import time

import numpy as np
from PIL import Image

from recipe_core import jobs

PATIENCE_SECONDS = 120
COLOURS = {"blue": (60, 60, 200), "green": (60, 200, 60), "red": (200, 60, 60)}


def make_pictures(root, per_class=20, classes=tuple(COLOURS), splits=("",)):
    """A folder per class, in each of the splits."""
    chance = np.random.default_rng(0)
    for split in splits:
        for label in classes:
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(per_class):
                pixels = COLOURS[label] + chance.normal(0, 30, (16, 16, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return root


def until(condition):
    """What `condition()` gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return answer


def ended(run):
    """The run's job at its end."""
    *_, job = jobs.follow(run.store, run.id, seconds=0.05)
    return job
