"""Just before the net: the tensors that enter the model, decoded back to pictures."""

import base64
import io

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from pages.widgets.gallery import Group, Tile, gallery
from recipe_core.links import View
from recipe_core.runs import Run
from recipe_core.workspace import Dataset

SPLITS = {"train": "As the training loader gives them", "val": "As the validation loader gives them"}
LARGEST = 256  # px that are sent of a picture's side


def inputs(dataset: Dataset, run: Run) -> None:
    """Draw what entered the model, training and validation side by side."""
    if run.inputs("val") is None:
        st.info("The run has not come so far yet; its first tensors are kept when training starts.")
        return
    st.caption("Exactly the tensors that enter the model, decoded back to pictures, with the labels that go with them.")
    for place, (split, title) in zip(st.columns(2, gap="large"), SPLITS.items(), strict=True):
        with place:
            st.subheader(title, anchor=False)
            _split(dataset, run, split)
    st.caption(
        "Per channel, after normalisation by the training set's own mean and standard deviation: near 0 and 1 in "
        "training; how far validation lies from that is how far the two differ."
    )


def _split(dataset: Dataset, run: Run, split: str) -> None:
    seen = run.inputs(split)
    if seen is None:
        return
    keys, classes = run.samples(split), run.classes
    tiles = [
        Tile(id=key, src=as_url(picture), title=key, caption=classes[label])
        for picture, label, key in zip(
            seen["pictures"], seen["labels"], (keys[row] if keys else str(row) for row in seen["rows"]), strict=True
        )
    ]
    opened = gallery([Group("", len(tiles), tiles)], size=96, key=f"inputs-{split}-{run.id}").opened
    if opened:
        st.switch_page("pages/browse.py", query_params=View(dataset.name, sample=opened).query())
    told = pd.DataFrame({name: seen[name] for name in ("mean", "std", "min", "max")}, index=["red", "green", "blue"])
    st.dataframe(told.rename_axis("channel").style.format("{:.3f}"), width="stretch")


def as_url(picture: np.ndarray) -> str:
    """A picture as a URL that holds it."""
    image = Image.fromarray(picture)
    image.thumbnail((LARGEST, LARGEST))
    data = io.BytesIO()
    image.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
