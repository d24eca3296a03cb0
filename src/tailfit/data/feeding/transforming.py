"""The user's transform of batches, whose random numbers are a function of (seed, epoch, step)."""

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
    """A call of `function(batch, rng)` with a separate generator for each batch, and a check of its result.

    Unseeded random numbers of `keras.random` and of Keras layers are also a function of (seed, epoch, step). Those of
    NumPy's global generator are not, because other threads use it too.

    Args:
        function: Function of the user.
        seed: Seed of the run.

    >>> noise = Transform(lambda batch, rng: (batch[0] + rng.normal(),), seed=1)
    >>> bool(noise((np.zeros(1),), epoch=0, step=1) == noise((np.zeros(1),), epoch=0, step=1))
    True
    """

    function: Function
    seed: int

    def __call__(
        self, batch: tuple[Any, ...], epoch: int, step: int, shard: tuple[int, int] = (0, 1)
    ) -> tuple[Any, ...]:
        """Return the transformed batch, or shard of a batch; shards use independent random numbers.

        Raises:
            DataError: If its structure or number of samples differs from the original batch.
        """
        rows = len(next(leaves(batch))[1])
        with _keras_seeded(int.from_bytes(self._digest("keras", epoch, step, shard)[:4], "little") >> 1):
            changed = self.function(batch, self.generator(epoch, step, shard))
        _check(batch, changed, rows)
        return changed

    def generator(self, epoch: int, step: int, shard: tuple[int, int] = (0, 1)) -> np.random.Generator:
        """Return the random generator of batch (epoch, step), or of a shard of it."""
        key = int.from_bytes(self._digest("transform", epoch, step, shard), "little")
        return np.random.Generator(np.random.Philox(key=key))

    def _digest(self, use: str, epoch: int, step: int, shard: tuple[int, int]) -> bytes:
        # Hashed, not added, so that seed 0 epoch 1 differs from seed 1 epoch 0.
        key = f"tailfit {use} {self.seed} {epoch} {step} {shard}"
        return hashlib.blake2b(key.encode(), digest_size=16).digest()


def _keras_seeded(seed: int) -> AbstractContextManager[None]:
    """Derive Keras' unseeded random numbers from this seed."""
    if "keras" not in sys.modules:  # then the function can't use it; don't import Keras in a worker that does without
        return nullcontext()
    from tailfit.keras_private import unseeded_numbers_from

    return unseeded_numbers_from(seed)


def _check(before: tuple[Any, ...], after: Any, rows: int) -> None:
    valid = isinstance(after, tuple) and len(after) == len(before)
    valid = valid and all(np.shape(leaf)[:1] == (rows,) for _, leaf in leaves(after) if leaf is not None)
    if not valid:
        shapes = tuple(np.shape(leaf) for _, leaf in leaves(after))
        raise DataError(
            f"a {type(after).__name__} of shapes {shapes} from transform",
            expected=f"a tuple of {len(before)} parts like the batch passed, with arrays whose first axis is {rows}",
            fix="return (x, y) or (x, y, w) with the same number of parts and samples",
        )
    check_record_types(after[0], "from transform")
