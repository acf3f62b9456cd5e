"""Every address of the dashboard is made and read here, so that a colleague who opens it sees the same.

/browse?dataset=pets&range.brightness=10..50&is.label=cat&sort=-sharpness&page=3
/duplicates?dataset=pets&kind=near_duplicate&threshold=0.93&open=1
/outliers?dataset=pets&axis=sharpness&axis=age          /labels?dataset=pets&label=cat
/train?dataset=pets&run=7&run=9&smoothing=0.6&tab=predictions
/map?dataset=pets&colour=brightness&area=0.1,0.2;0.4,0.2;0.4,0.7
/audit?audit=12
/picture/pets/thumbnail/1-0/0-1234?s=...       served by the dashboard's own routes, signed
"""

import base64
import contextlib
import hashlib
import hmac
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlencode

SIZES = (64, 96, 128, 192, 256)  # px of a tile in the gallery
PAGE_SAMPLES = {64: 480, 96: 240, 128: 120, 192: 60, 256: 24}

MOST_SMOOTHING = 0.99
MOST_CORNERS = 48  # of an area of the map

Range = tuple[float | str | None, float | str | None]


@dataclass(frozen=True)
class View:
    """What the Browse page shows, as its address says it."""

    dataset: str = ""
    text: str = ""
    where: str = ""
    ranges: Mapping[str, Range] = field(default_factory=dict)  # (None, None) and () let everything through
    choices: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    sort: str = ""  # a column, with a leading "-" for descending
    group: str = ""
    axis: str = ""  # of the chart
    size: int = 96
    page: int = 1
    sample: str = ""  # key of the opened image

    @classmethod
    def parse(cls, query: Mapping[str, Sequence[str]]) -> "View":
        """Read an address's parameters (name -> values); what makes no sense is passed over."""
        one = {name: values[-1] for name, values in query.items() if values}
        ranges = {name[6:]: _range(value) for name, value in one.items() if name.startswith("range.") and ".." in value}
        choices = {
            name[3:]: tuple(v or None for v in values) for name, values in query.items() if name.startswith("is.")
        }
        choices |= {name[4:]: () for name in query if name.startswith("any.")}
        size = _whole(one.get("size", ""), 96)
        return cls(
            **{name: one.get(name, "") for name in ("dataset", "text", "where", "sort", "group", "axis", "sample")},
            ranges=ranges,
            choices=choices,
            size=size if size in SIZES else 96,
            page=max(1, _whole(one.get("page", ""), 1)),
        )

    def query(self) -> dict[str, str | list[str]]:
        """The address's parameters; what is at its default is left out."""
        words = {name: getattr(self, name) for name in ("dataset", "text", "where", "sort", "group", "axis", "sample")}
        query: dict[str, str | list[str]] = {name: value for name, value in words.items() if value}
        query |= {f"range.{name}": f"{_bound(low)}..{_bound(high)}" for name, (low, high) in self.ranges.items()}
        query |= {f"is.{name}": [value or "" for value in values] for name, values in self.choices.items() if values}
        query |= {f"any.{name}": "1" for name, values in self.choices.items() if not values}
        query |= {"size": str(self.size)} if self.size != 96 else {}
        query |= {"page": str(self.page)} if self.page != 1 else {}
        return query

    @property
    def order_by(self) -> str:
        """As the catalog takes it: "brightness desc"."""
        if not self.sort:
            return ""
        column = self.sort.removeprefix("-").replace('"', '""')
        return f'"{column}" {"desc" if self.sort.startswith("-") else "asc"}'

    @property
    def page_samples(self) -> int:
        """How many samples one page shows."""
        return PAGE_SAMPLES[self.size]

    def narrowed(self, **changes: object) -> "View":
        """Another selection starts at its first page, with no image open."""
        return replace(self, page=1, sample="", **changes)  # type: ignore[arg-type]

    def without_filter(self, column: str) -> "View":
        return self.narrowed(
            ranges={name: value for name, value in self.ranges.items() if name != column},
            choices={name: value for name, value in self.choices.items() if name != column},
        )

    def with_range(self, column: str, low: float | str | None, high: float | str | None) -> "View":
        return self.narrowed(ranges={**self.ranges, column: (low, high)})

    def with_choices(self, column: str, values: Sequence[str | None]) -> "View":
        return self.narrowed(choices={**self.choices, column: tuple(values)})


