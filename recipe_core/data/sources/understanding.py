"""What was understood of a source, shown before its scan starts."""

from collections import Counter
from dataclasses import dataclass

from recipe_core.data.sources.base import Problems, Source

_ORDER = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Understanding:
    """What was understood of a source.

    Attributes:
        kind: "folder of classes", "splits and classes", "splits", "flat folder" or "table"; of a zip "zip: ...".
        samples: how many there are.
        splits: split -> samples; train, val, test first.
        class_counts: class -> samples, by name.
        columns: of a table, which column is "path", "label", "split"; None elsewhere.
        available: all columns of a table, for correcting the choice.
        problems: one sentence each; at most `Problems.LIMIT` and one that counts the others.
    """

    kind: str
    samples: int
    splits: dict[str, int]
    classes: int
    class_counts: dict[str, int]
    columns: dict[str, str | None] | None
    available: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """ "splits and classes: train 50,000, test 10,000, 10 classes"."""
        parts = [f"{split} {count:,}" for split, count in self.splits.items()] or [_count(self.samples, "sample")]
        without_split = self.samples - sum(self.splits.values())
        without_class = self.samples - sum(self.class_counts.values())
        if self.splits and without_split:
            parts.append(f"{without_split:,} without a split")
        if self.classes:
            parts.append(_count(self.classes, "class", "classes"))
            if without_class:
                parts.append(f"{without_class:,} without a class")
        return f"{self.kind}: {', '.join(parts)}"


def understand(source: Source) -> Understanding:
    """Walks all entries of a source once, keeping counts only. Raises BadSource where it has become unreadable."""
    problems, samples = Problems(), 0
    splits: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    for entry in source.entries(problems):
        samples += 1
        if entry.split is not None:
            splits[entry.split] += 1
        if entry.label is not None:
            classes[entry.label] += 1
    return Understanding(
        kind=source.kind,
        samples=samples,
        splits={split: splits[split] for split in sorted(splits, key=lambda split: (_ORDER.get(split, 3), split))},
        classes=len(classes),
        class_counts={label: classes[label] for label in sorted(classes)},
        columns=source.columns,
        available=source.available,
        problems=problems.sentences(),
    )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
