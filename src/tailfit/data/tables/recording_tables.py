"""Tables of recordings: their files, the rows of each recording, and its row of metadata."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.files.reading import KnownFile, absolute, files_in, known_files
from tailfit.data.tables.table_files import SUFFIXES, TableFile, joined, kind_of, open_table, with_times
from tailfit.errors import DataError, RecordError

__all__ = ["OpenedTables", "Recorded", "open_tables", "recordings_of", "table_paths"]

_THREADS: Final = min(4, os.cpu_count() or 1)  # that open files; more of them would wait for the interpreter's lock
_FILES: Final = 32  # that a thread opens in one go; one by one, threads would wait for each other more than they work


@dataclass(frozen=True)
class OpenedTables:
    """The tables of a data set, whose rows are numbered through all of them.

    Attributes:
        tables: The tables, in the order of the files.
        ends: Number of rows up to the end of each table, `int64[tables]`.
        frames: Those of the columns of labels, times and IDs that each table has, see `open_table`.
    """

    tables: tuple[TableFile, ...]
    ends: NDArray[np.int64]
    frames: tuple[Mapping[str, Any], ...]

    def where(self, row: int) -> str:
        """Return the file and the number of a row, for messages."""
        table = int(np.searchsorted(self.ends, row, side="right"))
        return f"{self.tables[table].file.path}: row {row - (int(self.ends[table - 1]) if table else 0)}"

    def column(self, name: str, what: str) -> pl.Series | None:
        """Return a column of all tables; None if no table has it.

        Raises:
            RecordError: If only some tables have it, or its types can't be joined. The message begins with the file.
        """
        having = [name in frame for frame in self.frames]
        if not any(having):
            return None
        if not all(having):
            path = self.tables[having.index(False)].file.path
            raise RecordError(
                f"{path}: the columns {list(self.tables[having.index(False)].columns)} without {name!r}",
                expected=f"a column {name!r} of {what} in each recording, as in {_first(self.tables, having)}",
                fix="add the column, or move the file out of the folder",
            )
        files = [table.file for table in self.tables]
        parts = joined([frame[name] for frame in self.frames], name, files)
        if len(parts) == 1:
            return parts[0]
        kinds = [kind_of(part) for part in parts]
        kept = [place for place, kind in enumerate(kinds) if kind != "empty"] or [0]
        other = next((place for place in kept if kinds[place] != kinds[kept[0]]), None)
        if other is None:
            usable = [
                (pl.Series(name, [None] * len(part), dtype=pl.Null) if kind == "empty" else part).to_frame()
                for part, kind in zip(parts, kinds, strict=True)
            ]
            try:
                return pl.concat(usable, how="vertical_relaxed")[name]
            except pl.exceptions.PolarsError:  # for example times with and without a time zone
                other = next(place for place in kept if parts[place].dtype != parts[kept[0]].dtype)
        raise RecordError(
            f"{files[other].path}: the column {name!r} of {what} with type {parts[other].dtype}",
            expected=f"{parts[kept[0]].dtype} as in {files[kept[0]].path}",
            fix="write the column with one type in all files",
        )


@dataclass(frozen=True)
class Recorded:
    """The recordings of a data set.

    Attributes:
        names: The ID of each recording.
        begins: Its first row, `int64[recordings]`.
    """

    names: tuple[str, ...]
    begins: NDArray[np.int64]


def table_paths(
    path: str | PathLike[str] | Sequence[str | PathLike[str]], leave: Sequence[str | PathLike[str]]
) -> list[str]:
    """Return the paths of the tables in a folder, sorted by name, or of the given files.

    Args:
        path: A folder, a file, or a list of files.
        leave: Files of the folder that are no recordings.
    Raises:
        DataError: If there is none, or a folder has tables in several formats.
    """
    if isinstance(path, Sequence) and not isinstance(path, str | bytes):
        return [absolute(one) for one in path]
    root = absolute(path)
    if not os.path.isdir(root):
        return [root]
    excluded = {absolute(one) for one in leave}
    paths = [entry for entry in files_in(root) if entry.lower().endswith(SUFFIXES) and entry not in excluded]
    suffixes = sorted({os.path.splitext(entry)[1].lower() for entry in paths})
    if len(suffixes) > 1:
        raise DataError(
            f"{root}: tables in the formats {', '.join(suffixes)}",
            expected="recordings in one format",
            fix="pass a list of the files of recordings, and the table of metadata as metadata=",
        )
    return sorted(paths)


def open_tables(
    paths: Sequence[str], names: Sequence[str], *, text: Sequence[str], time: str | None, where: str
) -> OpenedTables:
    """Open tables, and read some of their columns.

    Args:
        paths: Paths of the files.
        names: Columns to read, where a table has them.
        text: Columns of CSV files that stay text.
        time: Column whose texts are parsed as times.
        where: The data set in messages.
    Raises:
        DataError: If there are no files.
        RecordError: If a file is damaged, is not a table, or has fewer than two rows. The message begins with its path.
    """
    for path in paths:
        if not path.lower().endswith(SUFFIXES):
            raise RecordError(
                f"{path}: a file that is not a table",
                expected=f"files that end in {', '.join(SUFFIXES)}",
                fix="convert the file, or leave it out",
            )
    if not paths:
        raise DataError(
            f"{where}: no tables", expected=f"files that end in {', '.join(SUFFIXES)}", fix="check the path"
        )
    files = known_files(list(paths), SUFFIXES)

    def opened(part: Sequence[KnownFile]) -> list[tuple[TableFile, dict[str, Any]]]:
        found: list[tuple[TableFile, dict[str, Any]]] = []
        for file in part:
            found.append(open_table(file, names, text=text, like=found[-1][0] if found else None))
        if time is not None:
            with_times(found, time)
        return found

    parts = [files[start : start + _FILES] for start in range(0, len(files), _FILES)]
    if len(parts) == 1:
        found = opened(parts[0])
    else:
        with ThreadPoolExecutor(_THREADS) as pool:
            found = [one for part in pool.map(opened, parts) for one in part]
    for table, _ in found:
        rows = sum(table.sizes)
        if rows < 2:
            raise RecordError(
                f"{table.file.path}: a table of {rows} {'row' if rows == 1 else 'rows'}",
                expected="a recording of two rows or more",
                fix="move the file out of the folder",
            )
    ends = np.cumsum([sum(table.sizes) for table, _ in found], dtype=np.int64)
    return OpenedTables(tuple(table for table, _ in found), ends, tuple(frame for _, frame in found))


def recordings_of(opened: OpenedTables, id: str | None) -> Recorded:
    """Return the recordings: one a file, or the rows of equal ID in a column.

    Raises:
        DataError: If two files have one name.
        RecordError: If an ID is missing, or its rows are not consecutive; the message names file and row.
    """
    if id is None:
        names = tuple(os.path.splitext(os.path.basename(table.file.path))[0] for table in opened.tables)
        paths: dict[str, str] = {}
        for name, table in zip(names, opened.tables, strict=True):
            if name in paths:
                raise DataError(
                    f"{table.file.path} and {paths[name]}, whose recordings would have the same ID {name!r}",
                    expected="files with different names",
                    fix="rename or drop one of the files",
                )
            paths[name] = table.file.path
        return Recorded(names, np.append(0, opened.ends[:-1]))
    return _runs_of(opened, id)


def _runs_of(opened: OpenedTables, id: str) -> Recorded:
    """Return the recordings of a long table, whose column `id` tells them apart; see `recordings_of`."""
    column = opened.column(id, "IDs")
    if column is None:
        raise DataError(
            f"{opened.tables[0].file.path}: no column {id!r} among {list(opened.tables[0].columns)}",
            expected="id=, the column that tells recordings apart",
            fix="correct the name; drop id= if each file is one recording",
        )
    if column.dtype.is_float() or not (column.dtype.is_integer() or opened.tables[0].columns[id] == "text"):
        raise RecordError(
            f"{opened.where(0)}: IDs of type {column.dtype} in the column {id!r}",
            expected="a column of text or whole numbers",
            fix="pass the name of such a column as id=",
        )
    texts = column.cast(pl.String)
    missing = texts.is_null() | (texts == "")
    if missing.any():
        row = int(np.argmax(missing.fill_null(True).to_numpy()))
        raise RecordError(
            f"{opened.where(row)}: no ID in the column {id!r}", expected="an ID in each row", fix="fill in the ID"
        )
    begins = np.flatnonzero(np.append(True, (texts != texts.shift(1)).to_numpy()[1:]))
    names = tuple(texts.gather(begins).to_list())
    rows: dict[str, int] = {}
    for name, row in zip(names, begins.tolist(), strict=True):
        if rows.setdefault(name, row) != row:
            raise RecordError(
                f"{opened.where(row)}: ID {name!r} again, after rows of other IDs",
                expected="the rows of each recording one after the other",
                fix="sort the table by ID and time",
            )
    sizes = np.diff(np.append(begins, len(texts)))
    if sizes.min() < 2:
        row = int(begins[int(np.argmin(sizes))])
        raise RecordError(
            f"{opened.where(row)}: a single row with the ID {texts[row]!r}",
            expected="a recording of two rows or more",
            fix="drop the row",
        )
    return Recorded(names, begins.astype(np.int64))


def _first(tables: Sequence[TableFile], having: Sequence[bool]) -> str:
    return tables[list(having).index(True)].file.path
