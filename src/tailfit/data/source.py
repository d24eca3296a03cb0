"""Sources: samples that have an ID each, and perhaps a label and a row of metadata.

Concepts:
- *position*: `0 <= i < len(source)`. Samplers draw positions; `read` takes them, a whole batch in a call.
- *ID*: a string that names the sample in messages, partitions and metadata; unique within the source.
- *record*: what `read` gives for a sample, an array or a nest of arrays (dict, tuple, list). A *ragged* source's
  records differ in their first axis, the steps; `read` gives a `Ragged` in the place of an array.
- *part*: a `Subset`, some positions of a source, which shares its storage.

A new source derives from `Source`, hands IDs, labels and metadata to its constructor and implements `_read`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from typing import Any, Final, overload

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tailfit.data.records.trees import leaves, pairs
from tailfit.data.splitting import by_partition, by_shares
from tailfit.data.tables.ids import Numbered
from tailfit.data.tables.metadata import align
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded, Kind
from tailfit.names import check_names

__all__ = ["Numbered", "Source", "Subset", "checked_ids", "first_duplicate", "index_chunks", "split"]


class Source(ABC):
    """Samples on disk or in memory, read by position a batch at a time.

    Attributes are read-only; a source never changes after its construction, and `read` may be called from
    several threads at once.

    Args:
        ids: n unique IDs.
        labels: Their labels brought to one form, or None.
        metadata: polars DataFrame, or None; brought into the order of `ids`, see `tailfit.data.tables.metadata.align`.

    Attributes:
        in_memory: Whether reading is copying from memory, which no thread need do ahead.
        ragged: Whether records differ in length.
        left_out: Columns of a table that are no part of the records because they only number the rows.
    """

    in_memory: bool = False
    ragged: bool = False
    left_out: tuple[str, ...] = ()

    def __init__(self, ids: Sequence[str], labels: Encoded | None = None, metadata: pl.DataFrame | None = None) -> None:
        if not isinstance(ids, Numbered):
            check_names(ids, "ID")
        self._ids: Final = ids
        self._encoded: Final = labels
        self._metadata: Final = None if metadata is None else align(metadata, ids)

    def as_ragged(self) -> "Source | None":
        """The same samples read as records of different length, where that was a choice; else None."""
        return None

    @abstractmethod
    def _read(self, indices: NDArray[np.int64]) -> Any:
        """Fresh arrays of the records at these positions, known to be within range."""

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
        """Labels with their kind and class names, or None."""
        return self._encoded

    @property
    def labels(self) -> NDArray[Any] | None:
        """Codes `int64[n]`; of soft and multi-label samples `float32[n, C]`; None if unlabelled."""
        return None if self._encoded is None else self._encoded.values

    @property
    def label_kind(self) -> Kind | None:
        """`"codes"`, `"soft"` or `"multi-label"`; None if unlabelled."""
        return None if self._encoded is None else self._encoded.kind

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes in the order of their codes; empty if unlabelled."""
        return () if self._encoded is None else self._encoded.class_names

    @property
    def class_counts(self) -> NDArray[np.float64]:
        """Samples per class, `float64[C]`; of soft labels the expected number; empty if unlabelled."""
        return np.zeros(0) if self._encoded is None else self._encoded.class_counts

    @property
    def metadata(self) -> pl.DataFrame | None:
        """One row a sample in the order of `ids`, with the column `id`; or None."""
        return self._metadata

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """Steps of each record of a ragged source, `int64[n]`; None where all have one shape."""
        return None

    def _read_into(self, out: Any, indices: NDArray[np.int64]) -> None:
        """As `_read`, into arrays that are there; a source that can spares a copy."""
        for into, records in pairs(out, self._read(indices)):
            into[...] = records

    def read(self, indices: ArrayLike, out: Any = None) -> Any:
        """Records at these positions, stacked: an array (or a nest of arrays) with first axis `len(indices)`.

        Args:
            indices: Positions, `0 <= i < len(source)`, in any order, repeated or none.
            out: Where to put them, instead of fresh arrays: what another `read` of as many records gave. From memory
                they are copied there at once. Not for records of different length.
        Raises:
            ArgumentError: for positions outside the range; negative ones do not count from the end; and for an `out`
                with another first axis.
            DataError: naming the sample that can't be read.
        """
        wanted = _as_indices(indices)
        if wanted.size == 0:
            wanted = wanted.astype(np.int64)
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise ArgumentError(
                f"indices of shape {wanted.shape} and type {wanted.dtype}",
                expected="a one-dimensional array of integers",
                fix="pass positions, e.g. np.arange(32); of a mask, np.flatnonzero(mask)",
            )
        outside = (wanted < 0) | (wanted >= len(self))
        if outside.any():
            raise ArgumentError(
                f"index {wanted[int(np.argmax(outside))]} of a source of {len(self)} samples",
                expected=f"0 to {len(self) - 1}" if len(self) else "none, the source is empty",
                fix="count positions from 0; negative ones do not count from the end",
            )
        wanted = wanted.astype(np.int64, copy=False)
        if out is None:
            return self._read(wanted)
        if self.ragged or any(np.shape(leaf)[:1] != wanted.shape for _, leaf in leaves(out)):
            raise ArgumentError(
                f"out of shapes {[np.shape(leaf) for _, leaf in leaves(out)]} for {len(wanted)} of {self!r}",
                expected="arrays as `read` returns them, of as many records, all of one shape",
                fix="leave it out",
            )
        self._read_into(out, wanted)
        return out

    def positions(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Where these IDs are.

        Raises:
            DataError: If an ID is unknown; the message names the first ID that the source does not have.
        """
        table = self._positions
        try:
            return np.fromiter((table[name] for name in ids), dtype=np.int64, count=len(ids))
        except (KeyError, TypeError):  # a list can't even be looked up
            name = next(name for name in ids if not isinstance(name, str) or name not in table)
            raise DataError(
                f"ID {name!r}",
                expected=f"an ID of the source's {len(self)} samples",
                fix="correct the ID, or leave it out",
            ) from None

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        return {name: position for position, name in enumerate(self.ids)}

    @overload
    def split(self, partition: Mapping[str, Sequence[str]] | str | PathLike[str], /) -> "dict[str, Subset]": ...

    @overload
    def split(self, /, *shares: float, by: str | ArrayLike | None = None, seed: int = 0) -> "tuple[Subset, ...]": ...

    def split(self, /, *shares: Any, by: Any = None, seed: int = 0) -> Any:
        """Divide the source into parts that share its storage, no sample in two of them.

        Args:
            *shares: One partition, or two or more fractions. A partition is a dict of part names to IDs, or a JSON
                file of one; IDs in no part are left out. Fractions are positive and sum to one; each class is spread
                over the parts in proportion: its count in each part, and each part's size, is the exact share rounded
                down or up. Where a class has too few samples, the part with the largest remainder gets them (the
                earlier of equal ones), as far as sizes allow.
            by: A metadata column, or n keys: samples of equal key stay together. The largest groups are placed
                first, each where classes and sizes lack most, so shares are as close as the groups allow.
            seed: Selects one of the possible splits of the same shares.
        Returns:
            For a partition a dict of `Subset`, in its order; for fractions a tuple of `Subset`.
        Raises:
            DataError: If an ID is in two parts, twice in one, or not in the source.
            ArgumentError: If fractions are not positive or do not sum to one, or a part would be empty.

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
                    expected="a partition alone",
                    fix="drop by= and seed=",
                )
            parts = by_partition(self, shares[0])
            return {name: Subset(self, positions) for name, positions in parts.items()}
        return tuple(Subset(self, positions) for positions in by_shares(self, shares, by, seed))


