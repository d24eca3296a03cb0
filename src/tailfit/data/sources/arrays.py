"""Arrays in memory, memory-mapped files, and nests of them, as a source."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.reading import mapped_files
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.finite import FirstLook
from tailfit.data.records.ragged import Ragged, take_into, taken
from tailfit.data.records.trees import leaves, map_tree, pairs
from tailfit.data.source import Numbered, Source, checked_ids
from tailfit.data.tables.metadata import Metadata, metadata_of
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import encode

__all__ = ["Arrays"]


class Arrays(Source):
    """Arrays whose first axis counts the samples, held as they are: nothing is copied but the batches read.

    Args:
        x: Array `[n, ...]` (also `numpy.memmap`), or a dict, tuple or list of such, nested as one likes. Records of
            different length are a `Ragged`, alone or in the nest; a list of arrays whose lengths differ is taken for
            `Ragged(x)`.
        y: Labels, as `tailfit.labels.encode` takes them: codes, strings, one-hot, soft or multi-label; or None.
        ids: n unique strings; "0", "1", ... without it.
        metadata: polars DataFrame or the path of a table, one of whose columns holds the IDs: each of them once,
            whatever the column's name. Samples without `ids` take its rows in order, unless a column is called `id`.
        class_names: Names of the classes in the order of their codes.
        id: The column of `metadata` that holds the IDs, where their values don't tell it.
        strip: Whether white space around names of classes is dropped.
        nan: What to do with NaN or infinity in a record, when it is read for the first time: `"raise"`, `"warn"` (once)
            or `"keep"`.
    Shapes: `read(indices)` gives the same nest with first axis `len(indices)`, in the arrays' own units, native byte
        order.
    Raises:
        DataError: if the arrays, labels, IDs and metadata do not have the same length, or a record read has a
            NaN in it; the ID is named.
        RecordError: if a memmap's file was truncated since, where that is seen before it is read.

    >>> source = Arrays(np.array([[1.0], [2.0], [3.0]]), ["leak", "ok", "leak"])
    >>> source.read([2, 0]).tolist(), source.labels.tolist(), source.class_names
    ([[3.0], [1.0]], [0, 1, 0], ('leak', 'ok'))
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        ids: Sequence[str] | None = None,
        metadata: Metadata | None = None,
        *,
        class_names: Sequence[str] | None = None,
        id: str | None = None,
        strip: bool = False,
        nan: str = "raise",
    ) -> None:
        if isinstance(x, list) and len({np.shape(part)[:1] for part in x if isinstance(part, np.ndarray)}) > 1:
            x = Ragged(x)
        self._x: Final = map_tree(lambda leaf: leaf if isinstance(leaf, Ragged) else np.asanyarray(leaf), x)
        sizes = {path or "x": leaf.shape[:1] for path, leaf in leaves(self._x)}
        for path, leaf in leaves(self._x):
            if not leaf.shape:
                raise DataError(
                    f"x{path} of shape {leaf.shape} and type {leaf.dtype}",
                    expected="arrays of numbers whose first axis counts the samples",
                    fix="stack the records, np.stack(records); those of different length with Ragged(records)",
                )
            check_record_type(leaf.dtype, f"x{path}")
        if len(set(sizes.values())) != 1:
            lengths = ", ".join(f"{path}: {size[0]}" for path, size in sizes.items())
            raise DataError(
                f"x with arrays of different length ({lengths})" if sizes else "x without an array",
                expected="arrays of the same length",
                fix="give each sample one entry in each array",
            )
        size = next(iter(sizes.values()))[0]
        names = Numbered(size) if ids is None else checked_ids(ids, size)
        labels = None if y is None else encode(y, class_names=class_names, ids=names, strip=strip)
        if labels is not None and len(labels.values) != size:
            raise DataError(
                f"{len(labels.values)} labels for {size} records", expected="one label a record", fix="check y"
            )
        if labels is None and class_names is not None:
            raise ArgumentError("class_names without y", expected="both, or none", fix="pass y")
        super().__init__(names, labels, metadata_of(metadata, names, id))
        self._lengths: Final = _shared_lengths(self._x)
        self.ragged = self._lengths is not None
        stored = [leaf.values if isinstance(leaf, Ragged) else leaf for _, leaf in leaves(self._x)]
        self.in_memory = not any(isinstance(leaf, np.memmap) for leaf in stored)
        self._mapped: Final = mapped_files(stored)
        self._look: Final = FirstLook(size, nan)

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """As `Source.lengths`."""
        lengths: NDArray[np.int64] | None = self._lengths
        return lengths

    def _read(self, indices: NDArray[np.int64]) -> Any:
        for file in self._mapped:
            file.check()
        batch = map_tree(lambda leaf: taken(leaf, indices), self._x)
        self._look.check(indices, batch, self._named)
        return batch

    def _read_into(self, out: Any, indices: NDArray[np.int64]) -> None:
        for file in self._mapped:
            file.check()
        for into, leaf in pairs(out, self._x):
            take_into(into, leaf, indices)
        self._look.check(indices, out, self._named)

    def _named(self, position: int) -> str:
        return f"the record of ID {self.ids[position]!r}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": ()}  # pickled, a memmap is an array in memory


def _shared_lengths(x: Any) -> NDArray[np.int64] | None:
    ragged = {path or "x": leaf.lengths for path, leaf in leaves(x) if isinstance(leaf, Ragged)}
    if not ragged:
        return None
    (path, lengths), *others = ragged.items()
    for other, theirs in others:
        if not np.array_equal(lengths, theirs):
            record = int(np.argmax(lengths != theirs))
            raise DataError(
                f"record {record} of {lengths[record]} steps in x{path} and {theirs[record]} in x{other}",
                expected="as many steps in all arrays of a record",
                fix="cut or fill them, or make them sources of their own",
            )
    return lengths
