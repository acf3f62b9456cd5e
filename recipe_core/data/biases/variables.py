"""What could give a label away: facts, what came with the file, its name, and metadata, each as one variable.

Every variable becomes whole numbers, the bins that a value falls in: so many equal shares of the samples for a number,
the value itself for a category or a number of few values, a grid for a colour. What is missing has a bin of its own,
for that too can give a label away.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from recipe_core.data.facts import ABOUT
from recipe_core.data.selection import is_number, is_time
from recipe_core.data.sources.layout import split_name

BIN_SAMPLES = 20  # of a number, at least, where there are so many
CELL_SAMPLES = 5  # of a grid of colours, most of whose cells are empty
MOST_BINS = 256
LOOKS = (
    *("brightness", "contrast", "saturation", "colourfulness", "sharpness", "entropy"),
    *("clipped", "clipped_dark", "clipped_bright", "red", "green", "blue", "border_spread"),
)
SHAPES = ("width", "height", "aspect", "megapixels")
WEIGHTS = ("file_bytes", "bits_per_pixel")
FILES = ("format", "extension", "mode", "misnamed", "jpeg_quality")
CAMERAS = ("camera_make", "camera_model")


@dataclass(frozen=True)
class Variable:
    """One variable.

    Attributes:
        family: variables of one family may be signs of one and the same thing.
        origin: "looks" (of the picture itself), "shape", "origin" (what no picture shows), "metadata".
        columns: of the catalog, that it is made of; () where it is made of the key.
        bins: (n,) whole numbers from 0.
        names: what each bin holds, for people.
        low, high: of a number, what each bin ranges over; None elsewhere, NaN where a value is missing.
        is_time: whether the numbers are seconds.
    """

    name: str
    family: str
    origin: str
    columns: tuple[str, ...]
    bins: np.ndarray
    names: tuple[str, ...]
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    is_time: bool = False

    def written(self, value: float) -> str:
        """A number of it for people."""
        return written(value, self.is_time)


def written(value: float, is_time: bool) -> str:
    """A number, or seconds as a time, for people."""
    return f"{pd.Timestamp(value, unit='s'):%Y-%m-%d %H:%M}" if is_time else f"{value:.4g}"


def variables(samples: pd.DataFrame, types: dict[str, str]) -> Iterator[Variable]:
    """All variables of these samples that have more than one value.

    Args:
        samples: rows of the catalog.
        types: column -> DuckDB type.
    """
    for name, family, origin, columns, make in _wanted(types):
        bins, names, *bounds = make(samples)
        low, high = bounds or (None, None)
        if bins.min(initial=0) != bins.max(initial=0):
            yield Variable(name, family, origin, columns, bins, names, low, high, is_time(types.get(name, "")))


Binned = tuple[np.ndarray, tuple[str, ...]] | tuple[np.ndarray, tuple[str, ...], np.ndarray, np.ndarray]
Wanted = tuple[str, str, str, tuple[str, ...], Callable[[pd.DataFrame], Binned]]


def _wanted(types: dict[str, str]) -> Iterator[Wanted]:
    for family, origin, names in (
        ("looks", "looks", LOOKS),
        ("shape", "shape", SHAPES),
        ("weight", "looks", WEIGHTS),
        ("file", "origin", FILES),
        ("camera", "origin", CAMERAS),
        ("orientation", "origin", ("orientation",)),
        ("time", "origin", ("captured_at",)),
    ):
        for name in names:
            if name in types:
                yield name, family, origin, (name,), _column(name, types[name])
    yield "colour", "looks", "looks", ("red", "green", "blue"), lambda rows: _grid(rows[["red", "green", "blue"]])
    yield "border_colour", "looks", "looks", ("border_colour",), lambda rows: _grid(_channels(rows["border_colour"]))
    yield "size", "shape", "shape", ("width", "height"), lambda rows: categories(_size(rows))
    yield (
        "hour",
        "time",
        "origin",
        ("captured_at",),
        lambda rows: categories(rows["captured_at"].dt.hour.astype("Int64")),
    )
    yield "file_number", "name", "origin", (), lambda rows: numbers(_file_number(rows))
    yield "folder", "folder", "origin", (), lambda rows: categories(_folder(rows))
    for name, type in types.items():
        given = name not in (*ABOUT, "key", "label", "split") and not name.startswith("_")
        if given and (is_number(type) or is_time(type) or type in ("VARCHAR", "BOOLEAN")):
            yield name, f"metadata {name}", "metadata", (name,), _column(name, type)


def _column(name: str, type: str) -> Callable[[pd.DataFrame], Binned]:
    if is_time(type):
        return lambda rows: numbers(_seconds(rows[name]))
    if name == "orientation":
        return lambda rows: categories(rows[name].astype("Int64"))
    if is_number(type):
        return lambda rows: numbers(rows[name])
    if type == "BOOLEAN":
        return lambda rows: categories(rows[name].astype("string").str.lower())
    return lambda rows: categories(rows[name])


# Bins


def numbers(values: pd.Series) -> Binned:
    """Bins of a number: its values where they are few, else equal shares of the samples."""
    given = values.to_numpy(float, na_value=np.nan)
    finite = np.isfinite(given)
    bins = np.zeros(len(given), int)
    if not finite.any():
        return bins, ("missing",), np.array([np.nan]), np.array([np.nan])
    distinct = np.unique(given[finite])
    wanted = min(MOST_BINS, max(2, finite.sum() // BIN_SAMPLES))
    if len(distinct) > wanted:
        distinct = np.unique(np.quantile(given[finite], np.linspace(0, 1, wanted + 1)[:-1], method="lower"))
    bins[finite] = np.searchsorted(distinct, given[finite], side="right") - 1
    bins[~finite] = len(distinct)
    ordered = pd.Series(given[finite]).groupby(bins[finite])
    low, high = (
        np.append(edge.reindex(range(len(distinct))).to_numpy(), np.nan) for edge in (ordered.min(), ordered.max())
    )
    names = tuple(f"{a:.4g}" if a == b else f"{a:.4g} to {b:.4g}" for a, b in zip(low[:-1], high[:-1], strict=True))
    return bins, (*names, "missing"), low, high


def categories(values: pd.Series) -> Binned:
    """Bins of a category: the most frequent values, all others together, and what is missing."""
    texts = values.astype("string")
    frequent = texts.value_counts().index[: MOST_BINS - 2].tolist()
    place = {text: number for number, text in enumerate(frequent)}
    bins = texts.map(place).astype("Float64").to_numpy(float, na_value=len(frequent)).astype(int)
    bins[texts.isna().to_numpy()] = len(frequent) + 1
    return bins, (*map(str, frequent), "any other", "missing")


def _grid(channels: pd.DataFrame) -> Binned:
    """Bins of a colour: the colours themselves where they are few, else equal shares along each channel."""
    packed = channels.round().fillna(-1).astype(int)
    packed = packed["red"] * 65536 + packed["green"] * 256 + packed["blue"]
    if packed.nunique() <= len(packed) // BIN_SAMPLES:
        bins, colours = pd.factorize(packed, sort=True)
        return bins, tuple(f"#{colour:06x}" if colour >= 0 else "" for colour in colours)
    shares = min(6, max(3, int((len(channels) / CELL_SAMPLES) ** (1 / 3))))
    bins = np.zeros(len(channels), int)
    for name in channels:
        rank = channels[name].rank(pct=True, method="average").to_numpy()
        bins = bins * shares + np.nan_to_num(np.ceil(rank * shares) - 1, nan=0).astype(int)
    means = channels.groupby(bins).mean().reindex(range(shares ** channels.shape[1]))
    return bins, tuple(_hex(colour) for colour in means.to_numpy())


def _hex(colour: np.ndarray) -> str:
    return "" if np.isnan(colour).any() else "#" + bytes(colour.astype(np.uint8)).hex()


# Columns that are made


def _channels(colours: pd.Series) -> pd.DataFrame:
    packed = colours.map(lambda text: int(text[1:], 16), na_action="ignore").astype(float)
    return pd.DataFrame({"red": packed // 65536, "green": packed // 256 % 256, "blue": packed % 256})


def _seconds(times: pd.Series) -> pd.Series:
    return (times - pd.Timestamp(0)).dt.total_seconds()


def _size(rows: pd.DataFrame) -> pd.Series:
    width, height = (rows[name].astype("Int64").astype("string") for name in ("width", "height"))
    return width + " x " + height


def _file_number(rows: pd.DataFrame) -> pd.Series:
    """The last number in each file's name; none where it is the label itself."""
    stems = rows["key"].map(lambda key: PurePosixPath(key).stem)
    found = stems.str.extract(r"(\d{1,15})\D*$", expand=False)
    is_label = (found == rows["label"]).mean() > 0.5
    return pd.Series(np.nan, rows.index) if is_label else found.astype(float)


def _folder(rows: pd.DataFrame) -> pd.Series:
    """The folders around each file that say neither label nor split; none where they are the label in other words."""
    parts = [key.split("/")[:-1] for key in rows["key"]]
    labels = rows["label"].tolist()
    told = pd.Series(
        [
            "/".join(part for part in of if part != label and not split_name(part))
            for of, label in zip(parts, labels, strict=True)
        ],
        rows.index,
    )
    named = sum(label in of for of, label in zip(parts, labels, strict=True))
    pairs = pd.DataFrame({"folder": told, "label": labels}).drop_duplicates()
    one_to_one = pairs["folder"].is_unique and pairs["label"].is_unique
    return pd.Series("", rows.index) if one_to_one and 2 * named < len(rows) else told