def split(source: Source, /, *shares: Any, by: str | ArrayLike | None = None, seed: int = 0) -> Any:
    """Divide a source into parts; the same as `source.split(*shares, by=by, seed=seed)`."""
    return source.split(*shares, by=by, seed=seed)


class Subset(Source):
    """Some positions of a source, in a given order: the same storage, class names and codes.

    Classes without a sample in the part keep their place. What `split` returns.

    Args:
        source: The whole.
        indices: Distinct positions in it.
    Raises:
        ArgumentError: for positions out of range, or given twice.

    >>> import tailfit
    >>> whole = tailfit.data.Arrays(np.arange(4.0), ["a", "b", "a", "b"])
    >>> part = Subset(whole, [3, 0])
    >>> part.read([0]).tolist(), part.ids, part.class_counts.tolist()
    ([3.0], ('3', '0'), [1.0, 1.0])
    """

    def __init__(self, source: Source, indices: ArrayLike) -> None:
        given = _as_indices(indices)
        if given.size and given.dtype.kind not in "iu":
            raise ArgumentError(
                f"indices of type {given.dtype}", expected="whole numbers", fix="of a mask, np.flatnonzero(mask)"
            )
        chosen = given.astype(np.int64)
        if chosen.ndim != 1 or (chosen.size and (chosen.min() < 0 or chosen.max() >= len(source))):
            raise ArgumentError(
                f"indices {np.asarray(indices)!r}",
                expected=f"positions of the source's {len(source)} samples",
                fix="count from 0",
            )
        if len(np.unique(chosen)) != len(chosen):
            raise ArgumentError(
                "indices with a position twice",
                expected="each sample at most once",
                fix="draw samples repeatedly through a sampler",
            )
        encoded = source.encoded
        if encoded is not None:
            encoded = encoded.take(chosen)
        metadata = None if source.metadata is None else source.metadata[chosen]
        super().__init__(tuple(source.ids[position] for position in chosen.tolist()), encoded, metadata)
        self.source: Final = source
        self.in_memory, self.ragged, self.left_out = source.in_memory, source.ragged, source.left_out
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
        return None if whole is None else Subset(whole, self.indices)

    def _read(self, indices: NDArray[np.int64]) -> Any:
        return self.source._read(self.indices[indices])

    def _read_into(self, out: Any, indices: NDArray[np.int64]) -> None:
        self.source._read_into(out, self.indices[indices])


