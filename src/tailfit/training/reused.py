"""Memory for batches that is used again as soon as nobody holds the batch that was in it.

TensorFlow reads in a thread of its own, in which the system takes the memory of large arrays back when they go, and
gives it again page by page: that takes longer than copying the records there.
"""

import sys
from typing import Any

import keras
import numpy as np

__all__ = ["Reused"]

_MOST = 4  # batches: one that is read, one that is being copied, and some that are on their way
# An array that begins at a multiple of 64 bytes TensorFlow takes as it is, and holds while the batch lives; any other
# it copies at once, and lets go.
_ALIGNED, _BESIDE = 64, 16


class Reused:
    """Arrays for one batch after the other.

    A block of memory is given again only if nothing refers to it, be it a view of a view: what holds a batch holds the
    block. If all are held, None is given.

    Args:
        like: A batch.

    >>> reused = Reused((np.ones((2, 3)), np.array([0, 1])))
    >>> batch = reused()
    >>> [part.shape for part in batch], np.shares_memory(batch[0], reused()[0])
    ([(2, 3), (2,)], False)
    >>> first = batch[0].ctypes.data
    >>> del batch
    >>> reused()[0].ctypes.data == first
    True
    """

    def __init__(self, like: Any) -> None:
        self._structure = keras.tree.map_structure(lambda leaf: 0, like)
        self._parts: list[tuple[int, int, np.dtype[Any], tuple[int, ...]]] = []
        size = 0
        for leaf in keras.tree.flatten(like):
            self._parts.append((size, size + leaf.nbytes, leaf.dtype, leaf.shape))
            size += -(-leaf.nbytes // _ALIGNED) * _ALIGNED
        self._size = size + 2 * _ALIGNED
        self._usable = not any(dtype.hasobject for _, _, dtype, _ in self._parts)
        self._blocks: list[np.ndarray] = []
        self._starts: list[int] = []
        self._add()
        self._alone = self._held(0)
        view = self._blocks[0][:1]
        # References are counted since NumPy has no other way to ask whether views of an array live on. Where the
        # interpreter does not count a view's, nothing is reused.
        self._usable = self._usable and self._held(0) == self._alone + 1
        del view

    def __call__(self) -> Any:
        """Arrays to be written, in the structure of a batch."""
        if not self._usable:
            return None
        number = next((n for n in range(len(self._blocks)) if self._held(n) <= self._alone), len(self._blocks))
        if number == _MOST:
            return None
        if number == len(self._blocks):
            self._add()
        block, start = self._blocks[number], self._starts[number]
        leaves = [
            block[start + begin : start + end].view(dtype).reshape(shape) for begin, end, dtype, shape in self._parts
        ]
        return keras.tree.pack_sequence_as(self._structure, leaves)

    def _held(self, number: int) -> int:
        return sys.getrefcount(self._blocks[number])

    def _add(self) -> None:
        block = np.empty(self._size, np.uint8)
        self._blocks.append(block)
        self._starts.append((_BESIDE - block.__array_interface__["data"][0]) % _ALIGNED)
