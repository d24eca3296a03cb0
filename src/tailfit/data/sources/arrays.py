"""Arrays in memory, memory-mapped files, and nests of them as a source."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.reading import mapped_files
from tailfit.data.records.cutting import WindowReader, cut_windows
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.finite import FirstReadCheck, WindowCheck
from tailfit.data.records.ragged import Ragged, take_into, take_records
from tailfit.data.records.trees import leaves, map_tree, pairs
from tailfit.data.source import Numbered, Source, checked_ids
from tailfit.data.tables.metadata import Metadata, metadata_of
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import encode

__all__ = ["Arrays"]


class Arrays(Source):
    """Arrays whose first axis counts the samples; only the batches that are read are copied.

    Args:
        x: Array `[n, ...]` (also `numpy.memmap`), or an arbitrarily nested dict, tuple or list of arrays. Records of
            different length are a `Ragged`, alone or in the nest; a list of arrays of different length is read as
            `Ragged(x)`.
        y: Labels in any form that `tailfit.labels.encode` accepts: class indices, strings, one-hot, soft or
            multi-label; or None.
        ids: n unique strings; "0", "1", ... by default.
        metadata: polars DataFrame or the path of a table, with a column of any name that contains every ID exactly
            once. Without `ids`, rows are matched by order unless a column is called `id`.
        class_names: Class names in the order of the class indices.
        id: Column of `metadata` with the IDs, if their values don't identify it.
        strip: Whether to strip whitespace around class names.
        nan: Policy for NaN and infinity, applied when a record is first read: `"raise"`, `"warn"` (once) or `"keep"`.
    Shapes: `read(indices)` returns the nest of `x` with first axis `len(indices)`, in the arrays' units and native byte
        order.
    Raises:
        DataError: If arrays, labels, IDs and metadata differ in length, or a record contains NaN; the message names its
            ID.
        RecordError: If the file of a memmap was truncated and this is detected before the file is read.

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
                    fix="use np.stack(records), or Ragged(records) if they differ in length",
                )
            check_record_type(leaf.dtype, f"x{path}")
        if len(set(sizes.values())) != 1:
            lengths = ", ".join(f"{path}: {size[0]}" for path, size in sizes.items())
            raise DataError(
                f"x with arrays of different length ({lengths})" if sizes else "x without an array",
                expected="one array or more, all of the same length",
                fix="pass arrays with one entry per sample",
            )
        size = next(iter(sizes.values()))[0]
        names = Numbered(size) if ids is None else checked_ids(ids, size)
        labels = None if y is None else encode(y, class_names=class_names, ids=names, strip=strip)
        if labels is not None and len(labels.values) != size:
            raise DataError(
                f"{len(labels.values)} labels for {size} records",
                expected="one label per record",
                fix="pass a y= of the same length as x",
            )
        if labels is None and class_names is not None:
            raise ArgumentError(
                "class_names= without y=", expected="both or neither", fix="pass y=, or drop class_names="
            )
        super().__init__(names, labels, metadata_of(metadata, names, id))
        self._lengths: Final = _shared_lengths(self._x)
        self.ragged = self._lengths is not None
        stored = [leaf.values if isinstance(leaf, Ragged) else leaf for _, leaf in leaves(self._x)]
        self.in_memory = not any(isinstance(leaf, np.memmap) for leaf in stored)
        self._mapped: Final = mapped_files(stored)
        self._nan_check: Final = FirstReadCheck(size, nan)
        self._window_check: Final = WindowCheck(nan)

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """See `Source.lengths`."""
        lengths: NDArray[np.int64] | None = self._lengths
        return lengths

    def _read(self, indices: NDArray[np.int64]) -> Any:
        for file in self._mapped:
            file.check()
        batch = map_tree(lambda leaf: take_records(leaf, indices), self._x)
        self._nan_check.check(indices, batch, self._named)
        return batch

    def _read_into(self, out: Any, indices: NDArray[np.int64]) -> None:
        for file in self._mapped:
            file.check()
        for into, leaf in pairs(out, self._x):
            take_into(into, leaf, indices)
        self._nan_check.check(indices, out, self._named)

    def _read_windows(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Any:
        for file in self._mapped:
            file.check()
        windows = map_tree(lambda leaf: cut_windows(leaf, records, starts, length)(), self._x)
        self._window_check.check(records, windows, self._named)
        return windows

    def _window_reader(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> WindowReader | None:
        if not self.in_memory:
            return None
        return WindowReader(self._x, records, starts, length, self._window_check, self._named)

    def _named(self, position: int) -> str:
        return f"the record of ID {self.ids[position]!r}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": ()}  # pickling turns a memmap into an array in memory


def _shared_lengths(x: Any) -> NDArray[np.int64] | None:
    ragged = {path or "x": leaf.lengths for path, leaf in leaves(x) if isinstance(leaf, Ragged)}
    if not ragged:
        return None
    (path, lengths), *rest = ragged.items()
    for other_path, other in rest:
        if not np.array_equal(lengths, other):
            record = int(np.argmax(lengths != other))
            raise DataError(
                f"record {record} with {lengths[record]} steps in x{path} and {other[record]} in x{other_path}",
                expected="the same number of steps in all arrays of a record",
                fix="crop or pad the arrays, or make a separate source of each",
            )
    return lengths
