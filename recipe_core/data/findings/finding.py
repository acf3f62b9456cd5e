"""What a finding is, and which kinds of findings there are.

Integrity findings and outliers speak of one sample each; duplicates, leaks and conflicts of a cluster of samples; those
of WHOLE of the dataset, with some of the samples that show it.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b

from recipe_core.data.condition import did_you_mean
from recipe_core.errors import BadQuery

SEVERITIES = ("error", "warning", "info")  # worst first


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        weight: how much harm it does to training, 0 to 1, where a few samples have it; silent harm weighs most.
        one, many: the sentence that counts its findings; {n} findings, {samples} samples, {which} subkinds.
        advice: what to do about it.
    """

    name: str
    severity: str
    subkinds: tuple[str, ...]
    weight: float
    one: str
    many: str
    advice: str


_KINDS = (
    Kind(
        "split_leak",
        "error",
        ("exact", "near"),
        0.95,
        "1 picture stands in several splits ({samples} samples)",
        "{n} pictures stand in several splits ({samples} samples)",
        "The score on validation or test is too good by as much as the model remembers: exclude all but one split's.",
    ),
    Kind(
        "label_conflict",
        "error",
        ("exact", "near"),
        0.85,
        "1 picture has several labels ({samples} samples)",
        "{n} pictures have several labels ({samples} samples)",
        "The model is told two things of one picture: relabel or exclude what is wrong.",
    ),
    Kind(
        "label_error",
        "warning",
        (),
        0.75,
        "1 label is likely wrong",
        "{n} labels are likely wrong",
        "The model learns what is wrong, and scores count it: take the suggested label, or rule that it is right.",
    ),
    Kind(
        "spurious_correlation",
        "warning",
        (),
        0.75,
        "1 thing gives labels away without a look at the picture: {which}",
        "{n} things give labels away without a look at the picture: {which}",
        "The model learns the shortcut and fails where it is absent: remove it from the pictures, or collect others.",
    ),
    Kind(
        "damaged",
        "error",
        (),
        0.7,
        "1 picture decodes but is visibly broken",
        "{n} pictures decode but are visibly broken",
        "Training reads them as they are, broken: exclude them or restore the files.",
    ),
    Kind(
        "corrupt",
        "error",
        (),
        0.65,
        "1 file cannot be read: {which}",
        "{n} files cannot be read: {which}",
        "Training leaves them out: restore the files, or exclude them for good.",
    ),
    Kind(
        "exact_duplicate",
        "warning",
        ("bytes", "pixels"),
        0.5,
        "1 picture is there more than once ({samples} samples)",
        "{n} pictures are there more than once ({samples} samples)",
        "They count more than others and flatter the scores: keep one of each.",
    ),
    Kind(
        "split_drift",
        "warning",
        ("label", "missing_class"),
        0.45,
        "1 thing differs between the splits: {which}",
        "{n} things differ between the splits: {which}",
        "The score is measured on other data than is trained on: split anew, or make sure that it is meant.",
    ),
    Kind(
        "near_duplicate",
        "warning",
        ("mirrored", "rotated", "cropped", "resized", "recompressed", "brightness", "caption"),
        0.4,
        "1 group of pictures is nearly the same ({samples} samples): {which}",
        "{n} groups of pictures are nearly the same ({samples} samples): {which}",
        "Keep the best of each group, unless the variations are wanted.",
    ),
    Kind(
        "imbalance",
        "warning",
        ("rare_class", "dominant_class"),
        0.35,
        "1 class is out of balance: {which}",
        "{n} classes are out of balance: {which}",
        "The model neglects what is rare: collect more of it, weigh the loss, and read the score of each class.",
    ),
    Kind(
        "wrong_extension",
        "warning",
        (),
        0.3,
        "1 file is not what its name says",
        "{n} files are not what their names say",
        "Readers that trust the name fail or skip them: rename them.",
    ),
    Kind(
        "blank",
        "warning",
        (),
        0.25,
        "1 picture shows one even colour",
        "{n} pictures show one even colour",
        "There is nothing in them that a model could learn a label from: exclude them.",
    ),
    Kind(
        "outlier",
        "info",
        (),
        0.2,
        "1 sample sticks out: {which}",
        "{n} samples stick out: {which}",
        "Outliers almost always uncover some bug in the data: look at each, and exclude what does not belong.",
    ),
    Kind(
        "quality",
        "info",
        ("dark", "bright", "blurred", "tiny", "odd_shape"),
        0.1,
        "1 picture is {which}",
        "{n} pictures are {which}",
        "Look at them: exclude those in which you cannot tell the label yourself.",
    ),
)
KINDS = {kind.name: kind for kind in _KINDS}
SUBKINDS = {kind.name: kind.subkinds for kind in _KINDS}
ALONE = ("damaged", "corrupt", "wrong_extension", "blank", "quality")  # what one picture shows by itself
WHOLE = ("spurious_correlation", "split_drift", "imbalance")
CLUSTERED = ("split_leak", "label_conflict", "exact_duplicate", "near_duplicate")
SUBKIND_WORDS = {"dark": "very dark", "bright": "very bright", "odd_shape": "oddly shaped", "tiny": "tiny"}
SUBKIND_WORDS |= {"unlike_anything": "unlike anything else", "unlike_class": "unlike their class"}
MOST_SUBKINDS = 5  # that a sentence names