@dataclass(frozen=True)
class TrainView:
    """What the Train page shows, as its address says it: a form, one run, or several laid over another."""

    dataset: str = ""
    runs: tuple[int, ...] = ()
    preset: str = ""  # of the form
    like: int = 0  # the run that fills the form
    tab: str = ""
    smoothing: float = 0.0
    log: bool = False
    more: bool = False  # charts
    steps: tuple[int, int] | None = None  # that the charts are zoomed in on
    cell: tuple[int, int] | None = None  # of the confusion matrix: true and predicted class

    @classmethod
    def parse(cls, query: Mapping[str, Sequence[str]]) -> "TrainView":
        """Read an address's parameters (name -> values); what makes no sense is passed over."""
        one = {name: values[-1] for name, values in query.items() if values}
        smoothing = _number(one.get("smoothing", ""))
        true, _, predicted = (_whole(part, -1) for part in one.get("cell", "").partition("-"))
        first, _, last = (_whole(part, -1) for part in one.get("steps", "").partition("-"))
        return cls(
            **{name: one.get(name, "") for name in ("dataset", "preset", "tab")},
            runs=tuple(dict.fromkeys(filter(None, (_whole(value, 0) for value in query.get("run", ()))))),
            like=_whole(one.get("like", ""), 0),
            smoothing=min(max(smoothing, 0.0), MOST_SMOOTHING) if isinstance(smoothing, float) else 0.0,
            log=one.get("log") == "1",
            more=one.get("more") == "1",
            steps=(first, last) if 0 <= first < last else None,
            cell=(true, predicted) if min(true, predicted) >= 0 else None,
        )

    def query(self) -> dict[str, str | list[str]]:
        """The address's parameters; what is at its default is left out."""
        query: dict[str, str | list[str]] = {name: getattr(self, name) for name in ("dataset", "preset", "tab")}
        query |= {"run": [str(run) for run in self.runs], "like": str(self.like or "")}
        query |= {"smoothing": f"{self.smoothing:g}" if self.smoothing else ""}
        query |= {name: "1" for name in ("log", "more") if getattr(self, name)}
        query |= {name: "{}-{}".format(*pair) for name in ("steps", "cell") if (pair := getattr(self, name))}
        return {name: value for name, value in query.items() if value}

    def opened(self, *runs: int) -> "TrainView":
        """The same settings of the charts over other runs."""
        return replace(self, runs=runs, preset="", like=0, steps=None, cell=None)

    def form(self, preset: str = "", like: int = 0) -> "TrainView":
        """The form for a new run."""
        return TrainView(self.dataset, preset=preset, like=like)


@dataclass(frozen=True)
class FindingsView:
    """What the pages on findings (Verdict, Integrity, Duplicates, Outliers, Labels) show, as their address says it."""

    dataset: str = ""
    kind: str = ""  # of the findings; "" for all that the page shows
    subkind: str = ""
    undecided: bool = False  # only those that wait for a decision
    threshold: float | None = None  # similarity from which pictures count as the same
    axes: tuple[str, ...] = ()  # along which outliers are looked for
    label: str = ""  # the class that is looked at
    find: str = ""  # in the classes' names
    page: int = 1
    sample: str = ""  # key of the opened image

    @classmethod
    def parse(cls, query: Mapping[str, Sequence[str]]) -> "FindingsView":
        """Read an address's parameters (name -> values); what makes no sense is passed over."""
        one = {name: values[-1] for name, values in query.items() if values}
        threshold = _number(one.get("threshold", ""))
        return cls(
            **{name: one.get(name, "") for name in ("dataset", "kind", "subkind", "label", "find", "sample")},
            axes=tuple(dict.fromkeys(filter(None, query.get("axis", ())))),
            undecided=one.get("undecided") == "1",
            threshold=min(max(threshold, 0.0), 1.0) if isinstance(threshold, float) else None,
            page=max(1, _whole(one.get("page", ""), 1)),
        )

    def query(self) -> dict[str, str | list[str]]:
        """The address's parameters; what is at its default is left out."""
        words = ("dataset", "kind", "subkind", "label", "find", "sample")
        query: dict[str, str | list[str]] = {name: getattr(self, name) for name in words}
        query |= {"axis": list(self.axes)}
        query |= {"undecided": "1" if self.undecided else "", "page": str(self.page) if self.page != 1 else ""}
        query |= {"threshold": "" if self.threshold is None else f"{self.threshold:g}"}
        return {name: value for name, value in query.items() if value}

    def narrowed(self, **changes: object) -> "FindingsView":
        """Other findings start at their first page, with no image open."""
        return replace(self, **{"page": 1, "sample": "", **changes})  # type: ignore[arg-type]


