"""Context in which losses such as `Seesaw` do not count labels: they count training batches only, once per step."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["counts_labels", "uncounted"]

_counting: ContextVar[bool] = ContextVar("counting", default=True)


def counts_labels() -> bool:
    """Return whether losses should count the labels of the current batch."""
    return _counting.get()


@contextmanager
def uncounted() -> Iterator[None]:
    """Disable counting, for validation and for repeated evaluations of a batch."""
    token = _counting.set(False)
    try:
        yield
    finally:
        _counting.reset(token)
