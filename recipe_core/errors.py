"""Every error that Recipe raises on purpose. Its text is one sentence for the user, saying what to do.

RecipeError
├── BadSource      a path, table or archive that cannot be read as a source
├── BadQuery       a condition, filter or sort order that the catalog cannot answer
├── BadDecision    a ruling, waiver or list of samples that cannot be taken as a decision
├── NotFound       a dataset, job or sample that does not exist
├── BadSettings    settings of a run that cannot be used; all mistakes at once
├── BadModel       a user's model file that cannot be used
├── BadPipeline    a user's pipeline file that cannot be used
├── Diverged       a loss, gradient or weight that is no longer a finite number
├── OutOfMemory    a batch that is too large for the device
├── Conflict       what was asked clashes with what is there or under way
├── NotTrainable   a dataset that nothing can be trained on as it is
├── Unavailable    a database that cannot be read or written just now
└── Stopped        a job was asked to stop (raised inside its worker only)
    └── Replaced   it was given up or given to another attempt: nothing more may be written
"""


class RecipeError(Exception):
    """Base of all errors whose text may be shown to a user as it is."""


class BadSource(RecipeError):
    """A path, table or archive cannot be read as a source."""


class BadQuery(RecipeError):
    """A condition, filter or sort order cannot be answered by the catalog."""


class BadDecision(RecipeError):
    """A ruling or waiver makes no sense, or speaks of samples that are not there; nothing was decided."""


class NotFound(RecipeError):
    """A dataset, job or sample does not exist."""


class BadSettings(RecipeError):
    """Settings of a run cannot be used; the sentence lists all mistakes."""


class BadModel(RecipeError):
    """A user's model file cannot be read, run or used."""


class BadPipeline(RecipeError):
    """A user's pipeline file cannot be read, run or used."""


class Diverged(RecipeError):
    """A loss, gradient or weight is no longer a finite number.

    Attributes:
        step: where it was seen.
        layer: the first layer that gave a value that is not finite; None if it was none.
    """

    def __init__(self, sentence: str, step: int, layer: str | None):
        super().__init__(sentence)
        self.step = step
        self.layer = layer


class OutOfMemory(RecipeError):
    """A batch does not fit into the memory of the device."""


class Conflict(RecipeError):
    """The request clashes with what is there or under way."""


class NotTrainable(RecipeError):
    """Nothing can be trained on a dataset as it is."""


class Unavailable(RecipeError):
    """The database cannot be read or written just now: a full disk, a lock, no permission."""


class Stopped(RecipeError):
    """The job was asked to stop; raised inside its worker, never shown."""


class Replaced(Stopped):
    """The job is no longer this worker's: it was given up as lost or given to another attempt."""
