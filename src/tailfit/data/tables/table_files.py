"""Tables in Parquet, Feather and CSV files, of which some columns are read, some rows at a time.

A Parquet file is read by row group. The other formats are read whole, and must fit into memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import polars as pl

from tailfit.data.files.arrow_files import read_arrow
from tailfit.data.files.parquet_groups import ParquetRows, open_parquet
from tailfit.data.files.reading import KnownFile
from tailfit.data.tables.reading import read_table
from tailfit.data.tables.timeline import parsed_times
from tailfit.errors import RecordError
from tailfit.extras import needed

__all__ = ["PARQUET", "SUFFIXES", "Kind", "TableFile", "joined", "kind_of", "open_table", "with_times"]

PARQUET = (".parquet", ".pq")
SUFFIXES = (*PARQUET, ".feather", ".arrow", ".ipc", ".csv", ".tsv")
_ARROW = (".feather", ".arrow", ".ipc")
Kind = Literal["number", "time", "text", "empty", "other"]


@dataclass(frozen=True)
class TableFile:
    """A table in a file.

    Attributes:
        file: The file.
        columns: Kind of each column; a column without any value is `"empty"`, if the format shows it.
        sizes: Number of rows of each chunk that is read at once.
    """

    file: KnownFile
    columns: Mapping[str, Kind]
    sizes: tuple[int, ...]
    _parquet: ParquetRows | None

    def read(self, chunk: int, names: Sequence[str]) -> pl.DataFrame:
        """Read some columns of a chunk.

        Raises:
            RecordError: If the file has changed, or is damaged. The message begins with its path.
        """
        if self._parquet is not None:
            return _as_frame(self._parquet.read(chunk, names), self.file)
        self.file.check()
        frame = _read_whole(self.file, ()).select(names)
        if frame.height != self.sizes[0]:
            raise RecordError(
                f"{self.file.path}: {frame.height} rows instead of {self.sizes[0]}",
                expected="files that do not change while they are read",
                fix="open the source again when the file is complete",
            )
        return frame


def open_table(
    file: KnownFile, names: Sequence[str], *, text: Sequence[str] = (), like: TableFile | None = None
) -> tuple[TableFile, dict[str, Any]]:
    """Open the table in a file, and read all rows of some columns, to be joined with those of other files.

    Args:
        file: The file.
        names: Names of the columns, which the table may lack.
        text: Columns of a CSV file that stay text, even if they look like numbers.
        like: A table that probably has the same columns, which saves time if its schema is equal.
    Returns:
        The table, and the columns: polars Series or chunked arrays of Arrow; see `joined`.
    Raises:
        RecordError: If the file is damaged, or has a column twice. The message begins with its path.
    """
    if file.path.lower().endswith(PARQUET):
        return _opened_parquet(file, names, like)
    frame = _read_whole(file, text)
    kinds = {name: kind_of(frame[name]) for name in frame.columns}
    columns = {name: frame[name] for name in _present(names, kinds, file)}
    return TableFile(file, kinds, (frame.height,), None), columns


def with_times(tables: Sequence[tuple[TableFile, dict[str, Any]]], time: str) -> None:
    """Replace texts in the column of times by times, in tables and columns from `open_table`.

    Raises:
        RecordError: If a text is not a time. The message names the file and the row.
    """
    texts = [(table, columns) for table, columns in tables if table.columns.get(time) == "text" and time in columns]
    for (table, columns), times in zip(texts, _parsed_together([columns[time] for _, columns in texts]), strict=True):
        columns[time] = _as_times(columns[time], time, table.file) if times is None else times


def _parsed_together(columns: Sequence[Any]) -> list[Any]:
    """Parse columns of Arrow in one call, which takes a third of the time of a call each; None if a text is no time."""
    none = [None] * len(columns)
    if not columns or isinstance(columns[0], pl.Series):
        return none
    pa = needed("pyarrow", "parquet", "a table")
    if not all(isinstance(column, pa.ChunkedArray) and column.type == columns[0].type for column in columns):
        return none
    try:
        whole = pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)
        whole = whole.cast(pa.timestamp("us"))
    except pa.ArrowException:
        return none
    ends = np.cumsum([len(column) for column in columns]).tolist()
    return [whole.slice(end - len(column), len(column)) for column, end in zip(columns, ends, strict=True)]


def _opened_parquet(file: KnownFile, names: Sequence[str], like: TableFile | None) -> tuple[TableFile, dict[str, Any]]:
    pa = needed("pyarrow", "parquet", file.path)
    with open_parquet(file) as (rows, opened):
        if like is not None and like._parquet is not None and like._parquet.schema.equals(rows.schema):
            kinds = like.columns
        else:
            kinds = _arrow_kinds(rows.schema, file)
        wanted = _present(names, kinds, file)
        # Without columns, the sizes in the footer are the number of rows.
        parts = [rows.read_from(opened, group, wanted) for group in range(max(len(rows.sizes), 1)) if wanted]
    whole = parts[0] if len(parts) == 1 else pa.concat_tables(parts) if parts else None
    columns = {} if whole is None else {name: whole.column(place) for place, name in enumerate(wanted)}
    return TableFile(file, kinds, tuple(rows.sizes), rows), columns


def joined(columns: Sequence[Any], name: str, files: Sequence[KnownFile]) -> list[pl.Series]:
    """Return columns of files that `open_table` read as polars Series: one if all have the same type, else one each."""
    pa = needed("pyarrow", "parquet", "a table")
    arrow = [column for column in columns if isinstance(column, pa.ChunkedArray)]
    if len(arrow) == len(columns) and all(column.type == arrow[0].type for column in arrow):
        # Joined by Arrow and converted once, because each conversion takes longer than reading a small file.
        whole = pa.chunked_array([chunk for column in arrow for chunk in column.chunks], arrow[0].type)
        return [_as_frame(pa.table({name: whole.combine_chunks()}), files[0])[name]]
    series = [
        _as_frame(pa.table({name: column}), file)[name] if isinstance(column, pa.ChunkedArray) else column
        for column, file in zip(columns, files, strict=True)
    ]
    return [pl.concat(series)] if len({part.dtype for part in series}) == 1 else series


def _as_times(column: Any, name: str, file: KnownFile) -> Any:
    """Parse a column of texts as times, in ISO 8601 by Arrow, else by polars."""
    pa = needed("pyarrow", "parquet", file.path)
    if isinstance(column, pa.ChunkedArray):
        try:
            return column.cast(pa.timestamp("us"))
        except pa.ArrowException:
            column = _as_frame(pa.table({name: column}), file)[name]
    return parsed_times(column.cast(pl.String), lambda row: f"{file.path}: row {row}")


def _read_whole(file: KnownFile, text: Sequence[str]) -> pl.DataFrame:
    if file.path.lower().endswith(_ARROW):
        table = read_arrow(file)
        columns = _arrow_kinds(table.schema, file)
        return _as_frame(table.select([name for name in table.schema.names if columns[name] != "other"]), file)
    return read_table(file.path, text=text)


def _present(names: Sequence[str], kinds: Mapping[str, Kind], file: KnownFile) -> list[str]:
    found = [name for name in names if name in kinds]
    odd = next((name for name in found if kinds[name] == "other"), None)
    if odd is not None:
        raise RecordError(
            f"{file.path}: the column {odd!r} with lists, structures or bytes",
            expected="numbers, text or times in the columns of labels, times and IDs",
            fix="name a different column",
        )
    return found


def _as_frame(table: Any, file: KnownFile) -> pl.DataFrame:
    pa = needed("pyarrow", "parquet", file.path)
    for place, field in enumerate(table.schema):
        if pa.types.is_float16(field.type):  # which some versions of polars lack
            table = table.set_column(place, field.name, table.column(place).cast(pa.float32()))
    try:
        return pl.DataFrame(pl.from_arrow(table))
    except (ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # an unknown time zone
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(
            f"{file.path}: {what}", expected="columns of usual types", fix="write the column with a different type"
        ) from error


def _arrow_kinds(schema: Any, file: KnownFile) -> Mapping[str, Kind]:
    names = list(schema.names)
    repeated = [] if len(set(names)) == len(names) else [name for name in names if names.count(name) > 1]
    # Arrow's C interface ends a name at NUL, and polars aborts the process when it exports such a name.
    odd = [name for name in names if "\0" in name]
    if repeated or odd:
        raise RecordError(
            f"{file.path}: {f'the column {repeated[0]!r} more than once' if repeated else f'the column {odd[0]!r}'}",
            expected="columns with different names, without NUL characters",
            fix="rename the columns in the file",
        )
    return {field.name: _arrow_kind(field.type) for field in schema}


@cache
def _arrow_kind(kind: Any) -> Kind:
    types = needed("pyarrow", "parquet", "a table").types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind):
        return "number"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    return "empty" if types.is_null(kind) else "other"


def kind_of(column: pl.Series) -> Kind:
    """Return the kind of a column of polars."""
    if column.dtype == pl.Null or (column.dtype == pl.String and column.null_count() == len(column)):
        return "empty"
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return "number"
    if isinstance(column.dtype, pl.Datetime | pl.Date):
        return "time"
    return "text" if isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum) else "other"
