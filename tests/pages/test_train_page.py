"""The Train page starts wherever its address leads, and says what is expected before anything runs."""

from pathlib import Path

import pytest
import streamlit as st
from PIL import Image
from sqlalchemy import event
from streamlit.testing.v1 import AppTest

from pages.widgets.moment import moment, moments, read_afresh
from pages.widgets.shell import open_workspace
from recipe_core import Workspace, settings
from recipe_core.errors import NotFound
from recipe_core.training.presets import PRESETS

APP = Path(__file__).parents[2] / "app.py"


def make_images(folder: Path) -> Path:
    """Twelve dark cats and eight bright dogs, a quarter of each for validation."""
    for label, level, count in (("cat", 50, 12), ("dog", 200, 8)):
        for number in range(count):
            path = folder / ("val" if number % 4 == 0 else "train") / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (level + number, level, level)).save(path)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A dataset "pets" with two finished runs, and one "unscanned"."""
    folder = tmp_path_factory.mktemp("train")
    workspace = Workspace(folder / "workspace")
    pets = workspace.add_dataset("pets", make_images(folder / "pets"))
    pets.scan()
    workspace.add_dataset("unscanned", folder / "pets")
    for preset in ("linear", "majority"):
        for _ in workspace.launch(pets, preset, expect="sure", epochs=1).follow():
            pass
    return workspace


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch):
    """Opens the page as the very first visitor of a server."""

    def open_(workspace: Workspace, **query: str) -> AppTest:
        monkeypatch.setattr(settings, "WORKSPACE", workspace.folder)
        st.cache_resource.clear()
        test = AppTest.from_file(APP, default_timeout=30)
        test.query_params.update(query)
        test.switch_page("pages/train.py")
        seen = test.run()
        assert not seen.exception
        return seen

    yield open_
    st.cache_resource.clear()


def texts(seen: AppTest) -> str:
    return "\n".join(each.value for each in [*seen.title, *seen.markdown, *seen.caption, *seen.subheader])


def ids(workspace: Workspace) -> list[int]:
    return [run.id for run in workspace.runs("pets")]


def test_without_a_dataset_it_says_where_to_add_one(visit, tmp_path: Path):
    assert "Add" in visit(Workspace(tmp_path / "workspace")).info[0].value


def test_a_dataset_that_is_gone_is_named(visit, trained: Workspace):
    assert "gone" in visit(trained, dataset="gone").error[0].value


def test_a_dataset_that_nothing_can_be_trained_on_says_why_and_offers_no_launch(visit, trained: Workspace):
    seen = visit(trained, dataset="unscanned")
    assert seen.warning
    assert not seen.error
    assert "launch" not in [button.key for button in seen.button]


def test_what_is_expected_is_told_before_the_run_starts(visit, trained: Workspace):
    seen = visit(trained, dataset="pets")
    told = {metric.label: metric.value for metric in seen.metric}
    assert told == {"Loss at step 0": "0.673", "Guess: loss": "0.673", "Guess: accuracy": "60.0%"}
    assert "validation accuracy rises above 60" in texts(seen)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_shows_its_hypothesis_and_its_own_defaults(visit, trained: Workspace, preset: str):
    seen = visit(trained, dataset="pets", preset=preset)
    assert "Hypothesis:" in texts(seen)
    assert not seen.error


def test_all_mistakes_in_the_settings_are_told_at_once(visit, trained: Workspace):
    seen = visit(trained, dataset="pets")
    fields = {field.label: field for field in seen.text_input}
    fields["Epochs"].set_value("many")
    fields["Batch size"].set_value("0")
    seen.run()
    assert "epochs" in seen.error[0].value
    assert "batch\\_size" in seen.error[0].value


def test_a_launch_queues_a_run_with_its_prediction_and_opens_it(visit, trained: Workspace, tmp_path: Path):
    workspace = Workspace(tmp_path / "workspace")
    workspace.add_dataset("pets", make_images(tmp_path / "pets")).scan()
    seen = visit(workspace, dataset="pets", preset="majority")
    seen.text_area(key="expect-pets").set_value("about half")
    seen.button(key="launch").click().run()
    (run,) = workspace.runs("pets")
    for _ in run.follow():
        pass
    assert (run.spec.preset, run.spec.expect) == ("majority", "about half")
    assert seen.query_params["run"] == str(run.id)


@pytest.mark.parametrize("tab", ["", "inputs", "predictions", "record", "nonsense"])
def test_every_part_of_a_finished_run_starts(visit, trained: Workspace, tab: str):
    seen = visit(trained, dataset="pets", run=str(ids(trained)[0]), tab=tab)
    assert not seen.error
    assert "majority" in seen.title[0].value


def test_a_finished_run_shows_its_verdicts_and_the_users_own_prediction(visit, trained: Workspace):
    seen = texts(visit(trained, dataset="pets", run=str(ids(trained)[0])))
    assert seen.count(" pass]") == 3
    assert "*sure*" in seen


def test_several_runs_are_compared(visit, trained: Workspace):
    seen = visit(trained, dataset="pets", run=[str(id) for id in ids(trained)])
    assert seen.title[0].value == "2 runs of pets"


def test_a_run_that_is_gone_is_named_and_the_others_are_shown(visit, trained: Workspace):
    seen = visit(trained, dataset="pets", run=["99999", str(ids(trained)[0])])
    assert "99999" in seen.warning[0].value
    assert "majority" in seen.title[0].value


def test_a_clone_starts_with_the_settings_of_its_run(visit, trained: Workspace):
    seen = visit(trained, dataset="pets", like=str(ids(trained)[1]))
    fields = {field.label: field.value for field in seen.text_input}
    assert (seen.title[0].value, fields["Epochs"]) == ("New run", "1")


def test_ten_viewers_of_live_runs_ask_the_store_as_often_as_one(visit, trained: Workspace):
    visit(trained, dataset="pets")  # from here on the server shows this workspace
    asked: list[str] = []
    event.listen(open_workspace().store.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    read_afresh()
    assert list(moments("pets")) == ids(trained)
    once = len(asked)
    before = moments("pets")
    for _ in range(9):
        assert moments("pets") is before
    assert len(asked) == once > 0


def test_what_one_has_just_done_is_seen_at_once_and_what_was_deleted_is_named(visit, trained: Workspace):
    visit(trained, dataset="pets")
    run = trained.launch(trained.dataset("pets"), "majority", epochs=1)
    read_afresh()
    assert moment(run).job.kind == "run"
    for _ in run.follow():
        pass
    read_afresh()
    assert moment(run).job.state == "finished"
    run.delete()
    read_afresh()
    with pytest.raises(NotFound, match=f"no run {run.id} any more"):
        moment(run)
