"""A user's change of whole batches, drawn anew for each (seed, epoch, step) and the same wherever it runs."""

import hashlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailfit.data.records.dtypes import check_record_types
from tailfit.data.records.trees import leaves
from tailfit.errors import DataError

__all__ = ["Function", "Transform"]

Function = Callable[[tuple[Any, ...], np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True)
class Transform:
    """`function(batch, rng)` with a generator of its own for each batch, and its result checked.

    What the function draws with `keras.random` or Keras' layers without a seed of theirs is a function of the batch's
    place, too. NumPy's global generator is not: other threads draw from it.

    Args:
        function: What the user passed.
        seed: Of the run.
        shard: `(index, count)`: the parts of a batch are drawn independently.

    >>> noise = Transform(lambda batch, rng: (batch[0] + rng.normal(),), seed=1)
    >>> bool(noise((np.zeros(1),), epoch=0, step=1) == noise((np.zeros(1),), epoch=0, step=1))
    True
    """

    function: Function
    seed: int
    shard: tuple[int, int] = (0, 1)

    def __call__(self, batch: tuple[Any, ...], epoch: int, step: int) -> tuple[Any, ...]:
        """The changed batch.

        Raises:
            DataError: if it is not of the structure and size of the one before.
        """
        rows = len(next(leaves(batch))[1])
        with _keras_drawing_from(int.from_bytes(self._digest("keras", epoch, step)[:4], "little") >> 1):
            changed = self.function(batch, self.generator(epoch, step))
        _check(batch, changed, rows)
        return changed

    def generator(self, epoch: int, step: int) -> np.random.Generator:
        """What the batch at a place of the run is drawn with."""
        key = int.from_bytes(self._digest("transform", epoch, step), "little")
        return np.random.Generator(np.random.Philox(key=key))

    def _digest(self, use: str, epoch: int, step: int) -> bytes:
        # Hashed, not added: seed 0 epoch 1 is unlike seed 1 epoch 0.
        place = f"tailfit {use} {self.seed} {epoch} {step} {self.shard}"
        return hashlib.blake2b(place.encode(), digest_size=16).digest()


def _keras_drawing_from(seed: int) -> AbstractContextManager[None]:
    """Within, what Keras draws without a seed follows from this one."""
    if "keras" not in sys.modules:  # so the function draws nothing from it; and sources work without Keras
        return nullcontext()
    from tailfit.keras_private import unseeded_numbers_from

    return unseeded_numbers_from(seed)


def _check(before: tuple[Any, ...], after: Any, rows: int) -> None:
    sound = isinstance(after, tuple) and len(after) == len(before)
    sound = sound and all(np.shape(leaf)[:1] == (rows,) for _, leaf in leaves(after) if leaf is not None)
    if not sound:
        got = tuple(np.shape(leaf) for _, leaf in leaves(after))
        raise DataError(
            f"transform's result, a {type(after).__name__} of shapes {got}",
            expected=f"a tuple of {len(before)} like the batch passed in, each array with first axis {rows}",
            fix="return (x, y) or (x, y, w) as received, of the same number of samples",
        )
    check_record_types(after[0], "from transform")
