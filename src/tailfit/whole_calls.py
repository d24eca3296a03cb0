"""Python functions that work on tensors outside torch, with NumPy for example, and are part of a recorded step.

A recorded step on torch repeats the operators that it called. Work outside torch would be missing: it repeats a
function that is called by `call_whole` as one call.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

from tailfit.contexts import assigned

__all__ = ["call_whole", "whole_calls_passed_to", "whole_calls_recorded"]

_recorder: ContextVar[Callable[..., Any] | None] = ContextVar("recorder", default=None)


def call_whole(function: Callable[..., Any], *args: Any, writes: Sequence[int] = ()) -> Any:
    """Call a function, and return its result; a recorded step repeats the call as a whole.

    Args:
        function: A function of a module, or an object that equals the one of the next step.
        args: Tensors and plain values.
        writes: Positions of the arguments whose memory the function changes.

    >>> call_whole(max, 2, 3)
    3
    """
    recorder = _recorder.get()
    return function(*args) if recorder is None else recorder(function, *args, writes=writes)


def whole_calls_recorded() -> bool:
    """Return whether this thread records a step."""
    return _recorder.get() is not None


def whole_calls_passed_to(recorder: Callable[..., Any]) -> AbstractContextManager[None]:
    """Return a context in which `recorder(function, *args, writes=...)` makes and records the calls of this thread."""
    return assigned(_recorder, recorder)
