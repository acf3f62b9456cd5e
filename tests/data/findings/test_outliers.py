"""What sticks out: planted outliers come first, whatever the shape of the axis; healthy tails are left alone."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.data.findings import Findings
from recipe_core.data.findings.tables import ask
from recipe_core.store import Store

MANY = 3000
CHANCE = np.random.default_rng(4)
HEALTHY = {
    "normal": CHANCE.normal(100, 15, MANY),
    "lognormal": CHANCE.lognormal(8, 1.0, MANY),
    "exponential": CHANCE.exponential(5, MANY),
    "uniform": CHANCE.random(MANY),
    "two_hills": np.where(CHANCE.random(MANY) < 0.5, CHANCE.normal(0, 1, MANY), CHANCE.normal(50, 1, MANY)),
    "steps": CHANCE.choice([8, 16, 32, 64], MANY, p=[0.4, 0.3, 0.2, 0.1]).astype(float),
    "share": np.where(CHANCE.random(MANY) < 0.9, 0.0, CHANCE.beta(1, 20, MANY)),
    "one_in_fifty": np.where(CHANCE.random(MANY) < 0.02, 4000.0, 500.0),
    "constant": np.full(MANY, 3.0),
    "numbers": np.arange(MANY, dtype=float),
    "heavy": CHANCE.pareto(2, MANY) + 1,
}
FAR = {  # what is planted on either side of each
    "normal": (-40, 260),
    "lognormal": (0.5, 3e6),
    "exponential": (-60, 250),
    "uniform": (-2, 3),
    "two_hills": (-80, 150),
    "steps": (-150, 400),
    "share": (-2, 1.0),
    "one_in_fifty": (-40_000, 90_000),
    "constant": (-9, 15),
}


def found_in(folder, columns, **facts):
    count = len(next(iter(columns.values())))
    given = {"key": [f"{at:06}.png" for at in range(count)], "label": ["a"] * count, "split": ["train"] * count}
    measured = {"readable": [True] * count, "error_kind": pa.nulls(count, pa.string())}
    for name in ("contrast", "entropy", "sharpness", "colourfulness", "red", "green", "blue", "brightness", "aspect"):
        measured[name] = np.full(count, 40.0)
    measured |= {"width": np.full(count, 200), "height": np.full(count, 200), "misnamed": [False] * count}
    texts = ("error", "byte_hash", "pixel_hash", "extension", "format")
    measured |= {name: pa.nulls(count, pa.string()) for name in texts} | {"clipped_bright": np.zeros(count)}
    (folder / "catalog").mkdir(parents=True)
    pq.write_table(pa.table(given | measured | columns | facts), folder / "catalog" / "catalog.parquet")
    catalog = Catalog(folder)
    return Findings(folder, catalog, Decisions(Store(folder / "workspace"), "pets", catalog))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return found_in(tmp_path_factory.mktemp("healthy"), HEALTHY).outliers()


@pytest.mark.parametrize("axis", HEALTHY)
def test_a_healthy_axis_of_any_shape_is_left_alone(healthy, axis):
    assert (healthy.found["subkind"] == axis).sum() <= (3 if axis == "heavy" else 1)


@pytest.mark.parametrize("axis", FAR)
def test_what_is_planted_at_either_end_comes_first(tmp_path, axis):
    values = HEALTHY[axis].copy()
    values[7], values[8] = FAR[axis]
    found = found_in(tmp_path, {axis: values})
    findings, _ = found.page("outlier", axis)
    assert {finding.samples[0] for finding in findings[:2]} == {"000007.png", "000008.png"}
    assert [found.tail([axis], end, 1)["key"][0] for end in ("low", "high")] == ["000007.png", "000008.png"]


def test_a_sample_has_one_finding_with_all_its_axes_and_a_sentence(tmp_path):
    columns = {name: HEALTHY[name].copy() for name in ("normal", "uniform")}
    columns["normal"][3], columns["uniform"][3] = 900, 9
    found = found_in(tmp_path, columns)
    (finding,), total = found.page("outlier")
    assert total == 1 and {told["axis"] for told in finding.evidence["axes"]} == {"normal", "uniform"}
    assert finding.evidence["axes"][0]["robust_z"] > 5
    assert "far above the rest: 95 % of the samples have" in finding.message
    assert "One more of its measures does too." in finding.message


def test_what_quality_says_already_is_not_told_again_but_metadata_is(tmp_path):
    brightness, age = np.full(MANY, 120.0) + CHANCE.normal(0, 4, MANY), HEALTHY["normal"].copy()
    brightness[5] = brightness[6] = 1.0
    age[6] = 900
    contrast = np.full(MANY, 40.0)
    contrast[5:7] = 3.0
    found = found_in(tmp_path, {"age": age}, brightness=brightness, contrast=contrast)
    assert [finding.samples for finding in found.page("quality", "dark")[0]] == [("000005.png",), ("000006.png",)]
    (finding,), _ = found.page("outlier")
    assert finding.samples == ("000006.png",) and finding.subkind == "age"


def test_an_outlier_is_decided_with_its_sample(tmp_path):
    values = HEALTHY["normal"].copy()
    values[1], values[2] = 500, 600
    found = found_in(tmp_path, {"normal": values})
    found.decisions.decide("not-a-problem", ["000001.png"], kind="outlier")
    assert [(line.findings, line.undecided) for line in found.summary() if line.kind == "outlier"] == [(2, 1)]
    assert [one.samples[0] for one in found.page("outlier", undecided_only=True)[0]] == ["000002.png"]


def test_gaps_infinities_and_axes_without_values_are_passed_over(tmp_path):
    values = HEALTHY["normal"].copy()
    values[:50], values[60], values[70] = np.nan, np.inf, 900
    columns = {"normal": values, "nothing": np.full(MANY, np.nan), "extreme": np.where(values > 100, 1.7e308, -1.7e308)}
    found = found_in(tmp_path, columns)
    assert [finding.samples for finding in found.page("outlier")[0]] == [("000070.png",)]


def test_few_samples_have_no_usual_values(tmp_path):
    found = found_in(tmp_path, {"age": np.array([1.0, 2, 3, 4, 900])})
    assert found.page("outlier") == ([], 0) and ask(found.catalog, lambda _: True, False)
