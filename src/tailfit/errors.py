"""Exceptions, whose messages have three parts: what was received, what is expected, how to fix it.

Every error that tailfit raises deliberately is a `TailfitError`. Each class also derives from the built-in exception
that Python users expect in its place, so `except ValueError` keeps working. Control characters and other invisible
characters appear as escapes in messages, because names of files and samples must not reach a terminal as commands.
"""

from tailfit.text import three_parts, visible

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "DataError",
    "ExportError",
    "PackageError",
    "RecordError",
    "StepError",
    "TailfitError",
    "WorkerError",
]


class TailfitError(Exception):
    """Base of all exceptions of tailfit.

    Args:
        received: The invalid value or state, with the file, row, ID or key where it was found.
        expected: The rule that it breaks.
        fix: A change that resolves the error.

    >>> error = ArgumentError("gamma=-1.0", expected="gamma >= 0", fix="use gamma=0 for cross-entropy")
    >>> print(error)
    Received gamma=-1.0. Expected gamma >= 0. Fix: use gamma=0 for cross-entropy.
    >>> isinstance(error, ValueError)
    True
    """

    def __init__(self, received: str, *, expected: str, fix: str) -> None:
        self.received, self.expected, self.fix = (visible(text.rstrip(".")) for text in (received, expected, fix))
        super().__init__(three_parts(self.received, self.expected, self.fix))

    def __reduce__(self) -> tuple[object, ...]:
        # Errors are pickled when they are raised in a worker process. By default, unpickling would call the class
        # with the composed message as its only argument.
        return _rebuild, (type(self), self.received, self.expected, self.fix)


class ArgumentError(TailfitError, ValueError):
    """An argument is out of range, or contradicts another argument."""


class DataError(TailfitError, ValueError):
    """A data set is inconsistent: its IDs, labels, partition, metadata or shapes don't match."""


class RecordError(DataError, OSError):
    """A file of a data set can't be read; the message begins with its path."""


class ExportError(TailfitError, RuntimeError):
    """A network can't be exported in a format, or the exported file computes different scores."""


class PackageError(TailfitError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""


class StepError(TailfitError, RuntimeError):
    """A training step, or a function that uses Keras state, does something unsupported."""


class CheckpointError(TailfitError, RuntimeError):
    """The directory of a run can't be used: it is damaged, in use, or belongs to a different run."""


class WorkerError(TailfitError, RuntimeError):
    """Processes that work together can't go on: one was lost, failed or can't be reached, or they differ."""


def _rebuild(cls: type[TailfitError], received: str, expected: str, fix: str) -> TailfitError:
    return cls(received, expected=expected, fix=fix)
