"""The tree of exceptions. Each message has three parts: what was passed, what is allowed, how to mend it.

Every error that tailfit raises on purpose is a `TailfitError`; each also derives from the built-in
exception that Python users expect in its place, so `except ValueError` keeps working.
"""

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
        allowed: The rule it breaks.
        mend: What the user can do about it.

    >>> error = ArgumentError("gamma=-1.0", allowed="gamma >= 0", mend="use gamma=0 for cross-entropy")
    >>> print(error)
    Received gamma=-1.0. Allowed: gamma >= 0. To mend it: use gamma=0 for cross-entropy.
    >>> isinstance(error, ValueError)
    True
    """

    def __init__(self, received: str, *, allowed: str, mend: str) -> None:
        self.received, self.allowed, self.mend = (text.rstrip(".") for text in (received, allowed, mend))
        super().__init__(f"Received {self.received}. Allowed: {self.allowed}. To mend it: {self.mend}.")

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with the one composed message: an error raised in a worker
        # process must arrive whole.
        return _rebuild, (type(self), self.received, self.allowed, self.mend)


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


def _rebuild(cls: type[TailfitError], received: str, allowed: str, mend: str) -> TailfitError:
    return cls(received, allowed=allowed, mend=mend)
