"""Context in which metrics with slow results, such as `RocAuc`, leave them out of the logs of a step.

Keras asks every metric for its result after every batch. A result that sorts all scores seen so far would take many
times as long as the step itself, for a number that the next step replaces.
"""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Final

from tailfit.contexts import assigned

__all__ = ["DEFERRED", "defers_results", "results_deferred"]

DEFERRED: Final[Any] = object()
"""The result of a metric with a slow result, within the context."""

_deferring: ContextVar[bool] = ContextVar("deferring", default=False)


def defers_results() -> bool:
    """Return whether a metric with a slow result should return `DEFERRED`."""
    return _deferring.get()


def results_deferred() -> AbstractContextManager[None]:
    """Return a context in which slow results are left out."""
    return assigned(_deferring, True)
