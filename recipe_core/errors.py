"""Every error that Recipe raises on purpose. Its text is one sentence for the user, saying what to do.

RecipeError
├── BadSource      a path, table or archive that cannot be read as a source
├── BadQuery       a condition, filter or sort order that the catalog cannot answer
├── NotFound       a dataset, job or sample that does not exist
├── Conflict       what was asked clashes with what is there or under way
└── Stopped        a job was asked to stop (raised inside its worker only)
"""


class RecipeError(Exception):
    """Base of all errors whose text may be shown to a user as it is."""


class BadSource(RecipeError):
    """A path, table or archive cannot be read as a source."""


class BadQuery(RecipeError):
    """A condition, filter or sort order cannot be answered by the catalog."""


class NotFound(RecipeError):
    """A dataset, job or sample does not exist."""


class Conflict(RecipeError):
    """The request clashes with what is there or under way."""


class Stopped(RecipeError):
    """The job was asked to stop; raised inside its worker, never shown."""
