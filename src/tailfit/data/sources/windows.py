"""Windows of long sensor records: each a sample of its own, none across the border of two records."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tailfit.arguments import whole_number
from tailfit.data.files.reading import mapped_files
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.ragged import Ragged
from tailfit.data.records.trees import leaves, map_tree
from tailfit.data.source import Source, first_repeated
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded, encode

__all__ = ["Windows"]


class Windows(Source):
    """All windows of `length` steps, `stride` apart, of long records.

    A window's ID is its record's with the step it begins at, `"run 7@120"`; its metadata have the columns `record` and
    `start` besides those of the record. Windows of one record overlap or resemble each other: split them by record,
    `windows.split(0.8, 0.2, by="record")`.

    Args:
        x: A source whose records are arrays `[steps, ...]`, of one length or not; or one long array
            `[all steps, ...]` (also a memmap), whose records are runs of equal `by`.
        length: Steps of a window, >= 1.
        stride: Steps from the beginning of a window to that of the next one, >= 1; `length` without it.
        by: For a long array: the record of each step, `[all steps]`, e.g. a run's number; a record ends where it
            changes. Without it all is one record.
        y: For a long array: the label of each step, in any form that `tailfit.labels.encode` takes; or one a record, in
            the order in which they begin.
        label: Which step's label a window has, where steps have one each: its `"last"` or `"first"`.
        class_names: Of `y`, in the order of the codes.
    Shapes: `read(indices)` gives `[n, length, ...]` in the records' units.
    Raises:
        ArgumentError: for a length or stride out of range, or arguments that contradict each other.
        DataError: if no record is as long as a window, or `by` or `y` have another length.

    >>> pressure = np.arange(7.0)
    >>> windows = Windows(pressure, length=2, by=["a", "a", "a", "b", "b", "b", "b"], y=["ok", "leak"])
    >>> windows.ids, windows.read([1]).tolist(), windows.labels.tolist()
    (('a@0', 'b@0', 'b@2'), [[3.0, 4.0]], [1, 0, 0])
    """

    def __init__(
        self,
        x: Source | ArrayLike,
        length: int,
        stride: int | None = None,
        *,
        by: ArrayLike | None = None,
        y: Any = None,
        label: Literal["last", "first"] = "last",
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.length: Final = whole_number("length", length, least=1)
        self.stride: Final = self.length if stride is None else whole_number("stride", stride, least=1)
        if label not in ("last", "first"):
            raise ArgumentError(f"label={label!r}", expected="'last' or 'first'", fix="leave it out")
        self.x: Final = x if isinstance(x, Source) else np.asanyarray(x)
        if not isinstance(self.x, Source):
            check_record_type(self.x.dtype, "x")
        if isinstance(self.x, Source):
            if by is not None or y is not None or class_names is not None:
                raise ArgumentError(
                    "by=, y= or class_names= beside a source",
                    expected="a source alone, which has records, labels and names of its own",
                    fix="leave them out",
                )
            own = self.x.lengths
            lengths = np.full(len(self.x), _steps_of(self.x), dtype=np.int64) if own is None else own
            names, begins = self.x.ids, np.cumsum(lengths) - lengths
        else:
            names, begins, lengths = _runs(self.x, by)
        windows = np.maximum((lengths - self.length) // self.stride + 1, 0)
        if not windows.sum():
            raise DataError(
                f"{len(lengths)} records of up to {int(lengths.max(initial=0))} steps",
                expected=f"a record of length={self.length} steps or more",
                fix="use shorter windows",
            )
        # Of each window: its record, and the step of the record that it begins at.
        self._records: Final = np.repeat(np.arange(len(lengths)), windows)
        first = np.repeat(np.cumsum(windows) - windows, windows)
        self._starts: Final = (np.arange(len(self._records)) - first) * self.stride
        self._begins: Final = begins
        records, starts = self._records.tolist(), self._starts.tolist()
        ids = tuple(f"{names[record]}@{start}" for record, start in zip(records, starts, strict=True))
        super().__init__(ids, self._labels_of(y, label, class_names), self._table_of(names, ids))
        self.in_memory = x.in_memory if isinstance(x, Source) else not isinstance(self.x, np.memmap)
        self._mapped: Final = mapped_files([self.x])

    def _labels_of(self, y: Any, label: str, class_names: Sequence[str] | None) -> Encoded | None:
        if isinstance(self.x, Source):
            encoded = self.x.encoded
            return None if encoded is None else encoded.take(self._records)
        if y is None:
            return None
        encoded, records = encode(y, class_names=class_names), len(self._begins)
        if len(encoded.values) == records:
            return encoded.take(self._records)
        if len(encoded.values) == len(self.x):
            step = self.length - 1 if label == "last" else 0
            return encoded.take(self._begins[self._records] + self._starts + step)
        raise DataError(
            f"{len(encoded.values)} labels",
            expected=f"one a step ({len(self.x)}) or one a record ({records})",
            fix="check y",
        )

    def _table_of(self, names: Sequence[str], ids: Sequence[str]) -> pl.DataFrame:
        own = {"id": ids, "record": [names[record] for record in self._records.tolist()], "start": self._starts}
        table = pl.DataFrame(own)
        if isinstance(self.x, Source) and self.x.metadata is not None:
            theirs = self.x.metadata.drop("id", *({"record", "start"} & set(self.x.metadata.columns)))
            table = pl.concat([table, theirs[self._records]], how="horizontal") if theirs.width else table
        return table

    def _read(self, indices: NDArray[np.int64]) -> Any:
        records, starts = self._records[indices], self._starts[indices]
        steps = np.arange(self.length)
        if not isinstance(self.x, Source):
            for file in self._mapped:
                file.check()
            return np.asarray(self.x)[(self._begins[records] + starts)[:, None] + steps]
        # Each record is read once, however many of its windows are in the batch.
        distinct, places = np.unique(records, return_inverse=True)
        whole = self.x._read(distinct)

        def cut(leaf: Any) -> Any:
            if isinstance(leaf, Ragged):
                return leaf.values[(leaf.offsets[places] + starts)[:, None] + steps]
            return leaf[places[:, None], starts[:, None] + steps]

        return map_tree(cut, whole)


def _steps_of(source: Source) -> int:
    if not len(source):
        raise DataError(f"{source!r}", expected="a source with records", fix="check its files")
    steps = {leaf.shape[1] if leaf.ndim > 1 else 0 for _, leaf in leaves(source.read([0]))}
    if len(steps) != 1 or 0 in steps:
        raise DataError(
            f"records of {sorted(steps)} steps (0: a single number)",
            expected="records whose arrays share one first axis, the steps",
            fix="bring them there with Mapped",
        )
    return int(steps.pop())


def _runs(x: NDArray[Any], by: ArrayLike | None) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Name, first step and length of each record of a long array."""
    if x.ndim == 0 or x.dtype.hasobject:
        raise DataError(
            f"x of shape {x.shape} and type {x.dtype}", expected="numbers, [steps, ...]", fix="stack the steps"
        )
    keys = np.zeros(len(x), dtype=np.int64) if by is None else np.asarray(by)
    if keys.shape != (len(x),):
        raise DataError(f"by of shape {keys.shape} for {len(x)} steps", expected="one key a step", fix="check by")
    changes = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    begins = np.concatenate([[0], changes])[: len(x)].astype(np.int64)
    names = [str(key) for key in keys[begins].tolist()]
    again = first_repeated(names)
    if again is not None:
        raise DataError(
            f"by={again!r} in {names.count(again)} runs that do not touch",
            expected="each key in one run of steps",
            fix="sort the steps by record and time, or give each run a key of its own",
        )
    return names, begins, np.diff(np.append(begins, len(x)))
