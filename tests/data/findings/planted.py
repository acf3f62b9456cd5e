"""Datasets with planted defects, measured as the scan measures them but without its job."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_sample_image

from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.data.findings import Findings
from recipe_core.data.findings.tables import PAIRS
from recipe_core.data.measure import measure
from recipe_core.data.shards import MEASURED
from recipe_core.store import Store

GIVEN = [(name, pa.string()) for name in ("key", "label", "split", "_token")]


def photos(count: int, side: int = 96) -> list[Image.Image]:
    """Different crops of a photograph, all with something sharp in them (not of its sky)."""
    chance = np.random.default_rng(5)
    picture = Image.fromarray(load_sample_image("china.jpg"))
    crops = []
    for _ in range(count):
        size = int(chance.integers(160, 280))
        left, top = int(chance.integers(0, picture.width - size)), int(chance.integers(130, picture.height - size + 1))
        crops.append(picture.crop((left, top, left + size, top + size)).resize((side, side)))
    return crops


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    return saved(image, "JPEG", quality=quality)


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write_samples(folder: Path, files: dict[str, bytes], growing: bool = False) -> None:
    """The catalog of these files; a key is "split/label/name" or, without labels, "name"."""
    rows, thumbnails = [], b""
    for measured, (key, data) in zip(measure(list(files), files.__getitem__), files.items(), strict=True):
        *folders, _ = key.split("/")
        split, label = folders or (None, None)
        given = {"key": key, "label": label, "split": split, "_token": f"{len(data)}"}
        place = {"_shard": "1-0", "_offset": len(thumbnails), "_length": len(measured.thumbnail) or None}
        thumbnails += measured.thumbnail
        rows.append(given | measured.facts | place)
    rows.sort(key=lambda row: row["key"])
    path = folder / ("scan/1/parts/0.parquet" if growing else "catalog/catalog.parquet")
    for made in (path.parent, folder / "thumbnails"):
        made.mkdir(parents=True, exist_ok=True)
    (folder / "thumbnails" / "1-0.bin").write_bytes(thumbnails)
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([*GIVEN, *MEASURED])), path)


def findings_in(folder: Path, files: dict[str, bytes] | None = None, growing: bool = False) -> Findings:
    """What is found in these files; without any, in what stands there."""
    if files is not None:
        write_samples(folder, files, growing)
    catalog = Catalog(folder)
    return Findings(folder, catalog, Decisions(Store(folder / "workspace"), "pets", catalog))


def write_pairs(found: Findings, *pairs: tuple[str, str, str, float], differences: Sequence[str] = ()) -> None:
    """As if the examination had found near pairs: (key, key, subkind, similarity), all of the same differences."""
    hashes = dict(found.catalog.rows()[["key", "pixel_hash"]].itertuples(index=False))
    rows = [
        {
            "a": hashes[a],
            "b": hashes[b],
            "subkind": subkind,
            "similarity": similarity,
            "distance": 6.0,
            "evidence": json.dumps({"differences": differences}),
        }
        for a, b, subkind, similarity in pairs
    ]
    folder = found.folder / "examined"
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, PAIRS), folder / "pairs.parquet")


def keys_of(found: Findings, kind: str, subkind: str | None = None, **how: bool) -> set[str]:
    """The samples that findings of a kind speak of."""
    return {key for finding in found.page(kind, subkind, **how)[0] for key in finding.samples}
