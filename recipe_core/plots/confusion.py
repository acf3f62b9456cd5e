"""Which class is told as which: a matrix whose cells can be clicked."""

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from recipe_core.plots.distribution import CHOSEN

WRONG = "#d1495b"
LONGEST_TICK = 14  # characters
MOST_TEXT = 25  # classes whose counts are written into the cells
SMALLEST, LARGEST = 320, 620  # px


def confusion(matrix: np.ndarray, classes: Sequence[str], chosen: tuple[int, int] | None = None) -> go.Figure:
    """Rows true, columns predicted; shares of a row as colours, blue where right and red where wrong.

    A click selects a point of the last trace; its `customdata` is [true, predicted], numbers of classes.

    Args:
        matrix: counts (classes, classes), rows true.
        chosen: the cell (true, predicted) that is marked.
    """
    size = len(classes)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    right = np.eye(size, dtype=bool)
    side = int(np.clip(size * 46 + 90, SMALLEST, LARGEST))
    figure = go.Figure([_shade(shares, right, CHOSEN), _shade(shares, ~right, WRONG)])
    figure.add_trace(_cells(matrix, shares, classes, max(4, (side - 90) / size - 2)))
    if chosen and max(chosen) < size:
        true, predicted = chosen
        edges = {"x0": predicted - 0.5, "x1": predicted + 0.5, "y0": true - 0.5, "y1": true + 0.5}
        figure.add_shape(type="rect", **edges, line={"color": CHOSEN, "width": 2})
    ticks = {"tickvals": list(range(size)), "ticktext": [_tick(name) for name in classes]} if size <= 60 else {}
    axis = {"showgrid": False, "zeroline": False, "range": [-0.5, size - 0.5], **ticks}
    figure.update_xaxes(title="predicted", automargin=True, constrain="domain", **axis)
    figure.update_yaxes(title="true", automargin=True, **{**axis, "range": [size - 0.5, -0.5]})
    figure.update_layout(
        height=side, margin={"l": 0, "r": 0, "t": 8, "b": 0}, showlegend=False, dragmode=False, clickmode="event+select"
    )
    return figure


def _shade(shares: np.ndarray, where: np.ndarray, colour: str) -> go.Heatmap:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return go.Heatmap(
        z=np.where(where, shares, np.nan),
        colorscale=[[0, f"rgba({red},{green},{blue},0.04)"], [1, f"rgba({red},{green},{blue},0.85)"]],
        zmin=0,
        zmax=1,
        showscale=False,
        hoverinfo="skip",
        xgap=1,
        ygap=1,
    )


def _cells(matrix: np.ndarray, shares: np.ndarray, classes: Sequence[str], width: float) -> go.Scatter:
    """Invisible squares over the cells: a heat map itself cannot be selected from."""
    true, predicted = (each.ravel() for each in np.indices(matrix.shape))
    names = [escape(name, quote=False) for name in classes]
    return go.Scatter(
        x=predicted,
        y=true,
        mode="markers+text" if len(classes) <= MOST_TEXT else "markers",
        marker={"symbol": "square", "size": width, "color": "rgba(0,0,0,0)", "line": {"width": 0}},
        text=[f"{count:,}" if count else "" for count in matrix.ravel()],
        textfont={"size": 12},
        customdata=np.stack([true, predicted], axis=1).tolist(),
        hovertext=[
            f"{names[row]} told as {names[column]}: {count:,} ({share:.1%} of {names[row]})"
            for row, column, count, share in zip(true, predicted, matrix.ravel(), shares.ravel(), strict=True)
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}, "textfont": {"color": None}},
    )


def _tick(name: str) -> str:
    return escape(name if len(name) <= LONGEST_TICK else f"{name[: LONGEST_TICK - 1]}…", quote=False)
