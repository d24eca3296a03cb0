"""Records of different length, concatenated in one array with the offset of each record."""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.errors import ArgumentError, DataError

__all__ = ["Ragged", "allocate", "assembled", "native", "take_into", "take_records"]

_LONG, _LINE = 2048, 64  # bytes of a record that may be copied by `rep movsb`, and of a cache line


@final
class Ragged:
    """Records that differ only in the length of their first axis, the steps.

    `read` of a ragged source returns it as a leaf of the nest; `Pad` converts it to an array.

    Args:
        records: Arrays `[steps, ...]`, one per record, that differ only in their number of steps.
        lengths: Number of steps of each record, `[n]`. Then `records` is one array `[all steps, ...]` of the
            concatenated records, which is not copied.
    Shapes: `values` `[all steps, ...]` in the records' units; `offsets` `int64[n + 1]`, `lengths` `int64[n]` in steps;
        `shape` is `(n, None, ...)`.
    Raises:
        DataError: If a record differs from the first one in dtype or in the shape of a step.
        ArgumentError: If lengths are not whole numbers, or do not sum to the steps of `records`.

    >>> ragged = Ragged([np.array([1.0, 2.0]), np.array([3.0])])
    >>> len(ragged), ragged.lengths.tolist(), ragged[0].tolist(), ragged.padded().tolist()
    (2, [2, 1], [1.0, 2.0], [[1.0, 2.0], [3.0, 0.0]])
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __init__(self, records: Sequence[ArrayLike] | NDArray[Any], lengths: ArrayLike | None = None) -> None:
        if lengths is None:
            self.values, sizes = _joined(records)
        else:
            self.values, sizes = np.asanyarray(records), np.asarray(lengths)
            if self.values.ndim == 0 or self.values.dtype.hasobject:
                raise DataError(
                    f"records of shape {self.values.shape} and type {self.values.dtype}",
                    expected="one array of numbers or text, [all steps, ...]",
                    fix="pass such an array, or drop lengths= to pass one array per record",
                )
            sizes = sizes.astype(np.int64) if sizes.size == 0 else sizes
            valid = sizes.ndim == 1 and sizes.dtype.kind in "iu" and sizes.min(initial=0) >= 0
            if not valid or int(sizes.sum()) != len(self.values):
                raise ArgumentError(
                    f"lengths of shape {sizes.shape} and type {sizes.dtype} with sum {sizes.sum()} for "
                    f"{len(self.values)} steps",
                    expected="one whole number >= 0 per record, with the number of steps as their sum",
                    fix="pass the number of steps of each record",
                )
        self.offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of steps of each record, `int64[n]`."""
        return np.diff(self.offsets)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """`(n, None, ...)`: the number of records, None for their steps, and the shape of a step."""
        return (len(self), None, *self.values.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.values.nbytes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, record: int) -> NDArray[Any]:
        """Return a view of one record, `[steps, ...]`."""
        if not -len(self) <= record < len(self):
            raise IndexError(f"record {record} of {len(self)}")
        record %= len(self)
        view: NDArray[Any] = self.values[self.offsets[record] : self.offsets[record + 1]]
        return view

    def __repr__(self) -> str:
        steps = f"{self.lengths.min()} to {self.lengths.max()} steps" if len(self) else "no steps"
        return f"<Ragged: {len(self)} records of {steps}, {self.values.shape[1:]} {self.dtype}>"

    def take(self, indices: NDArray[np.int64], axis: int = 0) -> "Ragged":
        """Return a copy of some records; `axis` is always 0, the axis of the records, as in `numpy.ndarray.take`."""
        lengths = self.lengths[indices]
        ends = np.cumsum(lengths)
        # The index in `values` of each step: its record's offset plus the number of the step in its record.
        steps = np.repeat(self.offsets[indices] - (ends - lengths), lengths) + np.arange(int(lengths.sum()))
        return Ragged(take_records(self.values, steps), lengths)

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> "Ragged":
        """Apply `function` to the array of all steps, `[all steps, ...]`; it must keep the first axis."""
        return Ragged(function(self.values), self.lengths)

    def mask(self, length: int | None = None) -> NDArray[np.bool_]:
        """Return whether each element of `padded(length)` is a step of a record, `bool[n, length]`."""
        mask: NDArray[np.bool_] = np.arange(self._padded_length(length)) < self.lengths[:, None]
        return mask

    def padded(self, length: int | None = None, value: float = 0.0) -> NDArray[Any]:
        """Return the records in one array `[n, length, ...]`, padded at their end with `value`.

        Args:
            length: Number of steps of the array; by default that of the longest record.
            value: Padding value in the units of the records.
        Raises:
            ArgumentError: If a record is longer than `length`.
        """
        array = np.full((len(self), self._padded_length(length), *self.values.shape[1:]), value, self.dtype)
        array[self.mask(length)] = self.values
        return array

    def _padded_length(self, length: int | None) -> int:
        longest = int(self.lengths.max(initial=0))
        if length is not None and length < longest:
            raise ArgumentError(
                f"length={length} for a record of {longest} steps",
                expected=f"length >= {longest}, the longest record",
                fix="pad to more steps, or crop the records first",
            )
        return longest if length is None else length


