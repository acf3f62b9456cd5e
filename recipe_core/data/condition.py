"""A condition typed by a user: SQL, but only ever an expression over the columns of one table.

It is never pasted into a statement. DuckDB parses it to a tree, the tree may hold only what is listed here, and the
expression goes to the catalog as an expression. No subqueries, no other tables, no files, nothing that sleeps or that
builds values without bound (`repeat` with a large count cannot be interrupted).
"""

import difflib
import json
from collections.abc import Collection, Iterator

import duckdb

from recipe_core.errors import BadQuery

MAX_LENGTH = 10_000  # characters
NODES = {
    "COLUMN_REF",
    "CONSTANT",
    "COMPARISON",
    "CONJUNCTION",
    "OPERATOR",
    "BETWEEN",
    "CASE",
    "CAST",
    "TYPE",
    "FUNCTION",
}
ALLOWED = """
    + - * / // % ** ^ || ~~ !~~ ~~* !~~* like_escape not_like_escape ilike_escape not_ilike_escape
    regexp_matches regexp_full_match regexp_extract
    lower upper trim ltrim rtrim length strlen substring substr left right reverse position strpos instr
    contains starts_with ends_with prefix suffix concat split_part
    abs round floor ceil ceiling trunc sqrt ln log log2 log10 exp pow power sign greatest least mod
    isnan isinf isfinite sin cos tan atan atan2 hash
    date_part date_trunc year month day hour minute second dayofweek isodow weekday week quarter
    epoch strftime date_diff now today to_years to_months to_days to_hours to_minutes to_seconds
    list_contains array_contains list_has array_length len
"""
FUNCTIONS = frozenset(ALLOWED.split())


def parse_condition(text: str, columns: Collection[str]) -> duckdb.Expression:
    """Check a typed condition and return it as an expression.

    Args:
        text: e.g. "label = 'cat' and sharpness < 10".
        columns: the columns of the table, for suggesting what was meant.

    Raises:
        BadQuery: it is no condition, or holds what is not allowed in one.
    """
    if len(text) > MAX_LENGTH:
        raise BadQuery(f"The condition is {len(text):,} characters long; at most {MAX_LENGTH:,} are allowed.")
    text = text.encode(errors="replace").decode()  # from a terminal it may hold bytes that are no UTF-8
    try:
        expression = duckdb.SQLExpression(text)
        for node in _nodes(_tree(text)):
            _check(node, columns)
    except RecursionError as problem:
        raise BadQuery("The condition is nested too deeply; make it simpler.") from problem
    except duckdb.Error as problem:
        raise BadQuery(
            f"This is no SQL condition: {first_line(problem)}. Try something like: label = 'cat' and width < 64"
        ) from problem
    return expression


def first_line(problem: Exception) -> str:
    """DuckDB's complaint without its kind, its excerpt and its hints."""
    line = str(problem).splitlines()[0].partition(' Use "SET')[0]
    return line.partition(": ")[2].rstrip("!. ") or line


def did_you_mean(name: str, names: Collection[str], what: str = "columns") -> str:
    """The end of a sentence that suggests what was meant by a wrong name."""
    folded = {known.casefold(): known for known in names if not known.startswith("_")}
    close = difflib.get_close_matches(name.casefold(), folded, n=3)
    if close:
        return f"did you mean {' or '.join(folded[match] for match in close)}?"
    return f"the {what} are {', '.join(folded.values())}."


def _tree(text: str) -> dict:
    """The parse tree. The text stands in a statement here only to be parsed; that statement is never run."""
    with duckdb.connect() as connection:
        statement = f"SELECT 1 FROM catalog WHERE (\n{text}\n)"
        serialized = json.loads(connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchall()[0][0])
    if serialized["error"]:
        raise duckdb.ParserException(f"Parser Error: {serialized['error_message']}")
    return serialized["statements"][0]["node"]["where_clause"]


def _nodes(tree: object) -> Iterator[dict]:
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for part in tree.values():
            yield from _nodes(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from _nodes(part)


def _check(node: dict, columns: Collection[str]) -> None:
    kind = node["class"]
    if kind == "COLUMN_REF":
        name = ".".join(node["column_names"])
        if name.casefold() not in {column.casefold() for column in columns}:
            raise BadQuery(f'There is no column "{name}"; {did_you_mean(name, columns)}')
    elif kind == "FUNCTION":
        if node["function_name"] not in FUNCTIONS:
            raise BadQuery(f'The function "{node["function_name"]}" is not available in a condition.')
    elif kind == "SUBQUERY":
        raise BadQuery("A condition reads the columns of this dataset only; it cannot hold a query of its own.")
    elif kind not in NODES:
        raise BadQuery(f"A condition cannot hold a {kind.lower()} expression; compare columns with values instead.")
