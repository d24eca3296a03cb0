"""Data sets with `len(dataset)` and `dataset[i]`, such as torch's, as a source."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.finite import FirstReadCheck
from tailfit.data.records.trees import leaves, map_tree
from tailfit.data.source import Numbered, Source, checked_ids, index_chunks
from tailfit.data.tables.metadata import Metadata, metadata_of
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import encode

__all__ = ["MapStyle"]

_CHUNK_SIZE = 256  # items read together to collect labels


class MapStyle(Source):
    """A map-style data set: `torch.utils.data.Dataset`, a grain data source, or a class of your own.

    Items are read one by one, or by the batch if the data set has `__getitems__`, possibly from a reader thread. torch
    is not imported. An item must be the same each time it is read; random changes belong into `transform=` of
    `Batches`.

    Args:
        dataset: Object with `__len__` and `__getitem__`.
        labels: One label per sample in any form that `tailfit.labels.encode` accepts, for example `dataset.targets`.
        label: Position or key of the label in an item, which is removed from the record. Without `labels`, they are
            collected from there by reading every item once.
        ids: n unique strings; "0", "1", ... by default.
        metadata: polars DataFrame or the path of a table, with a column of any name that contains every ID exactly
            once. Without `ids`, rows are matched by order unless a column is called `id`.
        class_names: Class names in the order of the class indices.
        id: Column of `metadata` with the IDs, if their values don't identify it.
        strip: Whether to strip whitespace around class names.
        nan: Policy for NaN and infinity, applied when a record is first read: `"raise"`, `"warn"` (once) or `"keep"`.
    Shapes: `read(indices)` returns the items stacked leaf by leaf, in a nest of dicts, tuples and lists. If only one
        part of a tuple remains without the label, it is that part alone.
    Raises:
        ArgumentError: If `dataset` is not a map-style data set, or arguments contradict each other.
        DataError: If an item can't be read, or differs from the first item of its batch; the message names its ID.

    >>> class Pumps:
    ...     def __len__(self):
    ...         return 3
    ...
    ...     def __getitem__(self, index):
    ...         return np.full(2, float(index)), "leak" if index == 1 else "ok"
    >>> source = MapStyle(Pumps(), label=1)
    >>> source.read([2, 0]).tolist(), source.labels.tolist()
    ([[2.0, 2.0], [0.0, 0.0]], [1, 0, 1])
    """

    def __init__(
        self,
        dataset: Any,
        labels: Any = None,
        ids: Sequence[str] | None = None,
        metadata: Metadata | None = None,
        *,
        label: int | str | None = None,
        class_names: Sequence[str] | None = None,
        id: str | None = None,
        strip: bool = False,
        nan: str = "raise",
    ) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise ArgumentError(
                f"dataset of type {type(dataset).__name__}",
                expected="an object with __len__ and __getitem__",
                fix="pass a map-style data set; write the samples of a stream to files first",
            )
        size = len(dataset)
        names = Numbered(size) if ids is None else checked_ids(ids, size)
        self._dataset: Final = dataset
        self._label: Final = label
        if labels is None and label is not None:
            labels = [self._split_label(item, names[row])[1] for row, item in self._each(size, names)]
        encoded = None if labels is None else encode(_plain(labels), class_names=class_names, ids=names, strip=strip)
        if encoded is not None and len(encoded.values) != size:
            raise DataError(
                f"{len(encoded.values)} labels for {size} items",
                expected="one label per item",
                fix="pass a labels= of the same length as the data set",
            )
        if labels is None and class_names is not None:
            raise ArgumentError("class_names= without labels", expected="both or neither", fix="pass labels= or label=")
        super().__init__(names, encoded, metadata_of(metadata, names, id))
        self._nan_check: Final = FirstReadCheck(size, nan)

    def _each(self, size: int, names: Sequence[str]) -> Any:
        for indices in index_chunks(0, size, _CHUNK_SIZE):
            yield from zip(indices.tolist(), self._items(indices, names), strict=True)

    def _items(self, indices: NDArray[np.int64], names: Sequence[str]) -> list[Any]:
        """Return the items at these positions; an error of the data set is raised with the ID of the item."""
        positions = indices.tolist()
        if hasattr(self._dataset, "__getitems__"):
            try:
                return list(self._dataset.__getitems__(positions))
            except DataError:
                raise
            except Exception as error:
                raise _read_error(f"one of the IDs {[names[position] for position in positions[:8]]}", error) from error
        items = []
        for position in positions:
            try:
                items.append(self._dataset[position])
            except DataError:
                raise
            except Exception as error:
                raise _read_error(f"ID {names[position]!r}", error) from error
        return items

    def _split_label(self, item: Any, name: str) -> tuple[Any, Any]:
        """Split an item into its record and its label."""
        if self._label is None:
            return item, None
        try:
            label = item[self._label]
            if isinstance(item, dict):
                return {key: value for key, value in item.items() if key != self._label}, label
            at = range(len(item))[self._label]  # type: ignore[index]  # a TypeError is reported below
            rest = tuple(part for place, part in enumerate(item) if place != at)
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"ID {name!r}: an item of type {type(item).__name__} without {self._label!r}",
                expected="items that contain the position or key label=",
                fix="correct label=, or pass labels=",
            ) from error
        return rest[0] if len(rest) == 1 else rest, label

    def _read(self, indices: NDArray[np.int64]) -> Any:
        # For an empty batch, read one record to find the shapes, and drop it.
        positions = indices if len(indices) or not len(self) else np.zeros(1, dtype=np.int64)
        if not len(positions):
            return np.zeros(0)
        names = [self.ids[position] for position in positions.tolist()]
        items = self._items(positions, self.ids)
        if len(items) != len(positions):
            raise DataError(
                f"{len(items)} items for {len(positions)} indices",
                expected="one item per index",
                fix="correct __getitems__ of the data set",
            )
        records = [self._split_label(item, name)[0] for item, name in zip(items, names, strict=True)]
        batch = _stacked(records, names)
        batch = map_tree(lambda leaf: leaf[: len(indices)], batch)
        self._nan_check.check(indices, batch, self._named)
        return batch

    def _named(self, position: int) -> str:
        return f"the record of ID {self.ids[position]!r}"


def _stacked(records: list[Any], names: list[str]) -> Any:
    flat = [{path: np.asarray(leaf) for path, leaf in leaves(record)} for record in records]
    first = {path: (leaf.shape, leaf.dtype) for path, leaf in flat[0].items()}
    for arrays, name in zip(flat, names, strict=True):
        found = {path: (leaf.shape, leaf.dtype) for path, leaf in arrays.items()}
        if found != first:
            raise DataError(
                f"ID {name!r}: a record of {_described(found)}",
                expected=f"the same arrays in all records: {_described(first)} as for ID {names[0]!r}",
                fix="convert the items to one shape and type",
            )
    for path, (_, dtype) in first.items():
        check_record_type(dtype, f"ID {names[0]!r}: x{path}")
    columns = iter([np.stack([arrays[path] for arrays in flat]) for path in first])
    return map_tree(lambda leaf: next(columns), records[0])


def _described(arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    return ", ".join(f"x{path} {shape} {dtype}" for path, (shape, dtype) in arrays.items()) or "no array"


def _plain(labels: Any) -> Any:
    """Convert a list of tensors or NumPy numbers to an array; return text and lists unchanged."""
    if isinstance(labels, list) and labels and not isinstance(labels[0], str | list | tuple):
        return np.asarray([np.asarray(label) for label in labels])
    if isinstance(labels, list | tuple):
        return labels
    array = np.asarray(labels)
    return labels if array.dtype.kind == "U" else array


def _read_error(which: str, error: Exception) -> DataError:
    return DataError(
        f"{which}: {type(error).__name__}: {error}",
        expected="a data set that returns this item",
        fix="correct the data set",
    )