@dataclass(frozen=True)
class MapView:
    """What the Map page shows, as its address says it."""

    dataset: str = ""
    colour: str = ""  # a column, or "finding." and a kind
    area: tuple[tuple[float, float], ...] = ()  # the corners of what was drawn around
    near: str = ""  # key of the point that was clicked
    page: int = 1
    sample: str = ""  # key of the opened image

    @classmethod
    def parse(cls, query: Mapping[str, Sequence[str]]) -> "MapView":
        """Read an address's parameters (name -> values); what makes no sense is passed over."""
        one = {name: values[-1] for name, values in query.items() if values}
        area = [tuple(map(_number, corner.split(","))) for corner in one.get("area", "").split(";")]
        is_area = 3 <= len(area) <= MOST_CORNERS and all(
            len(corner) == 2 and all(isinstance(part, float) for part in corner) for corner in area
        )
        return cls(
            **{name: one.get(name, "") for name in ("dataset", "colour", "near", "sample")},
            area=tuple(area) if is_area else (),  # type: ignore[arg-type]
            page=max(1, _whole(one.get("page", ""), 1)),
        )

    def query(self) -> dict[str, str]:
        """The address's parameters; what is at its default is left out."""
        query = {name: getattr(self, name) for name in ("dataset", "colour", "near", "sample")}
        query |= {"area": ";".join(f"{x:.4g},{y:.4g}" for x, y in self.area)}
        query |= {"page": str(self.page) if self.page != 1 else ""}
        return {name: value for name, value in query.items() if value}

    def around(self, corners: Sequence[tuple[float, float]]) -> "MapView":
        """What was drawn around; of many corners some are left out, so that the address stays short."""
        step = -(-len(corners) // MOST_CORNERS) if corners else 1
        return replace(self, area=tuple(corners[::step]), near="", page=1, sample="")


@dataclass(frozen=True)
class AuditView:
    """What the Audit page shows, as its address says it: one audit, or the form for a new one."""

    audit: int = 0
    file: str = ""  # of the form
    function: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, Sequence[str]]) -> "AuditView":
        """Read an address's parameters (name -> values); what makes no sense is passed over."""
        one = {name: values[-1] for name, values in query.items() if values}
        return cls(_whole(one.get("audit", ""), 0), one.get("file", ""), one.get("function", ""))

    def query(self) -> dict[str, str]:
        """The address's parameters; what is at its default is left out."""
        query = {"audit": str(self.audit or ""), "file": self.file, "function": self.function}
        return {name: value for name, value in query.items() if value}


def browse(view: View) -> str:
    """The address of a view, from the top of the site."""
    return f"/browse?{urlencode(view.query(), doseq=True)}"


class Signer:
    """Signs the addresses of pictures and tables, which are served outside the pages and so past their guard.

    The secret stands in the workspace; whoever has an address that a page handed out may read what it names.
    Addresses are relative, so that the dashboard may be served below any path.
    """

    def __init__(self, workspace: Path):
        self._secret = _secret(workspace / "secret")

    def sign(self, *parts: object) -> str:
        """The signature of what an address names."""
        digest = hmac.digest(self._secret, "\0".join(map(str, parts)).encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:15]).decode()

    def is_valid(self, signature: str, *parts: object) -> bool:
        return hmac.compare_digest(self.sign(*parts).encode(), signature.encode())

    def thumbnail(self, dataset: str, shard: str, offset: int, length: int) -> str:
        """The address of a thumbnail."""
        query = urlencode({"s": self.sign("thumbnail", dataset, shard, offset, length)})
        return f"picture/{quote(dataset)}/thumbnail/{quote(shard)}/{offset}-{length}?{query}"

    def image(self, dataset: str, key: str, version: str) -> str:
        """The address of a sample's full image; `version` changes with its bytes, so that it can be cached for ever."""
        query = urlencode({"key": key, "version": version, "s": self.sign("image", dataset, key, version)})
        return f"picture/{quote(dataset)}/image?{query}"

    def table(self, view: View) -> str:
        """The address of a view's samples as CSV."""
        query = urlencode(view.query() | {"s": self.sign("table", browse(view))}, doseq=True)
        return f"table/{quote(view.dataset)}.csv?{query}"

    def manifest(self, dataset: str) -> str:
        """The address of a dataset's manifest as CSV."""
        return f"manifest/{quote(dataset)}.csv?{urlencode({'s': self.sign('manifest', dataset)})}"


def _secret(path: Path) -> bytes:
    if not path.exists():
        new = path.with_name(f"{path.name}.{os.getpid()}.partial")
        new.touch(mode=0o600)
        new.write_text(secrets.token_hex(32), encoding="ascii")
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(new)  # of several servers that start at once the first one wins
        new.unlink()
    return path.read_bytes()


def _range(value: str) -> Range:
    low, _, high = value.partition("..")
    return _number(low), _number(high)


def _number(text: str) -> float | str | None:
    try:
        return number if math.isfinite(number := float(text)) else None
    except ValueError:
        return text or None


def _bound(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(float(value)).removesuffix(".0")  # exact, or the edge gets lost


def _whole(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default
