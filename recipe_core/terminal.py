"""How text and tables are written to a terminal, a pipe or a program, and numbers are read from its command line."""

import argparse
import json
import math
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from itertools import chain, islice


def whole_number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number of 0 or more")
    return int(text)


def tell(sentence: str) -> None:
    print(escaped(sentence), file=sys.stderr, flush=True)


def escaped(text: str) -> str:
    """One line without control characters, whatever file names a text holds."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def write_json(value: object) -> None:
    # ASCII, so that every terminal, locale and reader takes it.
    print(json.dumps(value, default=str))


def write_json_list(rows: Iterable[dict]) -> None:
    """Write a list row by row; what fails before its first row leaves standard output empty."""
    separator = "["
    for row in rows:
        sys.stdout.write(separator + json.dumps({name: _finite(value) for name, value in row.items()}))
        separator = ",\n "
    print("[]" if separator == "[" else "]")


def _finite(value: object) -> object:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(rows: Iterable[dict], columns: Sequence[str]) -> int:
    """Print rows in columns and return how many there were; on a terminal they are made to fit its width."""
    remaining = iter(rows)
    first = list(islice(remaining, 200))  # the widths are theirs
    widths = {name: max([len(name), *(len(_cell(row.get(name))) for row in first)]) for name in columns}
    is_cut = sys.stdout.isatty()
    if is_cut:
        widths = _fitting(widths, shutil.get_terminal_size().columns)
    print(_line({name: name for name in widths}, widths, is_cut))
    printed = 0
    for row in chain(first, remaining):
        print(_line(row, widths, is_cut))
        printed += 1
    return printed


def _fitting(widths: dict[str, int], room: int) -> dict[str, int]:
    """The first columns that fit beside each other; none but the first takes more than a third of the room."""
    fitting: dict[str, int] = {}
    for name, width in widths.items():
        width = min(width, room // 2 if not fitting else room // 3)
        if sum(fitting.values()) + 2 * len(fitting) + width > room:
            break
        fitting[name] = width
    return fitting


def _line(row: dict, widths: dict[str, int], is_cut: bool) -> str:
    cells = []
    for name, width in widths.items():
        cell = _cell(row.get(name))
        cells.append((cell[: width - 1] + "…" if is_cut and len(cell) > width else cell).ljust(width))
    return "  ".join(cells).rstrip()


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
    return escaped(" ".join(map(str, value)) if isinstance(value, list) else str(value))
