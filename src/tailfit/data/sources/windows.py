"""Windows of long sensor records as samples; no window spans two records."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tailfit.arguments import whole_number
from tailfit.data.files.reading import mapped_files
from tailfit.data.grouping import Grouping
from tailfit.data.records.cutting import WindowCutter
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.trees import leaves
from tailfit.data.source import Source
from tailfit.data.sources.window_labels import LabelFunction, LabelRule
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded, encode
from tailfit.names import first_duplicate

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
        label: Rule for the label of a window if there is a label per step (of a source, see `Source.step_labels`, or in
            `y`). `"last"`, `"first"`: the class of that step. `"majority"`: the most frequent class; of several the one
            that occurs last. `"any:<class>"`: this class if any step has it, else as `"last"`. `"onset"`: as `"last"`,
            but only windows that end within `onset` steps after a change of class, or before the first change of the
            record. Or a function that reduces class indices `int32[n, length]` to `[n]`. A window whose label is left
            out, -1, is not made. None: windows have no labels, and all are made.
        onset: For `"onset"`: number of steps after a change that are kept, >= 1.
        class_names: Class names of `y` in the order of the class indices.
    Shapes: `read(indices)` returns `[n, length, ...]` in the records' units.
    Raises:
        ArgumentError: If the length or stride is out of range, the rule or its class is unknown, or arguments
            contradict each other.
        DataError: If every record is shorter than a window, the labels of all windows are left out, or `by` or `y` has
            a wrong length.

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
        label: str | LabelFunction | None = "last",
        onset: int | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.length: Final = whole_number("length", length, least=1)
        self.stride: Final = self.length if stride is None else whole_number("stride", stride, least=1)
        rule = LabelRule(label, onset)
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
        self._records = np.repeat(np.arange(len(lengths)), windows)
        self._starts = (np.arange(len(self._records)) - np.repeat(np.cumsum(windows) - windows, windows)) * self.stride
        self._begins: Final = begins
        labels = self._labels_of(rule, lengths, y, class_names)
        if labels is not None and labels.kind == "codes" and labels.values.min() < 0:
            kept = np.flatnonzero(labels.values >= 0)
            if not len(kept):
                raise DataError(
                    f"{len(labels.values)} windows, none of which has a label by label={label!r}",
                    expected="at least one window whose label is not left out",
                    fix="choose a different label=, or leave out fewer labels",
                )
            self._records, self._starts = self._records[kept], self._starts[kept]
            labels = labels.take(kept)
        of_records = np.array(names, dtype=object)[self._records].tolist()
        ids = tuple(f"{name}@{start}" for name, start in zip(of_records, self._starts.tolist(), strict=True))
        super().__init__(ids, labels, self._table_of(of_records, ids), self._groups_of(names))
        self.in_memory = x.in_memory if isinstance(x, Source) else not isinstance(self.x, np.memmap)
        self._reader: Callable[..., Any] | None = None  # built at the first read, which loads the records
        if isinstance(self.x, Source):
            self.keeps_missing, self.channels = self.x.keeps_missing, self.x.channels
            self.step_seconds = self.x.step_seconds
        self._mapped: Final = mapped_files([self.x])

    def _labels_of(
        self, rule: LabelRule, lengths: NDArray[np.int64], y: Any, class_names: Sequence[str] | None
    ) -> Encoded | None:
        """Return the label of each window; class index -1 for a window that is not made."""
        if rule.label is None:
            return None
        first = self._begins[self._records] + self._starts
        if isinstance(self.x, Source):
            steps = _steps_labels(self.x, lengths)
            if steps is None:
                return None if self.x.encoded is None else self.x.encoded.take(self._records)
            names = self.x.class_names
            return Encoded("codes", rule(steps, first, self.length, names, self._begins), names)
        if y is None:
            return None
        encoded, records = encode(y, class_names=class_names), len(self._begins)
        if len(encoded.values) == records:
            return encoded.take(self._records)
        if len(encoded.values) != len(self.x):
            raise DataError(
                f"{len(encoded.values)} labels",
                expected=f"one label per step ({len(self.x)}) or per record ({records})",
                fix="pass y of one of these lengths",
            )
        if encoded.kind == "codes":
            names, steps_of = encoded.class_names, encoded.values.astype(np.int32)
            return Encoded("codes", rule(steps_of, first, self.length, names, self._begins), names)
        if rule.label not in ("last", "first"):
            raise ArgumentError(
                f"label={rule.label!r} for {encoded.kind} labels of steps",
                expected="label='last' or 'first'",
                fix="pass one class per step in y, or label='last'",
            )
        return encoded.take(first + (self.length - 1 if rule.label == "last" else 0))

    def _groups_of(self, names: Sequence[str]) -> Grouping:
        of_records = self.x.grouping if isinstance(self.x, Source) else None
        if of_records is not None:
            return of_records.take(self._records)
        return Grouping(self._records, tuple(names), "record")

    def _table_of(self, records: Sequence[str], ids: Sequence[str]) -> pl.DataFrame:
        own = {"id": ids, "record": records, "start": self._starts}
        table = pl.DataFrame(own)
        if isinstance(self.x, Source) and self.x.metadata is not None:
            of_records = self.x.metadata.drop("id", *({"record", "start"} & set(self.x.metadata.columns)))
            table = pl.concat([table, of_records[self._records]], how="horizontal") if of_records.width else table
        return table

    def _read(self, indices: NDArray[np.int64]) -> Any:
        for file in self._mapped:
            file.check()
        if self._reader is None:
            self._reader = self._built_reader()
        return self._reader(indices)

    def _built_reader(self) -> Callable[..., Any]:
        x, records, starts = self.x, self._records, self._starts
        if not isinstance(x, Source):
            return WindowCutter(x, self._begins[records] + starts, self.length)
        return x._window_reader(records, starts, self.length) or (
            lambda indices: x._read_windows(records[indices], starts[indices], self.length)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}  # another process loads the records itself


def _steps_labels(source: Source, lengths: NDArray[np.int64]) -> NDArray[np.int32] | None:
    """Return the labels of the steps of all records, one record after the other; None if there are none."""
    of_records = [source.step_labels(record) for record in range(len(source))]
    labels = [steps for steps in of_records if steps is not None]
    if not labels:
        return None
    sizes = np.array([0 if steps is None else len(steps) for steps in of_records])
    if not np.array_equal(sizes, lengths):
        record = int(np.argmax(sizes != lengths))
        raise DataError(
            f"record {source.ids[record]!r} with {sizes[record]} labels of steps for {lengths[record]} steps",
            expected="one label per step",
            fix="cut windows first, and apply a function that changes the number of steps to the windows",
        )
    return np.concatenate(labels)


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
