"""The readings of all tables of a data set, as one array of rows that is read piece by piece."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.tables.table_files import Kind, TableFile
from tailfit.errors import DataError, RecordError

__all__ = ["SensorRows", "one_per_schema", "sensor_columns"]

_CACHED = 2  # most recently read chunks, so that sequential reads decode each one once


class SensorRows:
    """Rows of tables, one table after the other, as float32.

    Args:
        tables: The tables.
        columns: The record columns, in this order. A column that a table lacks, and a null in it, is NaN.
    """

    def __init__(self, tables: Sequence[TableFile], columns: Sequence[str]) -> None:
        self.columns: Final = tuple(columns)
        self._chunks: Final = [(table, chunk) for table in tables for chunk in range(len(table.sizes))]
        self._ends: Final = np.cumsum([table.sizes[chunk] for table, chunk in self._chunks], dtype=np.int64)
        self._recent: dict[int, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the rows from `start` to before `stop`, `float32[stop - start, columns]`.

        Raises:
            RecordError: If a file has changed or is damaged, or a number is too large for float32.
        """
        out = np.empty((stop - start, len(self.columns)), np.float32)
        done, chunk = start, int(np.searchsorted(self._ends, start, side="right"))
        while done < stop:
            end = int(self._ends[chunk])
            begin, until = end - self._chunks[chunk][0].sizes[self._chunks[chunk][1]], min(end, stop)
            out[done - start : until - start] = self._chunk(chunk)[done - begin : until - begin]
            done, chunk = until, chunk + 1
        return out

    def _chunk(self, number: int) -> NDArray[np.float32]:
        cached = self._recent.get(number)
        if cached is None:
            cached = self._decoded(*self._chunks[number])
            # Assign a new dict instead of changing the old one, which other threads may be reading.
            self._recent = dict([*self._recent.items(), (number, cached)][-_CACHED:])
        return cached

    def _decoded(self, table: TableFile, chunk: int) -> NDArray[np.float32]:
        present = [name for name in self.columns if table.columns.get(name) == "number"]
        frame = table.read(chunk, present) if present else None
        if frame is not None and len(present) == len(self.columns):
            values = np.asarray(frame.cast(pl.Float32).to_numpy(), order="C")
        else:
            values = np.full((table.sizes[chunk], len(self.columns)), np.nan, np.float32)
            if frame is not None:
                places = [self.columns.index(name) for name in present]
                values[:, places] = frame.cast(pl.Float32).to_numpy()
        if frame is not None and np.isinf(values).any():
            self._check_range(frame, table)
        return values

    def _check_range(self, frame: pl.DataFrame, table: TableFile) -> None:
        for column in frame.iter_columns():
            lost = column.cast(pl.Float32).is_infinite() & ~column.cast(pl.Float64).is_infinite()
            if lost.any():
                row = int(np.argmax(lost.fill_null(False).to_numpy()))
                raise RecordError(
                    f"{table.file.path}: {column[row]} in the column {column.name!r}",
                    expected="numbers within the range of float32",
                    fix="change the unit of the column, or leave it out with columns=",
                )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_recent": {}}


def sensor_columns(
    tables: Sequence[TableFile], columns: Sequence[str] | None, taken: Sequence[str], row_numbers: Sequence[str]
) -> tuple[str, ...]:
    """Return the record columns of some tables.

    Args:
        tables: The tables.
        columns: The columns that the user named, which each table must have. None: all columns of numbers of any table,
            in the order of their first appearance.
        taken: Columns of labels, times and IDs.
        row_numbers: Columns that only number the rows.
    Raises:
        RecordError: If a table lacks a column, or has a different type in it. The message begins with the file.
        DataError: If a named column is in no table, or has another use.
    """
    kinds: dict[str, dict[Kind, TableFile]] = {}  # the first table of each kind, by column
    tables = one_per_schema(tables)
    for table in tables:
        for name, kind in table.columns.items():
            kinds.setdefault(name, {}).setdefault(kind, table)
    if columns is None:
        chosen = [name for name, found in kinds.items() if "number" in found]
        chosen = [name for name in chosen if name not in taken and name not in row_numbers]
    else:
        chosen = list(dict.fromkeys(columns))
        _check_named(tables, chosen, kinds, taken)
    for name in chosen:
        for kind, table in kinds[name].items():
            if kind not in ("number", "empty"):
                raise _not_numbers(table, name, kind)
    for table in tables:
        if not any(name in table.columns for name in chosen):
            raise RecordError(
                f"{table.file.path}: no columns of numbers among {list(table.columns)}",
                expected="a recording with at least one column of numbers, a sensor",
                fix="move the file out of the folder if it is not a recording",
            )
    return tuple(chosen)


def one_per_schema(tables: Sequence[TableFile]) -> list[TableFile]:
    """Return the tables without those that share the kinds of their columns with an earlier one; see `open_table`."""
    first: dict[int, TableFile] = {}
    for table in tables:
        first.setdefault(id(table.columns), table)
    return list(first.values())


def _check_named(
    tables: Sequence[TableFile],
    columns: Sequence[str],
    kinds: dict[str, dict[Kind, TableFile]],
    taken: Sequence[str],
) -> None:
    for name in columns:
        if name in taken or name not in kinds:
            raise DataError(
                f"columns with {name!r}, which is {'label, time or ID' if name in taken else 'in no table'}",
                expected=f"columns of numbers, among {[each for each in kinds if each not in taken]}",
                fix="correct or drop the name",
            )
        lacking = next((table for table in tables if name not in table.columns), None)
        if lacking is not None:
            raise RecordError(
                f"{lacking.file.path}: the columns {list(lacking.columns)} without {name!r}",
                expected="all of columns= in each recording",
                fix="drop columns=, which makes absent sensors NaN, or add the column to the file",
            )


def _not_numbers(table: TableFile, name: str, kind: Kind) -> RecordError:
    what = f"the column {name!r} of type {'datetime' if kind == 'time' else kind}"
    if kind == "text":
        first = 0
        for chunk, size in enumerate(table.sizes):
            column = table.read(chunk, [name])[name].cast(pl.String)
            odd = (column.cast(pl.Float64, strict=False).is_null() & column.is_not_null()).to_numpy()
            if odd.any():
                row = int(np.argmax(odd))
                what = f"row {first + row}: {column[row]!r} in the column {name!r}"
                break
            first += size
    return RecordError(
        f"{table.file.path}: {what}",
        expected="numbers in the columns of sensors, and nothing for a missing reading",
        fix="write the column as numbers, or name the columns of sensors as columns=",
    )
