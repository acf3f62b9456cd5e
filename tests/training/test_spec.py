"""Settings from strings: right values, all mistakes at once, and what a form shows."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from recipe_core.errors import BadSettings
from recipe_core.training.presets import PRESETS
from recipe_core.training.spec import RunSpec, settings_of


def test_strings_become_what_the_settings_are():
    given = {"epochs": "3", "learning_rate": "1e-3", "bf16": "yes", "optimizer": "sgd", "size": "none"}
    spec = RunSpec.parse("linear", given, "7", "beats 10 %")
    assert (spec.epochs, spec.learning_rate, spec.bf16, spec.optimizer, spec.size) == (3, 1e-3, True, "sgd", None)
    assert (spec.preset, spec.seed, spec.expect) == ("linear", 7, "beats 10 %")


def test_the_defaults_are_those_of_the_recipe():
    spec = RunSpec.parse("tiny_cnn")
    assert (spec.optimizer, spec.learning_rate, spec.schedule, spec.seed) == ("adam", 3e-4, "constant", 0)


def test_all_mistakes_are_told_at_once():
    given = {"epoch": 3, "batch_size": 0, "learning_rate": "fast", "optimizer": "adma", "bf16": 2, "momentum": "nan"}
    with pytest.raises(BadSettings) as caught:
        RunSpec.parse("linear", given, seed=-1)
    assert str(caught.value) == (
        "The run cannot start: there is no setting 'epoch' (did you mean 'epochs'?); batch_size is from 1 to 65536, "
        "not 0; learning_rate is a number, not 'fast'; optimizer is one of adam, adamw, sgd, not 'adma'; bf16 is true "
        "or false, not '2'; momentum is from 0 to 0.9999, not nan; the seed is from 0 to 4294967295, not -1."
    )


@pytest.mark.parametrize(
    ("preset", "given", "sentence"),
    [
        ("lineal", {}, "There is no preset 'lineal' (did you mean 'linear'?)."),
        ("linear", {"epochs": 2, "steps": 5}, "give either epochs or steps"),
        ("linear", {"epochs": "none"}, "give either epochs or steps"),
        ("linear", {"momentum": 0.9}, "momentum is for optimizer=sgd"),
        ("linear", {"steps": 5, "warmup_steps": 5}, "warmup_steps is 5, but the run has 5 steps only"),
        ("linear", {"model_file": "nowhere.py"}, "there is no file nowhere.py on this machine for model_file"),
        ("linear", {"batch_size": ""}, "batch_size needs a value"),
        ("linear", {"batch_size": 2.5}, "batch_size is a whole number, not '2.5'"),
    ],
)
def test_a_mistake_is_one_clear_sentence(preset, given, sentence):
    with pytest.raises(BadSettings) as caught:
        RunSpec.parse(preset, given)
    assert sentence in str(caught.value)


def test_epochs_given_push_aside_a_presets_steps_and_the_other_way_round():
    assert RunSpec.parse("one_batch", {"epochs": 2}).total_steps(5) == 10
    assert RunSpec.parse("linear", {"steps": 7}).total_steps(5) == 7


def test_a_spec_survives_json():
    spec = RunSpec.parse("one_batch", {"learning_rate": 0.1}, 3, "zero")
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("preset", PRESETS)
def test_a_form_gets_everything_that_parse_takes(preset):
    settings = settings_of(preset)
    assert all(each.about.endswith(".") for each in settings)
    assert [each.name for each in settings if not each.advanced][:2] == ["epochs", "steps"]
    given = {each.name: each.default for each in settings}
    assert RunSpec.parse(preset, given) == RunSpec.parse(preset)
    assert "Hypothesis:" in PRESETS[preset].__doc__


def test_forms_and_expectations_need_no_torch():
    code = "import sys; import recipe_core.training.{}; print('torch' in sys.modules)"
    for module in ("spec", "presets", "expectation", "evaluate"):
        told = subprocess.run([sys.executable, "-c", code.format(module)], capture_output=True, text=True, check=True)
        assert ast.literal_eval(told.stdout) is False, module


def test_a_model_file_that_is_there_is_taken(tmp_path: Path):
    file = tmp_path / "net.py"
    file.write_text("")
    assert RunSpec.parse("one_batch", {"model_file": str(file)}).model_file == str(file)
