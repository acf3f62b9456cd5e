"""How groups of samples spread over a fact, and how many samples each class has in each split."""

import re
from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from recipe_core.plots.distribution import CHOSEN, QUIET

COLOURS = (CHOSEN, "#e0873c", "#4a9d6e", QUIET)
LONGEST = 40  # characters of a name
COLOUR = re.compile(r"#[0-9a-f]{6}")
DAY = re.compile(r"^(\d{4}-\d\d-\d\d) \d\d:\d\d$")


def heatmap(table: pd.DataFrame, groups: Sequence[str]) -> go.Figure:
    """A row per group, a column per bin of the fact, coloured by the share of the group's samples in it.

    Args:
        table: group, place, name, samples, share, as `crossed` gives it.
    """
    places = table[["place", "name"]].drop_duplicates("place").sort_values("place")
    wide = table.pivot_table(index="group", columns="place", values="share", aggfunc="sum", fill_value=0.0)
    wide = wide.reindex(index=list(groups), columns=places["place"], fill_value=0.0)
    counts = table.pivot_table(index="group", columns="place", values="samples", aggfunc="sum", fill_value=0)
    counts = counts.reindex(index=list(groups), columns=places["place"], fill_value=0)
    names, rows = [_shown(name) for name in places["name"]], [_shown(group) for group in groups]
    figure = go.Figure(
        go.Heatmap(
            z=wide.to_numpy(),
            x=list(range(len(names))),
            y=list(range(len(rows))),
            hoverinfo="skip",
            colorscale=[[0, "#f4f6fa"], [1, CHOSEN]],
            zmin=0,
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    figure.add_trace(_middles(wide.to_numpy(), counts.to_numpy(), names, rows))
    # Whichever middle is nearest: of a lattice that is the cell under the pointer.
    figure.update_layout(clickmode="event+select", hovermode="closest", hoverdistance=-1, showlegend=False)
    every = 1 if all(map(COLOUR.match, names[:1])) else max(1, len(names) // 12)
    starts = [_tick(name) for name in names[::every]]
    figure.update_xaxes(tickvals=list(range(0, len(names), every)), ticktext=starts, automargin=True)
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=rows, autorange="reversed", automargin=True)
    return _laid_out(figure, 110 + 24 * len(rows))


def _middles(shares: np.ndarray, counts: np.ndarray, names: Sequence[str], rows: Sequence[str]) -> go.Scatter:
    """Invisible points in the cells: a heat map itself cannot be selected from."""
    y, x = (each.ravel() for each in np.indices(shares.shape))
    told = [
        f"{rows[row]}: {names[place]}<br>{counts[row, place]:,} samples, {shares[row, place]:.0%} of it"
        for row, place in zip(y.tolist(), x.tolist(), strict=True)
    ]
    clear = {"marker": {"opacity": 0}}
    return go.Scatter(
        x=x.tolist(),
        y=y.tolist(),
        mode="markers",
        marker={"opacity": 0, "size": 12},
        hovertext=told,
        hovertemplate="%{hovertext}<extra></extra>",
        selected=clear,
        unselected=clear,
    )


def class_bars(counts: pd.DataFrame) -> go.Figure:
    """A bar per class, split by split.

    Args:
        counts: a row per class, a column per split, samples.
    """
    names = [_shown(label) for label in counts.index]
    bars = [
        go.Bar(
            x=list(range(len(names))),
            y=counts[split],
            name=_shown(split or "no split"),
            marker={"color": COLOURS[place % len(COLOURS)], "line": {"width": 0}},
            hovertext=names,
            hovertemplate="%{hovertext}<br>%{y:,} samples<extra></extra>",
        )
        for place, split in enumerate(counts.columns)
    ]
    figure = go.Figure(bars)
    figure.update_layout(
        barmode="stack", showlegend=len(bars) > 1, legend={"orientation": "h", "y": 1, "yanchor": "bottom"}
    )
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=names, automargin=True)
    return _laid_out(figure, 260)


def marked_histogram(figure: go.Figure, least: float | None, most: float | None) -> go.Figure:
    """A histogram with what sticks out marked: a line at either cut that lies within it."""
    for edge in (least, most):
        if edge is not None:
            figure.add_vline(x=edge, line={"color": "#c0392b", "dash": "dot", "width": 2})
    return figure


def _tick(name: str) -> str:
    """What stands below a bin: where it begins; of a colour a square of it."""
    if COLOUR.fullmatch(name):
        return f'<span style="color:{name}">\u2588</span>'
    return DAY.sub(r"\1", name.split(" to ")[0])


def _laid_out(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(height=height, margin={"l": 0, "r": 0, "t": 8, "b": 0}, dragmode=False)
    return figure


def _shown(name: object) -> str:
    text = str(name) or "(empty)"
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…", quote=False)
