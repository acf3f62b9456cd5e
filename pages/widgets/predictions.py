"""What a run's model predicts: a few samples over the steps, and in the end the whole validation set."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image, ImageOps

from pages.widgets.gallery import Group, gallery
from pages.widgets.inputs import as_url
from pages.widgets.samples import TILE, tiles_of
from pages.widgets.shell import fragment, plain, read_train_view, show_view
from recipe_core.data.selection import Selection
from recipe_core.data.thumbnails import read_thumbnail
from recipe_core.links import TrainView, View
from recipe_core.plots.calibration import calibration
from recipe_core.plots.confusion import confusion
from recipe_core.plots.followed import followed
from recipe_core.runs import Run
from recipe_core.training.evaluate import Evaluation
from recipe_core.workspace import Dataset

CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
WORST = 24
OF_A_CELL = 60
PICTURE = 48  # px


def predictions(dataset: Dataset, view: TrainView, run: Run) -> None:
    """Draw what there is: the fixed batch from the first look on, the rest when the run has finished."""
    evaluation = run.evaluation()
    _learnt(dataset, run)
    if evaluation is not None:
        _summary(evaluation, run)
        left, right = st.columns(2, gap="large")
        with left:
            st.subheader("Confusion matrix", anchor=False)
            st.caption("Click a cell to see its images below.")
            _confusion(evaluation, view)
        with right:
            st.subheader("Calibration", anchor=False)
            st.caption("Bars on the dotted line: it is right as often as it says.")
            st.plotly_chart(calibration(evaluation.reliability), config=CONFIG, key="calibration", alt="Calibration")
        _cell(dataset, view, run, evaluation)
        _mistakes(dataset, run, evaluation)
        _classes(evaluation)
    fragment(_followed, run_every=2.0 if run.job.active else None)(dataset, run)


def _learnt(dataset: Dataset, run: Run) -> None:
    """Of a run on a fixed subset: which of its samples the model does not tell right, though it saw little else."""
    learnt = run.learnt()
    if learnt is None:
        return
    labels, probabilities = learnt["labels"], learnt["probabilities"]
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    st.subheader("What it was to learn by heart", anchor=False)
    st.markdown(f"**{len(labels) - len(wrong):,} of {len(labels):,}** training samples are told right.")
    if not len(wrong):
        return
    st.caption(
        "These are not. Where nearly all others are, look at these: often nobody could learn them, as a blank picture, "
        "or one that is there twice with two labels."
    )
    worst = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:WORST]
    names = run.classes
    captions = [f"{names[labels[each]]} → {names[predicted[each]]} {probabilities[each].max():.0%}" for each in worst]
    _samples(dataset, run, learnt["rows"][worst], captions, f"learnt-{run.id}", split="train")


def _summary(evaluation: Evaluation, run: Run) -> None:
    told = evaluation.summary
    guess = run.expectation.constant_guess_accuracy
    with st.container(horizontal=True, gap="large"):
        st.metric(
            "Accuracy",
            f"{told['accuracy']:.1%}",
            help="Over the whole validation set, with Wilson's 95 % interval.",
            delta=f"95 %: {told['accuracy_low']:.1%} to {told['accuracy_high']:.1%}",
            delta_color="off",
            delta_arrow="off",
            width="content",
        )
        st.metric("A constant guess", f"{guess:.1%}", width="content")
        st.metric("Right", f"{told['correct']:,} of {told['samples']:,}", width="content")
        st.metric("Loss", f"{told['loss']:.3f}", width="content")
        st.metric(
            "Calibration error",
            f"{told['ece']:.1%}",
            help="Expected calibration error: mean distance of confidence and accuracy (Guo et al. 2017).",
            width="content",
        )


def _confusion(evaluation: Evaluation, view: TrainView) -> None:
    key = f"confusion-{view.runs}-{view.cell}"

    def clicked() -> None:
        points = st.session_state[key].selection.points
        if points:
            true, predicted = points[0]["customdata"]
            show_view(replace(read_train_view(), cell=(int(true), int(predicted))))

    st.plotly_chart(
        confusion(evaluation.confusion, evaluation.classes, view.cell),
        key=key,
        on_select=clicked,
        selection_mode="points",
        config=CONFIG,
        alt="Confusion matrix",
    )


def _cell(dataset: Dataset, view: TrainView, run: Run, evaluation: Evaluation) -> None:
    if view.cell is None or max(view.cell) >= len(evaluation.classes):
        return
    true, predicted = view.cell
    told_as = evaluation.probabilities.argmax(1)
    rows = np.flatnonzero((evaluation.labels == true) & (told_as == predicted))
    names = [plain(evaluation.classes[each]) for each in view.cell]
    st.subheader(f"“{names[0]}” told as “{names[1]}”: {len(rows):,}", anchor=False)
    surest = rows[np.argsort(-evaluation.probabilities[rows, predicted], kind="stable")][:OF_A_CELL]
    captions = [f"{share:.0%}" for share in evaluation.probabilities[surest, predicted]]
    _samples(dataset, run, surest, captions, f"cell-{run.id}-{view.cell}")


def _mistakes(dataset: Dataset, run: Run, evaluation: Evaluation) -> None:
    worst = evaluation.mistakes.head(WORST)
    st.subheader("Worst mistakes", anchor=False)
    if worst.empty:
        st.caption("None: every validation sample is told right.")
        return
    st.caption("Highest loss first: true class, what it is told as, and how surely. Click one to open it in Browse.")
    names = evaluation.classes
    captions = [
        f"{names[true]} → {names[predicted]} {probability:.0%}"
        for true, predicted, probability in zip(worst["true"], worst["predicted"], worst["probability"], strict=True)
    ]
    _samples(dataset, run, worst["row"], captions, f"mistakes-{run.id}")


def _classes(evaluation: Evaluation) -> None:
    st.subheader("By class", anchor=False)
    shares = {
        name: st.column_config.ProgressColumn(name, min_value=0.0, max_value=1.0, format="percent")
        for name in ("precision", "recall", "f1")
    }
    st.dataframe(evaluation.per_class, hide_index=True, width="stretch", column_config=shares)


def _followed(dataset: Dataset, run: Run) -> None:
    st.subheader("A few samples over the steps", anchor=False)
    seen = run.fixed_batch()
    if seen is None:
        st.caption("Nothing has been predicted yet.")
        return
    st.caption("The same validation samples at each look; the darker, the surer the model is of their true class.")
    keys = run.samples("val")
    pictures = _pictures(dataset, tuple(keys[row] for row in seen["rows"]) if keys else ())
    figure = followed(seen["steps"].tolist(), seen["probabilities"], seen["labels"], run.classes, pictures)
    st.plotly_chart(figure, config=CONFIG, key=f"followed-{run.id}", alt="Predictions of a fixed batch over the steps")


def _samples(dataset: Dataset, run: Run, rows: Iterable[int], captions: list[str], key: str, split="val") -> None:
    """A gallery of rows of a split; those that left the dataset since are left out."""
    keys = run.samples(split)
    wanted = {keys[row]: caption for row, caption in zip(rows, captions, strict=True)} if keys else {}
    known = {tile.id: tile for tile in tiles_of(dataset, _rows(dataset, wanted))}
    tiles = [replace(known[name], caption=caption) for name, caption in wanted.items() if name in known]
    opened = gallery([Group("", len(tiles), tiles)], size=96, key=key).opened
    if opened:
        st.switch_page("pages/browse.py", query_params=View(dataset.name, sample=opened).query())


def _pictures(dataset: Dataset, keys: Sequence[str]) -> list[str]:
    """The middle of each sample's thumbnail as a URL, as the net sees it; "" where there is none."""
    found = _rows(dataset, keys).set_index("key")
    return [_middle(dataset, found.loc[key]) if key in found.index else "" for key in keys]


def _middle(dataset: Dataset, row: pd.Series) -> str:
    if not isinstance(row["_shard"], str):
        return ""
    place = (row["_shard"], int(row["_offset"]), int(row["_length"]))
    image = Image.open(io.BytesIO(read_thumbnail(dataset.folder / "thumbnails", *place))).convert("RGB")
    return as_url(np.asarray(ImageOps.fit(image, (PICTURE, PICTURE))))


def _rows(dataset: Dataset, keys: Iterable[str]) -> pd.DataFrame:
    """The catalog's rows of these samples, of those that it still has."""
    return dataset.catalog.rows(Selection(choices={"key": tuple(keys)}), columns=TILE)
