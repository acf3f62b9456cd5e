"""The spec of a run: its preset, settings, seed and what its user expects; from strings, all mistakes told at once.

RunSpec.parse("linear", {"epochs": "3", "learning_rate": 1e-3}, seed=0, expect="beats 10 %")
settings_of("linear")       # for a form: name, default, about, ...
"""

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from recipe_core.errors import BadSettings
from recipe_core.training.presets import DEFAULTS, PRESETS

TRUE, FALSE, NOTHING = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}, {"", "none"}
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Setting:
    """One setting as a form shows it."""

    name: str
    kind: type  # int, float, bool or str
    default: Any  # the preset's own; None: not set
    about: str
    advanced: bool
    low: float
    high: float
    choices: tuple[str, ...]
    optional: bool  # may be None

    def read(self, given: object) -> Any:
        """The value that was given, as a string or as it is.

        Raises:
            ValueError: what is wrong with it.
        """
        text = str(given).strip()
        if text.lower() in NOTHING:
            if self.optional:
                return None
            raise ValueError(f"{self.name} needs a value")
        if self.kind is bool:
            return self._read_bool(text)
        if self.kind is str:
            if self.choices and text not in self.choices:
                raise ValueError(f"{self.name} is one of {', '.join(self.choices)}, not {text!r}")
            return text
        return self._read_number(text)

    def _read_bool(self, text: str) -> bool:
        if text.lower() not in TRUE | FALSE:
            raise ValueError(f"{self.name} is true or false, not {text!r}")
        return text.lower() in TRUE

    def _read_number(self, text: str) -> float:
        try:
            value = self.kind(text)
        except ValueError:
            kind = "a whole number" if self.kind is int else "a number"
            raise ValueError(f"{self.name} is {kind}, not {text!r}") from None
        if not self.low <= value <= self.high:  # false for NaN, too
            raise ValueError(f"{self.name} is from {self.low:g} to {self.high:g}, not {text}")
        return value


def setting(
    default: Any,
    about: str,
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    advanced: bool = True,
) -> Any:
    """A field of RunSpec that a user may set."""
    told = {"about": about, "low": low, "high": high, "choices": choices, "advanced": advanced}
    return field(default=default, metadata=told)


