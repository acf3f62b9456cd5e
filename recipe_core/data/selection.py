"""What a user chose to look at: filters, free text and a condition, as plain data that an address can hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import reduce
from operator import and_, or_

from duckdb import CoalesceOperator, ColumnExpression, ConstantExpression, Expression, FunctionExpression
from duckdb.sqltypes import VARCHAR

from recipe_core.data.condition import did_you_mean, parse_condition
from recipe_core.errors import BadQuery

NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UBIGINT", "HUGEINT", "FLOAT", "DOUBLE"}
TIMES = {"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}

Range = tuple[float | str | None, float | str | None]  # inclusive; None is open; times as ISO text


@dataclass(frozen=True)
class Selection:
    """Samples that satisfy everything here; an empty selection is the whole dataset.

    ranges: column -> (lowest, highest), for numbers and times.
    choices: column -> values of which one must match; None stands for a missing value.
    text: words that must stand in the key, the label or the metadata, in any case.
    where: a SQL condition over the catalog's columns.
    """

    ranges: Mapping[str, Range] = field(default_factory=dict)
    choices: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    text: str = ""
    where: str = ""

    def without(self, column: str) -> "Selection":
        """The same selection with no filter on a column."""
        return replace(
            self,
            ranges={name: value for name, value in self.ranges.items() if name != column},
            choices={name: value for name, value in self.choices.items() if name != column},
        )

    def with_range(self, column: str, low: float | str | None, high: float | str | None) -> "Selection":
        return replace(self.without(column), ranges={**self.without(column).ranges, column: (low, high)})

    def with_choices(self, column: str, values: tuple[str | None, ...]) -> "Selection":
        return replace(self.without(column), choices={**self.without(column).choices, column: tuple(values)})

    @property
    def filtered_columns(self) -> tuple[str, ...]:
        return (*self.ranges, *self.choices)

    def expressions(self, types: Mapping[str, str], texts: Sequence[str]) -> list[Expression]:
        """The selection as DuckDB expressions.

        Args:
            types: column -> DuckDB type of the table it is applied to.
            texts: the columns that free text is looked for in.

        Raises:
            BadQuery: a column does not exist, or the condition cannot be used.
        """
        for column in self.filtered_columns:
            known_column(column, types)
        parts = [_in_range(column, bounds, types[column]) for column, bounds in self.ranges.items()]
        parts += [_one_of(column, values) for column, values in self.choices.items()]
        parts += [_contains(word, texts) for word in self.text.split()]
        if self.where.strip():
            parts.append(parse_condition(self.where, types))
        return parts


EVERYTHING = Selection()


def known_column(column: str, types: Mapping[str, str]) -> str:
    """The column itself.

    Raises:
        BadQuery: there is no such column.
    """
    if column not in types:
        raise BadQuery(f'There is no column "{column}"; {did_you_mean(column, types)}')
    return column


def is_number(type_name: str) -> bool:
    return type_name in NUMBERS or type_name.startswith("DECIMAL")


def is_time(type_name: str) -> bool:
    return type_name in TIMES


def is_axis(type_name: str) -> bool:
    return is_number(type_name) or is_time(type_name)


def _in_range(column: str, bounds: Range, type_name: str) -> Expression:
    parse = _parser(column, type_name)
    low, high = (None if bound is None else ConstantExpression(parse(bound)) for bound in bounds)
    value = ColumnExpression(column)
    parts = ([value >= low] if low is not None else []) + ([value <= high] if high is not None else [])
    return reduce(and_, parts or [value.isnotnull()])


def _parser(column: str, type_name: str) -> Callable[[float | str], float | datetime]:
    if is_number(type_name):
        return _number
    if is_time(type_name):
        return _time
    raise BadQuery(f'The column "{column}" holds no numbers or times, so it has no ranges; choose values instead.')


def _number(bound: float | str) -> float:
    try:
        return float(bound)
    except ValueError:
        raise BadQuery(f'"{bound}" is no number to filter by.') from None


def _time(bound: float | str) -> datetime:
    try:
        time = datetime.fromisoformat(str(bound))
    except ValueError:
        raise BadQuery(f'"{bound}" is no time to filter by; write it like 2024-05-31 18:00.') from None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _one_of(column: str, values: tuple[str | None, ...]) -> Expression:
    as_text = ColumnExpression(column).cast(VARCHAR)
    parts = [ColumnExpression(column).isnull()] if None in values else []
    named = [ConstantExpression(value) for value in values if value is not None]
    if named:
        parts.append(as_text.isin(*named))
    return reduce(or_, parts or [ConstantExpression(False)])


def _contains(word: str, texts: Sequence[str]) -> Expression:
    lowered = ConstantExpression(word.lower())
    found = [
        FunctionExpression("contains", FunctionExpression("lower", ColumnExpression(column).cast(VARCHAR)), lowered)
        for column in texts
    ]
    return reduce(or_, [CoalesceOperator(part, ConstantExpression(False)) for part in found])
