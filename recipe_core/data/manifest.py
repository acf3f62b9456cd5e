"""The manifest: the samples that training reads (catalog + decisions), and a hash that names exactly this list.

    manifest = read_manifest(dataset.catalog, dataset.decisions)
    len(manifest.train), len(manifest.val), manifest.classes, manifest.hash, manifest.cleaned

At the launch of a run it is frozen in a file of its own, so that what is decided later changes nothing for that run.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.errors import NotTrainable

COLUMNS = {"key": "sample", "label": "label", "split": "split", "byte_hash": "content_hash"}
HELD_OUT = 0.2  # the share of each class that validates where the source gives no splits


@dataclass(frozen=True)
class Manifest:
    """The samples that are left when the catalog is cleaned.

    Attributes:
        frame: sample (key), label, split (None where not given), content_hash; all texts, sorted by sample.
        classes: the labels of all samples in natural order ("2" before "10").
        hash: 16 hex digits, of all that stands in `frame`.
        cleaned: how many samples were left out as "unreadable" or "excluded", and how many have another label than the
            source gives ("relabelled").
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    hash: str
    cleaned: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, table: pa.Table, cleaned: Mapping[str, int]) -> "Manifest":
        """The manifest of a table with the frame's columns."""
        columns = {name: table[name].to_pylist() for name in COLUMNS.values()}
        frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
        digest = hashlib.blake2b(json.dumps(list(columns.values())).encode(), digest_size=8)
        classes = sorted(set(columns["label"]) - {None}, key=_natural)
        return cls(frame, tuple(classes), digest.hexdigest(), cleaned)

    @property
    def train(self) -> pd.DataFrame:
        """The rows that are learned from: split "train"; without splits, all that `val` does not hold out."""
        return self.labelled[self._roles == "train"].reset_index(drop=True)

    @property
    def val(self) -> pd.DataFrame:
        """The rows that validate: split "val", else "test"; without splits, a fixed fifth of each class."""
        return self.labelled[self._roles == "val"].reset_index(drop=True)

    @cached_property
    def labelled(self) -> pd.DataFrame:
        """The rows that have a label: a run reads no others."""
        return self.frame[self.frame["label"].notna()]

    @cached_property
    def _roles(self) -> np.ndarray:
        """ "train", "val" or "" for each labelled row."""
        split = self.labelled["split"]
        if split.isna().all():
            return np.where(_held_out(self.labelled), "val", "train")
        val = "val" if (split == "val").any() else "test"
        # Some tables name only what is held out.
        train = split == "train" if (split == "train").any() else split.isna()
        return np.select([train, split == val], ["train", "val"], "")


def read_manifest(catalog: Catalog, decisions: Decisions | None = None) -> Manifest:
    """The readable samples of a finished scan, without those that were excluded, with the labels that were decided.

    Raises:
        NotTrainable: no scan has finished.
    """
    samples = pq.read_metadata(_finished(catalog)).num_rows
    table = _readable(catalog, list(COLUMNS))
    cleaned = {"unreadable": samples - table.num_rows, "excluded": 0, "relabelled": 0}
    if decisions is not None and (ruled := decisions.shown()) is not None:
        table = table.join(ruled, "key", join_type="left outer")
        kept = table.filter(pc.fill_null(pc.not_equal(table["decision"], "exclude"), True))
        changed = pc.fill_null(pc.not_equal(kept["new_label"], pc.fill_null(kept["label"], "")), False)
        cleaned |= {"excluded": table.num_rows - kept.num_rows, "relabelled": pc.sum(changed, min_count=0).as_py()}
        labels = pc.coalesce(kept["new_label"], kept["label"])
        table = kept.set_column(kept.column_names.index("label"), "label", labels)
    return Manifest.of(table.select(list(COLUMNS)).sort_by("key").rename_columns(list(COLUMNS.values())), cleaned)


def trainable_manifest(catalog: Catalog, decisions: Decisions | None = None) -> Manifest:
    """The same, provided that a run can be trained on it.

    Raises:
        NotTrainable: the scan is not finished, there are no labels or only one class, or the train or val split is
            empty.
    """
    manifest = read_manifest(catalog, decisions)
    _require_trainable(catalog.folder.name, manifest)
    return manifest


def freeze(manifest: Manifest, folder: Path) -> None:
    """Keep a manifest in the folder of its dataset, under its hash."""
    path = _frozen(folder, manifest.hash)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = pa.schema([(name, pa.string()) for name in COLUMNS.values()])
        partial = path.with_suffix(f".{os.getpid()}.partial")
        pq.write_table(pa.Table.from_pandas(manifest.frame, schema, preserve_index=False), partial)
        partial.replace(path)


def frozen_manifest(folder: Path, hash: str) -> Manifest:
    """A manifest as it was frozen, however the dataset has changed since; what had been cleaned stands with the run.

    Raises:
        NotTrainable: its file is gone or damaged.
    """
    try:
        manifest = Manifest.of(pq.read_table(_frozen(folder, hash)), {})
    except (OSError, pa.ArrowException, KeyError) as problem:
        raise NotTrainable(f'The manifest {hash} of "{folder.name}" cannot be read; launch a new run.') from problem
    if manifest.hash != hash:
        raise NotTrainable(f'The manifest {hash} of "{folder.name}" was changed; launch a new run.')
    return manifest


def readable_samples(catalog: Catalog, columns: Sequence[str]) -> pa.Table:
    """Those columns of the finished scan's readable samples.

    Raises:
        NotTrainable: no scan has finished, or no sample is readable.
    """
    table = _readable(catalog, columns)
    if table.num_rows == 0:
        raise _nothing_readable(catalog.folder.name)
    return table


def _finished(catalog: Catalog) -> Path:
    if not catalog.is_finished:
        raise NotTrainable(f'No scan of "{catalog.folder.name}" has finished; scan it to the end before training.')
    return Path(catalog.files[0])


def _readable(catalog: Catalog, columns: Sequence[str]) -> pa.Table:
    return pq.read_table(_finished(catalog), columns=list(columns), filters=[("readable", "=", True)])


def _frozen(folder: Path, hash: str) -> Path:
    return folder / "manifests" / f"{hash}.parquet"


def _nothing_readable(name: str) -> NotTrainable:
    return NotTrainable(f'"{name}" has no readable sample; repair its files and rescan it.')


def _require_trainable(name: str, manifest: Manifest) -> None:
    if manifest.frame.empty and manifest.cleaned["excluded"]:
        raise NotTrainable(f'All readable samples of "{name}" are excluded; undo some of the decisions.')
    if manifest.frame.empty:
        raise _nothing_readable(name)
    if manifest.labelled.empty:
        raise NotTrainable(
            f'No readable sample of "{name}" has a label; use a folder per class or a table with a column of labels.'
        )
    if len(manifest.classes) == 1:
        raise NotTrainable(f'All samples of "{name}" have the label "{manifest.classes[0]}"; training needs two.')
    train, val = manifest.train, manifest.val
    splits = manifest.labelled["split"].dropna().unique()
    if len(splits) == 0 and val.empty:
        raise NotTrainable(f'No class of "{name}" has two different images, so none can be held out; add more images.')
    if train.empty or val.empty:
        given = ", ".join(f'"{split}"' for split in splits)
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
