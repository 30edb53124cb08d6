"""Errors that a user can put right: one line each, which says what to do."""


class Told(Exception):
    """What a notebook shows as one line, as a command does, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"error: {self}"]


class RunError(Told, ValueError):
    """A command cannot do what it was asked to."""


class ConfigError(RunError):
    """A run cannot start as configured; names the field."""


class DataError(RunError):
    """A data set cannot be had, or not as configured."""


class CheckpointError(RunError):
    """A checkpoint is damaged, missing, or cannot be saved; names it."""


class RecordsError(RunError):
    """The records cannot be written or read; names the file."""


class ProcessError(RunError):
    """Processes cannot be joined, or another one has failed."""


class Diverged(RunError):
    """There is nothing left to train or to prune; says what happened."""


class PoolError(RunError):
    """Folders are not one experiment; names the field in which they differ."""


class ExportError(RunError):
    """There is no such ticket; says which there are."""


def one_line(error: object) -> str:
    """Return an exception, or a message, as one line of at most 200 characters.

    Example:
        >>> one_line(ValueError("two\\nlines")), one_line(KeyError())
        ('two lines', 'KeyError')
    """
    return " ".join(str(error).split())[:200] or type(error).__name__
