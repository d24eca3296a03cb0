"""Whether losses that count labels as they come do so: in training only, and once a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["counts_labels", "uncounted"]

_counting: ContextVar[bool] = ContextVar("counting", default=True)


def counts_labels() -> bool:
    """Whether the batch that a loss is given counts."""
    return _counting.get()


@contextmanager
def uncounted() -> Iterator[None]:
    """Within, it does not: validation, or a second look at a batch."""
    token = _counting.set(False)
    try:
        yield
    finally:
        _counting.reset(token)