def _as_indices(indices: Any) -> NDArray[Any]:
    try:
        return np.asarray(indices)
    except ValueError:  # rows of unequal length
        return np.array(list(indices), dtype=object)


def first_duplicate(names: Sequence[str]) -> str | None:
    """The first name that was there before; None if all differ.

    >>> first_duplicate(["a", "b", "b", "a"])
    'b'
    """
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def checked_ids(ids: Sequence[str], size: int) -> tuple[str, ...]:
    """The IDs of `size` records: non-empty strings, all different.

    >>> checked_ids(["a", "a"], 2)
    Traceback (most recent call last):
    tailfit.errors.DataError: Received ID 'a' twice. Expected unique IDs. Fix: rename or drop one of them.
    """
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise DataError(f"ids={ids!r}", expected="a list of strings", fix="pass one ID a record")
    names = tuple(ids)
    if len(names) != size:
        raise DataError(f"{len(names)} ids for {size} records", expected="one ID a record", fix="check ids")
    for name in names:
        if not isinstance(name, str) or not name:
            raise DataError(f"ID {name!r}", expected="non-empty strings", fix="write the IDs as strings")
    again = first_duplicate(names)
    if again is not None:
        raise DataError(f"ID {again!r} twice", expected="unique IDs", fix="rename or drop one of them")
    return names


def index_chunks(start: int, stop: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Positions from `start` to before `stop`, `size` at a time: to read a source piece by piece.

    >>> [positions.tolist() for positions in index_chunks(0, 5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    for first in range(start, stop, size):
        yield np.arange(first, min(first + size, stop))
