"""How a column is distributed: a histogram of an axis, a bar chart of a category."""

from html import escape

import pandas as pd
import plotly.graph_objects as go

QUIET, CHOSEN = "#9db4d0", "#2a6fdb"
HEIGHT = 170  # px
LONGEST_TICK = 20  # characters


def histogram(table: pd.DataFrame, chosen: tuple | None = None, unit: str = "") -> go.Figure:
    """A histogram whose brushed range can become a filter.

    Args:
        table: columns `low`, `high`, `samples`, as `Catalog.histogram` gives it.
        chosen: the range (low, high) that is a filter now; its bars are marked.
    """
    middle = table["low"] + (table["high"] - table["low"]) / 2
    low, high = chosen or (None, None)
    inside = (table["high"] > low if low is not None else True) & (table["low"] <= high if high is not None else True)
    colours = [CHOSEN if chosen is None or kept else QUIET for kept in pd.Series(inside, index=table.index)]
    bars = go.Bar(
        x=middle,
        y=table["samples"],
        width=_widths(table),
        marker={"color": colours, "line": {"width": 0}},
        customdata=table[["low", "high"]],
        hovertemplate="%{customdata[0]:.4g} to %{customdata[1]:.4g}" + f" {unit}<br>%{{y:,}} samples<extra></extra>",
    )
    return _quiet(go.Figure(bars), dragmode="select")


def bars(table: pd.DataFrame, chosen: tuple | None = None) -> go.Figure:
    """A bar per value of a category; a clicked bar can become a filter.

    Args:
        table: columns `value`, `samples`, as `Catalog.choices` gives it.
        chosen: the values that are a filter now; their bars are marked.
    """
    names = [value if isinstance(value, str) else "(none)" for value in table["value"]]
    shown = [escape(name, quote=False) for name in names]  # plotly reads text as markup
    values = [value if isinstance(value, str) else None for value in table["value"]]
    colours = [CHOSEN if chosen is None or value in chosen else QUIET for value in values]
    figure = go.Figure(
        go.Bar(
            x=names,
            y=table["samples"],
            marker={"color": colours, "line": {"width": 0}},
            hovertext=shown,
            hovertemplate="%{hovertext}<br>%{y:,} samples<extra></extra>",
        )
    )
    ticks = {name: escape(_shorten(name), quote=False) for name in names}
    figure.update_xaxes(type="category", tickfont={"size": 11}, labelalias=ticks)
    return _quiet(figure, dragmode=False)


def _shorten(name: str) -> str:
    """A name as it fits below a bar."""
    return name if len(name) <= LONGEST_TICK else f"{name[: LONGEST_TICK - 1]}…"


def _widths(table: pd.DataFrame) -> pd.Series:
    width = (table["high"] - table["low"]) * 0.94
    return width.dt.total_seconds() * 1000 if pd.api.types.is_timedelta64_dtype(width) else width


def _quiet(figure: go.Figure, dragmode: str | bool) -> go.Figure:
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 0, "r": 0, "t": 8, "b": 0},
        dragmode=dragmode,
        selectdirection="h",
        bargap=0.12,
        showlegend=False,
    )
    figure.update_yaxes(nticks=4, title=None, automargin=True)
    figure.update_xaxes(title=None, automargin=True)
    return figure
