"""The epoch that a plain Keras loop is in, and a check that the loop reads its steps in order.

Keras calls `on_epoch_begin` and `on_epoch_end` of a data set without stating the loop. A `fit`, the validation inside
it and an `evaluate` may share one data set, and before training Keras reads a batch or two in an extra epoch to find
shapes. Loops are distinguished by Keras' adapter, of which each loop creates one.

Concepts:
- *adapter*: the Keras object that reads a `PyDataset` for one loop. It also holds `shuffle` and `class_weight` of the
  call, which Keras does not pass to the data set.
- *extra epoch*: the reads before the first `on_epoch_end` of a loop.
"""

import sys
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras

from tailfit.errors import StepError

__all__ = ["KerasLoops", "calling_adapter", "loop_around"]


def calling_adapter(batches: object) -> Any | None:
    """Return the Keras adapter of `batches` whose method called the caller of this function; else None.

    If a later Keras calls the data set differently, the result is None: reads then count as the user's own, the epoch
    is the one of `set_epoch`, and order is not checked.
    """
    # Nothing simpler works: no documented hook passes the adapter, and a counter of on_epoch_begin and on_epoch_end can
    # tell neither a new loop from the next epoch of the same one, nor the shuffle= and class_weight= of the call.
    # Guarded by test_keras_calls_data_sets_through_its_adapter in tests/keras/data/test_batches_in_keras_loops.py.
    caller = sys._getframe(2).f_locals.get("self")
    return caller if getattr(caller, "py_dataset", None) is batches else None


def loop_around() -> str | None:
    """Return the method of a `keras.Model` that is running in this thread: "fit", "evaluate" or "predict"; or None.

    If it is not found, `predict` reads in the sampler's order.
    """
    # No Keras hook names the loop. Guarded by test_row_i_is_sample_i in tests/keras/data/test_predict_order.py.
    frame = sys._getframe(1).f_back
    while frame is not None:
        name = frame.f_code.co_name
        if name in ("fit", "evaluate", "predict") and isinstance(frame.f_locals.get("self"), keras.Model):
            return name
        frame = frame.f_back
    return None


@dataclass
class _Loop:
    epoch: int
    changes: int
    next_step: int = 0
    training: bool = False  # the extra epoch, if any, has ended


class KerasLoops:
    """A count of the epochs of each Keras loop, which starts at the epoch set by `set_epoch`, initially 0.

    A loop's progress is derived from its reads: step 0 after the last step starts its next epoch, step 0 at any other
    time restarts the same epoch, and any other step must follow its predecessor.
    """

    def __init__(self) -> None:
        self.epoch = 0  # the epoch set, or read most recently
        self.first = 0  # first epoch of a new loop
        self._changes = 0
        self._loops: WeakKeyDictionary[Any, _Loop] = WeakKeyDictionary()
        self._reordered: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loops": None, "_reordered": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _loops=WeakKeyDictionary(), _reordered=WeakKeyDictionary())

    def reorder(self, adapter: Any, batches: Any) -> None:
        """Make a new loop, an `evaluate` or `predict`, read different batches, in any order."""
        self._reordered[adapter] = batches

    def reordered(self, adapter: Any) -> Any | None:
        """Return the batches set by `reorder` for a loop, or None."""
        return self._reordered.get(adapter)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = self.first = epoch
        self._changes += 1

    def begin(self, adapter: Any) -> None:
        """Handle `on_epoch_begin`: refuse shuffled steps before the first one is read."""
        if getattr(adapter, "shuffle", False):
            raise _out_of_order("Batches in a plain Keras fit(shuffle=True), which is Keras' default")

    def end(self, adapter: Any) -> None:
        """Handle `on_epoch_end`; the first one in a loop closes the extra epoch and resets the loop."""
        loop = self._loop(adapter)
        if not loop.training:
            loop.training, loop.next_step = True, 0

    def read(self, adapter: Any, step: int, steps: int) -> int:
        """Record the read of a step, and return the epoch that it belongs to."""
        loop = self._loop(adapter)
        if step == 0:
            if loop.changes != self._changes:
                loop.epoch, loop.changes = self.first, self._changes
            elif loop.training and loop.next_step == steps:
                loop.epoch += 1
        elif step != loop.next_step:
            raise _out_of_order(f"a plain Keras loop that reads step {step} instead of step {loop.next_step}")
        loop.next_step = step + 1
        self.epoch = loop.epoch
        return loop.epoch

    def _loop(self, adapter: Any) -> _Loop:
        return self._loops.setdefault(adapter, _Loop(self.first, self._changes))


def _out_of_order(received: str) -> StepError:
    return StepError(
        received,
        expected="the steps of an epoch in order, because the sampler has already shuffled the samples reproducibly",
        fix="pass fit(..., shuffle=False), or train with tailfit.Model, which reads in order for any shuffle=",
    )
