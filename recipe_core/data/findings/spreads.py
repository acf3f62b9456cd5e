"""How the samples spread along each axis, and from where on one sticks out.

Real axes are skewed, bounded, discrete or have two hills, so the cut follows each tail of each axis by itself. A tail
is taken to fall off as the axis's own last tenth does (exponentially, the usual end of a distribution beyond a high
threshold: Pickands, 1975), on a logarithmic scale where that makes the axis more even. A value sticks out where such a
tail would hold less than 0.03 samples as far out in a dataset of this size. What more than one sample in a
hundred does is a habit, not an exception.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from recipe_core.data.facts import ABOUT
from recipe_core.data.locked_rows import quoted
from recipe_core.data.selection import is_axis, is_time

LEAST = 20  # values from which on an axis tells what is usual
SAMPLED = 200_000  # values that the quantiles are taken of
QUANTILES = (0.005, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975, 0.995)
MANY = 2000  # values from which on the last hundredth tells something of the tail's end
EXPECTED = 0.03  # samples that a tail may hold beyond the cut: over all tails of all axes about one
NEARLY_CONSTANT = 10.0  # standard deviations, where 95 % of the values are equal
VISIBLE = {"0-1": 0.05, "0-255": 5.0, "0-128": 5.0}  # unit -> less than this beyond the usual is no matter
NO_MEASURE = {"orientation", "copies", "jpeg_quality"}  # numbers that count or name something


@dataclass(frozen=True)
class Spread:
    """One axis.

    Attributes:
        log: whether distances are those of logarithms.
        floor: the least value that has a logarithm here.
        median, low, high: in units of the axis; the middle 95 % of the values lie between low and high.
        below, above: standard deviations (scaled) towards each side, as a robust z-score divides by.
        least, most: what lies beyond sticks out; infinite where nothing can.
    """

    name: str
    type: str
    log: bool
    floor: float
    median: float
    low: float
    high: float
    below: float
    above: float
    least: float
    most: float

    @property
    def value(self) -> str:
        """The axis as SQL: a finite DOUBLE or NULL; times in seconds."""
        return value_sql(self.name, self.type)

    @property
    def scaled(self) -> str:
        return f"ln(greatest({self.value}, {self.floor!r}))" if self.log else self.value

    @property
    def z(self) -> str:
        """The robust z-score as SQL."""
        side = f"CASE WHEN {self.value} < {self.median!r} THEN {self.below!r} ELSE {self.above!r} END"
        return f"(({self.scaled} - {self.scale(self.median)!r}) / {side})"

    @property
    def excess(self) -> str:
        """How far out, as SQL: 0 at the end of the middle 95 %, 1 at the cut, NULL where no cut is passed."""
        parts = []
        for condition, start, cut in (
            (f"{self.value} > {self.most!r}", self.high, self.most),
            (f"{self.value} < {self.least!r}", self.low, self.least),
        ):
            if math.isfinite(cut):
                first, last = self.scale(start), self.scale(cut)
                parts.append(f"WHEN {condition} THEN ({self.scaled} - {first!r}) / {last - first!r}")
        return f"CASE {' '.join(parts)} END" if parts else "NULL::DOUBLE"

    def scale(self, value: float) -> float:
        return math.log(max(value, self.floor)) if self.log else value

    def z_of(self, value: float) -> float:
        """The robust z-score of a value."""
        return (self.scale(value) - self.scale(self.median)) / (self.below if value < self.median else self.above)


def value_sql(name: str, type: str) -> str:
    """An axis as SQL: a finite DOUBLE or NULL; times in seconds."""
    if is_time(type):
        return f"epoch({quoted(name)})"
    number = f"{quoted(name)}::DOUBLE"
    return f"CASE WHEN isfinite({number}) THEN {number} END" if type in ("FLOAT", "DOUBLE") else number


def axes(types: dict[str, str]) -> list[str]:
    """The columns with numbers or times that measure something."""
    return [
        name for name, type in types.items() if is_axis(type) and name not in NO_MEASURE and not name.startswith("_")
    ]


def find_spreads(tables: duckdb.DuckDBPyConnection, names: Sequence[str] | None = None) -> list[Spread]:
    """How the readable samples spread along all axes, or along these; axes with a single value are out."""
    described = tables.execute("DESCRIBE samples").fetchall()
    types = {row[0]: row[1] for row in described}
    wanted = [name for name in axes(types) if names is None or name in names]
    if not wanted:
        return []
    values = [value_sql(name, types[name]) for name in wanted]
    whole = ", ".join(f"count({value}), min({value}), max({value}), stddev_pop({value})" for value in values)
    total, *summed = tables.execute(f"SELECT count(*), {whole} FROM samples WHERE readable").fetchall()[0]
    every = max(1, total // SAMPLED)
    quantiles = ", ".join(f"quantile_cont({value}, {list(QUANTILES)})" for value in values)
    some = f"readable AND hash(key) % {every} = 0"
    found = tables.execute(f"SELECT {quantiles} FROM samples WHERE {some}").fetchall()[0]
    spreads = []
    for place, (name, at) in enumerate(zip(wanted, found, strict=True)):
        count, least, most, deviation = summed[4 * place : 4 * place + 4]
        if (
            at is not None
            and count >= LEAST
            and least < most
            and all(map(math.isfinite, (*at, deviation, most - least)))
        ):
            spreads.append(_spread(name, types[name], count, least, deviation, at))
    return spreads


def _spread(name: str, type: str, count: int, least: float, deviation: float, at: Sequence[float]) -> Spread:
    median, low, high = at[4], at[1], at[7]
    if low == high:
        return _nearly_constant(name, type, count, median, deviation)
    floor = low / 100 if least >= 0 and low > 0 and not is_time(type) else 0.0
    logarithms = [math.log(max(value, floor)) for value in at] if floor else []
    log = bool(floor) and _unevenness(logarithms) < _unevenness(at)
    scaled = logarithms if log else list(at)
    upper = _cut(scaled, count)
    lower = -_cut([-value for value in reversed(scaled)], count)
    above, below = _deviation(scaled), _deviation([-value for value in reversed(scaled)])
    back = _exp if log else float
    visible = VISIBLE.get(ABOUT[name].unit, 0.0) if name in ABOUT else 0.0
    least, most = min(back(lower), low - visible), max(back(upper), high + visible)
    return Spread(name, type, log, floor, median, low, high, below or above, above or below, least, most)


def _nearly_constant(name: str, type: str, count: int, median: float, deviation: float) -> Spread:
    """Where nearly all values are equal the plain standard deviation measures both how rare and how far others are."""
    far = max(min(NEARLY_CONSTANT, 0.9 * math.sqrt(count)) * deviation, 0.01 * abs(median))
    return Spread(name, type, False, 0.0, median, median, median, deviation, deviation, median - far, median + far)


def _unevenness(at: Sequence[float]) -> float:
    return abs(at[7] + at[1] - 2 * at[4]) / (at[7] - at[1])


def _cut(at: Sequence[float], count: int) -> float:
    """From where on the upper tail is expected to hold less than EXPECTED samples; `at` are the scaled quantiles."""
    falls = [(at[7] - at[6]) / math.log(4), (at[7] - at[1]) / (4 * math.log(20))]
    if count >= MANY:
        falls.append((at[8] - at[7]) / math.log(5))
    unsure = 1 + 1 / math.sqrt(0.1 * count)  # the fall is read off the last tenth only
    return at[7] + unsure * max(falls) * math.log(max(0.025 * count, 1.0) / EXPECTED)


def _deviation(at: Sequence[float]) -> float:
    """The standard deviation of a normal distribution with such an upper half, the longer tail counting."""
    return max((at[5] - at[4]) / 0.6745, (at[7] - at[4]) / 1.96)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
