"""Recordings: long tables of sensor readings, with a label for each step, as records of different length."""

import os
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.files.memory import fits_in_memory
from tailfit.data.files.reading import absolute, files_in
from tailfit.data.grouping import Grouping
from tailfit.data.records.cutting import WindowReader
from tailfit.data.records.finite import DataWarning, FirstReadCheck, WindowCheck
from tailfit.data.records.ragged import Ragged
from tailfit.data.remote.fetching import fetch, is_url
from tailfit.data.source import Source, checked_ids
from tailfit.data.sources.layout import LABELS, METADATA, metadata_file
from tailfit.data.tables.labels import UnreadLabel
from tailfit.data.tables.metadata import Metadata, align, as_rows
from tailfit.data.tables.recording_tables import OpenedTables, Recorded, open_tables, recordings_of, table_paths
from tailfit.data.tables.row_numbers import left_out_message, may_number_rows, numbers_rows
from tailfit.data.tables.sensor_rows import SensorRows, one_per_schema, sensor_columns
from tailfit.data.tables.step_labels import ClassRules, StepLabels
from tailfit.data.tables.table_files import SUFFIXES
from tailfit.data.tables.timeline import Grid, Times, as_times, seconds
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.labels import Encoded

__all__ = ["Recordings", "has_recordings", "recording_files"]

_METADATA = "runs.csv"
_TIME = "timestamp"


