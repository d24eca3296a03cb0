"""Concatenation of sources, and a source that applies a function to its records."""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.grouping import concatenated
from tailfit.data.records.dtypes import check_record_types
from tailfit.data.records.ragged import Ragged, allocate, assembled
from tailfit.data.records.trees import leaves, map_tree, pairs
from tailfit.data.source import Source, index_chunks
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded
from tailfit.names import first_duplicate

__all__ = ["Concat", "Mapped"]

_CHUNK_SIZE = 256  # records read together to find their lengths


class Concat(Source):
    """The samples of several sources, one source after the other.

    Classes are matched by name; sources may have different classes and different class indices. A metadata column that
    a source lacks is null for its samples. Groups by the same column are matched by name, so that a well which occurs
    in two sources stays one group; samples of a source without groups are a group each.

    Args:
        *sources: Two or more sources with records of one shape and type, labels of one kind or no labels, and unique
            IDs.
        prefixes: One prefix per source, prepended to its IDs; required if sources share IDs.
    Raises:
        ArgumentError: If there are fewer than two sources, or the number of prefixes differs from it.
        DataError: If two sources share an ID, or their labels differ in kind; by `read`, if their records differ.

    >>> import tailfit
    >>> a = tailfit.data.Arrays(np.array([[1.0]]), ["leak"])
    >>> b = tailfit.data.Arrays(np.array([[2.0], [3.0]]), ["wear", "leak"])
    >>> both = Concat(a, b, prefixes=["a/", "b/"])
    >>> both.ids, both.class_names, both.labels.tolist(), both.read([2, 0]).tolist()
    (('a/0', 'b/0', 'b/1'), ('leak', 'wear'), [0, 1, 0], [[3.0], [1.0]])
    """

    def __init__(self, *sources: Source, prefixes: Sequence[str] | None = None) -> None:
        if len(sources) < 2 or not all(isinstance(source, Source) for source in sources):
            raise ArgumentError(
                f"{len(sources)} arguments of the types {[type(source).__name__ for source in sources]}",
                expected="two sources or more",
                fix="wrap arrays as tailfit.data.Arrays(x, y)",
            )
        if prefixes is not None and len(prefixes) != len(sources):
            raise ArgumentError(
                f"{len(prefixes)} prefixes for {len(sources)} sources",
                expected="one prefix per source",
                fix=f"pass {len(sources)} prefixes",
            )
        named = zip(prefixes or [""] * len(sources), sources, strict=True)
        ids = tuple(f"{prefix}{name}" for prefix, source in named for name in source.ids)
        again = first_duplicate(ids)
        if again is not None:
            raise DataError(
                f"ID {again!r} twice in the sources",
                expected="unique IDs",
                fix='pass prefixes, for example prefixes=["plant A/", "plant B/"]',
            )
        self.sources: Final = sources
        self._ends: Final = np.array(list(accumulate(map(len, sources))), dtype=np.int64)
        groups = concatenated(sources, prefixes or [""] * len(sources))
        super().__init__(ids, _joined_labels(sources), _joined_metadata(sources, ids), groups)
        self._step_classes = _names(sources) if any(source._step_classes for source in sources) else ()
        self.keeps_missing = any(source.keeps_missing for source in sources)
        if all(source.channels == sources[0].channels for source in sources):
            self.channels = sources[0].channels
        if all(source.step_seconds == sources[0].step_seconds for source in sources):
            self.step_seconds = sources[0].step_seconds
        self.in_memory = all(source.in_memory for source in sources)
        self.ragged = sources[0].ragged
        if any(source.ragged != self.ragged for source in sources):
            raise DataError(
                "both ragged sources and sources whose records have one length",
                expected="only ragged sources, or none",
                fix="pad the ragged ones, for example with Mapped(source, Pad(to=...))",
            )

    def step_labels(self, index: int) -> NDArray[np.int32] | None:
        """See `Source.step_labels`."""
        owner = int(np.searchsorted(self._ends, index, side="right"))
        source = self.sources[owner]
        labels = source.step_labels(index - (int(self._ends[owner]) - len(source)))
        if labels is None or source.class_names == self.class_names:
            return labels
        places = np.array([*(self.class_names.index(name) for name in source.class_names), -1], dtype=np.int32)
        return places[labels]  # -1 is the last of the places

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """See `Source.lengths`."""
        parts = [source.lengths for source in self.sources]
        return np.concatenate([part for part in parts if part is not None]) if self.ragged else None

    def _read(self, indices: NDArray[np.int64]) -> Any:
        return self._joined(indices, lambda source, rows, positions: source._read(positions))

    def _read_windows(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Any:
        def read(source: Source, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> Any:
            return source._windows(positions, starts[rows], length)

        return self._joined(records, read)

    def _joined(
        self, indices: NDArray[np.int64], read: Callable[[Source, NDArray[np.int64], NDArray[np.int64]], Any]
    ) -> Any:
        """Join what `read(source, rows, positions)` returns for each source, which are `rows` of the batch."""
        owners = np.searchsorted(self._ends, indices, side="right")
        batch: Any = None
        for owner in np.unique(owners).tolist() or [0]:
            rows = np.flatnonzero(owners == owner)
            source = self.sources[owner]
            part = read(source, rows, indices[rows] - (int(self._ends[owner]) - len(source)))
            if len(rows) == len(indices):
                return part
            if batch is None:
                batch = map_tree(lambda leaf: allocate(leaf, len(indices)), part)
            self._put(batch, rows, part, owner)
        return map_tree(assembled, batch)

    def _put(self, batch: Any, rows: NDArray[np.int64], part: Any, owner: int) -> None:
        given, expected = _described(part), _described(batch)
        if given != expected:
            raise DataError(
                f"records of {given} in source {owner}",
                expected=f"{expected} as in the previous sources",
                fix="convert the records to one shape and type, for example with Mapped",
            )
        for whole, leaf in pairs(batch, part):
            whole[rows] = leaf


def _described(records: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and dtype of a record's arrays by their path."""
    return {path or "x": (leaf.shape[1:], str(leaf.dtype)) for path, leaf in leaves(records)}


class Mapped(Source):
    """A source that applies a function to each batch of records as it is read.

    IDs, labels and metadata stay the same. For random changes in each epoch use `transform=` of `Batches`. The function
    may also change the length of ragged records; the first use of `lengths` then reads all records once.

    Args:
        source: Source of the records.
        function: `function(records) -> records`, new arrays with the same first axis. The result for a record must not
            depend on the batch or the call. The function may be called from a reader thread.
    Raises:
        ArgumentError: If `source` is not a source, or `function` is not callable.
        DataError: By `read`, if the function returns a different number of records.

    >>> import tailfit
    >>> source = tailfit.data.Arrays(np.array([[1.0, 4.0], [9.0, 16.0]]))
    >>> Mapped(source, np.sqrt).read([1]).tolist()
    [[3.0, 4.0]]
    """

    def __init__(self, source: Source, function: Callable[[Any], Any]) -> None:
        if not isinstance(source, Source) or not callable(function):
            raise ArgumentError(
                f"Mapped of the types {type(source).__name__} and {type(function).__name__}",
                expected="a source and a function of its records",
                fix="wrap arrays as tailfit.data.Arrays(x, y), and pass a callable",
            )
        super().__init__(source.ids, source.encoded, source.metadata, source.grouping)
        self.keeps_missing, self._step_classes = source.keeps_missing, source._step_classes
        self.source: Final = source
        self.function: Final = function

    def step_labels(self, index: int) -> NDArray[np.int32] | None:
        """See `Source.step_labels`; the function must not change the number of steps."""
        return self.source.step_labels(index)

    @cached_property
    def ragged(self) -> bool:  # type: ignore[override]  # computed on first use, because it reads a record
        """Whether records still differ in length after the function."""
        if not self.source.ragged or not len(self):
            return False
        return any(isinstance(leaf, Ragged) for _, leaf in leaves(self._read(np.zeros(1, dtype=np.int64))))

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """See `Source.lengths`."""
        return self._lengths if self.ragged else None

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        parts = [self._read(indices) for indices in index_chunks(0, len(self), _CHUNK_SIZE)]
        return np.concatenate([_lengths_of(part) for part in parts])

    def _read(self, indices: NDArray[np.int64]) -> Any:
        changed = self.function(self.source._read(indices))
        shapes = [np.shape(leaf) for _, leaf in leaves(changed)]
        if not shapes or any(shape[:1] != (len(indices),) for shape in shapes):
            raise DataError(
                f"arrays of the shapes {shapes} from the function of Mapped, for {len(indices)} records",
                expected=f"arrays whose first axis has length {len(indices)}",
                fix="return one record for each record passed",
            )
        check_record_types(changed, "from the function of Mapped")
        return changed


def _lengths_of(batch: Any) -> NDArray[np.int64]:
    ragged = [leaf.lengths for _, leaf in leaves(batch) if isinstance(leaf, Ragged)]
    if not ragged or any(not np.array_equal(ragged[0], other) for other in ragged[1:]):
        raise DataError(
            "records from the function of Mapped whose arrays differ in length, or ragged only in some batches",
            expected="the same number of steps in all ragged arrays of a record, in every batch",
            fix="crop or pad the arrays in the function",
        )
    return ragged[0]


def _joined_labels(sources: Sequence[Source]) -> Encoded | None:
    encoded = [source.encoded for source in sources]
    if any(source._step_classes for source in sources) and not all(encoded):
        _refuse_unlabelled_steps(sources)
        return None
    kinds = {None if part is None else part.kind for part in encoded}
    if len(kinds) > 1:
        raise DataError(
            f"sources with labels of the kinds {sorted(map(str, kinds))}",
            expected="labels of one kind in all sources, or no labels",
            fix="give all sources labels of the same kind",
        )
    labelled = [part for part in encoded if part is not None]
    if not labelled:
        return None
    names = _names(labelled)
    places = [np.array([names.index(name) for name in part.class_names], dtype=np.int64) for part in labelled]
    if labelled[0].kind == "codes":
        values = np.concatenate([place[part.values] for place, part in zip(places, labelled, strict=True)])
        return Encoded("codes", values, names)
    rows = np.zeros((sum(len(part.values) for part in labelled), len(names)), labelled[0].values.dtype)
    start = 0
    for place, part in zip(places, labelled, strict=True):
        rows[start : start + len(part.values), place] = part.values
        start += len(part.values)
    return Encoded(labelled[0].kind, rows, names)


def _names(parts: Sequence[Source] | Sequence[Encoded]) -> tuple[str, ...]:
    # In order of first appearance, so that class indices that the sources share stay the same.
    return tuple(dict.fromkeys(name for part in parts for name in part.class_names))


def _refuse_unlabelled_steps(sources: Sequence[Source]) -> None:
    without = [place for place, source in enumerate(sources) if not source._step_classes]
    if without:
        raise DataError(
            f"source {without[0]} without labels of steps, together with sources that have them",
            expected="labels of steps in all sources, or in none",
            fix="cut each source into windows first, and concatenate the windows",
        )


def _joined_metadata(sources: Sequence[Source], ids: Sequence[str]) -> pl.DataFrame | None:
    if all(source.metadata is None for source in sources):
        return None
    tables = [
        pl.DataFrame({"id": list(source.ids)}) if source.metadata is None else source.metadata for source in sources
    ]
    joined = pl.concat(tables, how="diagonal_relaxed")
    return joined.with_columns(pl.Series("id", ids))
