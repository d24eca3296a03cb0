"""A user's change of whole batches, drawn anew for each (seed, epoch, step) and the same wherever it runs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailfit.data.trees import leaves
from tailfit.errors import DataError

__all__ = ["Function", "Transform"]

Function = Callable[[tuple[Any, ...], np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True)
class Transform:
    """`function(batch, rng)` with a generator of its own for each batch, and its result checked.

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
        changed = self.function(batch, self.generator(epoch, step))
        _check(batch, changed, rows)
        return changed

    def generator(self, epoch: int, step: int) -> np.random.Generator:
        """What the batch at a place of the run is drawn with."""
        # Hashed, not added: seed 0 epoch 1 is unlike seed 1 epoch 0.
        place = f"tailfit transform {self.seed} {epoch} {step} {self.shard}"
        digest = hashlib.blake2b(place.encode(), digest_size=16).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def _check(before: tuple[Any, ...], after: Any, rows: int) -> None:
    sound = isinstance(after, tuple) and len(after) == len(before)
    sound = sound and all(np.shape(leaf)[:1] == (rows,) for _, leaf in leaves(after) if leaf is not None)
    if not sound:
        got = tuple(np.shape(leaf) for _, leaf in leaves(after))
        raise DataError(
            f"transform's result, a {type(after).__name__} of shapes {got}",
            allowed=f"a tuple of {len(before)} like the batch passed in, each array with first axis {rows}",
            mend="return (x, y) or (x, y, w) as received, of the same number of samples",
        )
