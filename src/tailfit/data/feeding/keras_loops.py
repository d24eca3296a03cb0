"""Which epoch a plain Keras loop is in, and whether it reads it in order.

Keras tells a data set that *an* epoch begins or ends, not whose: a `fit`, the validation inside it and an
`evaluate` may share one data set, and before training a phantom epoch reads a batch or two to learn shapes. What
tells them apart is Keras' adapter, one for each loop. No documented hook hands it over, so `calling_adapter`, the
one place that does, finds it as the object whose method is calling. Were it not found (a later Keras), reads would
count as a user's own: the epoch would stay where `set_epoch` put it, and nothing would be checked.
"""

import sys
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras

from tailfit.errors import StepError

__all__ = ["KerasLoops", "calling_adapter", "loop_around"]


def calling_adapter(batches: object) -> Any | None:
    """The Keras adapter of `batches` whose method called our caller; None if anything else did."""
    caller = sys._getframe(2).f_locals.get("self")
    return caller if getattr(caller, "py_dataset", None) is batches else None


def loop_around() -> str | None:
    """Which method of a `keras.Model` is running in this thread: "fit", "evaluate" or "predict"; None if none is.

    Keras tells a data set nothing of it. Were it not found, `predict` would read in the sampler's order.
    """
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
    training: bool = False  # the phantom epoch, if any, is over


class KerasLoops:
    """Counts the epochs of each Keras loop from the one that `set_epoch` names, 0 to begin with.

    The signs of a loop's progress are its reads: step 0 after the last step opens its next epoch, step 0 at any
    other time begins the same epoch again, and any step but 0 must follow its predecessor.
    """

    def __init__(self) -> None:
        self.epoch = 0  # set, or read last
        self.first = 0  # of the loops that begin
        self._changes = 0
        self._loops: WeakKeyDictionary[Any, _Loop] = WeakKeyDictionary()
        self._reordered: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loops": None, "_reordered": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _loops=WeakKeyDictionary(), _reordered=WeakKeyDictionary())

    def reorder(self, adapter: Any, batches: Any) -> None:
        """Let a loop that begins read other batches, in any order: an `evaluate` or `predict`."""
        self._reordered[adapter] = batches

    def reordered(self, adapter: Any) -> Any | None:
        """The batches that a loop reads instead."""
        return self._reordered.get(adapter)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = self.first = epoch
        self._changes += 1

    def begin(self, adapter: Any) -> None:
        """Keras: an epoch begins. Shuffled steps are refused before the first is read."""
        if getattr(adapter, "shuffle", False):
            raise _out_of_order("Batches in a plain Keras fit(shuffle=True), which is its default")

    def end(self, adapter: Any) -> None:
        """Keras: an epoch ends. The first end in a loop is a reset: it closes the phantom epoch."""
        loop = self._loop(adapter)
        if not loop.training:
            loop.training, loop.next_step = True, 0

    def read(self, adapter: Any, step: int, steps: int) -> int:
        """The epoch that step `step` of `steps` is of."""
        loop = self._loop(adapter)
        if step == 0:
            if loop.changes != self._changes:
                loop.epoch, loop.changes = self.first, self._changes
            elif loop.training and loop.next_step == steps:
                loop.epoch += 1
        elif step != loop.next_step:
            raise _out_of_order(f"a plain Keras loop that reads step {step} where {loop.next_step} is due")
        loop.next_step = step + 1
        self.epoch = loop.epoch
        return loop.epoch

    def _loop(self, adapter: Any) -> _Loop:
        return self._loops.setdefault(adapter, _Loop(self.first, self._changes))


def _out_of_order(received: str) -> StepError:
    return StepError(
        received,
        expected="the steps of an epoch in their order: the sampler has shuffled already, reproducibly",
        fix="pass fit(..., shuffle=False), or train with tailfit.Model, which reads in order whatever shuffle= says",
    )