@dataclass(frozen=True)
class Difference:
    """How a sample differs from another one, and how alike they are (0 to 1)."""

    other: str
    subkind: str
    similarity: float


@dataclass(frozen=True)
class Finding:
    """Something suspicious in the data.

    Attributes:
        samples: the keys of the samples that it speaks of, sorted.
        pairs: (key, key, distance): what links a cluster's samples; 0.0 between exact copies, else bits of 64 by which
            the perceptual hashes differ. Of the samples with one content only the first is linked with other contents.
        score: 0 to 1, higher is worse or surer.
        evidence: what was measured, JSON values.
        message: one sentence for the user.
        decided: nothing of it is left to rule on.
    """

    kind: str
    subkind: str
    samples: tuple[str, ...]
    score: float
    message: str
    pairs: tuple[tuple[str, str, float], ...] = ()
    suggested_label: str | None = None
    evidence: dict = field(default_factory=dict)
    decided: bool = False

    @property
    def severity(self) -> str:
        return KINDS[self.kind].severity

    @property
    def id(self) -> str:
        """12 hex digits: the same after a rescan for the same samples."""
        named = "\0".join((self.kind, self.subkind, *self.samples))
        return blake2b(named.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()

    @property
    def topic(self) -> str:
        """Of a finding on the whole dataset: what a "not a problem" speaks of."""
        return ": ".join(filter(None, (self.kind, self.subkind, str(self.evidence.get("label") or ""))))

    def differences_from(self, best: Collection[str]) -> dict[str, Difference]:
        """Of a cluster: sample -> how it differs from one of these, or where no pair tells that, from another."""
        found: dict[str, Difference] = {}
        for pair in self.evidence.get("pairs", ()):
            for key, other in ((pair["a"], pair["b"]), (pair["b"], pair["a"])):
                if key not in found or (other in best and found[key].other not in best):
                    found[key] = Difference(other, pair["subkind"], pair["similarity"])
        return found

    def to_dict(self) -> dict:
        """As JSON has it."""
        named = {"id": self.id, "kind": self.kind, "subkind": self.subkind, "severity": self.severity}
        return named | {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Summary:
    """How many findings there are of a kind and subkind, in how many samples, and how many are undecided."""

    kind: str
    subkind: str
    findings: int
    samples: int
    undecided: int

    @property
    def severity(self) -> str:
        return KINDS[self.kind].severity

    @property
    def sentence(self) -> str:
        return sentence([self])


def sentence(summaries: Sequence[Summary]) -> str:
    """ "14 files cannot be read: 9 truncated, 5 empty", of the summaries of one kind."""
    kind, findings = KINDS[summaries[0].kind], sum(summary.findings for summary in summaries)
    named = [(_words(summary.subkind), summary.findings) for summary in summaries]
    which = (
        named[0][0] if len(named) == 1 else ", ".join(f"{count:,} {words}" for words, count in named[:MOST_SUBKINDS])
    )
    which += ", ..." if len(named) > MOST_SUBKINDS else ""
    samples = sum(summary.samples for summary in summaries)
    return (kind.one if findings == 1 else kind.many).format(n=f"{findings:,}", samples=f"{samples:,}", which=which)


def known_kind(kind: str) -> str:
    """The kind itself. Raises BadQuery where there is no such kind."""
    if kind not in KINDS:
        raise BadQuery(f'There is no kind of findings "{kind}"; {did_you_mean(kind, KINDS, "kinds")}')
    return kind


def _words(subkind: str) -> str:
    return SUBKIND_WORDS.get(subkind, subkind.replace("_", " "))


def _plain(value: object) -> object:
    """JSON has neither tuples nor NaN and infinity."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
