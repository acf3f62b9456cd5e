"""How fast a catalog of a million rows answers, beside pandas with everything in memory.

    .venv/bin/python -m benchmarks.catalog [--rows 1000000]

HYPOTHESIS, stated before the measurement: filter + sort + first page < 300 ms warm; the first question after opening is
slower by the start of the connection; counts, choices and histograms, which read one or two columns, < 100 ms;
reading the table into pandas takes longer than any question, and filter + sort there longer than here.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.common import show
from recipe_core.data.catalog import Catalog
from recipe_core.data.listing import sql_path
from recipe_core.data.selection import Selection
from recipe_core.workspace import Workspace

ROUNDS = 5
PAGE = 48
CHOICE = Selection(ranges={"contrast": (30.0, None)}, choices={"label": ("class1", "class2", "class3")})

Answer = tuple[str, float, float, float]  # question; ms: cold, warm, CPU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="recipe-benchmark-") as temporary:
        dataset = make_catalog(Path(temporary), rows)
        size = (dataset / "catalog" / "catalog.parquet").stat().st_size / 1e6
        cold = "cold: first question of a fresh connection"
        show(
            f"A catalog of {rows:,} rows ({size:.0f} MB), ms; {cold}; warm: median of {ROUNDS}",
            ["", "cold", "warm", "warm, CPU"],
            [[name, *(f"{part:,.0f}" for part in times)] for name, *times in ask(dataset)],
        )


def make_catalog(folder: Path, rows: int) -> Path:
    """The folder of a dataset: a small one, scanned, whose rows are repeated with other keys and other values."""
    numbers = np.random.default_rng(0)
    for number in range(1000):
        path = folder / "pictures" / ("train" if number % 5 else "val") / f"class{number % 10}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = numbers.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(noise).resize((32, 32)).save(path)
    dataset = Workspace(folder / "workspace").add_dataset("small", folder / "pictures")
    dataset.scan()
    catalog = folder / "large" / "catalog" / "catalog.parquet"
    catalog.parent.mkdir(parents=True)
    with duckdb.connect() as connection:
        small = f"'{sql_path(dataset.folder / 'catalog' / 'catalog.parquet')}'"
        kinds = connection.execute(f"DESCRIBE SELECT * FROM {small}").fetchall()
        varied = [f'"{name}" * (0.5 + random()) AS "{name}"' for name, kind, *_ in kinds if kind == "FLOAT"]
        varied += [f"md5(concat({name}, copy)) AS {name}" for name in ("byte_hash", "pixel_hash")]
        varied += [f"md5(concat({name}, copy))[:16] AS {name}" for name in ("phash", "dhash")]
        varied += ["concat(key, '-', copy, '.jpg') AS key", "_offset + copy AS _offset"]
        repeated = f"SELECT * REPLACE ({', '.join(varied)}) FROM {small}, range({-(-rows // 1000)}) AS copies(copy)"
        ordered = f"SELECT * EXCLUDE (copy) FROM ({repeated}) ORDER BY key LIMIT {rows}"
        form = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"  # as the scan writes it
        connection.execute(f"COPY ({ordered}) TO '{sql_path(catalog)}' ({form})")
    return folder / "large"


def ask(folder: Path) -> list[Answer]:
    """Every question with its times, each asked of a connection of its own."""
    middle = Catalog(folder).rows(CHOICE, "brightness desc", 1, offset=1000)["key"][0]
    questions: dict[str, Callable[[Catalog], object]] = {
        "filter + sort + first page (goal: 300)": lambda c: c.rows(CHOICE, "brightness desc", PAGE),
        "the same, with what a page adds": lambda c: c.rows(CHOICE, "brightness desc", PAGE, internal=True),
        "first page by key, no filter": lambda c: c.rows(limit=PAGE),
        "sort of all rows + first page": lambda c: c.rows(order_by="sharpness", limit=PAGE),
        "next page at offset 100,000": lambda c: c.rows(CHOICE, "brightness desc", PAGE, offset=100_000),
        "SQL condition + sort + first page": lambda c: c.rows(
            Selection(where="label = 'class1' and contrast < 40"), "entropy", PAGE
        ),
        "free text + first page": lambda c: c.rows(Selection(text="class7 99"), limit=PAGE),
        "count": lambda c: c.count(CHOICE),
        "totals": lambda c: c.totals(),
        "choices with counts": lambda c: c.choices("label", CHOICE),
        "histogram": lambda c: c.histogram("brightness", CHOICE),
        "grouped by label": lambda c: c.grouped("label", CHOICE, "brightness desc", 12, 10, 0),
        "position of a sample": lambda c: c.position(middle, CHOICE, "brightness desc"),
        "one sample": lambda c: c.sample(middle),
    }
    answers = [(name, *_times(partial(question, Catalog(folder)))) for name, question in questions.items()]
    return answers + _with_pandas(folder / "catalog" / "catalog.parquet")


def _with_pandas(path: Path) -> list[Answer]:
    def page() -> pd.DataFrame:
        chosen = table[(table.contrast >= 30) & table.label.isin(["class1", "class2", "class3"])]
        return chosen.sort_values(["brightness", "key"], ascending=[False, True]).head(PAGE)

    table = pd.read_parquet(path)
    gigabytes = table.memory_usage(deep=True).sum() / 1e9
    return [
        (f"pandas: read_parquet ({gigabytes:.1f} GB in memory)", *_times(partial(pd.read_parquet, path), rounds=1)),
        ("pandas: filter + sort + first page", *_times(page)),
    ]


def _times(run: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Milliseconds of the first call, the median of those after it, and their least CPU time over all threads."""
    walls, cpus = [], []
    for _ in range(1 + rounds):
        start, cpu = time.perf_counter(), time.process_time()
        run()
        walls.append((time.perf_counter() - start) * 1e3)
        cpus.append((time.process_time() - cpu) * 1e3)
    return walls[0], float(np.median(walls[1:])), min(cpus[1:])


if __name__ == "__main__":
    main()
