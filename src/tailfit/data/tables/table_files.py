"""Tables in Parquet, Feather and CSV files, of which some columns are read, some rows at a time.

A Parquet file is read by row group. The other formats are read whole, and must fit into memory.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from tailfit.data.files.arrow_files import read_arrow
from tailfit.data.files.parquet_groups import ParquetRows, open_parquet
from tailfit.data.files.reading import KnownFile
from tailfit.data.tables.reading import read_table
from tailfit.errors import RecordError
from tailfit.extras import needed

__all__ = ["SUFFIXES", "Kind", "TableFile", "open_table"]

SUFFIXES = (".parquet", ".pq", ".feather", ".arrow", ".ipc", ".csv", ".tsv")
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


def open_table(file: KnownFile, names: Sequence[str], *, text: Sequence[str] = ()) -> tuple[TableFile, pl.DataFrame]:
    """Open the table in a file, and read all rows of some columns.

    Args:
        file: The file.
        names: Names of the columns, which the table may lack.
        text: Columns of a CSV file that stay text, even if they look like numbers.
    Raises:
        RecordError: If the file is damaged, or has a column twice. The message begins with its path.
    """
    if Path(file.path).suffix.lower() not in (".parquet", ".pq"):
        frame = _read_whole(file, text)
        kinds = {name: _kind(frame[name]) for name in frame.columns}
        return TableFile(file, kinds, (frame.height,), None), frame.select(_present(names, kinds, file))
    pa = needed("pyarrow", "parquet", file.path)
    with open_parquet(file) as (rows, opened):
        columns = _arrow_kinds(rows.schema, file)
        wanted = _present(names, columns, file)
        # Without columns, the sizes in the footer are the number of rows.
        tables = [rows.read_from(opened, group, wanted) for group in range(max(len(rows.sizes), 1)) if wanted]
        frame = _as_frame(pa.concat_tables(tables), file) if tables else pl.DataFrame()
    return TableFile(file, columns, tuple(rows.sizes), rows), frame


def _read_whole(file: KnownFile, text: Sequence[str]) -> pl.DataFrame:
    if Path(file.path).suffix.lower() in _ARROW:
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


def _arrow_kinds(schema: Any, file: KnownFile) -> dict[str, Kind]:
    names = list(schema.names)
    repeated = [name for name, times in Counter(names).items() if times > 1]
    # Arrow's C interface ends a name at NUL, and polars aborts the process when it exports such a name.
    odd = [name for name in names if "\0" in name]
    if repeated or odd:
        raise RecordError(
            f"{file.path}: {f'the column {repeated[0]!r} more than once' if repeated else f'the column {odd[0]!r}'}",
            expected="columns with different names, without NUL characters",
            fix="rename the columns in the file",
        )
    return {field.name: _arrow_kind(field.type) for field in schema}


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


def _kind(column: pl.Series) -> Kind:
    if column.dtype == pl.Null or (column.dtype == pl.String and column.null_count() == len(column)):
        return "empty"
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return "number"
    if isinstance(column.dtype, pl.Datetime | pl.Date):
        return "time"
    return "text" if isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum) else "other"
