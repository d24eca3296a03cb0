"""Times of steps: their order, gaps that end a recording, and a regular grid."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.arguments import checked_choice
from tailfit.data.files.memory import available_memory
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.extras import needed

__all__ = ["Grid", "Times", "as_times", "parsed_times", "seconds"]

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_LATEST: Final = 1 << 62
_YEAR_9000: Final = 221_845_392_000  # seconds since 1970
_PER_SECOND: Final = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def seconds(what: str, value: Any) -> float:
    """Return a duration in seconds, given as a number of seconds, or as text such as "10s", "500ms" or "1.5h".

    >>> seconds("max_gap", "10s"), seconds("max_gap", "1.5h"), seconds("max_gap", 3)
    (10.0, 5400.0, 3.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+)\s*", value) if isinstance(value, str) else None
    duration = -1.0
    if found is not None and found[2] in _UNITS:
        duration = float(found[1]) * _UNITS[found[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        duration = float(value)
    if not 0 < duration < float("inf"):
        raise ArgumentError(
            f"{what}={value!r}",
            expected=f"a duration > 0: seconds, or a number with one of the units {', '.join(_UNITS)}",
            fix=f'pass {what}="10s", for example',
        )
    return duration


@dataclass(frozen=True)
class Grid:
    """Regular steps of time, whose values are the last or the mean of the readings in each step.

    Attributes:
        every: Length of a step in seconds.
        how: `"last"` or `"mean"`.
    """

    every: float
    how: Literal["last", "mean"] = "last"

    @classmethod
    def of(cls, resample: Any) -> "Grid | None":
        """Return the grid of the argument `resample=` of `Recordings`: a duration, or a dict of `every` and `how`.

        >>> Grid.of({"every": "10s", "how": "mean"})
        Grid(every=10.0, how='mean')
        """
        if resample is None or isinstance(resample, Grid):
            return resample
        if not isinstance(resample, Mapping):
            return cls(seconds("resample", resample))
        if "every" not in resample or not resample.keys() <= {"every", "how"}:
            raise ArgumentError(
                f"resample with the keys {sorted(map(str, resample))}",
                expected="every, and optionally how",
                fix='pass resample={"every": "10s", "how": "mean"}, for example',
            )
        return cls(
            seconds("resample", resample["every"]), checked_choice(resample.get("how", "last"), "how", ("last", "mean"))
        )

    def reduced(self, values: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the value of each step of the grid, `[steps, channels]`; NaN for steps without a reading.

        Args:
            values: Readings, `[sum(rows), channels]`.
            rows: Number of readings in each step, `[steps]`.
        """
        out = np.full((len(rows), values.shape[1]), np.nan, np.float32)
        filled = np.flatnonzero(rows)
        if not len(filled):
            return out
        begins = (np.cumsum(rows) - rows)[filled]
        known = np.isfinite(values) if self.how == "mean" else ~np.isnan(values)
        if self.how == "mean":
            counts = np.add.reduceat(known, begins, axis=0, dtype=np.int64)
            sums = np.add.reduceat(np.where(known, values, 0), begins, axis=0, dtype=np.float64)
            out[filled] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
            return out
        # The last reading of each channel that is not missing, if it is in the same step.
        place = np.where(known, np.arange(len(values))[:, None], -1)
        last = np.maximum.reduceat(place, begins, axis=0)
        out[filled] = np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)
        return out


@dataclass(frozen=True)
class Times:
    """The times of all rows of a data set.

    Attributes:
        values: `int64[rows]` or `float64[rows]`.
        per_second: Number of their units in a second.
        shown: The times as they are in the files, for messages.
    """

    values: NDArray[Any]
    per_second: int
    shown: pl.Series

    def check_order(self, begins: NDArray[np.int64], where: Callable[[int], str]) -> None:
        """Check that times increase within each recording.

        Args:
            begins: First row of each recording.
            where: Function that returns the file and row of a row, for messages.
        Raises:
            RecordError: If a time is missing, repeated, or before the previous one.
        """
        ordered = np.ones(len(self.values), np.bool_)
        np.greater(self.values[1:], self.values[:-1], out=ordered[1:])
        ordered[begins] = True
        if not ordered.all():
            row = int(np.argmin(ordered))
            again = self.values[row] == self.values[row - 1]
            raise RecordError(
                f"{where(row)}: the time {self._text(row)} {'twice' if again else f'after {self._text(row - 1)}'}",
                expected="times that increase from row to row",
                fix="sort the table by time, and remove repeated rows",
            )

    def _text(self, row: int) -> str:
        if self.shown.dtype.is_temporal() and abs(int(self.values[row])) > _YEAR_9000 * self.per_second:
            return str(self.values[row])  # polars has no text for years beyond those of its calendar
        return re.sub(r"\.0+$", "", str(self.shown.slice(row, 1).cast(pl.String)[0]))

    def after_gaps(self, longest: float) -> NDArray[np.int64]:
        """Return the rows whose time is more than `longest` seconds after that of the row before."""
        return np.flatnonzero(np.diff(self.values) > longest * self.per_second) + 1

    def usual_step(self, begins: NDArray[np.int64]) -> float | None:
        """Return the median time between rows of one segment in seconds; None if no segment has two rows."""
        inside = np.ones(max(len(self.values) - 1, 0), np.bool_)
        inside[begins[1:] - 1] = False
        steps = np.diff(self.values)[inside]
        if not len(steps):
            return None
        # Most recordings are regular, and the median takes ten times as long as the range.
        usual = steps[0] if steps.min() == steps.max() else np.median(steps)
        return float(usual) / self.per_second

    def on_grid(self, begins: NDArray[np.int64], grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the step of the grid of each row, which begins anew in each segment, and the steps of each segment.

        Args:
            begins: First row of each segment.
            grid: The grid. The first step of a segment begins at its first row.
        Raises:
            DataError: If the steps would not fit into memory.
        """
        sizes = np.diff(np.append(begins, len(self.values)))
        elapsed = self.values - np.repeat(self.values[begins], sizes)
        every = grid.every * self.per_second
        # Decimal seconds in floats are rounded: a time may be a few units in the last place below a step's begin.
        rounding = 4 * np.finfo(np.float64).eps * float(np.abs(self.values).max(initial=0)) / every
        place = np.floor(elapsed / every + (min(max(rounding, 1e-9), 1e-3) if elapsed.dtype.kind == "f" else 0))
        steps = place[np.append(begins[1:], len(place)) - 1] + 1
        if steps.sum() > available_memory() / 64:
            raise DataError(
                f"resample to steps of {grid.every:g} s, which gives {steps.sum():.0f} steps",
                expected="steps that fit into memory",
                fix="pass longer steps, or max_gap= so that gaps end a recording",
            )
        return place.astype(np.int64), steps.astype(np.int64)


def as_times(column: pl.Series, where: Callable[[int], str]) -> Times:
    """Return the times in a column: datetimes, dates, or numbers of seconds.

    Raises:
        RecordError: If a time is missing or not a time; the message names its file and row.
    """
    shown = column
    if column.null_count() == len(column):
        column = column.cast(pl.Int64, strict=False)
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if column.dtype.is_float():
        column = column.set(~column.is_finite(), None)
    unit = column.dtype.time_unit if isinstance(column.dtype, pl.Datetime) else None
    if unit is None and not (column.dtype.is_integer() or column.dtype.is_float()):
        raise RecordError(
            f"{where(0)}: times of type {column.dtype} in the column {column.name!r}",
            expected="datetimes, or numbers of seconds",
            fix="name the column of times as time=",
        )
    if column.null_count():
        row = int(np.argmax(column.is_null().to_numpy()))
        raise RecordError(
            f"{where(row)}: no time in the column {column.name!r}",
            expected="a time in each row",
            fix="fill in the time, or drop the row",
        )
    values = (column if unit is None else column.to_physical()).to_numpy()
    if values.dtype.kind != "f":
        if len(values) and (int(values.max()) > _LATEST or int(values.min()) < -_LATEST):  # differences would overflow
            row = int(np.argmax((values > _LATEST) | (values.astype(np.int64) < -_LATEST)))
            raise RecordError(
                f"{where(row)}: a time too far from 1970 in the column {column.name!r}",
                expected="times of a calendar, or seconds",
                fix="correct the time",
            )
        values = values.astype(np.int64, copy=False)
    return Times(values, 1 if unit is None else _PER_SECOND[unit], shown)


def parsed_times(column: pl.Series, where: Callable[[int], str]) -> pl.Series:
    """Parse texts of times, in ISO 8601 by Arrow, which is several times as fast as polars, else by polars.

    Raises:
        RecordError: If a text is not a time; the message names its row.
    """
    pa, compute = needed("pyarrow", "parquet", "a table"), needed("pyarrow.compute", "parquet", "a table")
    texts = column.to_arrow().cast(pa.large_string())
    for zone in (None, "UTC"):
        try:
            return pl.Series(pl.from_arrow(compute.cast(texts, pa.timestamp("us", zone)))).alias(column.name)
        except pa.ArrowInvalid:
            continue
    try:
        parsed = column.str.to_datetime(strict=False, time_unit="us")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        parsed = pl.Series(column.name, [None] * len(column), dtype=pl.Datetime("us"))
    odd = parsed.is_null() & column.is_not_null()
    if odd.any():
        row = int(np.argmax(odd.to_numpy()))
        raise RecordError(
            f"{where(row)}: {column[row]!r} in the column {column.name!r}",
            expected="a time such as 2024-05-31 12:00:00",
            fix="write times in ISO 8601, or name a different column as time=",
        )
    return parsed