@dataclass(frozen=True)
class RunSpec:
    """All that a run consists of beside its data."""

    preset: str
    seed: int = 0
    expect: str = ""  # the user's own prediction, in words
    epochs: int | None = setting(10, "Times that training sees every sample.", 1, 100_000, advanced=False)
    steps: int | None = setting(None, "Updates, instead of epochs.", 1, 10**9, advanced=False)
    batch_size: int = setting(64, "Samples per update.", 1, 65_536, advanced=False)
    learning_rate: float = setting(3e-4, "Size of the updates.", 1e-12, 1e3, advanced=False)
    subset: int | None = setting(
        None, "Train on this many samples only, drawn by the seed; on all if not set.", 1, 10**9, advanced=False
    )
    optimizer: str = setting("adam", "How gradients become updates.", choices=("adam", "adamw", "sgd"))
    momentum: float = setting(0.0, "Of SGD; 0.9 is usual.", 0, 0.9999)
    weight_decay: float = setting(0.0, "Pulls the weights towards zero.", 0, 100)
    schedule: str = setting(
        "constant", "Learning rate over the steps; cosine ends at zero.", choices=("constant", "cosine")
    )
    warmup_steps: int = setting(0, "Steps in which the learning rate rises from zero.", 0, 10**9)
    size: int | None = setting(
        None, "Side in px to which images are resized and cropped; by default as the dataset has them.", 8, 1024
    )
    bias_to_prior: bool = setting(True, "Start the final bias at the classes' frequencies.")
    eval_every: int | None = setting(
        None, "Steps between two looks at the validation set; by default an epoch, or a tenth of the run.", 1, 10**9
    )
    checkpoint_every: int | None = setting(None, "Steps between two checkpoints; by default a minute.", 1, 10**9)
    device: str = setting(
        "auto", "Where to compute; auto takes a GPU if there is one.", choices=("auto", "cpu", "cuda")
    )
    processes: int = setting(1, "Processes that share each batch, on a GPU each; on a CPU they share its cores.", 1, 64)
    bf16: bool = setting(False, "Compute in 16 bits where that is safe; faster on a GPU.")
    channels_last: bool = setting(False, "Keep the channels innermost in memory; faster with bf16 on a GPU.")
    compile: bool = setting(False, "Compile the model; a slow start, then faster on a GPU.")
    model_file: str | None = setting(
        None, "A Python file on this machine with a function model(num_classes), instead of the preset's model."
    )

    @classmethod
    def parse(
        cls, preset: str, settings: Mapping[str, object] | None = None, seed: int | str = 0, expect: str = ""
    ) -> "RunSpec":
        """Read settings as given on a command line or in a form.

        Raises:
            BadSettings: one sentence that lists all mistakes.
        """
        if preset not in PRESETS:
            raise BadSettings(f"There is no preset {preset!r}{_did_you_mean(preset, PRESETS)}.")
        known = {each.name: each for each in settings_of(preset)}
        values: dict[str, Any] = {}
        mistakes = []
        for name, given in (settings or {}).items():
            if name not in known:
                mistakes.append(f"there is no setting {name!r}{_did_you_mean(name, known)}")
                continue
            try:
                values[name] = known[name].read(given)
            except ValueError as mistake:
                mistakes.append(str(mistake))
        spec = cls(preset, expect=expect, **{**DEFAULTS[preset], **_one_length(values)})
        mistakes += [] if mistakes else spec._clashes()
        try:
            spec = replace(spec, seed=int(seed))
        except ValueError:
            mistakes.append(f"the seed is a whole number, not {seed!r}")
        if not 0 <= spec.seed <= LARGEST_SEED:
            mistakes.append(f"the seed is from 0 to {LARGEST_SEED}, not {seed}")
        if mistakes:
            raise BadSettings(f"The run cannot start: {'; '.join(mistakes)}.")
        # The worker may stand in another folder.
        return replace(spec, model_file=str(Path(spec.model_file).absolute())) if spec.model_file else spec

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunSpec":
        """What to_dict() gave, as read from JSON."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def total_steps(self, steps_per_epoch: int) -> int:
        """Updates in the whole run."""
        return self.steps or (self.epochs or 1) * steps_per_epoch

    def _clashes(self) -> list[str]:
        """What is wrong with settings that are right each by itself."""
        found = []
        if (self.epochs is None) == (self.steps is None):
            found.append("give either epochs or steps")
        if self.momentum and self.optimizer != "sgd":
            found.append("momentum is for optimizer=sgd")
        if self.steps and self.warmup_steps >= self.steps:
            found.append(f"warmup_steps is {self.warmup_steps}, but the run has {self.steps} steps only")
        if self.model_file and self.preset == "majority":
            found.append("majority has no model to replace by model_file")
        if self.model_file and not Path(self.model_file).is_file():
            found.append(f"there is no file {self.model_file} on this machine for model_file")
        return found


def settings_of(preset: str) -> list[Setting]:
    """A preset's settings with its defaults, in the order of a form; `advanced` ones belong folded away."""
    hints = typing.get_type_hints(RunSpec)
    return [
        Setting(
            name=each.name,
            kind=_kind(hints[each.name]),
            default=DEFAULTS[preset].get(each.name, each.default),
            optional=isinstance(hints[each.name], types.UnionType),
            **each.metadata,
        )
        for each in fields(RunSpec)
        if each.metadata
    ]


def _kind(hint: Any) -> type:
    """int of `int | None`."""
    return next(each for each in typing.get_args(hint) or (hint,) if each is not type(None))


def _one_length(values: dict[str, Any]) -> dict[str, Any]:
    """Given epochs push aside a preset's default steps, and the other way round."""
    for name, other in (("epochs", "steps"), ("steps", "epochs")):
        if values.get(name) is not None and values.get(other) is None:
            values = {**values, other: None}
    return values


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {close[0]!r}?)" if close else f"; there are {', '.join(names)}"