def take_records(leaf: NDArray[Any] | Ragged, indices: NDArray[np.int64]) -> Any:
    """Return a copy of some records of an array or a `Ragged` in native byte order; indices must be in range."""
    if isinstance(leaf, Ragged):
        return leaf.take(indices)
    array = np.asarray(leaf)  # np.take of a memmap would return the copy in memory as a memmap
    size = array.nbytes // max(len(array), 1)
    plain = array.dtype.kind in "biuf" and array.dtype.isnative and array.flags.c_contiguous and array.flags.aligned
    if plain and size >= _LONG:
        out = _like_offset(array, len(indices), size)
        take_into(out, array, indices)
        return out
    return native(array.take(indices, axis=0))


def _like_offset(array: NDArray[Any], count: int, size: int) -> NDArray[Any]:
    """Return an uninitialized array for `count` records of `size` bytes, as far from a multiple of 64 as `array`.

    The GNU C library copies long records by `rep movsb`, which AMD's Zen 3 executes 2 to 5 times slower if the target
    lies 1 to 31 bytes beyond the source, whole pages not counted (glibc bug 30994). Two arrays that the allocator
    places one after the other often do.
    """
    block = np.empty(count * size + _LINE, np.uint8)
    start = (array.__array_interface__["data"][0] - block.__array_interface__["data"][0]) % _LINE
    return block[start : start + count * size].view(array.dtype).reshape(count, *array.shape[1:])


def native(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in native byte order; the array itself if it is."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def take_into(out: Any, leaf: NDArray[Any], indices: NDArray[np.int64]) -> None:
    """Copy some records of an array into another array; indices must be in range."""
    if out.dtype == leaf.dtype and out.flags.c_contiguous:
        # With the default mode="raise" NumPy copies to a buffer first; "clip" changes nothing for valid indices.
        np.asarray(leaf).take(indices, axis=0, out=out, mode="clip")
    else:
        out[...] = leaf[indices]


class _RaggedParts:
    """A buffer of ragged records that are set in any order."""

    def __init__(self, like: Ragged) -> None:
        self.shape, self.dtype = like.shape, like.dtype
        self._rows: list[NDArray[np.int64]] = []
        self._parts: list[Ragged] = []

    def __setitem__(self, rows: NDArray[np.int64], part: Ragged) -> None:
        self._rows.append(rows)
        self._parts.append(part)

    def joined(self) -> Ragged:
        """Return all records in the order of their rows."""
        unordered = Ragged(
            np.concatenate([part.values for part in self._parts]),
            np.concatenate([part.lengths for part in self._parts]),
        )
        return unordered.take(np.argsort(np.concatenate(self._rows)))


def allocate(leaf: Any, size: int) -> Any:
    """Return a buffer for `size` records like those of a leaf, to be set by `buffer[rows] = part`; see `assembled`."""
    return _RaggedParts(leaf) if isinstance(leaf, Ragged) else np.empty((size, *leaf.shape[1:]), leaf.dtype)


def assembled(buffer: Any) -> Any:
    """Return the array or `Ragged` of the records in a buffer of `allocate`."""
    return buffer.joined() if isinstance(buffer, _RaggedParts) else buffer


def _joined(records: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    arrays = [np.asanyarray(record) for record in records]
    if not arrays:
        raise DataError(
            "an empty list of records",
            expected="one array or more",
            fix="pass records, or an empty array together with lengths=[]",
        )
    first = arrays[0]
    for number, array in enumerate(arrays):
        if array.ndim == 0 or array.dtype.hasobject or (array.shape[1:], array.dtype) != (first.shape[1:], first.dtype):
            raise DataError(
                f"record {number} of shape {array.shape} and type {array.dtype}",
                expected=f"(steps, {', '.join(map(str, first.shape[1:]))}) and {first.dtype} as in the first record",
                fix="convert all records to one dtype, and one shape except for the first axis",
            )
    return np.concatenate(arrays), np.array([len(array) for array in arrays], dtype=np.int64)
