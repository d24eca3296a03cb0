"""Assignment of a context variable for the duration of a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["assigned"]

T = TypeVar("T")


@contextmanager
def assigned(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Assign a value to a context variable within this context, and restore the value before.

    >>> verbose = ContextVar("verbose", default=False)
    >>> with assigned(verbose, True):
    ...     verbose.get()
    True
    >>> verbose.get()
    False
    """
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
