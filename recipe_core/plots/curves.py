"""Metrics over the steps of one or several runs, with what was expected of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from recipe_core.plots.distribution import CHOSEN, QUIET

# After the house's blue: hues that stay apart on light and dark, also for most colour-blind eyes.
RUNS = (CHOSEN, "#d9822b", "#2a9d75", "#b0489f", "#8a6d3b", "#d1495b", "#5e60ce", "#3d8ea8")
LEVEL, DASHES = "#8b95a5", ("dot", "dash", "dashdot", "longdash")
HEIGHT = 300  # px
FEW_POINTS = 30  # are drawn as points, too
RAW_OPACITY = 0.25  # of a curve behind its smoothed one
LEAST_SPAN = 0.1  # of the y axis, as a share of the largest value
SAME = 0.02  # levels closer than this share of one another are one line


@dataclass(frozen=True)
class Level:
    """A value that was expected, as a dotted line."""

    value: float
    name: str


def colour_of(place: int) -> str:
    """The colour of the run at that place of a comparison."""
    return RUNS[place % len(RUNS)]


def smoothed(values: pd.Series, smoothing: float) -> pd.Series:
    """The exponential moving average, each value weighing `smoothing` of the one after it; unbiased at its start."""
    return values.ewm(alpha=1 - smoothing).mean() if smoothing else values


def curves(
    runs: Mapping[str, pd.DataFrame],
    metrics: Mapping[str, str],
    levels: Sequence[Level] = (),
    smoothing: float = 0.0,
    log: bool = False,
    percent: bool = False,
    steps: tuple[float, float] | None = None,
) -> go.Figure:
    """Lines of metrics over the steps.

    Args:
        runs: name -> history, one column per metric, one row per step, NaN where it was not measured.
        metrics: column -> name, at most two; of two, the first is drawn pale and the second strong.
        levels: values that were expected; those that nearly agree share a line.
        smoothing: 0 (none) to below 1.
        percent: the values are shares.
        steps: only these (first, last) are drawn, the values scaled to what is seen of them.
    """
    figure = go.Figure()
    for place, (run, history) in enumerate(runs.items()):
        for metric, name in metrics.items():
            if metric not in history or (values := history[metric].dropna()).empty:
                continue
            strong, alone = metric == list(metrics)[-1], bool(len(runs) == 1 and name)
            colour = colour_of(place) if strong else QUIET if alone else _pale(colour_of(place))
            drawn = _line(values, smoothing, steps, colour, name if alone else run, strong)
            # The legend of a comparison names the strong curves only, and switches the pale ones with them.
            for trace in drawn:
                trace.update(legendgroup="" if alone else run, showlegend=trace is drawn[-1] and (alone or strong))
            figure.add_traces(drawn)
    last = max((float(history.index.max()) for history in runs.values() if len(history)), default=1.0)
    span = steps or (0.0, max(last, 1.0))
    lines = [level for level in merged(levels) if level.value > 0 or not log]
    figure.add_traces([_level(level, dash, span, percent) for level, dash in zip(lines, cycle(DASHES))])
    _keep_noise_small(figure, log)
    return _laid_out(figure, log, percent, steps)


def merged(levels: Sequence[Level]) -> list[Level]:
    """The levels in ascending order, those that nearly agree as one with the names of all."""
    lines: list[Level] = []
    for level in sorted(levels, key=lambda level: level.value):
        if lines and level.value - lines[-1].value <= SAME * abs(level.value):
            names = [name for name in (lines[-1].name, level.name) if name]
            lines[-1] = Level(lines[-1].value, " = ".join(dict.fromkeys(" = ".join(names).split(" = "))))
        else:
            lines.append(level)
    return lines


def _line(
    values: pd.Series, smoothing: float, steps: tuple[float, float] | None, colour: str, name: str, strong: bool
) -> list[go.Scatter]:
    """The smoothed curve, and behind it the one that was measured."""
    values = values.astype(np.float32)  # half the bytes, of which a live chart sends many
    shown = smoothed(values, smoothing)
    if steps:
        values, shown = values.loc[steps[0] : steps[1]], shown.loc[steps[0] : steps[1]]
    raw = go.Scatter(x=values.index, y=values, mode="lines", opacity=RAW_OPACITY, line={"color": colour, "width": 1})
    line = go.Scatter(
        x=shown.index,
        y=shown,
        mode="lines+markers" if len(values) <= FEW_POINTS else "lines",
        name=escape(name, quote=False),
        line={"color": colour, "width": 2.2 if strong else 1.4},
        marker={"color": colour, "size": 5},
        hovertemplate="%{y:.4g}",
    )
    if smoothing:  # what is told is what was measured
        line.update(customdata=np.asarray(values), hovertemplate="%{customdata:.4g}")
    return [raw.update(name="", hoverinfo="skip"), line] if smoothing else [line]


def _level(level: Level, dash: str, span: tuple[float, float], percent: bool) -> go.Scatter:
    """A trace rather than a shape: right on a log axis, too, and named in the legend, where it covers no curve."""
    return go.Scatter(
        x=list(span),
        y=[level.value, level.value],
        mode="lines",
        name=f"{escape(level.name, quote=False)} {format(level.value, '.1%' if percent else '.3f')}",
        line={"color": LEVEL, "width": 1.4, "dash": dash},
        hoverinfo="skip",
    )


def _keep_noise_small(figure: go.Figure, log: bool) -> None:
    """A curve that hardly moves shall not fill the chart with its last digits."""
    drawn = [np.asarray(trace.y, float) for trace in figure.data]
    seen = np.concatenate([*drawn, np.empty(0)])
    seen = seen[np.isfinite(seen)]
    if len(seen) == 0 or log:
        return
    middle, least = (seen.max() + seen.min()) / 2, LEAST_SPAN * np.abs(seen).max()
    if seen.max() - seen.min() < least:
        figure.update_yaxes(range=[middle - least / 2, middle + least / 2])


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.45)"


def _laid_out(figure: go.Figure, log: bool, percent: bool, steps: tuple[float, float] | None) -> go.Figure:
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 0, "r": 8, "t": 8, "b": 0},
        hovermode="x unified",
        dragmode="select",
        selectdirection="h",
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "title": None},
    )
    # A log axis without a format of its own would label 20 as "2".
    tickformat = ".3~p" if percent else ".3~g" if log else None
    figure.update_yaxes(type="log" if log else "linear", tickformat=tickformat, title=None, automargin=True, nticks=6)
    figure.update_xaxes(title=None, automargin=True, nticks=8, rangemode="tozero", hoverformat=",d", range=steps)
    if percent:
        figure.update_traces(hovertemplate="%{customdata:.1%}", selector={"hovertemplate": "%{customdata:.4g}"})
    return figure
