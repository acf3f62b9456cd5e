import numpy as np
import pyarrow as pa
import torch

from recipe_core.data.duplicates.compare import Compared
from recipe_core.data.duplicates.verdict import accepted

ROWS = pa.table({"width": [96, 96], "height": [96, 96]})


def told(**measured):
    """The verdict on a pair that agrees everywhere, but for what is given: (accepted, unclear)."""
    like = {"gain": 1, "lighter": 0, "misfit": 0.01, "informed": 0.5, "agreement": 1, "heart": 1, "similarity": 0.98}
    like |= {"overlap": 1, "covered": 1, "ground": 0, "unexplained": 0, "maps": [[1, 0, 0], [0, 1, 0]]} | measured
    compared = Compared(**{name: torch.tensor([value], dtype=torch.float32) for name, value in like.items()})
    return tuple(bool(each[0]) for each in accepted(ROWS, np.array([[0, 1, 0]]), compared))


def test_a_pair_that_agrees_is_a_copy_whatever_was_cut_off_within_reason():
    assert told() == (True, False)
    assert told(overlap=0.65, maps=[[0.8, 0, 0], [0, 0.82, 0]]) == (True, False)


def test_a_pair_that_agrees_but_lies_as_no_copy_does_is_neither_copy_nor_example_of_the_different():
    assert told(maps=[[1, 0.2, 0], [0, 1, 0]]) == (False, True)
    assert told(informed=0.01) == (False, True)


def test_a_pair_that_does_not_agree_is_plainly_different():
    assert told(agreement=0.3, heart=0.3) == (False, False)
    assert told(misfit=0.5) == (False, False)
    assert told(misfit=0.2, maps=[[1, 0.2, 0], [0, 1, 0]]) == (False, False)


def test_on_a_plain_ground_less_may_be_left_unexplained_than_on_a_photograph():
    assert told(unexplained=0.15)[0]
    assert not told(unexplained=0.15, ground=0.6)[0]
    assert not told(unexplained=0.25)[0]


def test_a_pair_of_many_times_the_contrast_is_none():
    assert told(gain=0.6)[0] and told(gain=1.6)[0]
    assert not told(gain=0.4)[0] and not told(gain=3)[0]
