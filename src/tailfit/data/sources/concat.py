"""Several sources as one, and a source whose records are changed as they are read."""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.records.dtypes import check_record_types
from tailfit.data.records.ragged import Ragged, filled, room_for
from tailfit.data.records.trees import leaves, map_tree, pairs
from tailfit.data.source import Source, first_repeated, stretches
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded

__all__ = ["Concat", "Mapped"]

_AT_ONCE = 256  # records read together to know their lengths


class Concat(Source):
    """The samples of several sources, one source after the other.

    Classes are matched by name: sources may have seen different ones, and number them differently. Metadata columns
    that a source does not have are empty for its samples.

    Args:
        *sources: Two or more, with labels of one kind or none, and records of one shape and type; IDs are unique.
        prefixes: One a source, put before its IDs, where sources use the same ones.
    Raises:
        ArgumentError: for fewer than two sources, or another number of prefixes.
        DataError: for an ID that two sources have, or labels of different kinds; by `read`, for records that differ.

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
                f"{len(sources)} sources of the types {[type(source).__name__ for source in sources]}",
                expected="two sources or more",
                fix="wrap arrays: tailfit.data.Arrays(x, y)",
            )
        if prefixes is not None and len(prefixes) != len(sources):
            raise ArgumentError(
                f"{len(prefixes)} prefixes for {len(sources)} sources", expected="one a source", fix="pass as many"
            )
        named = zip(prefixes or [""] * len(sources), sources, strict=True)
        ids = tuple(f"{prefix}{name}" for prefix, source in named for name in source.ids)
        again = first_repeated(ids)
        if again is not None:
            raise DataError(
                f"ID {again!r} in two sources",
                expected="unique IDs",
                fix='pass prefixes, e.g. ["plant A/", "plant B/"]',
            )
        self.sources: Final = sources
        self._ends: Final = np.array(list(accumulate(map(len, sources))), dtype=np.int64)
        super().__init__(ids, _joined_labels(sources), _joined_metadata(sources, ids))
        self.in_memory = all(source.in_memory for source in sources)
        self.ragged = sources[0].ragged
        if any(source.ragged != self.ragged for source in sources):
            raise DataError(
                "sources of which some have records of different length, and some do not",
                expected="all of them, or none",
                fix="bring them to one form, e.g. Mapped(source, Pad(to=...))",
            )

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """As `Source.lengths`."""
        parts = [source.lengths for source in self.sources]
        return np.concatenate([part for part in parts if part is not None]) if self.ragged else None

    def _read(self, indices: NDArray[np.int64]) -> Any:
        owners = np.searchsorted(self._ends, indices, side="right")
        batch: Any = None
        for owner in np.unique(owners).tolist():
            rows = np.flatnonzero(owners == owner)
            source = self.sources[owner]
            part = source._read(indices[rows] - (int(self._ends[owner]) - len(source)))
            if len(rows) == len(indices):
                return part
            if batch is None:
                batch = map_tree(lambda leaf: room_for(leaf, len(indices)), part)
            self._put(batch, rows, part, owner)
        if batch is None:  # an empty one
            return self.sources[0]._read(indices)
        return map_tree(filled, batch)

    def _put(self, batch: Any, rows: NDArray[np.int64], part: Any, owner: int) -> None:
        given, expected = _described(part), _described(batch)
        if given != expected:
            raise DataError(
                f"records of {given} in source {owner}",
                expected=f"{expected} as in the sources before it",
                fix="bring the records to one shape and type, e.g. with Mapped",
            )
        for whole, leaf in pairs(batch, part):
            whole[rows] = leaf


def _described(records: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of a record, by place."""
    return {path or "x": (leaf.shape[1:], str(leaf.dtype)) for path, leaf in leaves(records)}


