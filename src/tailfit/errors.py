"""The tree of exceptions. Each message has three parts: what was passed, what is expected, how to fix it.

Every error that tailfit raises on purpose is a `TailfitError`; each also derives from the built-in
exception that Python users expect in its place, so `except ValueError` keeps working. Control characters and other
invisible ones are written as escapes: what a file, an ID or a path is called must not reach the terminal as commands.
"""

from tailfit.text import three_parts, visible

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "DataError",
    "PackageError",
    "RecordError",
    "StepError",
    "TailfitError",
]


class TailfitError(Exception):
    """Root of the tree.

    Args:
        received: What was passed, with the file, row, ID or key it was found at.
        expected: The rule it breaks.
        fix: What the user can do about it.

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
        # The default would call the class with the one composed message: an error raised in a worker
        # process must arrive whole.
        return _rebuild, (type(self), self.received, self.expected, self.fix)


class ArgumentError(TailfitError, ValueError):
    """An argument of a call is out of its range, or contradicts another one."""


class DataError(TailfitError, ValueError):
    """A data set does not hold together: IDs, labels, partition, metadata or shapes disagree."""


class RecordError(DataError, OSError):
    """One file of a data set can't be read as what it should be; the message begins with its path."""


class PackageError(TailfitError, ImportError):
    """A package is not installed that only some users need; the message says what to install."""


class StepError(TailfitError, RuntimeError):
    """A training step, or a function that touches Keras state, does what can't be right."""


class CheckpointError(TailfitError, RuntimeError):
    """A run's directory can't be used: it is damaged, in use, or of another run than the one that asks."""


def _rebuild(cls: type[TailfitError], received: str, expected: str, fix: str) -> TailfitError:
    return cls(received, expected=expected, fix=fix)
