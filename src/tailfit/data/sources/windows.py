"""Windows of long sensor records as samples; no window spans two records."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tailfit.arguments import whole_number
from tailfit.data.files.reading import mapped_files
from tailfit.data.grouping import Grouping
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.ragged import windows_at
from tailfit.data.records.trees import leaves
from tailfit.data.source import Source, first_duplicate
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded, encode

__all__ = ["Windows"]


class Windows(Source):
    """All windows of `length` steps, `stride` apart, of long records.

    A window's ID is the ID of its record and its first step, `"run 7@120"`. Its metadata are those of the record and
    the columns `record` and `start`. Windows of one record overlap or resemble each other, so a record is a group by
    default: `windows.split(0.8, 0.2)` cuts none. If the source has groups, windows have those of their records.

    Args:
        x: A source whose records are arrays `[steps, ...]`, of equal or different length; or one long array
            `[all steps, ...]` (also a memmap), whose records are runs of equal `by`.
        length: Steps per window, >= 1.
        stride: Steps between the starts of consecutive windows, >= 1; default `length`.
        by: For a long array: the record of each step, `[all steps]`, for example the index of a run. A record ends
            where the value changes. By default the whole array is one record.
        y: For a long array: labels in any form that `tailfit.labels.encode` accepts, either one per step or one per
            record, in the order of the records.
        label: Step that a window takes its label from if `y` has one label per step: `"last"` or `"first"`.
        class_names: Class names of `y` in the order of the class indices.
    Shapes: `read(indices)` returns `[n, length, ...]` in the records' units.
    Raises:
        ArgumentError: If the length or stride is out of range, or arguments contradict each other.
        DataError: If every record is shorter than a window, or `by` or `y` has a wrong length.

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
            raise ArgumentError(f"label={label!r}", expected="'last' or 'first'", fix="drop label=, or pass 'first'")
        self.x: Final = x if isinstance(x, Source) else np.asanyarray(x)
        if not isinstance(self.x, Source):
            check_record_type(self.x.dtype, "x")
        if isinstance(self.x, Source):
            if by is not None or y is not None or class_names is not None:
                raise ArgumentError(
                    "by=, y= or class_names= together with a source",
                    expected="a source alone, because it already has records, labels and class names",
                    fix="drop these arguments",
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
                expected=f"at least one record of length={self.length} steps or more",
                fix="use shorter windows",
            )
        # For each window, its record and its first step in that record.
        self._records: Final = np.repeat(np.arange(len(lengths)), windows)
        first = np.repeat(np.cumsum(windows) - windows, windows)
        self._starts: Final = (np.arange(len(self._records)) - first) * self.stride
        self._begins: Final = begins
        records, starts = self._records.tolist(), self._starts.tolist()
        ids = tuple(f"{names[record]}@{start}" for record, start in zip(records, starts, strict=True))
        super().__init__(
            ids, self._labels_of(y, label, class_names), self._table_of(names, ids), self._groups_of(names)
        )
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
            expected=f"one label per step ({len(self.x)}) or per record ({records})",
            fix="pass y of one of these lengths",
        )

    def _groups_of(self, names: Sequence[str]) -> Grouping:
        of_records = self.x.grouping if isinstance(self.x, Source) else None
        if of_records is not None:
            return of_records.take(self._records)
        return Grouping(self._records, tuple(names), "record")

    def _table_of(self, names: Sequence[str], ids: Sequence[str]) -> pl.DataFrame:
        own = {"id": ids, "record": [names[record] for record in self._records.tolist()], "start": self._starts}
        table = pl.DataFrame(own)
        if isinstance(self.x, Source) and self.x.metadata is not None:
            of_records = self.x.metadata.drop("id", *({"record", "start"} & set(self.x.metadata.columns)))
            table = pl.concat([table, of_records[self._records]], how="horizontal") if of_records.width else table
        return table

    def _read(self, indices: NDArray[np.int64]) -> Any:
        records, starts = self._records[indices], self._starts[indices]
        if isinstance(self.x, Source):
            return self.x._read_windows(records, starts, self.length)
        for file in self._mapped:
            file.check()
        return windows_at(self.x, self._begins[records] + starts, self.length)


def _steps_of(source: Source) -> int:
    if not len(source):
        raise DataError(f"{source!r}", expected="a source with at least one record", fix="check its files")
    steps = {leaf.shape[1] if leaf.ndim > 1 else 0 for _, leaf in leaves(source.read([0]))}
    if len(steps) != 1 or 0 in steps:
        raise DataError(
            f"records whose arrays have {sorted(steps)} steps (0 for a single number)",
            expected="the same number of steps, on the first axis, in all arrays of a record",
            fix="change the records with Mapped",
        )
    return int(steps.pop())


def _runs(x: NDArray[Any], by: ArrayLike | None) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Return the name, first step and length of each record of a long array."""
    if x.ndim == 0 or x.dtype.hasobject:
        raise DataError(
            f"x of shape {x.shape} and type {x.dtype}",
            expected="an array of numbers, [steps, ...]",
            fix="stack the steps, x = np.stack(steps)",
        )
    keys = np.zeros(len(x), dtype=np.int64) if by is None else np.asarray(by)
    if keys.shape != (len(x),):
        raise DataError(
            f"by of shape {keys.shape} for {len(x)} steps",
            expected="one key per step",
            fix="pass a one-dimensional by= of the same length as x",
        )
    changes = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    begins = np.concatenate([[0], changes])[: len(x)].astype(np.int64)
    names = [str(key) for key in keys[begins].tolist()]
    again = first_duplicate(names)
    if again is not None:
        raise DataError(
            f"by={again!r} in {names.count(again)} separate runs of steps",
            expected="the steps of each key in one contiguous run",
            fix="sort the steps by record and time, or give each run its own key",
        )
    return names, begins, np.diff(np.append(begins, len(x)))
