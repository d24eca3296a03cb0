"""Records of different length: their steps end to end in one array, and where each record begins in it."""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.errors import ArgumentError, DataError

__all__ = ["Ragged", "allocate", "assembled", "take_into", "take_records"]


@final
class Ragged:
    """Records that differ in their first axis, the steps, and in nothing else.

    What `read` of a source of such records gives, as one leaf of the nest; `Pad` makes an array of it.

    Args:
        records: Arrays `[steps, ...]`, one a record, alike but for their steps.
        lengths: With it `records` is one array `[all steps, ...]`, the records end to end, and these are their steps,
            `[n]`; nothing is copied.
    Shapes: `values` `[all steps, ...]` in the records' units; `offsets` `int64[n + 1]`, `lengths` `int64[n]` in steps;
        `shape` is `(n, None, ...)`.
    Raises:
        DataError: If an ID is unknown; the message names the first record that is not like the one before.
        ArgumentError: for lengths that are no whole numbers, or do not sum to the steps of `records`.

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
                    fix="leave lengths out to pass one array a record",
                )
            sizes = sizes.astype(np.int64) if sizes.size == 0 else sizes
            sound = sizes.ndim == 1 and sizes.dtype.kind in "iu" and sizes.min(initial=0) >= 0
            if not sound or int(sizes.sum()) != len(self.values):
                raise ArgumentError(
                    f"lengths of shape {sizes.shape} and type {sizes.dtype}, in all {sizes.sum()} steps, for "
                    f"{len(self.values)}",
                    expected="whole numbers >= 0, one a record, that sum to the steps",
                    fix="pass the steps of each record",
                )
        self.offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each record."""
        return np.diff(self.offsets)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Records, None for their steps, and the shape of a step."""
        return (len(self), None, *self.values.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.values.nbytes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, record: int) -> NDArray[Any]:
        """A view of one record, `[steps, ...]`."""
        if not -len(self) <= record < len(self):
            raise IndexError(f"record {record} of {len(self)}")
        record %= len(self)
        view: NDArray[Any] = self.values[self.offsets[record] : self.offsets[record + 1]]
        return view

    def __repr__(self) -> str:
        steps = f"{self.lengths.min()} to {self.lengths.max()} steps" if len(self) else "no steps"
        return f"<Ragged: {len(self)} records of {steps}, {self.values.shape[1:]} {self.dtype}>"

    def take(self, indices: NDArray[np.int64], axis: int = 0) -> "Ragged":
        """Some records, copied; `axis` is 0, that of the records, as in an array's `take`."""
        lengths = self.lengths[indices]
        ends = np.cumsum(lengths)
        # Each step's place: its record's first one, and on from there.
        steps = np.repeat(self.offsets[indices] - (ends - lengths), lengths) + np.arange(int(lengths.sum()))
        return Ragged(take_records(self.values, steps), lengths)

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> "Ragged":
        """The same records with `function` applied to all steps at once, `[all steps, ...]` to the same."""
        return Ragged(function(self.values), self.lengths)

    def mask(self, length: int | None = None) -> NDArray[np.bool_]:
        """Where `padded(length)` has a step, `bool[n, length]`."""
        there: NDArray[np.bool_] = np.arange(self._padded_length(length)) < self.lengths[:, None]
        return there

    def padded(self, length: int | None = None, value: float = 0.0) -> NDArray[Any]:
        """The records in one array `[n, length, ...]`, what is beyond a record's end filled with `value`.

        Args:
            length: Steps of the array; those of the longest record without it.
            value: In the units of the records.
        Raises:
            ArgumentError: if a record is longer.
        """
        array = np.full((len(self), self._padded_length(length), *self.values.shape[1:]), value, self.dtype)
        array[self.mask(length)] = self.values
        return array

    def _padded_length(self, length: int | None) -> int:
        longest = int(self.lengths.max(initial=0))
        if length is not None and length < longest:
            raise ArgumentError(
                f"length={length} for a record of {longest} steps",
                expected=f"{longest} steps or more",
                fix="pad to more steps, or cut the records first",
            )
        return longest if length is None else length


def take_records(leaf: NDArray[Any] | Ragged, indices: NDArray[np.int64]) -> Any:
    """Some records of an array or a `Ragged`, copied, in native byte order."""
    if isinstance(leaf, Ragged):
        return leaf.take(indices)
    # asarray: np.take of a memmap would label the copy in memory a memmap.
    records = np.asarray(leaf).take(indices, axis=0)
    return records if records.dtype.isnative else records.astype(records.dtype.newbyteorder("="))


def take_into(out: Any, leaf: NDArray[Any], indices: NDArray[np.int64]) -> None:
    """Some records of an array, copied to another; indices are in range."""
    if out.dtype == leaf.dtype and out.flags.c_contiguous:
        # Without "clip", which does nothing here, NumPy copies to a buffer first.
        np.asarray(leaf).take(indices, axis=0, out=out, mode="clip")
    else:
        out[...] = leaf[indices]


class _Parts:
    """Records of different length as they come in, and where each belongs."""

    def __init__(self, like: Ragged) -> None:
        self.shape, self.dtype = like.shape, like.dtype
        self._rows: list[NDArray[np.int64]] = []
        self._parts: list[Ragged] = []

    def __setitem__(self, rows: NDArray[np.int64], part: Ragged) -> None:
        self._rows.append(rows)
        self._parts.append(part)

    def joined(self) -> Ragged:
        """All of them, each in its place."""
        together = Ragged(
            np.concatenate([part.values for part in self._parts]),
            np.concatenate([part.lengths for part in self._parts]),
        )
        return together.take(np.argsort(np.concatenate(self._rows)))


def allocate(leaf: Any, size: int) -> Any:
    """What takes so many records like those of a leaf, by `room[rows] = part`; `assembled` makes it a leaf."""
    return _Parts(leaf) if isinstance(leaf, Ragged) else np.empty((size, *leaf.shape[1:]), leaf.dtype)


def assembled(room: Any) -> Any:
    """The records that were put into a `allocate` them."""
    return room.joined() if isinstance(room, _Parts) else room


def _joined(records: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    arrays = [np.asanyarray(record) for record in records]
    if not arrays:
        raise DataError("no records", expected="one array or more", fix="pass lengths=[] beside an empty array")
    first = arrays[0]
    for number, array in enumerate(arrays):
        if array.ndim == 0 or array.dtype.hasobject or (array.shape[1:], array.dtype) != (first.shape[1:], first.dtype):
            raise DataError(
                f"record {number} of shape {array.shape} and type {array.dtype}",
                expected=f"(steps, {', '.join(map(str, first.shape[1:]))}) and {first.dtype}, as the first one",
                fix="bring all records to one type, and one shape but for their first axis",
            )
    return np.concatenate(arrays), np.array([len(array) for array in arrays], dtype=np.int64)
