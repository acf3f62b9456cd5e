"""Recipe's own presets pass their own audit."""

import pytest

from recipe_core import audit
from recipe_core.training.presets import ON_PURPOSE, PRESETS
from recipe_core.training.spec import RunSpec
from tests.training.toy import tensors


@pytest.mark.parametrize("preset", ["majority", "zero_input", "linear"])
def test_a_preset_passes_its_own_audit(preset, tmp_path):
    folder = tensors(tmp_path / "tensors", train=(120, 90, 60), val=(48, 36, 24))
    pipeline = PRESETS[preset](folder, RunSpec.parse(preset, {"device": "cpu"}))
    report = audit(pipeline, 120, waived=ON_PURPOSE.get(preset, ()))
    assert report.passed, str(report)
    assert not report.of("error"), str(report)


def test_what_a_preset_does_on_purpose_is_told(tmp_path):
    folder = tensors(tmp_path / "tensors")
    pipeline = PRESETS["zero_input"](folder, RunSpec.parse("zero_input", {"device": "cpu"}))
    report = audit(pipeline, 120, waived=ON_PURPOSE["zero_input"])
    assert any(each.cause == "inputs-constant" and each.verdict == "skipped" for each in report.results)
