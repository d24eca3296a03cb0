"""Data sets of other libraries that answer `len(dataset)` and `dataset[i]`, torch's among them, as a source."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.finite import FirstLook
from tailfit.data.records.trees import leaves, map_tree
from tailfit.data.source import Numbered, Source, checked_ids, stretches
from tailfit.data.tables.metadata import Metadata, metadata_of
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import encode

__all__ = ["MapStyle"]

_AT_ONCE = 256  # items, while labels are gathered


class MapStyle(Source):
    """A map-style data set: `torch.utils.data.Dataset`, a grain data source, or any class of one's own.

    Its items are read one by one, or by the batch where it has `__getitems__`, perhaps from a reader thread; torch is
    not imported. An item must be the same whenever it is asked for: what is drawn anew each epoch belongs into
    `transform=` of `Batches`.

    Args:
        dataset: Has `__len__` and `__getitem__`.
        labels: One a sample, as `tailfit.labels.encode` takes them, e.g. `dataset.targets`.
        label: Where in an item its label stands, a position or key: it is left out of the record. Where `labels` are
            not given, they are gathered from there, which reads every item once.
        ids: n unique strings; "0", "1", ... without it.
        metadata: polars DataFrame or the path of a table, one of whose columns holds the IDs: each of them once,
            whatever the column's name. Samples without `ids` take its rows in order, unless a column is called `id`.
        class_names: Names of the classes in the order of their codes.
        id: The column of `metadata` that holds the IDs, where their values don't tell it.
        strip: Whether white space around names of classes is dropped.
        nan: What to do with NaN or infinity in a record, when it is read for the first time: `"raise"`, `"warn"` (once)
            or `"keep"`.
    Shapes: `read(indices)` gives the items stacked, leaf by leaf of a nest of dicts, tuples and lists; of a tuple that
        has one part besides the label, that part alone.
    Raises:
        ArgumentError: for what is no such data set, or arguments that contradict each other.
        DataError: naming the ID of an item that can't be read, or is unlike the first one of its batch.

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
                fix="of a stream, write the samples to files first",
            )
        size = len(dataset)
        names = Numbered(size) if ids is None else checked_ids(ids, size)
        self._dataset: Final = dataset
        self._label: Final = label
        if labels is None and label is not None:
            labels = [self._parted(item, names[row])[1] for row, item in self._each(size, names)]
        encoded = None if labels is None else encode(_plain(labels), class_names=class_names, ids=names, strip=strip)
        if encoded is not None and len(encoded.values) != size:
            raise DataError(
                f"{len(encoded.values)} labels for {size} items", expected="one label an item", fix="check labels"
            )
        if labels is None and class_names is not None:
            raise ArgumentError("class_names without labels", expected="both, or none", fix="pass labels or label")
        super().__init__(names, encoded, metadata_of(metadata, names, id))
        self._look: Final = FirstLook(size, nan)

    def _each(self, size: int, names: Sequence[str]) -> Any:
        for indices in stretches(0, size, _AT_ONCE):
            yield from zip(indices.tolist(), self._items(indices, names), strict=True)

    def _items(self, indices: NDArray[np.int64], names: Sequence[str]) -> list[Any]:
        """The items at these positions; an error of the data set's own names the first of them that has one."""
        positions = indices.tolist()
        if hasattr(self._dataset, "__getitems__"):
            try:
                return list(self._dataset.__getitems__(positions))
            except DataError:
                raise
            except Exception as error:
                raise _unread(f"one of the IDs {[names[position] for position in positions[:8]]}", error) from error
        items = []
        for position in positions:
            try:
                items.append(self._dataset[position])
            except DataError:
                raise
            except Exception as error:
                raise _unread(f"ID {names[position]!r}", error) from error
        return items

    def _parted(self, item: Any, name: str) -> tuple[Any, Any]:
        """An item's record and its label."""
        if self._label is None:
            return item, None
        try:
            label = item[self._label]
            if isinstance(item, dict):
                return {key: value for key, value in item.items() if key != self._label}, label
            at = range(len(item))[self._label]  # type: ignore[index]  # a wrong one is an error of the user's
            rest = tuple(part for place, part in enumerate(item) if place != at)
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"ID {name!r}: an item of type {type(item).__name__} without {self._label!r}",
                expected="items with a label at label=",
                fix="correct label=, or pass labels=",
            ) from error
        return rest[0] if len(rest) == 1 else rest, label

    def _read(self, indices: NDArray[np.int64]) -> Any:
        # An empty batch has the shapes of a record: one is read, and left out.
        wanted = indices if len(indices) or not len(self) else np.zeros(1, dtype=np.int64)
        if not len(wanted):
            return np.zeros(0)
        names = [self.ids[position] for position in wanted.tolist()]
        items = self._items(wanted, self.ids)
        if len(items) != len(wanted):
            raise DataError(
                f"{len(items)} items for {len(wanted)}", expected="one an index", fix="correct __getitems__"
            )
        records = [self._parted(item, name)[0] for item, name in zip(items, names, strict=True)]
        batch = _stacked(records, names)
        batch = map_tree(lambda leaf: leaf[: len(indices)], batch)
        self._look.check(indices, batch, self._named)
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
                expected=f"numbers, alike in all records: {_described(first)} as of ID {names[0]!r}",
                fix="bring the items to one shape and type",
            )
    for path, (_, dtype) in first.items():
        check_record_type(dtype, f"ID {names[0]!r}: x{path}")
    columns = iter([np.stack([arrays[path] for arrays in flat]) for path in first])
    return map_tree(lambda leaf: next(columns), records[0])


def _described(arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    return ", ".join(f"x{path} {shape} {dtype}" for path, (shape, dtype) in arrays.items()) or "no array"


def _plain(labels: Any) -> Any:
    """A list of tensors or NumPy numbers as an array; text and lists as they are."""
    if isinstance(labels, list) and labels and not isinstance(labels[0], str | list | tuple):
        return np.asarray([np.asarray(label) for label in labels])
    if isinstance(labels, list | tuple):
        return labels
    array = np.asarray(labels)
    return labels if array.dtype.kind == "U" else array


def _unread(which: str, error: Exception) -> DataError:
    return DataError(
        f"{which}: {type(error).__name__}: {error}", expected="items that can be read", fix="check the data set"
    )
