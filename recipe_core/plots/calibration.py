"""Whether a model's confidence is right: accuracy over confidence (Guo et al. 2017)."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from recipe_core.plots.distribution import CHOSEN, QUIET

LINE = "#8b95a5"
HEIGHT = 360  # px


def calibration(reliability: pd.DataFrame) -> go.Figure:
    """Accuracy in bins of confidence, against the diagonal on which they agree; below, how many samples are in each.

    Args:
        reliability: low, high, count, confidence, accuracy of each bin, as `Evaluation.reliability` gives them.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.76, 0.24], vertical_spacing=0.04)
    filled = reliability[reliability["count"] > 0]
    place = {"x": (filled["low"] + filled["high"]) / 2, "width": (filled["high"] - filled["low"]) * 0.94}
    figure.add_trace(
        go.Bar(
            **place,
            y=filled["accuracy"],
            marker={"color": CHOSEN, "line": {"width": 0}},
            customdata=filled[["confidence", "count"]],
            hovertemplate="confidence %{customdata[0]:.1%}<br>accuracy %{y:.1%}<br>%{customdata[1]:,} samples"
            "<extra></extra>",
        ),
        row=1,
        col=1,
    )
    diagonal = go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": LINE, "width": 1.2, "dash": "dot"})
    figure.add_trace(diagonal.update(hoverinfo="skip"), row=1, col=1)
    counts = go.Bar(**place, y=filled["count"], marker={"color": QUIET, "line": {"width": 0}})
    figure.add_trace(counts.update(hovertemplate="%{y:,} samples<extra></extra>"), row=2, col=1)
    figure.update_layout(height=HEIGHT, margin={"l": 0, "r": 8, "t": 8, "b": 0}, showlegend=False, dragmode=False)
    figure.update_xaxes(range=[0, 1], tickformat=".0%", automargin=True)
    figure.update_xaxes(title="confidence", row=2, col=1)
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", title="accuracy", automargin=True, nticks=6, row=1, col=1)
    figure.update_yaxes(title="samples", automargin=True, nticks=3, row=2, col=1)
    return figure
