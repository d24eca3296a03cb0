"""Tables and JSON in files, read whole: delimiter, encoding and types are told from the content.

Types are inferred from all rows. What a text file says of each value is kept beside its type: as an ID, `001` is not
the number 1.
"""

import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import polars as pl

from tailfit.data.files.memory import available_memory
from tailfit.data.files.parquet_pages import claimed_memory
from tailfit.errors import ArgumentError, RecordError
from tailfit.storage import json_text as storage
from tailfit.storage.reading import read_text, read_whole

__all__ = ["Rows", "parse_json", "read_json", "read_rows", "read_table"]

_SUFFIXES = (".csv", ".tsv", ".json", ".ndjson", ".jsonl", ".parquet")
_KINDS = "a .csv, .tsv, .json, .ndjson or .parquet file"
_FAILURES = (OSError, ValueError, RecursionError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE, _SAMPLE_ROWS = 1 << 16, 200  # characters and rows that tell the delimiter
_INT64 = 19  # digits of the largest one
_EXPANSION = 8  # bytes of memory for a byte of text, about: the file, its text, and its values


@dataclass(frozen=True)
class Rows:
    """A table, and its values as they were written.

    Attributes:
        frame: Values by their types.
        written: The same columns as text, where they come from a file of text; else the frame again.
    """

    frame: pl.DataFrame
    written: pl.DataFrame

    def text(self, name: str) -> pl.Series | None:
        """A column as text, `7.0` as `7`; None if its values have no text.

        >>> frame = pl.DataFrame({"run": [7.0, None]})
        >>> Rows(frame, frame).text("run").to_list()
        ['7', None]
        """
        column = self.written[name]
        if column.dtype == pl.String:
            return column
        if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
            return None
        text = column.cast(pl.String)
        return text.str.strip_suffix(".0") if column.dtype.is_float() else text


def read_rows(path: str | PathLike[str]) -> Rows:
    """The table in a CSV, JSON (a list of rows, or one a line) or Parquet file.

    A CSV file's delimiter is a comma, semicolon, tab or `|`; text is UTF-8, or what a byte-order mark says.

    Args:
        path: The file; its ending tells the format.
    Raises:
        RecordError: naming the file, if it can't be read.
        ArgumentError: for what is no path, or a file of another format.
    """
    if not isinstance(path, str | PathLike):
        raise ArgumentError(
            f"a table of type {type(path).__name__}",
            expected=f"the path of {_KINDS}, or a polars DataFrame",
            fix="pass one of these, e.g. metadata='metadata.csv'",
        )
    file = Path(fspath(path))
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ArgumentError(f"{file}", expected=_KINDS, fix="convert it, or pass a polars DataFrame")
    try:
        rows = _parsed(file, suffix)
    except RecordError:
        raise
    except _FAILURES as error:
        raise RecordError(
            f"{file}: {(str(error).splitlines() or [type(error).__name__])[0]}",
            expected=f"a readable {suffix[1:]} table",
            fix="check the file",
        ) from error
    if any("\0" in name for name in rows.frame.columns):
        # Handed on to another library, a name is a text that ends with NUL: polars would end the process.
        raise RecordError(
            f"{file}: a column with NUL in its name",
            expected="names of text",
            fix="check the file; UTF-16 without a byte-order mark looks like this: save it as UTF-8",
        )
    return rows


def read_table(path: str | PathLike[str], *, text: Collection[str] = ()) -> pl.DataFrame:
    """As `read_rows`, values by their types; columns called `id` (or `ID`), and those in `text`, as they are written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "sites.csv").write_text("id;site\\n007;2\\n")
    ...     read_table(Path(folder, "sites.csv")).rows()
    [('007', 2)]
    """
    rows = read_rows(path)
    kept = [name for name in rows.written.columns if name.lower() == "id" or name in text]
    return rows.frame.with_columns(rows.written.select(kept))


def parse_json(path: str | PathLike[str]) -> Any:
    """The value in a JSON file that fits into memory.

    Raises:
        RecordError: naming the file: unreadable, not JSON, or with a key twice in one object.
    """
    return storage.read_json(path, available_memory() // _EXPANSION)


def read_json(path: str | PathLike[str]) -> dict[str, Any]:
    """A JSON file of one object whose keys are all different.

    Raises:
        RecordError: naming the file, and the key that stands there twice.
    """
    return storage.read_object(path, available_memory() // _EXPANSION)


def _parsed(file: Path, suffix: str) -> Rows:
    # From bytes, not by its path: polars maps files into memory, where one that is truncated ends the process.
    if suffix == ".parquet":
        frame = pl.read_parquet(_checked_size(read_whole(file, available_memory())))
        return Rows(frame, frame)
    text = _read_text(file)
    if suffix not in (".csv", ".tsv"):
        if suffix != ".json":  # older versions of polars read numbers among text as null, line by line
            text = "[" + ",".join(line for line in text.split("\n") if line.strip()) + "]"
        frame = pl.read_json(text.encode(), infer_schema_length=None)
        return Rows(frame, frame)
    text, separator = _delimited(text, file)
    content = text.encode()
    written = pl.read_csv(content, separator=separator, infer_schema=False)
    as_text = dict.fromkeys(_beyond_int64(written), pl.String)
    frame = pl.read_csv(content, separator=separator, infer_schema_length=None, schema_overrides=as_text)
    return Rows(frame, written)


def _beyond_int64(written: pl.DataFrame) -> list[str]:
    """Columns of whole numbers of more than 64 bits, which are codes of some kind: nobody calculates with them."""
    texts = [text.drop_nulls() for text in written.iter_columns()]
    long = [text for text in texts if len(text) and text.str.len_bytes().max() >= _INT64]  # type: ignore[operator]
    whole = [text for text in long if text.str.contains(r"^[+-]?\d+$").all()]
    return [text.name for text in whole if text.cast(pl.Int64, strict=False).null_count()]


def _checked_size(content: bytes) -> bytes:
    """A Parquet file whose table fits into memory: some bytes may claim to be any number of equal values."""
    table = pl.scan_parquet(io.BytesIO(content))
    columns, rows = len(table.collect_schema()), int(table.select(pl.len()).collect().item())
    if max(8 * rows * columns, claimed_memory(content)) > available_memory():
        raise ValueError(f"{rows} rows of {columns} columns, whose pages claim more than fits into memory")
    return content


def _read_text(path: str | PathLike[str]) -> str:
    text = read_text(path, available_memory() // _EXPANSION)
    return text if "\n" in text else text.replace("\r", "\n")  # lines as old Macs, and Excel for one, end them


def _delimited(text: str, file: Path) -> tuple[str, str]:
    """A table's text, and the delimiter: that of a first line `sep=;`, or else what makes all rows equally wide."""
    told = re.match(r"sep=(.)\r?\n", text)
    if told is not None:
        return text[told.end() :], told[1]
    end = text.rfind("\n", 0, _SAMPLE) if len(text) > _SAMPLE else len(text)
    sample = text[: end if end > 0 else _SAMPLE]
    header = sample.partition("\n")[0]
    there = [delimiter for delimiter in _DELIMITERS if delimiter in header]
    fields = {delimiter: _fields(sample, delimiter) for delimiter in there}
    fitting = [delimiter for delimiter in there if len(fields[delimiter]) > 1]
    # What a quoted value is cut at, leaves a quotation mark in both parts.
    fitting = [delimiter for delimiter in fitting if not any('"' in name for name in fields[delimiter])] or fitting
    if len(fitting) > 1:
        raise RecordError(
            f"{file}: a table by either delimiter, {' or '.join(map(repr, fitting))}: {header[:80]!r}",
            expected="rows whose delimiter can be told",
            fix=f"quote the values that hold it, or pass polars.read_csv(path, separator={fitting[0]!r})",
        )
    # A table of one column has none; of a ragged one, polars says what is wrong.
    return text, (fitting or there or [","])[0]


def _fields(sample: str, delimiter: str) -> list[str]:
    """The header by a delimiter; empty if rows are not as wide."""
    try:
        rows = list(islice(csv.reader(io.StringIO(sample), delimiter=delimiter), _SAMPLE_ROWS))
    except csv.Error:
        return []
    whole = [row for row in rows[:-1] if row] or rows  # the last one may be cut off
    return rows[0] if len({len(row) for row in whole}) == 1 else []
