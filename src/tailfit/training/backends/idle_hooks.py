"""Skip what Keras' loop does at the end of each step for callbacks that do nothing there.

Concepts:
- *idle hook*: the hook at the end of a step of a callback that does not override it, or of a progress bar that does not
  draw after this step. Keras calls such hooks in other threads, which first read the logs of the step: for a small
  step, that takes longer than the step.
- *unread logs*: the logs of a step that no callback reads. Hooks are looked up before each step, since a callback may
  be added or removed between two steps.
"""

import time
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
        left_out = bool(logs) and all(value is None for value in logs.values())
        readers = [] if left_out else [callback for callback in self.callbacks if _reads(callback, kind)]
        if any(type(callback) is not keras.callbacks.ProgbarLogger for callback in readers):
            own(self, batch, logs)
            return
        if readers:
            # Not `own`, which calls the hook in another thread: the bar could then draw again before it has drawn, and
            # the number of steps that it has seen could be one of before.
            getattr(self, f"_on_{kind}_batch_end")(batch, logs)
            return
        for callback in self.callbacks:
            if type(callback) is keras.callbacks.ProgbarLogger and not _is_silent(callback, kind):
                callback.seen = batch + 1  # as its hook does: the length of an epoch whose length is unknown

    return Replaced(keras.callbacks.CallbackList, f"on_{kind}_batch_end", end)


def _reads(callback: Any, kind: Kind) -> bool:
    """Return whether a callback reads the logs of a step that ends now."""
    if type(callback) is keras.callbacks.ProgbarLogger:
        return callback.verbose == 1 and not _is_silent(callback, kind) and _draws(callback.progbar)
    return not all(is_default(getattr(callback, name)) for name in _HOOKS[kind])


def _is_silent(logger: Any, kind: Kind) -> bool:
    return kind == "test" and bool(logger._called_in_fit)  # validation


def _draws(bar: Any) -> bool:
    """Return whether a progress bar draws now, as it does every 50 ms; it then shows the latest logs alone."""
    return bar is None or time.time() - bar._last_update >= bar.interval


_replaced = [_at_end(kind) for kind in _HOOKS]
if keras.backend.backend() == "torch":  # elsewhere, a step without results would be a second program to compile
    _replaced += [_at_begin(kind) for kind in _HOOKS]
