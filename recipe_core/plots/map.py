"""The map of a dataset: a point per picture, coloured by a column."""

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from recipe_core.plots.curves import RUNS
from recipe_core.plots.distribution import CHOSEN

COLOURS = (*RUNS, "#7f9a2f", "#c26fa6", "#4f6d7a", "#e0a458")
MOST_COLOURED = len(COLOURS)  # values; the less frequent ones are grey
OTHERS, NONE, MARK = "#aab4c0", "(none)", "#d1495b"
HEIGHT = 560  # px
RANGE = (0.01, 0.99)  # quantiles that the scale of colours spans
FEW, SMALL, LARGE = 1_000, 4, 7  # points, and px of each if there are more or fewer
RING = {"color": "rgba(0,0,0,0)", "size": 14, "line": {"color": MARK, "width": 2}}


def scatter(
    points: pd.DataFrame,
    name: str = "",
    chosen: frozenset[str] = frozenset(),
    area: Sequence[tuple[float, float]] = (),
) -> go.Figure:
    """Points that can be clicked, and of which an area can be drawn around; `customdata` is the row of each.

    Args:
        points: key, x, y, value; of any number of rows, drawn by WebGL.
        name: of the column that the values are of.
        chosen: keys that are ringed.
        area: corners of a part that is outlined.
    """
    numbered = points.reset_index(drop=True)
    if _has_scale(numbered["value"]) and numbered["value"].notna().any():
        traces = [_scaled(numbered, name)]
    else:
        traces = _grouped(numbered, bool(name))
    ringed = numbered[numbered["key"].isin(chosen)]
    if len(ringed):
        traces.append(_points(ringed, RING, "chosen").update(hoverinfo="skip", hovertemplate=None, showlegend=False))
    figure = go.Figure(traces)
    if area:
        corners = "L".join(f"{x},{y}" for x, y in area)
        figure.add_shape(type="path", path=f"M{corners}Z", line={"color": MARK, "width": 1.5})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")  # near is near in both directions
    return figure.update_layout(
        height=HEIGHT,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        dragmode="lasso",
        hovermode="closest",
        legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0, "itemsizing": "constant", "title": None},
    )


def _grouped(points: pd.DataFrame, coloured: bool) -> list[go.Scattergl]:
    """A trace per value, the most frequent first."""
    size = _size(points)
    if not coloured:
        return [_points(points, {"color": CHOSEN, "size": size}, "").update(showlegend=False)]
    values = points["value"].map(lambda value: NONE if pd.isna(value) else str(value))
    counts = values.value_counts()
    frequent = [value for value in counts.index if value != NONE][:MOST_COLOURED]
    traces = [
        _points(points[values == value], {"color": colour, "size": size}, value)
        for value, colour in zip(frequent, COLOURS, strict=False)
    ]
    rest = points[~values.isin(frequent)]
    if len(rest):
        others = NONE if set(counts.index) - set(frequent) == {NONE} else "others"
        traces.insert(0, _points(rest, {"color": OTHERS, "size": size, "opacity": 0.6}, others))
    return traces


def _has_scale(values: pd.Series) -> bool:
    types = pd.api.types
    return types.is_datetime64_any_dtype(values) or (types.is_numeric_dtype(values) and not types.is_bool_dtype(values))


def _scaled(points: pd.DataFrame, name: str) -> go.Scattergl:
    """One trace whose colour follows a number or a time."""
    title = {"text": escape(name.replace("_", " "), quote=False), "side": "right"}
    bar: dict = {"title": title, "thickness": 10, "len": 0.6, "x": 1}
    values, start = points["value"], None
    if pd.api.types.is_datetime64_any_dtype(values):
        start = values.min()
        values = (values - start).dt.total_seconds()
    low, high = (float(end) for end in values.quantile(RANGE))
    if start is not None:  # Plotly writes no times on a scale of colours
        ticks = np.linspace(low, high, 4)
        bar |= {"tickvals": ticks, "ticktext": [f"{start + pd.Timedelta(seconds=tick):%Y-%m-%d}" for tick in ticks]}
    marker = {"color": values, "cmin": low, "cmax": high, "colorscale": "Viridis", "colorbar": bar}
    return _points(points, marker | {"size": _size(points)}, "").update(showlegend=False)


def _points(points: pd.DataFrame, marker: dict, name: str) -> go.Scattergl:
    told = [
        escape(key, quote=False) + ("" if pd.isna(value) else f"<br>{escape(_written(value), quote=False)}")
        for key, value in zip(points["key"], points["value"], strict=True)
    ]
    return go.Scattergl(
        x=points["x"],
        y=points["y"],
        mode="markers",
        marker={"opacity": 0.8, **marker},
        name=escape(name if len(name) <= 24 else f"{name[:23]}…", quote=False),
        customdata=points.index.to_numpy(),
        hovertext=told,
        hovertemplate="%{hovertext}<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 0.25}},
    )


def _size(points: pd.DataFrame) -> int:
    return LARGE if len(points) <= FEW else SMALL


def _written(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
