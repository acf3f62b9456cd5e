"""Catalogs made by hand, without a scan."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recipe_core.data.catalog import Catalog

SAMPLES = 500


def write_catalog(folder: Path, columns: dict) -> Catalog:
    (folder / "catalog").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "catalog" / "catalog.parquet")
    return Catalog(folder)


def columns() -> dict:
    """500 samples with every type of column, hostile names and gaps."""
    chance = np.random.default_rng(3)
    gaps = chance.random(SAMPLES) < 0.1
    times = [datetime(2020, 1, 1 + int(day), int(hour)) for day, hour in chance.integers(0, 24, (SAMPLES, 2))]
    return {
        "key": [f"Folder/{number:04}.png" for number in chance.permutation(SAMPLES)],
        "label": pa.array(chance.choice(["cat", "dog", "Ätna"], SAMPLES), mask=gaps),
        "split": pa.array(chance.choice(["train", "val"], SAMPLES)),
        "_token": ["1:1"] * SAMPLES,
        "note": pa.array(
            chance.choice(["left Eye", "right eye", "100% <b>"], SAMPLES), mask=chance.random(SAMPLES) < 0.5
        ),
        "age": pa.array(chance.integers(-5, 90, SAMPLES), mask=gaps),
        "samples": chance.integers(0, 4, SAMPLES),
        "value": chance.choice(["p", "q"], SAMPLES),
        "a.b": chance.integers(0, 9, SAMPLES),
        'say "hi", you desc': chance.integers(0, 5, SAMPLES),
        "naïve ü": chance.random(SAMPLES),
        "width": pa.array(chance.choice([8, 16, 32], SAMPLES), pa.int32()),
        "brightness": pa.array(chance.random(SAMPLES) * 255, pa.float32(), mask=gaps),
        "constant": pa.array(np.full(SAMPLES, 0.1), pa.float32()),
        "nothing": pa.array([None] * SAMPLES, pa.float64()),
        "extreme": np.where(chance.random(SAMPLES) < 0.5, 1.7e308, -1.7e308),
        "captured_at": pa.array(times, pa.timestamp("s"), mask=gaps),
        "error": pa.array([None] * (SAMPLES - 1) + ["secretword"]),
        "readable": pa.array(chance.random(SAMPLES) < 0.9, mask=gaps),
        "phash_turned": [["ab", "cd"]] * SAMPLES,
        "_shard": ["1-0"] * SAMPLES,
    }
