"""What is known of a dataset at a glance: its size, its classes and splits, and what deserves a look first."""

from dataclasses import dataclass

from recipe_core.data.catalog import Catalog
from recipe_core.data.selection import Selection


@dataclass(frozen=True)
class Remark:
    """Something that deserves a look: a sentence, and the condition that selects the samples that it speaks of."""

    sentence: str
    where: str


@dataclass(frozen=True)
class Overview:
    """Counts of a catalog, complete or growing. `classes` and `splits`: value -> samples, most frequent first."""

    samples: int
    file_bytes: int
    classes: dict[str, int]
    splits: dict[str, int]
    remarks: tuple[Remark, ...]

    @property
    def sentence(self) -> str:
        """ "1,810 samples, 10 classes, train 1,448, val 362, 4.1 MB"."""
        parts = [f"{self.samples:,} sample{'' if self.samples == 1 else 's'}"]
        if self.classes:
            parts.append(f"{len(self.classes):,} class{'' if len(self.classes) == 1 else 'es'}")
        parts += [f"{split} {samples:,}" for split, samples in self.splits.items()]
        return ", ".join([*parts, megabytes(self.file_bytes)])


def overview(catalog: Catalog) -> Overview:
    """Count what a catalog holds."""
    totals = catalog.totals()
    return Overview(
        samples=totals["samples"],
        file_bytes=totals["file_bytes"],
        classes=_counts(catalog, "label"),
        splits=_counts(catalog, "split"),
        remarks=tuple(_remarks(catalog, totals)),
    )


def megabytes(count: float) -> str:
    """ "4.1 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _counts(catalog: Catalog, column: str) -> dict[str, int]:
    counted = catalog.choices(column, limit=100_000)
    return {value: int(samples) for value, samples in counted.itertuples(index=False) if isinstance(value, str)}


def _remarks(catalog: Catalog, totals: dict[str, int]):
    if totals["unreadable"]:
        kinds = catalog.choices("error_kind", Selection(where="NOT readable"))
        reasons = ", ".join(f"{samples} {kind.replace('_', ' ')}" for kind, samples in kinds.itertuples(index=False))
        yield Remark(f"{_samples(totals['unreadable'])} cannot be read: {reasons}", "NOT readable")
    if totals["copied"]:
        yield Remark(f"{_samples(totals['copied'])} are exact copies of one another", "copies > 1")
    if totals["misnamed"]:
        yield Remark(f"{_samples(totals['misnamed'])} are not what their extension says", "misnamed")
    if totals["flat"]:
        yield Remark(f"{_samples(totals['flat'])} show one even colour", "readable AND contrast < 1")
    if totals["unlabelled"] and totals["unlabelled"] < totals["samples"]:
        yield Remark(f"{_samples(totals['unlabelled'])} have no label", "label IS NULL")


def _samples(count: int) -> str:
    return f"{count:,} sample{'' if count == 1 else 's'}"