class Mapped(Source):
    """A source whose records are changed by a function, a whole batch at a time, when they are read.

    IDs, labels and metadata stay as they are. For changes that are drawn anew each epoch use `transform=` of `Batches`.
    Of records that differ in length, the function may change their steps, too: `lengths` then reads all of them once.

    Args:
        source: Where the records come from.
        function: `function(records) -> records`: fresh arrays of the same first axis; always the same for the same
            records, whatever batch they are in. It may be called from a reader thread.
    Raises:
        ArgumentError: for what is no source or can't be called.
        DataError: by `read`, if the function returned another number of records.

    >>> import tailfit
    >>> source = tailfit.data.Arrays(np.array([[1.0, 4.0], [9.0, 16.0]]))
    >>> Mapped(source, np.sqrt).read([1]).tolist()
    [[3.0, 4.0]]
    """

    def __init__(self, source: Source, function: Callable[[Any], Any]) -> None:
        if not isinstance(source, Source) or not callable(function):
            raise ArgumentError(
                f"Mapped of {type(source).__name__} by {type(function).__name__}",
                expected="a source and a function of its records",
                fix="wrap arrays: tailfit.data.Arrays(x, y)",
            )
        super().__init__(source.ids, source.encoded, source.metadata)
        self.source: Final = source
        self.function: Final = function

    @cached_property
    def ragged(self) -> bool:  # type: ignore[override]  # only known when a record was read, which may be long
        """Whether records differ in length, also after the function."""
        if not self.source.ragged or not len(self):
            return False
        return any(isinstance(leaf, Ragged) for _, leaf in leaves(self._read(np.zeros(1, dtype=np.int64))))

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """As `Source.lengths`."""
        return self._lengths if self.ragged else None

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        parts = [self._read(indices) for indices in stretches(0, len(self), _AT_ONCE)]
        return np.concatenate([_lengths_of(part) for part in parts])

    def _read(self, indices: NDArray[np.int64]) -> Any:
        changed = self.function(self.source._read(indices))
        shapes = [np.shape(leaf) for _, leaf in leaves(changed)]
        if not shapes or any(shape[:1] != (len(indices),) for shape in shapes):
            raise DataError(
                f"arrays of the shapes {shapes} from the function of Mapped, for {len(indices)} records",
                expected=f"arrays whose first axis is {len(indices)}",
                fix="return one record for each that was passed",
            )
        check_record_types(changed, "from the function of Mapped")
        return changed


def _lengths_of(batch: Any) -> NDArray[np.int64]:
    ragged = [leaf.lengths for _, leaf in leaves(batch) if isinstance(leaf, Ragged)]
    if not ragged or any(not np.array_equal(ragged[0], other) for other in ragged[1:]):
        raise DataError(
            "records whose arrays differ in steps, or not, from one batch to the other, from the function of Mapped",
            expected="as many steps in all arrays of a record that differ in length",
            fix="cut or fill them in the function",
        )
    return ragged[0]


def _joined_labels(sources: Sequence[Source]) -> Encoded | None:
    encoded = [source.encoded for source in sources]
    kinds = {None if part is None else part.kind for part in encoded}
    if len(kinds) > 1:
        raise DataError(
            f"labels of the kinds {sorted(map(str, kinds))}",
            expected="labels of one kind in all sources, or in none",
            fix="label all sources alike",
        )
    labelled = [part for part in encoded if part is not None]
    if not labelled:
        return None
    names = labelled[0].class_names
    if any(part.class_names != names for part in labelled):
        # In the order in which they come; of sources that were numbered alike, that is the number.
        names = tuple(dict.fromkeys(name for part in labelled for name in part.class_names))
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


def _joined_metadata(sources: Sequence[Source], ids: Sequence[str]) -> pl.DataFrame | None:
    if all(source.metadata is None for source in sources):
        return None
    tables = [
        pl.DataFrame({"id": list(source.ids)}) if source.metadata is None else source.metadata for source in sources
    ]
    joined = pl.concat(tables, how="diagonal_relaxed")
    return joined.with_columns(pl.Series("id", ids))
