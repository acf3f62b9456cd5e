"""The metrics of runs: written in batches, read as tables, thinned."""

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import insert, update

from recipe_core import metrics
from recipe_core.errors import Replaced
from recipe_core.jobs import current
from recipe_core.metrics import MetricWriter, delete_metrics, newest_point, read_metrics
from recipe_core.store import Store, jobs


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def write(store, run, points):
    with MetricWriter(store, run) as writer:
        for step, values in points:
            writer.record(step, values)


def test_metrics_are_a_table_of_steps_with_gaps_where_nothing_was_measured(store):
    write(store, 1, [(2, {"loss": 0.5}), (0, {"loss": 1.5, "val": 1.0}), (1, {"loss": 1.0})])
    expected = pd.DataFrame({"loss": [1.5, 1.0, 0.5], "val": [1.0, np.nan, np.nan]}, index=[0, 1, 2])
    pd.testing.assert_frame_equal(read_metrics(store, 1), expected.rename_axis("step"))
    assert list(read_metrics(store, 1, ["val"]).columns) == ["val"]


def test_a_float_comes_back_to_the_last_bit(store):
    values = [0.1, 1e-308, -1e300, float(np.float32(1 / 3))]
    write(store, 1, [(step, {"loss": value}) for step, value in enumerate(values)])
    assert read_metrics(store, 1)["loss"].tolist() == values


def test_a_run_without_metrics_is_an_empty_table(store):
    empty = read_metrics(store, 1)
    assert (len(empty), empty.index.name, newest_point(store, 1)) == (0, "step", 0)


def test_a_step_counts_as_it_was_written_last(store):
    write(store, 1, [(step, {"loss": 1.0}) for step in range(4)])
    write(store, 1, [(2, {"loss": 2.0}), (2, {"loss": 3.0}), (3, {"loss": 4.0}), (4, {"loss": 5.0})])
    assert read_metrics(store, 1)["loss"].to_dict() == {0: 1, 1: 1, 2: 3, 3: 4, 4: 5}


def test_runs_do_not_see_each_others_metrics_and_are_forgotten_alone(store):
    for run in (1, 2):
        write(store, run, [(0, {"loss": float(run)})])
    delete_metrics(store, 1)
    assert read_metrics(store, 1).empty and read_metrics(store, 2)["loss"].tolist() == [2.0]


def test_points_are_written_in_batches_and_the_rest_at_the_end_or_an_exception(store, monkeypatch):
    with pytest.raises(KeyError), MetricWriter(store, 1) as writer:
        writer.record(0, {"loss": 1.0})
        assert read_metrics(store, 1).empty
        monkeypatch.setattr(metrics, "FLUSH_SECONDS", -1.0)
        writer.record(1, {"loss": 1.0})
        assert len(read_metrics(store, 1)) == 2
        monkeypatch.setattr(metrics, "FLUSH_SECONDS", 1e9)
        writer.record(2, {"loss": 1.0})
        raise KeyError
    assert len(read_metrics(store, 1)) == 3


def test_every_batch_of_points_is_news(store):
    seen = [newest_point(store, 1)]
    for step in range(3):
        write(store, 1, [(step, {"loss": 1.0})])
        seen.append(newest_point(store, 1))
    assert seen == sorted(set(seen))


def test_many_points_are_read_and_thinned_to_the_means_of_neighbours(store):
    values = np.random.default_rng(0).normal(size=200_000)
    write(store, 1, ((step, {"loss": value}) for step, value in enumerate(values.tolist())))
    write(store, 1, [(step, {"val": float(step)}) for step in range(0, 200_000, 20_000)])
    whole = read_metrics(store, 1)
    assert len(whole) == 200_000 and (whole["loss"].to_numpy() == values).all()
    thinned = read_metrics(store, 1, max_points=1000)
    loss = thinned["loss"].dropna()
    np.testing.assert_allclose(loss, values.reshape(1000, 200).mean(1))
    assert loss.index.tolist() == list(range(0, 200_000, 200))
    assert thinned["val"].dropna().index.tolist() == list(range(0, 200_000, 20_000))  # few are left as they are


@pytest.mark.parametrize("points", [1, 2, 7, 9, 10, 11])
def test_no_point_is_lost_by_thinning(store, points):
    write(store, 1, [(step, {"loss": 2.0}) for step in range(10)])
    thinned = read_metrics(store, 1, max_points=points)["loss"]
    assert len(thinned) == min(points, 10) and (thinned == 2.0).all() and thinned.index[0] == 0


def test_steps_that_are_zoomed_in_on_come_in_full_detail(store):
    write(store, 1, [(step, {"loss": float(step)}) for step in range(10_000)])
    assert len(read_metrics(store, 1, max_points=100)) == 100
    zoomed = read_metrics(store, 1, max_points=100, steps=(200, 280))
    assert zoomed["loss"].tolist() == list(range(200, 281))


def test_a_worker_that_was_replaced_writes_no_points(store):
    job = {"kind": "run", "subject": "pets", "work": "", "spec": {}, "folder": "", "state": "running", "attempt": 1}
    with store.engine.begin() as connection:
        connection.execute(insert(jobs).values(id=1, created=0.0, progress={}, **job))
    paused = MetricWriter(store, 1, current(1, 1))
    paused.record(0, {"loss": 1.0})
    paused.flush()
    paused.record(1, {"loss": 7.0})
    with store.engine.begin() as connection:
        connection.execute(update(jobs).values(attempt=2))
    with pytest.raises(Replaced):
        paused.flush()
    assert read_metrics(store, 1)["loss"].to_dict() == {0: 1.0}
