"""Skip what Keras' loop does at the end of each step for callbacks that do nothing there.

Concepts:
- *idle hook*: the hook at the end of a step of a callback that does not override it. Keras calls such hooks in another
  thread, which first reads the logs of the step: for a small step, that takes longer than the step.
- *unread logs*: the logs of a step that no callback reads. Hooks are looked up before each step, since a callback may
  be added or removed between two steps.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras.src.utils.python_utils import is_default

from tailfit.keras_private import Replaced
from tailfit.training.backends.epoch_results import EpochResults, Kind

__all__ = ["idle_hooks_skipped", "logs_unread"]

_HOOKS: dict[Kind, tuple[str, ...]] = {"train": ("on_train_batch_end", "on_batch_end"), "test": ("on_test_batch_end",)}
_unread: ContextVar[tuple[Any, Kind] | None] = ContextVar("unread", default=None)


@contextmanager
def idle_hooks_skipped() -> Iterator[None]:
    """Call no idle hooks, and find out before each step whether its logs are read."""
    with ExitStack() as stack:
        for replaced in _replaced:
            stack.enter_context(replaced)
        try:
            yield
        finally:
            _unread.set(None)


def logs_unread(model: Any, kind: Kind) -> bool:
    """Return whether no callback will read the logs of the step that Keras' loop runs now.

    True once for each step: a step outside the loops, as in `train_on_batch`, returns its logs to a caller.
    """
    found = _unread.get()
    if found is None:
        return False
    _unread.set(None)
    return found[0] is model and found[1] == kind


def _at_begin(kind: Kind) -> Replaced:
    def begin(own: Any, self: Any, batch: int, logs: Any = None) -> None:
        own(self, batch, logs)
        model = self._model  # on JAX, `self.model` ends the chain of donated states: each step would copy them anew
        read = not isinstance(model, EpochResults) or any(_reads(callback, kind) for callback in self.callbacks)
        _unread.set(None if read else (model, kind))

    return Replaced(keras.callbacks.CallbackList, f"on_{kind}_batch_begin", begin)


def _at_end(kind: Kind) -> Replaced:
    def end(own: Any, self: Any, batch: int, logs: Any = None) -> None:
        _unread.set(None)
        if not all(_is_idle(callback, kind) for callback in self.callbacks):
            own(self, batch, logs)

    return Replaced(keras.callbacks.CallbackList, f"on_{kind}_batch_end", end)


def _is_idle(callback: Any, kind: Kind) -> bool:
    return all(is_default(getattr(callback, name)) for name in _HOOKS[kind])


def _reads(callback: Any, kind: Kind) -> bool:
    if type(callback) is keras.callbacks.ProgbarLogger:
        return bool(callback.verbose == 1)  # with 2 it prints a line at the end of an epoch
    return not _is_idle(callback, kind)


_replaced = [_at_end(kind) for kind in _HOOKS]
if keras.backend.backend() == "torch":  # elsewhere, a step without results would be a second program to compile
    _replaced += [_at_begin(kind) for kind in _HOOKS]
