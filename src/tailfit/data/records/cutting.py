"""Windows cut from records in memory, at places that are looked up once for all batches."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.records.finite import WindowCheck
from tailfit.data.records.ragged import Ragged, native
from tailfit.data.records.trees import map_tree

__all__ = ["WindowCutter", "WindowReader", "cut_windows"]


class WindowCutter:
    """Windows of `length` steps of an array, as copies in native byte order.

    Args:
        values: Array `[steps, ...]`.
        first: First step of each window, `[windows]`.
        length: Steps per window, >= 1.

    >>> WindowCutter(np.arange(6), np.array([0, 2, 3]), 3)(np.array([2, 0])).tolist()
    [[3, 4, 5], [0, 1, 2]]
    """

    def __init__(self, values: NDArray[Any], first: NDArray[np.int64], length: int) -> None:
        self._values, self._first, self._length = values, first, length
        self._overlapping: NDArray[Any] | None = None
        plain = values.flags.c_contiguous and values.dtype.isnative and not values.dtype.hasobject
        step_bytes = values.strides[0] if plain and len(values) >= max(length, 2) else 0
        if step_bytes:
            # All windows as overlapping items of one type: NumPy then copies each window at once, as fast as np.take.
            window, contents = np.dtype((np.void, step_bytes * length)), values.reshape(-1).view(np.uint8)
            self._overlapping = np.ndarray((len(values) - length + 1,), window, contents, strides=(step_bytes,))
            self._shape: Final = (-1, length, *values.shape[1:])

    def __call__(self, positions: NDArray[np.int64] | slice = slice(None)) -> NDArray[Any]:
        """Return the windows at these positions in `first`, `[n, length, ...]`; by default all."""
        first = self._first[positions]
        if self._overlapping is None or not len(first):
            return native(np.asarray(self._values)[first[:, None] + np.arange(self._length)])
        return np.asarray(self._overlapping[first].view(self._values.dtype)).reshape(self._shape)


def cut_windows(
    leaf: NDArray[Any] | Ragged, records: NDArray[np.int64], starts: NDArray[np.int64], length: int
) -> Callable[..., NDArray[Any]]:
    """Return a function that returns windows of records at given positions, by default all; see `WindowCutter`.

    Args:
        leaf: The records, `[records, steps, ...]` or a `Ragged`.
        records: Record of each window, `[windows]`.
        starts: First step of each window in its record, `[windows]`. All windows must be inside their records.
        length: Steps per window, >= 1.

    >>> cut_windows(np.arange(10).reshape(2, 5), np.array([1, 0]), np.array([2, 0]), 3)().tolist()
    [[7, 8, 9], [0, 1, 2]]
    """
    if isinstance(leaf, Ragged):
        return WindowCutter(leaf.values, leaf.offsets[records] + starts, length)
    if leaf.flags.c_contiguous:
        steps = leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])
        return WindowCutter(steps, records * leaf.shape[1] + starts, length)
    within = np.arange(length)
    return lambda positions=slice(None): native(
        np.asarray(leaf)[records[positions][:, None], starts[positions][:, None] + within]
    )


class WindowReader:
    """Batches of windows of records in memory, checked for NaN and infinity.

    Args:
        whole: All records: an array, a `Ragged`, or a nest of them.
        records: Record of each window, `[windows]`.
        starts: First step of each window in its record, `[windows]`.
        length: Steps per window, >= 1.
        check: The check.
        named: Function that returns the name of a record in messages.
    """

    def __init__(
        self,
        whole: Any,
        records: NDArray[np.int64],
        starts: NDArray[np.int64],
        length: int,
        check: WindowCheck,
        named: Callable[[int], str],
    ) -> None:
        self._whole, self._records, self._check, self._named = whole, records, check, named
        self._cut = map_tree(lambda leaf: cut_windows(leaf, records, starts, length), whole)

    def __call__(self, positions: NDArray[np.int64] | slice = slice(None)) -> Any:
        """Return the windows at these positions, arrays `[n, length, ...]`; by default all."""
        windows = map_tree(lambda cut: cut(positions), self._cut)
        if not self._check.done:
            self._check.check(self._records[positions], windows, self._named, self._whole)
        return windows