class Recordings(Source):
    """Recordings of sensors in tables: a row is a step, a column a sensor, and a step has a label.

    Each file is one recording, whose ID is its name without the extension; with `id=`, recordings are the runs of
    equal ID in long tables. Records are ragged, `float32[steps, sensors]`. A sensor that a recording lacks, and a null,
    is NaN: a missing reading, see `tailfit.data.FillMissing`. Cut windows from recordings with `tailfit.data.Windows`.

    Args:
        path: A folder of Parquet, Feather or CSV files (sorted by name), a file, a list of files, or a URL.
        label: Column of labels, in each table or in the metadata, which then has one label per recording. None:
            unlabelled.
        columns: Columns of the sensors, which each table must have. By default all columns of numbers that any table
            has, in the order of their first appearance. A column that only numbers the rows is left out with a warning.
        time: Column of times: datetimes, their text in ISO 8601, or numbers of seconds, which increase from row to row.
            Tables without the column `timestamp` are recordings of regular steps. None: ignore times.
        id: Column that tells recordings apart in long tables. The rows of a recording are consecutive.
        metadata: Table with a row per recording: a polars DataFrame, or the path of a file, also relative to the
            folder. By default `runs.csv` or `metadata.csv` (`.parquet`, ...) in the folder, if it exists. Rows of
            other recordings are ignored. None: no metadata.
        classes: Raw labels of each class by its name, in the order of the class indices; merges labels. By default each
            raw label is a class.
        drop: Raw labels whose steps are left out, for example transients. Their readings remain, but no window is
            labelled by them. Steps without a label (null, NaN) are left out, too.
        group: Column or columns of the metadata; recordings with equal values are a group, which no split cuts.
        resample: Length of regular steps, which replace the rows: seconds, or text such as `"10s"`. A step has the last
            reading of each sensor in it, NaN without one, and the label of the last row. `{"every": "10s", "how":
            "mean"}` averages readings.
        max_gap: Longest time between two rows of a recording, in the same units. A longer gap ends it: its segments
            have the IDs `"run#1"`, `"run#2"`, ..., and one group.
        memory: Whether to load all readings into memory at the first read; `"auto"` does so if they take at most half
            of the free memory. Otherwise only the row groups of the requested steps are read; `pack` such recordings
            before reading windows in random order.
        nan: Policy for NaN and infinity: `"keep"`, because a missing reading is NaN, `"raise"` or `"warn"` (once).
        strip: Whether to strip whitespace around labels.
        cache: Folder for copies of data at a URL; see `tailfit.data.open`.

    Attributes:
        columns: Names of the sensors, the last axis of the records.
        unlabelled_steps, dropped_steps: Number of rows without a label, and with a label in `drop`.
    Shapes: `read(indices)` returns a `Ragged` of `float32[steps, sensors]` in the units of the tables;
        `step_labels(index)` class indices `int32[steps]`, -1 for a step that is left out. `labels` are those of
        recordings that have one class each, else None.
    Raises:
        ArgumentError: If an argument has a wrong type, or a raw label is in two classes.
        DataError: If a raw label is in no class, or metadata do not match; `RecordError` if a file is no recording: it
            is damaged, shorter than two rows, lacks the label, has text in the column of a sensor, or times that don't
            increase. The message begins with its path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pl.DataFrame({"flow": [1.0, 2.0, 3.0], "class": [0, 101, 1]}).write_parquet(f"{folder}/run 1.parquet")
    ...     pl.DataFrame({"heat": [5, 6], "class": [0, None]}).write_parquet(f"{folder}/run 2.parquet")
    ...     runs = Recordings(folder, classes={"ok": [0], "leak": [1]}, drop=[101])
    ...     runs.columns, runs.read([0]).values.tolist(), runs.step_labels(0).tolist(), runs.unlabelled_steps
    (('flow', 'heat'), [[1.0, nan], [2.0, nan], [3.0, nan]], [0, -1, 1], 1)
    """

    def __init__(
        self,
        path: str | PathLike[str] | Sequence[str | PathLike[str]],
        *,
        label: str | None = "class",
        columns: Sequence[str] | None = None,
        time: str | None = _TIME,
        id: str | None = None,
        metadata: Metadata | None = _METADATA,
        classes: Mapping[str, Iterable[Any]] | None = None,
        drop: Iterable[Any] = (),
        group: str | Sequence[str] | None = None,
        resample: Any = None,
        max_gap: str | float | None = None,
        memory: bool | Literal["auto"] = "auto",
        nan: str = "keep",
        strip: bool = False,
        cache: str | PathLike[str] | None = None,
    ) -> None:
        rules, grid = ClassRules(classes, drop), Grid.of(resample)
        gap = None if max_gap is None else seconds("max_gap", max_gap)
        if columns is not None and (isinstance(columns, str) or not isinstance(columns, Sequence)):
            raise ArgumentError(
                f"columns={columns!r}", expected="a list of column names", fix=f"pass columns=[{columns!r}]"
            )
        where = _local(path, cache)
        folder = where if isinstance(where, Path) and where.is_dir() else None
        table = _metadata_of(metadata, folder)
        paths = table_paths(where, [*_no_recordings(folder), *([table] if isinstance(table, Path) else [])])
        unread = isinstance(label, UnreadLabel)
        taken = [name for name in ((label or "class") if unread else label, time, id) if name is not None]
        label = None if unread else label
        opened = open_tables(paths, taken, text=() if id is None else (id,), time=time, where=str(where))
        self._where: Final = opened.where
        found = recordings_of(opened, id)
        self._rows: Final = SensorRows(opened.tables, self._sensors(opened, columns, taken))
        self.columns: Final = self._rows.columns
        self.channels = self.columns
        runs = None if table is None else _aligned(table, found.names, id)
        labels = self._step_labels(opened, found, label, runs, rules, strip)
        if runs is not None and label is not None and label in runs.columns:
            runs = runs.drop(label)
        times = _times(opened, found, time, needed=grid is not None or gap is not None)
        begins = found.begins
        if gap is not None and times is not None:
            begins = np.union1d(begins, times.after_gaps(gap))
        owners = np.searchsorted(found.begins, begins, side="right") - 1
        steps = np.diff(np.append(begins, len(self._rows)))
        self._grid: Final = grid
        if grid is not None:
            self.step_seconds = grid.every
        elif times is not None:
            self.step_seconds = times.usual_step(begins)
        self._row_ends: NDArray[np.int64] | None = None
        self._codes: NDArray[np.int32] | None = None if labels is None else labels.values
        if grid is not None and times is not None:
            place, steps = times.on_grid(begins, grid)
            place += np.repeat(np.cumsum(steps) - steps, np.diff(np.append(begins, len(self._rows))))
            self._row_ends = np.cumsum(np.bincount(place, minlength=int(steps.sum())))
            if self._codes is not None:
                self._codes = self._codes[self._row_ends - 1]
        # n + 1 offsets of the records in all steps.
        self._offsets: Final = np.append(0, np.cumsum(steps))
        self.unlabelled_steps: Final = 0 if labels is None else labels.unlabelled
        self.dropped_steps: Final = 0 if labels is None else labels.dropped
        self._step_classes = () if labels is None else labels.class_names
        ids = checked_ids(_segment_names(found.names, owners), len(owners))
        runs = _of_segments(runs, found.names, ids, owners, gap is not None)
        groups: Any = group
        if group is None and gap is not None:
            groups = Grouping(owners.astype(np.int64), found.names, "record")
        super().__init__(ids, self._labels_of_records(), runs, groups)
        self.ragged = True
        self.in_memory = fits_in_memory(int(self._offsets[-1]) * len(self.columns) * 4, memory)
        self._nan_check: Final = FirstReadCheck(len(self), nan, RecordError)
        self._window_check: Final = WindowCheck(nan, RecordError)
        self.keeps_missing = nan == "keep"
        self._lock = threading.Lock()
        self._values: NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        classes = f"{len(self.class_names)} classes" if self.class_names else "unlabelled"
        steps, sensors = int(self._offsets[-1]), len(self.columns)
        return f"<Recordings: {len(self)} recordings of {steps} steps, {sensors} sensors, {classes}>"

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """See `Source.lengths`."""
        return np.diff(self._offsets)

    def step_labels(self, index: int) -> NDArray[np.int32] | None:
        """Return the class index of each step of a recording, `int32[steps]`; -1 for a step that is left out."""
        if self._codes is None:
            return None
        return self._codes[self._offsets[index] : self._offsets[index + 1]].copy()

    def _sensors(self, opened: OpenedTables, columns: Sequence[str] | None, taken: Sequence[str]) -> tuple[str, ...]:
        if columns is None:
            names = dict.fromkeys(name for table in one_per_schema(opened.tables) for name in table.columns)
            usual = [name for name in names if may_number_rows(name) and name not in taken]
            self.left_out = tuple(name for name in usual if _numbers_rows(opened, name))
            if self.left_out:
                message = left_out_message(opened.tables[0].file.path, self.left_out, "columns=[...]")
                warnings.warn(message, DataWarning, stacklevel=4)
        return sensor_columns(opened.tables, columns, taken, self.left_out)

    def _step_labels(
        self,
        opened: OpenedTables,
        found: Recorded,
        label: str | None,
        runs: pl.DataFrame | None,
        rules: ClassRules,
        strip: bool,
    ) -> StepLabels | None:
        if label is None:
            return None
        values, where = opened.column(label, "labels"), opened.where
        if values is None and runs is not None and label in runs.columns:
            sizes = np.diff(np.append(found.begins, opened.ends[-1]))
            values = runs[label].gather(np.repeat(np.arange(len(sizes)), sizes))
        if values is None:
            columns = list(opened.tables[0].columns)
            raise RecordError(
                f"{opened.tables[0].file.path}: the columns {columns} without the label {label!r}"
                + ("" if runs is None else f", as well as the metadata {runs.columns}"),
                expected="a column of labels in each recording, or in the metadata",
                fix="name the column as label=; pass label=None if there are no labels",
            )
        return rules.encode(values, where, strip=strip)

    def _labels_of_records(self) -> Encoded | None:
        """Return the label of each record if the labelled steps of each have one class; else None."""
        if self._codes is None or not len(self._codes):
            return None
        begins = self._offsets[:-1]
        most = np.maximum.reduceat(self._codes, begins)
        least = np.minimum.reduceat(np.where(self._codes < 0, len(self._step_classes), self._codes), begins)
        if (most != least).any():  # also for a record without a labelled step
            return None
        return Encoded("codes", most.astype(np.int64), self._step_classes)

    def _steps(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the readings from one step of all steps to before another, `float32[stop - start, sensors]`."""
        if self._row_ends is None or self._grid is None:
            return self._rows.read(start, stop)
        ends = self._row_ends[start:stop]
        first = int(self._row_ends[start - 1]) if start else 0
        rows = np.diff(ends, prepend=first)
        return self._grid.reduced(self._rows.read(first, int(ends[-1]) if len(ends) else first), rows)

    def _loaded(self) -> NDArray[np.float32] | None:
        """Return all steps, loaded at the first use; None if they do not fit into memory."""
        if not self.in_memory:
            return None
        values = self._values
        if values is None:
            with self._lock:
                values = self._values
                if values is None:
                    self._values = values = self._steps(0, int(self._offsets[-1]))
        return values

    def _read(self, indices: NDArray[np.int64]) -> Any:
        values, lengths = self._loaded(), np.diff(self._offsets)
        if values is not None:
            batch = Ragged(values, lengths).take(indices)
        else:
            batch = Ragged(np.empty((int(lengths[indices].sum()), len(self.columns)), np.float32), lengths[indices])
            for row in np.argsort(indices, kind="stable").tolist():
                start = int(self._offsets[indices[row]])
                batch[row][...] = self._steps(start, start + int(lengths[indices[row]]))
        self._nan_check.check(indices, batch, self._named)
        return batch

    def _read_windows(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Any:
        first = self._offsets[records] + starts
        windows = np.empty((len(first), length, len(self.columns)), np.float32)
        for row in np.argsort(first, kind="stable").tolist():  # in the order of the files
            windows[row] = self._steps(int(first[row]), int(first[row]) + length)
        self._window_check.check(records, windows, self._named)
        return windows

    def _window_reader(self, records: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> WindowReader | None:
        values = self._loaded()
        if values is None:
            return None
        whole = Ragged(values, np.diff(self._offsets))
        return WindowReader(whole, records, starts, length, self._window_check, self._named)

    def _named(self, position: int) -> str:
        start = int(self._offsets[position])
        row = start if self._row_ends is None else int(self._row_ends[start]) - 1
        return f"{self._where(row).rpartition(': row')[0]}: the recording {self.ids[position]!r}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_values": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


def recording_files(root: Path) -> list[str]:
    """Return the paths of the tables in a folder that may be recordings; none if it has tables in several formats."""
    paths = [path for path in files_in(root) if path.lower().endswith(SUFFIXES)]
    kept = [path for path in paths if Path(path) not in {Path(absolute(other)) for other in _no_recordings(root)}]
    return kept if len({Path(path).suffix.lower() for path in kept}) == 1 else []


def has_recordings(root: Path) -> bool:
    """Return whether a folder of tables has a table of metadata with a row for most of its tables, by their names."""
    table = metadata_file(root, [_METADATA])
    names = [] if table is None else [Path(path).stem for path in recording_files(root)]
    if table is None or not names:
        return False
    try:
        rows = as_rows(table)
    except RecordError:
        return table.name == _METADATA  # Recordings then raises the error
    columns = (rows.text(name) for name in rows.frame.columns)
    found = [len(set(names).intersection(text.to_list())) for text in columns if text is not None]
    return 2 * max(found, default=0) >= len(names)


def _no_recordings(folder: Path | None) -> list[Path]:
    return [] if folder is None else [folder / name for name in (_METADATA, *METADATA, *LABELS)]


def _local(path: Any, cache: Any) -> Any:
    """Return a path or list of paths with URLs replaced by local copies."""
    if isinstance(path, str | PathLike):
        return fetch(fspath(path), cache) if is_url(path) else Path(fspath(path))
    if not isinstance(path, Sequence) or not all(isinstance(one, str | PathLike) for one in path):
        raise ArgumentError(
            f"a path of type {type(path).__name__}",
            expected="a folder, a file, a list of files, or a URL",
            fix="pass a path; for arrays in memory use tailfit.data.Arrays(Ragged(records))",
        )
    return [_local(one, cache) for one in path]


def _metadata_of(metadata: Any, folder: Path | None) -> Any:
    """Return the table of metadata: a DataFrame, the path of its file, or None."""
    if metadata is None or not isinstance(metadata, str | PathLike):
        return metadata
    if folder is not None and fspath(metadata) == _METADATA:
        return metadata_file(folder, [_METADATA])
    if fspath(metadata) == _METADATA:
        return None
    inside = None if folder is None else folder / metadata
    return inside if inside is not None and os.path.lexists(inside) else Path(metadata)


def _aligned(table: Any, names: Sequence[str], id: str | None) -> pl.DataFrame:
    what = f"the metadata {table}" if isinstance(table, Path) else "metadata"
    rows = as_rows(table, what)
    return align(rows, names, id if id in rows.frame.columns else None, what=what)


def _numbers_rows(opened: OpenedTables, name: str) -> bool:
    values = [
        table.read(chunk, [name])[name]
        for table in opened.tables
        if table.columns.get(name) == "number"
        for chunk in range(len(table.sizes))
    ]
    return (
        bool(values)
        and not any(part.null_count() for part in values)
        and numbers_rows(name, np.concatenate([part.to_numpy() for part in values]))
    )


def _times(opened: OpenedTables, found: Recorded, time: str | None, *, needed: bool) -> Times | None:
    column = None if time is None else opened.column(time, "times")
    if column is None:
        if needed or (time is not None and time != _TIME):
            raise DataError(
                f"{opened.tables[0].file.path}: no column of times, time={time!r}, among "
                f"{list(opened.tables[0].columns)}",
                expected="a column of times, which resample= and max_gap= require",
                fix="name the column as time=",
            )
        return None
    times = as_times(column, opened.where)
    times.check_order(found.begins, opened.where)
    return times


def _segment_names(names: Sequence[str], owners: NDArray[np.int64]) -> list[str]:
    counts = np.bincount(owners, minlength=len(names))
    numbers = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return [
        f"{names[owner]}#{number}" if counts[owner] > 1 else names[owner]
        for owner, number in zip(owners.tolist(), numbers.tolist(), strict=True)
    ]


def _of_segments(
    runs: pl.DataFrame | None, names: Sequence[str], ids: Sequence[str], owners: NDArray[np.int64], segmented: bool
) -> pl.DataFrame | None:
    """Return the row of metadata of each segment, with the column `recording` if recordings may be cut."""
    if not segmented:
        return runs
    known = pl.DataFrame({"id": list(ids), "recording": [names[owner] for owner in owners.tolist()]})
    if runs is None:
        return known
    return pl.concat([known, runs.drop("id", "recording", strict=False)[owners]], how="horizontal")
