"""What a trained model says of the samples that it was trained on."""

import numpy as np
from toy import tensors, train

from recipe_core.training.batches import Batches
from recipe_core.training.pipeline import default_forward
from recipe_core.training.predictions import learnt_by_heart


def test_one_picture_with_two_labels_is_all_that_is_not_learnt_by_heart(tmp_path):
    folder = tensors(tmp_path / "tensors", train=(20, 20, 20), size=16)
    images, labels = (np.load(folder / f"train_{kind}.npy") for kind in ("images", "labels"))
    twin = int(np.flatnonzero(labels != labels[0])[0])
    images[twin] = images[0]
    np.save(folder / "train_images.npy", images)
    settings = {"subset": 59, "steps": 150, "learning_rate": 1e-3}
    # A subset must leave something out; this one leaves out neither of the two.
    seed = next(each for each in range(9) if {0, twin} <= set(chosen(folder, each).rows))
    model = train(folder, tmp_path / "run", "overfit", settings, seed).model
    learnt = learnt_by_heart(model, chosen(folder, seed), default_forward, lambda: None)
    wrong = learnt["rows"][learnt["probabilities"].argmax(1) != learnt["labels"]]
    assert len(learnt["rows"]) == 59
    assert (learnt["labels"] == labels[learnt["rows"]]).all()
    assert wrong.tolist() in ([0], [twin])


def chosen(folder, seed):
    """The batches of the run, over its subset."""
    rows = np.sort(np.random.default_rng(seed).choice(60, 59, replace=False))
    return Batches(folder, "train", rows=rows)
