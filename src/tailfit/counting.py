"""Context in which losses such as `Seesaw` do not count labels: they count training batches only, once per step."""

from contextlib import AbstractContextManager
from contextvars import ContextVar

from tailfit.contexts import assigned

__all__ = ["counts_labels", "uncounted"]

_counting: ContextVar[bool] = ContextVar("counting", default=True)


def counts_labels() -> bool:
    """Return whether losses should count the labels of the current batch."""
    return _counting.get()


def uncounted() -> AbstractContextManager[None]:
    """Return a context that disables counting, for validation and for repeated evaluations of a batch."""
    return assigned(_counting, False)
