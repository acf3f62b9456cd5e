"""Models: the presets' shapes and first outputs, and what is said of a user's file that cannot be used."""

import numpy as np
import pytest
import torch
from torch import nn
from toy import tensors, train

from recipe_core.errors import BadModel, BadSettings
from recipe_core.training.models import MODELS, load_model_file, own_model
from recipe_core.training.presets import PRESETS
from recipe_core.training.spec import RunSpec
from recipe_core.training.vision import torchvision

GOOD = """
from torch import nn
def model(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes))
"""


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [8, 20])
def test_a_model_gives_one_score_per_class(name, size):
    model = MODELS[name](5, size).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, size, size)).shape == (2, 5)


def test_resnets_keep_the_pixels_of_small_images_only():
    small, large = MODELS["resnet18"](5, 32), MODELS["resnet18"](5, 96)
    assert small.conv1.stride == (1, 1)
    assert isinstance(small.maxpool, nn.Identity)
    assert large.conv1.stride == (2, 2)


def test_torchvision_works_beside_a_torch_without_its_operators():
    from torchvision.transforms import v2

    assert v2.MixUp(num_classes=3)(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))[1].shape == (4, 3)
    assert torchvision.models.resnet18


@pytest.mark.parametrize("bias_to_prior", [False, True])
def test_a_preset_starts_with_the_same_scores_for_all_images(tmp_path, bias_to_prior):
    folder = tensors(tmp_path, train=(60, 30, 10))
    spec = RunSpec.parse("tiny_cnn", {"bias_to_prior": bias_to_prior, "device": "cpu"})
    model = PRESETS["tiny_cnn"](folder, spec).model_fn()
    given = model(torch.randn(4, 3, 8, 8)).softmax(1).detach().numpy()
    expected = [0.6, 0.3, 0.1] if bias_to_prior else [1 / 3] * 3
    assert np.allclose(given, expected, atol=1e-6)


def test_a_users_model_is_trained_as_any_other(tmp_path):
    folder, file = tensors(tmp_path / "tensors"), tmp_path / "net.py"
    file.write_text(GOOD)
    history = train(folder, tmp_path / "run", "one_batch", {"model_file": file, "steps": 30}).history()
    assert history["train_loss"][29] < history["train_loss"][0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def model(num_classes)\n    pass", "net.py, line 1: expected ':'."),
        ("import nonsense_that_is_not_there", "net.py, line 1: ModuleNotFoundError: No module named"),
        ("x = 1", "net.py has no function model(num_classes); define one that returns a torch.nn.Module."),
        (
            "def model(num_classes):\n    return 1 / 0",
            "net.py, line 2: ZeroDivisionError in model(3): division by zero.",
        ),
        (
            "def model():\n    pass",
            "net.py: TypeError in model(3): model() takes 0 positional arguments but 1 was given.",
        ),
        (
            "def model(num_classes):\n    pass",
            "net.py: model(3) returned NoneType; it should return a torch.nn.Module.",
        ),
        (GOOD.replace("192", "7"), "net.py: RuntimeError on a batch of 2 images of 3 x 8 x 8: mat1 and mat2 shapes"),
        (
            GOOD.replace("num_classes))", "5))"),
            "on a batch of 2 images of 3 x 8 x 8 the model gives outputs of shape (2, 5); it should give (2, 3).",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_line(tmp_path, text, sentence):
    file = tmp_path / "net.py"
    file.write_text(text)
    with pytest.raises(BadModel) as caught:
        own_model(file, 3, 8)
    assert sentence in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadModel, match=r"There is no file .*net\.py; name a Python file"):
        load_model_file(tmp_path / "net.py")


def test_an_edited_file_is_read_anew(tmp_path):
    file = tmp_path / "net.py"
    for classes in (3, 4):
        file.write_text(GOOD.replace("num_classes))", f"{classes}))"))
        assert own_model(file, classes, 8)[1].out_features == classes


def test_a_bias_at_the_prior_needs_a_final_linear_layer(tmp_path):
    folder, file = tensors(tmp_path / "tensors"), tmp_path / "net.py"
    file.write_text("from torch import nn\ndef model(n):\n    return nn.Sequential(nn.Conv2d(3, n, 8), nn.Flatten())")
    with pytest.raises(BadModel, match=r"no final nn\.Linear with a bias for 3 classes.*set bias_to_prior=false"):
        train(folder, tmp_path / "run", "one_batch", {"model_file": file})
    train(folder, tmp_path / "run", "one_batch", {"model_file": file, "bias_to_prior": False, "steps": 2})


def test_a_gpu_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadSettings, match="device is cuda, but torch finds no CUDA device"):
        train(tensors(tmp_path), tmp_path, "linear", {"device": "cuda"})


@pytest.mark.parametrize("setting", ["bf16", "channels_last"])
def test_the_options_for_speed_train_as_well(tmp_path, setting):
    settings = {setting: True, "steps": 20, "learning_rate": 0.003}
    history = train(tensors(tmp_path / "tensors"), tmp_path / "run", "tiny_cnn", settings).history()
    assert history["val_loss"][20] < history["val_loss"][0]
