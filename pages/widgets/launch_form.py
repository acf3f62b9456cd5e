"""The form that launches a run: preset, settings, and what is expected of it before it starts."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.widgets.controls import train_bound
from pages.widgets.shell import open_workspace, plain, show_view
from recipe_core.errors import BadSettings, NotTrainable, RecipeError
from recipe_core.links import TrainView
from recipe_core.runs import Run
from recipe_core.training.expectation import Expectation
from recipe_core.training.presets import PRESETS
from recipe_core.training.spec import RunSpec, Setting, settings_of
from recipe_core.workspace import Dataset

FIRST = "linear"
ROW = 3  # fields beside each other
GUESS = "What the best constant guess reaches on the validation set, without a look at the images."


def launch_form(dataset: Dataset, view: TrainView, like: Run | None) -> None:
    """Draw the form, filled with the presets' defaults or with the settings of another run."""
    preset = view.preset if view.preset in PRESETS else like.spec.preset if like else FIRST
    filled = like.spec if like and like.spec.preset == preset else RunSpec.parse(preset)
    st.title("New run", anchor=False)
    st.caption(
        f"On **{plain(dataset.name)}**, filled with the settings of run {like.id}."
        if like
        else f"On **{plain(dataset.name)}**. Start with what is simple enough to be sure of, then change one thing."
    )
    _presets(preset)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _explain(preset)
        values, seed = _settings(preset, filled, f"{dataset.name}-{preset}-{like.id if like else 0}")
    with right:
        _expected_and_launched(dataset, view, preset, values, seed)


def _presets(preset: str) -> None:
    train_bound(
        st.pills,
        "Preset",
        list(PRESETS),
        key="preset",
        value=preset,
        required=True,
        change=lambda view, name: view.form(name, view.like),
    )


def _explain(preset: str) -> None:
    about, _, hypothesis = (PRESETS[preset].__doc__ or "").partition("Hypothesis:")
    st.markdown(plain(about))
    st.markdown(f":material/science: **Hypothesis:** {plain(hypothesis)}")


def _settings(preset: str, filled: RunSpec, place: str) -> tuple[dict[str, str], str]:
    """What differs from the preset's defaults, as it was typed, and the seed."""
    known = settings_of(preset)
    simple, advanced = ([each for each in known if each.advanced is folded] for folded in (False, True))
    typed: dict[str, str] = {}
    places = _places(len(simple) + 1)
    for each, column in zip(simple, places, strict=False):
        with column:
            typed[each.name] = _field(each, getattr(filled, each.name), place)
    with places[-1]:
        seed = st.text_input("Seed", str(filled.seed), key=f"seed-{place}", help="Two runs with one seed are equal.")
    changed = sum(getattr(filled, each.name) != each.default for each in advanced)
    with st.expander("Advanced settings" + (f" ({changed} changed)" if changed else "")):
        for each, column in zip(advanced, _places(len(advanced)), strict=True):
            with column:
                typed[each.name] = _field(each, getattr(filled, each.name), place)
    return {each.name: typed[each.name] for each in known if typed[each.name] != _as_text(each, each.default)}, seed


def _places(count: int) -> list[DeltaGenerator]:
    """So many places in rows of three, which keep their order on a phone."""
    return [column for _ in range(0, count, ROW) for column in st.columns(ROW)][:count]


def _field(each: Setting, value: object, place: str) -> str:
    label, key = each.name.replace("_", " ").capitalize(), f"set-{each.name}-{place}"
    if each.kind is bool:
        return st.selectbox(label, ["yes", "no"], int(not value), key=key, help=each.about)
    if each.choices:
        return st.selectbox(label, each.choices, each.choices.index(str(value)), key=key, help=each.about)
    return st.text_input(
        label, _as_text(each, value), key=key, help=each.about, placeholder="not set" if each.optional else None
    )


def _as_text(each: Setting, value: object) -> str:
    """A value as its field holds it."""
    if each.kind is bool:
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _expected_and_launched(dataset: Dataset, view: TrainView, preset: str, values: dict[str, str], seed: str) -> None:
    with st.container(border=True, key="expected"):
        st.subheader("What is expected, before it starts", anchor=False)
        try:
            spec = RunSpec.parse(preset, values, seed)
            expected(_preview(dataset, str(dataset.folder), _scanned(dataset), spec))
        except BadSettings as problem:
            st.error(plain(str(problem)))
            return
        except NotTrainable as problem:
            st.warning(plain(str(problem)), icon=":material/block:")
            return
        own = st.text_area(
            "Your own prediction",
            key=f"expect-{dataset.name}",
            height=80,
            placeholder="e.g. it ends near 90 % and confuses cats with dogs",
            help="Frozen with the run, so that you can tell afterwards how well you knew your data.",
        )
        if st.button("Launch", type="primary", icon=":material/play_arrow:", key="launch", width="stretch"):
            _launch(dataset, view, preset, seed, own, values)


@st.cache_data(max_entries=64, ttl=600, show_spinner=False)
def _preview(_dataset: Dataset, folder: str, scanned: tuple, spec: RunSpec) -> Expectation:
    """Kept, as reading all labels of a large dataset at every click would be slow."""
    return open_workspace().preview(_dataset, spec)


def _scanned(dataset: Dataset) -> tuple:
    """Something else after each scan, and while one runs."""
    job = dataset.job
    return (job.id, job.attempt, job.progress.get("done")) if job else ()


def _launch(dataset: Dataset, view: TrainView, preset: str, seed: str, own: str, values: dict[str, str]) -> None:
    try:
        run = open_workspace().launch(dataset, preset, seed=int(seed), expect=own.strip(), **values)
    except RecipeError as problem:
        st.error(plain(str(problem)))
        return
    show_view(TrainView(dataset.name).opened(run.id))
    st.rerun()


def expected(expectation: Expectation) -> None:
    """The numbers that are expected of a run and its claims."""
    with st.container(horizontal=True, gap="medium"):
        st.metric("Loss at step 0", f"{expectation.initial_loss:.3f}", width="content")
        st.metric("Guess: loss", f"{expectation.constant_guess_loss:.3f}", width="content", help=GUESS)
        st.metric("Guess: accuracy", f"{expectation.constant_guess_accuracy:.1%}", width="content", help=GUESS)
    st.markdown("\n".join(f"- {plain(claim.sentence)}" for claim in expectation.claims))
