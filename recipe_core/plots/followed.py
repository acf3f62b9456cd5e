"""How a model's opinion of a few samples moves over the steps."""

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from recipe_core.plots.distribution import CHOSEN

ROW = 40  # px
TOLD = 3  # classes that a tooltip names
RIGHT, WRONG = "#2a9d75", "#d1495b"


def followed(
    steps: Sequence[int],
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    pictures: Sequence[str] = (),
) -> go.Figure:
    """A row per sample, a column per look at it; the colour is the probability of its true class.

    At the left its picture and true class, at the right what it is told as in the end.

    Args:
        steps: of the looks, ascending.
        probabilities: (steps, samples, classes).
        labels: (samples,), numbers of classes.
        pictures: the samples' URLs, square; "" where there is none.
    """
    count = len(labels)
    true = probabilities[:, np.arange(count), labels].T  # (samples, steps)
    names = [_short(name) for name in classes]
    figure = go.Figure(
        go.Heatmap(
            z=true,
            x=[f"{step:,}" for step in steps],
            y=list(range(count)),
            zmin=0,
            zmax=1,
            colorscale=[[0, "rgba(42,111,219,0.05)"], [1, CHOSEN]],
            showscale=False,
            xgap=1,
            ygap=6,
            hovertext=[[_told(probabilities[at, row], names) for at in range(len(steps))] for row in range(count)],
            hovertemplate="step %{x}<br>%{hovertext}<extra></extra>",
        )
    )
    for row, source in enumerate(pictures):
        if source:
            figure.add_layout_image(
                source=source, xref="paper", yref="y", x=-0.008, y=row, sizex=1, sizey=0.86, xanchor="right",
                yanchor="middle", layer="above",
            )  # fmt: skip
    for row in range(count):
        _ends(figure, row, names[labels[row]], probabilities[-1, row], labels[row], names)
    figure.update_xaxes(type="category", side="top", title=None, showgrid=False, nticks=10, tickangle=0)
    figure.update_yaxes(range=[count - 0.5, -0.5], showticklabels=False, showgrid=False, zeroline=False)
    figure.update_layout(
        height=ROW * count + 40, margin={"l": 120, "r": 110, "t": 34, "b": 0}, dragmode=False, showlegend=False
    )
    return figure


def _ends(figure: go.Figure, row: int, true: str, last: np.ndarray, label: int, names: Sequence[str]) -> None:
    predicted = int(last.argmax())
    text: dict = {"yref": "y", "y": row, "xref": "paper", "showarrow": False, "font": {"size": 12}}
    figure.add_annotation(text=true, x=0, xanchor="right", xshift=-52, **text)
    figure.add_annotation(
        **{**text, "font": {"size": 12, "color": RIGHT if predicted == label else WRONG}},
        text=f"{'✓' if predicted == label else '✗'} {names[predicted]} · {last[predicted]:.0%}",
        x=1,
        xanchor="left",
        xshift=8,
    )


def _told(probabilities: np.ndarray, names: Sequence[str]) -> str:
    best = np.argsort(-probabilities, kind="stable")[:TOLD]
    return "<br>".join(f"{names[each]} {probabilities[each]:.1%}" for each in best)


def _short(name: str) -> str:
    return escape(name if len(name) <= 10 else f"{name[:9]}…", quote=False)
