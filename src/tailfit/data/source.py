"""Sources: collections of samples, each with an ID and optionally a label and a row of metadata.

Concepts:
- *position*: `0 <= i < len(source)`. Samplers draw positions, and `read` reads a whole batch of them in one call.
- *ID*: a string that identifies a sample in messages, partitions and metadata; unique within the source.
- *record*: the data of a sample, an array or a nest of arrays (dict, tuple, list). Records of a *ragged* source differ
  in length on their first axis, the steps; `read` returns a `Ragged` in place of an array.
- *part*: a `Subset` of a source, which shares its storage.
- *group*: samples that belong together, for example all windows of one recording; no split cuts a group.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from types import EllipsisType
from typing import Any, Final, overload

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tailfit.data.grouping import Grouping, grouping_of
from tailfit.data.records.cutting import cut_windows
from tailfit.data.records.trees import leaves, map_tree, pairs
from tailfit.data.splitting import by_partition, by_shares
from tailfit.data.tables.ids import Numbered
from tailfit.data.tables.metadata import align
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded, Kind
from tailfit.names import check_names, first_duplicate

__all__ = ["Numbered", "Source", "Subset", "checked_ids", "index_chunks", "split"]


class Source(ABC):
    """Samples on disk or in memory, read by position, a batch at a time.

    A source never changes after its construction, and `read` may be called from several threads at once.

    To write a source, derive from this class, pass IDs, encoded labels and metadata to the constructor, and implement
    `_read(indices)`, which returns new arrays. `Source.read` checks the positions before it calls `_read`. Override
    `_read_into` if records can be copied directly into the arrays of a batch; set the attribute `in_memory` if reading
    only copies from memory, and `ragged` together with the property `lengths` if records differ in length. `Batches`
    calls `_read` from its reader thread, and pickles the source for worker processes.

    Args:
        ids: n unique IDs.
        labels: Encoded labels, see `tailfit.labels.encode`, or None.
        metadata: polars DataFrame, or None. Its rows are sorted by the order of `ids`, see
            `tailfit.data.tables.metadata.align`.
        groups: A metadata column, a list of columns, or n keys, see `grouped`; or a `Grouping`; None for no groups.

    Attributes:
        in_memory: Whether `read` only copies from memory, so that reading ahead in a thread gains nothing.
        ragged: Whether records differ in length.
        left_out: Columns of a table that are not part of the records because they only number the rows.
        channels: Names of the entries of a record's last axis, if the storage has them; else None.
        keeps_missing: Whether NaN is expected in the records, as a missing reading.
        step_seconds: Usual time between two steps of a record, in seconds; None if the storage has no times.

    >>> import tailfit
    >>> from tailfit.labels import encode
    >>> class Sines(tailfit.data.Source):
    ...     def __init__(self, frequencies):
    ...         super().__init__([f"{value} Hz" for value in frequencies], encode(["low", "high"]))
    ...         self._frequencies = np.array(frequencies)
    ...
    ...     def _read(self, indices):
    ...         return np.sin(2 * np.pi * self._frequencies[indices, None] * np.arange(4) / 16)
    >>> Sines([1, 4]).read([1]).round(2).tolist(), tailfit.Batches(Sines([1, 4]), batch_size=2)[0][0].shape
    ([[0.0, 1.0, 0.0, -1.0]], (2, 4))
    """

    in_memory: bool = False
    ragged: bool = False
    left_out: tuple[str, ...] = ()
    keeps_missing: bool = False
    _step_classes: tuple[str, ...] = ()  # names of the classes of `step_labels`, set by sources that have them
    channels: tuple[str, ...] | None = None
    step_seconds: float | None = None

    def __init__(
        self,
        ids: Sequence[str],
        labels: Encoded | None = None,
        metadata: pl.DataFrame | None = None,
        groups: str | ArrayLike | Grouping | None = None,
    ) -> None:
        if not isinstance(ids, Numbered):
            check_names(ids, "ID")
        self._ids: Final = ids
        self._encoded: Final = labels
        self._metadata: Final = None if metadata is None else align(metadata, ids)
        self._grouping: Grouping | None = None
        if groups is not None:
            self._grouping = groups if isinstance(groups, Grouping) else grouping_of(self, groups)

    def as_ragged(self) -> "Source | None":
        """Return the same samples with `ragged=True`, if the source has this option and it was off; else None."""
        return None

    @abstractmethod
    def _read(self, indices: NDArray[np.int64]) -> Any:
        """Return new arrays of the records at these positions, which are valid `int64` positions.

        To be implemented by each source. The result is an array, a `Ragged`, or a nest of them, with first axis
        `len(indices)`, of the same structure, dtype and record shape for any indices, also for none.

        Raises:
            DataError: If a record can't be read; the message should name its ID.
        """

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        labels = "unlabelled" if self._encoded is None else f"{len(self.class_names)} classes"
        return f"<{type(self).__name__}: {len(self)} samples, {labels}>"

    @property
    def ids(self) -> Sequence[str]:
        """The ID of each sample."""
        return self._ids

    @property
    def encoded(self) -> Encoded | None:
        """Labels with their kind and class names; None if unlabelled."""
        return self._encoded

    @property
    def labels(self) -> NDArray[Any] | None:
        """Class indices `int64[n]`; soft and multi-label `float32[n, C]`; None if unlabelled."""
        return None if self._encoded is None else self._encoded.values

    @property
    def label_kind(self) -> Kind | None:
        """`"codes"` (class indices), `"soft"` or `"multi-label"`; None if unlabelled."""
        return None if self._encoded is None else self._encoded.kind

    def step_labels(self, index: int) -> NDArray[np.int32] | None:
        """Return the class index of each step of a record, `int32[steps]`, -1 for steps without a class.

        Returns None if the source has no labels per step. See `tailfit.data.Recordings`.
        """
        return None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes in the order of the class indices; empty if unlabelled."""
        return self._step_classes if self._encoded is None else self._encoded.class_names

    @property
    def class_counts(self) -> NDArray[np.float64]:
        """Number of samples per class, `float64[C]`; the expected number for soft labels; empty if unlabelled.

        Of a source with labels per step only, whose records have no label, it is the number of steps.
        """
        return self._step_counts if self._encoded is None else self._encoded.class_counts

    @cached_property
    def _step_counts(self) -> NDArray[np.float64]:
        counts = np.zeros(len(self._step_classes))
        for index in range(len(self) if self._step_classes else 0):
            labels = self.step_labels(index)
            if labels is not None:
                counts += np.bincount(labels[labels >= 0], minlength=len(counts))
        return counts

    @property
    def metadata(self) -> pl.DataFrame | None:
        """Table with one row per sample in the order of `ids` and the column `id`; or None."""
        return self._metadata

    @property
    def grouping(self) -> Grouping | None:
        """Groups with their names and what they are by; None if all samples are independent."""
        return self._grouping

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Index of each sample's group in `group_names`, `int64[n]`; None if all samples are independent.

        Samples of equal group are never in two parts. Parts of a source share its indices.
        """
        return None if self.grouping is None else self.grouping.codes

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups in the order of their indices; empty without groups."""
        return () if self.grouping is None else self.grouping.names

    def grouped(self, by: str | Sequence[str] | ArrayLike | Grouping | None) -> "Subset":
        """Return the same samples with different groups.

        Args:
            by: A metadata column; a list of columns, whose combinations are groups; n keys, of which equal ones are a
                group; a `Grouping`; or None for independent samples.
        Raises:
            ArgumentError: If there is no such column, or not one key per sample.
            DataError: If samples have no value in the column; the message names them.

        >>> import tailfit
        >>> runs = pl.DataFrame({"well": ["B", "A", "B", "C"]})
        >>> source = tailfit.data.Arrays(np.arange(4), metadata=runs).grouped("well")
        >>> source.groups.tolist(), source.group_names
        ([1, 0, 1, 2], ('A', 'B', 'C'))
        >>> [part.metadata["well"].to_list() for part in source.split(0.5, 0.5)]
        [['B', 'B'], ['A', 'C']]
        """
        groups = by if by is None or isinstance(by, Grouping) else grouping_of(self, by)
        return Subset(self, np.arange(len(self)), groups=groups)

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """Number of steps of each record of a ragged source, `int64[n]`; None if all records have one shape."""
        return None

    def _read_into(self, out: Any, indices: NDArray[np.int64]) -> None:
        """Read the records at these positions into existing arrays with the structure that `_read` returns.

        A source may override it to avoid the copy. It is not called for ragged sources.
        """
        for into, records in pairs(out, self._read(indices)):
            into[...] = records

    def _windows(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Any:
        """Return windows of records, new arrays `[n, length, ...]`, for `Windows`.

        Args:
            records: Valid position of the record of each window, `[n]`.
            starts: First step of each window in its record, `[n]`.
            length: Steps per window; all windows are inside their records.
        """
        reader = self._window_reader(records, starts, length)
        return self._read_windows(records, starts, length) if reader is None else reader()

    def _read_windows(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Any:
        """See `_windows`; for a source without a `_window_reader`, which may override it to read only these steps."""
        # Each record is read once, however many of its windows are in the batch.
        distinct, places = np.unique(records, return_inverse=True)
        return map_tree(lambda leaf: cut_windows(leaf, places, starts, length)(), self._read(distinct))

    def _window_reader(
        self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int
    ) -> Callable[..., Any] | None:
        """Return a function that returns the windows at given positions in `records`, by default all, for `Windows`.

        A source in memory may override it, so that places of windows are looked up once instead of in each batch. None:
        windows are read by `_read_windows`. See `_windows` for the arguments.
        """
        return None

    def read(self, indices: ArrayLike, out: Any = None) -> Any:
        """Return the records at these positions, stacked: an array (or a nest of arrays) with first axis n.

        Args:
            indices: Positions `[n]`, `0 <= i < len(source)`, in any order, with or without repetitions; n may be 0.
            out: Arrays to read into instead of new ones, as returned by a `read` of the same number of records. Not
                supported by ragged sources.
        Raises:
            ArgumentError: If a position is out of range (negative ones do not count from the end), or the first axis of
                `out` is not n.
            DataError: If a record can't be read; the message names the sample.
        """
        positions = _as_indices(indices)
        if positions.size == 0:
            positions = positions.astype(np.int64)
        if positions.ndim != 1 or positions.dtype.kind not in "iu":
            raise ArgumentError(
                f"indices of shape {positions.shape} and type {positions.dtype}",
                expected="a one-dimensional array of integers",
                fix="pass positions such as np.arange(32), or np.flatnonzero(mask) for a mask",
            )
        size = len(self)
        # A negative position is a large one without its sign: one pass over the positions, where two comparisons
        # would take as long as reading a small batch.
        if positions.size and positions.astype(np.int64, copy=False).view(np.uint64).max() >= size:
            outside = (positions < 0) | (positions >= size)
            raise ArgumentError(
                f"index {positions[int(np.argmax(outside))]} of a source of {size} samples",
                expected=f"positions from 0 to {size - 1}" if size else "no positions for an empty source",
                fix="count positions from 0; negative ones do not count from the end",
            )
        positions = positions.astype(np.int64, copy=False)
        if out is None:
            return self._read(positions)
        if self.ragged or any(np.shape(leaf)[:1] != positions.shape for _, leaf in leaves(out)):
            raise ArgumentError(
                f"out of shapes {[np.shape(leaf) for _, leaf in leaves(out)]} for {len(positions)} of {self!r}",
                expected="arrays as `read` returns them for the same number of records, and records of one shape",
                fix="drop out=",
            )
        self._read_into(out, positions)
        return out

    def positions(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the positions of these IDs.

        Raises:
            DataError: If an ID is unknown; the message names the first one.
        """
        table = self._positions
        try:
            return np.fromiter((table[name] for name in ids), dtype=np.int64, count=len(ids))
        except (KeyError, TypeError):  # TypeError for unhashable names, such as lists
            name = next(name for name in ids if not isinstance(name, str) or name not in table)
            raise DataError(
                f"ID {name!r}",
                expected=f"the ID of one of the source's {len(self)} samples",
                fix="correct or drop the ID",
            ) from None

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        return {name: position for position, name in enumerate(self.ids)}

    @overload
    def split(self, partition: Mapping[str, Sequence[str]] | str | PathLike[str], /) -> "dict[str, Subset]": ...

    @overload
    def split(self, /, *shares: float, by: str | ArrayLike | None = None, seed: int = 0) -> "tuple[Subset, ...]": ...

    def split(self, /, *shares: Any, by: Any = None, seed: int = 0) -> Any:
        """Divide the source into disjoint parts that share its storage. No group is cut, see `grouped`.

        Args:
            *shares: One partition, or two or more fractions. A partition is a dict of part names to IDs, or a JSON file
                with such an object; samples in no part are left out. Fractions are positive and sum to one. Splits are
                stratified: the count of each class in each part, and the size of each part, is the exact share rounded
                down or up. A class with too few samples goes to the part with the largest remainder (the first of
                equal ones), as far as sizes allow. If the source has groups, the largest ones are placed first, each
                in the part that lacks most of its classes and size, so that shares are as close as groups allow.
            by: Further groups, as for `grouped`: samples with equal keys stay in one part, too. The parts get these
                groups, joined with those that the source already has.
            seed: Seed that selects one of the possible splits with these shares.
        Returns:
            A dict of `Subset` in the order of the partition, or a tuple of `Subset` for fractions.
        Raises:
            DataError: If an ID is in two parts, twice in one, or not in the source; if a partition cuts a group.
            ArgumentError: If fractions are not positive or do not sum to one, a part would be empty, or there are fewer
                groups than parts.

        >>> import tailfit
        >>> whole = tailfit.data.Arrays(np.arange(20), [0] * 15 + [1] * 5)
        >>> train, test = whole.split(0.8, 0.2)
        >>> train.class_counts.tolist(), test.class_counts.tolist()
        ([12.0, 4.0], [3.0, 1.0])
        >>> whole.split({"train": ["3", "1"]})["train"].read([0, 1]).tolist()
        [3, 1]
        """
        if len(shares) == 1 and isinstance(shares[0], Mapping | str | PathLike):
            if by is not None or seed != 0:
                raise ArgumentError(
                    "a partition together with by= or seed=",
                    expected="by= and seed= only together with fractions",
                    fix="drop by= and seed=",
                )
            parts = by_partition(self, shares[0])
            return {name: Subset(self, positions) for name, positions in parts.items()}
        divided, groups = by_shares(self, shares, by, seed)
        return tuple(
            Subset(self, positions, groups=None if groups is None else groups.take(positions)) for positions in divided
        )


def split(source: Source, /, *shares: Any, by: str | ArrayLike | None = None, seed: int = 0) -> Any:
    """Divide a source into parts; see `Source.split`.

    >>> import tailfit
    >>> train, test = split(tailfit.data.Arrays(np.arange(10)), 0.8, 0.2)
    >>> len(train), len(test)
    (8, 2)
    """
    return source.split(*shares, by=by, seed=seed)


class Subset(Source):
    """A selection of a source's positions in a given order, as returned by `split`.

    It shares the storage, class names and class indices of the source, including classes without a sample in the part.

    Args:
        source: The whole source.
        indices: Distinct positions in the source.
        groups: Groups of these samples; by default those of the source.
    Raises:
        ArgumentError: If a position is out of range, or repeated.

    >>> import tailfit
    >>> whole = tailfit.data.Arrays(np.arange(4.0), ["a", "b", "a", "b"])
    >>> part = Subset(whole, [3, 0])
    >>> part.read([0]).tolist(), part.ids, part.class_counts.tolist()
    ([3.0], ('3', '0'), [1.0, 1.0])
    """

    def __init__(self, source: Source, indices: ArrayLike, *, groups: Grouping | EllipsisType | None = ...) -> None:
        given = _as_indices(indices)
        if given.size and given.dtype.kind not in "iu":
            raise ArgumentError(
                f"indices of type {given.dtype}",
                expected="whole numbers",
                fix="pass positions, or np.flatnonzero(mask) for a mask",
            )
        chosen = given.astype(np.int64)
        if chosen.ndim != 1 or (chosen.size and (chosen.min() < 0 or chosen.max() >= len(source))):
            raise ArgumentError(
                f"indices {np.asarray(indices)!r}",
                expected=f"a list of positions of the source's {len(source)} samples",
                fix="count positions from 0",
            )
        if len(np.unique(chosen)) != len(chosen):
            raise ArgumentError(
                "indices with a repeated position",
                expected="each position at most once",
                fix="drop the repetition; to draw samples repeatedly, use a sampler",
            )
        encoded = source.encoded
        if encoded is not None:
            encoded = encoded.take(chosen)
        metadata = None if source.metadata is None else source.metadata[chosen]
        if isinstance(groups, EllipsisType):
            groups = None if source.grouping is None else source.grouping.take(chosen)
        super().__init__(tuple(source.ids[position] for position in chosen.tolist()), encoded, metadata, groups)
        self.source: Final = source
        self.in_memory, self.ragged, self.left_out = source.in_memory, source.ragged, source.left_out
        self.channels, self.step_seconds = source.channels, source.step_seconds
        self.keeps_missing, self._step_classes = source.keeps_missing, source._step_classes
        chosen.flags.writeable = False
        self.indices: Final = chosen

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """See `Source.lengths`."""
        whole = self.source.lengths
        return None if whole is None else whole[self.indices]

    def as_ragged(self) -> Source | None:
        """See `Source.as_ragged`."""
        whole = self.source.as_ragged()
        return None if whole is None else Subset(whole, self.indices, groups=self.grouping)

    def step_labels(self, index: int) -> NDArray[np.int32] | None:
        """See `Source.step_labels`."""
        return self.source.step_labels(int(self.indices[index]))

    def _read(self, indices: NDArray[np.int64]) -> Any:
        return self.source._read(self.indices[indices])

    def _read_windows(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Any:
        return self.source._windows(self.indices[records], starts, length)

    def _read_into(self, out: Any, indices: NDArray[np.int64]) -> None:
        self.source._read_into(out, self.indices[indices])


def _as_indices(indices: Any) -> NDArray[Any]:
    try:
        return np.asarray(indices)
    except ValueError:  # rows of different length
        return np.array(list(indices), dtype=object)


def checked_ids(ids: Sequence[str], size: int) -> tuple[str, ...]:
    """Check that IDs are `size` non-empty, unique strings; return them as a tuple.

    >>> checked_ids(["a", "a"], 2)
    Traceback (most recent call last):
    tailfit.errors.DataError: Received ID 'a' twice. Expected unique IDs. Fix: rename or drop one of them.
    """
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise DataError(f"ids={ids!r}", expected="a list of strings", fix="pass one ID per record")
    names = tuple(ids)
    if len(names) != size:
        raise DataError(
            f"{len(names)} ids for {size} records", expected="one ID per record", fix="pass ids of the same length as x"
        )
    for name in names:
        if not isinstance(name, str) or not name:
            raise DataError(f"ID {name!r}", expected="non-empty strings as IDs", fix="convert the IDs to strings")
    again = first_duplicate(names)
    if again is not None:
        raise DataError(f"ID {again!r} twice", expected="unique IDs", fix="rename or drop one of them")
    return names


def index_chunks(start: int, stop: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the positions from `start` to before `stop` in chunks of `size`, to read a source piece by piece.

    >>> [positions.tolist() for positions in index_chunks(0, 5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    for first in range(start, stop, size):
        yield np.arange(first, min(first + size, stop))
