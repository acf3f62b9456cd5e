"""The manifest: the samples that training reads, and a hash that names exactly this list.

manifest = read_manifest(dataset.catalog)
len(manifest.train), len(manifest.val), manifest.classes, manifest.hash
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from recipe_core.data.catalog import Catalog
from recipe_core.errors import NotTrainable

COLUMNS = {"key": "sample", "label": "label", "split": "split", "byte_hash": "content_hash"}
HELD_OUT = 0.2  # the share of each class that validates where the source gives no splits


@dataclass(frozen=True)
class Manifest:
    """The samples that training reads.

    Attributes:
        frame: sample (key), label, split (None where not given), content_hash; all texts, sorted by sample.
        classes: the labels of all samples in natural order ("2" before "10").
        hash: 16 hex digits, of all that stands in `frame`.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    hash: str

    @property
    def train(self) -> pd.DataFrame:
        """The rows that are learned from: split "train"; without splits, all that `val` does not hold out."""
        return self.frame[self._roles == "train"].reset_index(drop=True)

    @property
    def val(self) -> pd.DataFrame:
        """The rows that validate: split "val", else "test"; without splits, a fixed fifth of each class."""
        return self.frame[self._roles == "val"].reset_index(drop=True)

    @cached_property
    def _roles(self) -> np.ndarray:
        """ "train", "val" or "" for each row of the frame."""
        split = self.frame["split"]
        if split.isna().all():
            return np.where(_held_out(self.frame), "val", "train")
        val = "val" if (split == "val").any() else "test"
        # Some tables name only what is held out.
        train = split == "train" if (split == "train").any() else split.isna()
        return np.select([train, split == val], ["train", "val"], "")


def read_manifest(catalog: Catalog) -> Manifest:
    """All samples of a finished scan that are readable and have a label.

    Raises:
        NotTrainable: the scan is not finished, there are no labels or only one class, or the train or val split is
            empty.
    """
    table = readable_samples(catalog, list(COLUMNS))
    table = table.filter(table["label"].is_valid()).sort_by("key").rename_columns(list(COLUMNS.values()))
    columns = {name: table[name].to_pylist() for name in table.column_names}
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    digest = hashlib.blake2b(json.dumps(list(columns.values())).encode(), digest_size=8)
    manifest = Manifest(frame, tuple(sorted(set(columns["label"]), key=_natural)), digest.hexdigest())
    _require_trainable(catalog.folder.name, manifest)
    return manifest


def readable_samples(catalog: Catalog, columns: Sequence[str]) -> pa.Table:
    """Those columns of the finished scan's readable samples.

    Raises:
        NotTrainable: no scan has finished, or no sample is readable.
    """
    name, path = catalog.folder.name, catalog.folder / "catalog" / "catalog.parquet"
    if not path.exists():
        raise NotTrainable(f'No scan of "{name}" has finished; scan it to the end before training.')
    table = pq.read_table(path, columns=list(columns), filters=[("readable", "=", True)])
    if table.num_rows == 0:
        raise NotTrainable(f'"{name}" has no readable sample; repair its files and rescan it.')
    return table


def _require_trainable(name: str, manifest: Manifest) -> None:
    if manifest.frame.empty:
        raise NotTrainable(
            f'No readable sample of "{name}" has a label; use a folder per class or a table with a column of labels.'
        )
    if len(manifest.classes) == 1:
        raise NotTrainable(f'All samples of "{name}" have the label "{manifest.classes[0]}"; training needs two.')
    train, val = manifest.train, manifest.val
    if manifest.frame["split"].isna().all() and val.empty:
        raise NotTrainable(f'No class of "{name}" has two different images, so none can be held out; add more images.')
    if train.empty or val.empty:
        given = ", ".join(f'"{split}"' for split in manifest.frame["split"].dropna().unique())
        missing, wanted = ("train", '"train"') if train.empty else ("validation", '"val" or "test"')
        raise NotTrainable(
            f'"{name}" has no labelled, readable {missing} sample (splits: {given}); name a split {wanted}, or give '
            "no splits at all and a fifth is held out."
        )
    if train["label"].nunique() == 1:
        raise NotTrainable(
            f'All train samples of "{name}" have the label "{train["label"].iloc[0]}"; training needs two.'
        )


def _held_out(frame: pd.DataFrame) -> pd.Series:
    """Whether each row belongs to the fifth of its class whose content has the lowest hashes.

    By content and not by name, so that exact copies in one class stand on one side.
    """
    number = pd.Series(
        [xxhash.xxh3_64_intdigest(content.encode()) for content in frame["content_hash"]], dtype="uint64"
    )
    in_class = number.groupby(frame["label"])
    wanted = (in_class.transform("size") * HELD_OUT).round().clip(lower=1)
    return (in_class.rank(method="min") <= wanted) & (in_class.transform("nunique") > 1)


def _natural(text: str) -> tuple[list, str]:
    """Runs of digits compare by their value; the text itself gives "1" and "01" an order."""
    parts: list = re.split("([0-9]+)", text)
    for at in range(1, len(parts), 2):
        digits = parts[at].lstrip("0")
        parts[at] = (len(digits), digits)
    return parts, text
