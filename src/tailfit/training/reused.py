"""Memory for batches that is reused once nothing refers to the batch that was in it.

TensorFlow reads batches in its own thread. There, the system reclaims the memory of large arrays when they are freed,
and maps it again page by page, which takes longer than copying the records.
"""

import sys
from typing import Any

import keras
import numpy as np

__all__ = ["Reused"]

_MOST = 4  # batches: one being read, one being copied, and some in TensorFlow's queues
# TensorFlow uses an array that begins at a multiple of 64 bytes in place, and refers to it as long as the batch lives;
# any other array it copies at once. So arrays here begin 16 bytes after such an address.
_ALIGNED, _OFFSET = 64, 16


class Reused:
    """A pool of buffers for batches of one shape.

    A call returns arrays to write a batch into, or None if all buffers are in use. A buffer is reused only if nothing
    refers to it: every view of a batch, also a view of a view, refers to its buffer.

    Args:
        like: A batch of the shapes and dtypes that the buffers are for.

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
        self._unused = self._references(0)  # the number of references to a buffer that no batch uses
        view = self._blocks[0][:1]
        # References are counted since NumPy has no other way to ask whether views of an array live on. Where the
        # interpreter does not count a view's, nothing is reused.
        self._usable = self._usable and self._references(0) == self._unused + 1
        del view

    def __call__(self) -> Any:
        """Return arrays to write a batch into, in its structure; None if all buffers are in use."""
        if not self._usable:
            return None
        number = next((n for n in range(len(self._blocks)) if self._references(n) <= self._unused), len(self._blocks))
        if number == _MOST:
            return None
        if number == len(self._blocks):
            self._add()
        block, start = self._blocks[number], self._starts[number]
        leaves = [
            block[start + begin : start + end].view(dtype).reshape(shape) for begin, end, dtype, shape in self._parts
        ]
        return keras.tree.pack_sequence_as(self._structure, leaves)

    def _references(self, number: int) -> int:
        return sys.getrefcount(self._blocks[number])

    def _add(self) -> None:
        block = np.empty(self._size, np.uint8)
        self._blocks.append(block)
        self._starts.append((_OFFSET - block.__array_interface__["data"][0]) % _ALIGNED)
