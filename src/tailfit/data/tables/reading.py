"""Readers of whole tables and JSON files, which detect delimiter, encoding and types from the content.

Types are inferred from all rows. The text of each value is kept together with its typed value, because the ID `001` is
not the number 1.
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

import numpy as np
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
_SAMPLE, _SAMPLE_ROWS = 1 << 16, 200  # characters and rows used to detect the delimiter
_INT64_DIGITS = 19  # of the largest int64
_MAX_DEPTH = 32  # of a table in JSON
_EXPANSION = 8  # approximate bytes of memory per byte of a text file, for its content, its text and its values


@dataclass(frozen=True)
class Rows:
    """A table with its typed values and, if read from a text file, the text of its values.

    Attributes:
        frame: Typed values.
        written: The same columns as text if they were read from a text file; else `frame`.
    """

    frame: pl.DataFrame
    written: pl.DataFrame

    def text(self, name: str) -> pl.Series | None:
        """Return a column as text, `7.0` as `7`; None for nested, binary and object columns.

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
    """Read the table in a CSV, JSON (a list of rows), NDJSON or Parquet file.

    The delimiter of a CSV file is a comma, semicolon, tab or `|`. Text is UTF-8, or has a byte-order mark.

    Args:
        path: Path of the file, whose extension is the format.
    Raises:
        RecordError: If the file can't be read; the message names it.
        ArgumentError: If `path` is not a path, or has a different extension.
    """
    if not isinstance(path, str | PathLike):
        raise ArgumentError(
            f"a table of type {type(path).__name__}",
            expected=f"the path of {_KINDS}, or a polars DataFrame",
            fix="pass one of these, for example metadata='metadata.csv'",
        )
    file = Path(fspath(path))
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ArgumentError(f"the file {file}", expected=_KINDS, fix="convert the file, or pass a polars DataFrame")
    try:
        rows = _parsed(file, suffix)
    except RecordError:
        raise
    except _FAILURES as error:
        raise RecordError(
            f"{file}: {(str(error).splitlines() or [type(error).__name__])[0]}",
            expected=f"a readable {suffix[1:]} table",
            fix="check the content of the file",
        ) from error
    if any("\0" in name for name in rows.frame.columns):
        # Arrow's C interface ends a name at NUL, and polars aborts the process when it exports such a name.
        raise RecordError(
            f"{file}: a column with a NUL character in its name",
            expected="column names without control characters",
            fix="save the file as UTF-8, if it is UTF-16 without a byte-order mark; else rename the column",
        )
    return rows


def read_table(path: str | PathLike[str], *, text: Collection[str] = ()) -> pl.DataFrame:
    """Read a table with typed values, except columns called `id` (or `ID`) and those in `text`, which stay text.

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
    """Return the value in a JSON file that fits into memory.

    Raises:
        RecordError: If the file is unreadable or not JSON, or an object has a key twice. The message names the file.
    """
    return storage.read_json(path, available_memory() // _EXPANSION)


def read_json(path: str | PathLike[str]) -> dict[str, Any]:
    """Return the object in a JSON file that fits into memory.

    Raises:
        RecordError: See `parse_json`; also if the value is not an object.
    """
    return storage.read_object(path, available_memory() // _EXPANSION)


def _parsed(file: Path, suffix: str) -> Rows:
    # From bytes, because polars memory-maps a path, and truncating a mapped file kills the process.
    if suffix == ".parquet":
        frame = pl.read_parquet(_checked_size(read_whole(file, available_memory())))
        return Rows(frame, frame)
    text = _read_text(file)
    if suffix not in (".csv", ".tsv"):
        if suffix != ".json":  # as one JSON list, because older polars read mixed numbers and text in NDJSON as null
            text = "[" + ",".join(line for line in text.split("\n") if line.strip()) + "]"
        frame = pl.read_json(_checked_depth(text.encode()), infer_schema_length=None)
        return Rows(frame, frame)
    text, separator = _delimited(text, file)
    content = text.encode()
    written = pl.read_csv(content, separator=separator, infer_schema=False)
    as_text = dict.fromkeys(_beyond_int64(written), pl.String)
    frame = pl.read_csv(content, separator=separator, infer_schema_length=None, schema_overrides=as_text)
    return Rows(frame, written)


def _beyond_int64(written: pl.DataFrame) -> list[str]:
    """Return the columns of whole numbers of more than 64 bits, which are read as text because they are identifiers."""
    texts = [text.drop_nulls() for text in written.iter_columns()]
    long = [text for text in texts if len(text) and text.str.len_bytes().max() >= _INT64_DIGITS]  # type: ignore[operator]
    whole = [text for text in long if text.str.contains(r"^[+-]?\d+$").all()]
    return [text.name for text in whole if text.cast(pl.Int64, strict=False).null_count()]


def _checked_depth(content: bytes) -> bytes:
    """Refuse JSON that is nested deeply: for 2,000 levels in 2 KB polars asks for gigabytes, and ends the process."""
    # Brackets within strings have no meaning.
    marks = np.frombuffer(re.sub(rb'"(?:[^"\\]|\\.)*"', b"", content), np.uint8)
    opens, closes = (marks == ord("[")) | (marks == ord("{")), (marks == ord("]")) | (marks == ord("}"))
    depth = np.cumsum(opens.astype(np.int8) - closes.astype(np.int8), dtype=np.int32)
    if depth.size and depth.max() > _MAX_DEPTH:
        raise ValueError(f"nesting deeper than {_MAX_DEPTH} levels")
    return content


def _checked_size(content: bytes) -> bytes:
    """Check that the table of a Parquet file fits into memory; a few bytes may claim any number of equal values."""
    table = pl.scan_parquet(io.BytesIO(content))
    columns, rows = len(table.collect_schema()), int(table.select(pl.len()).collect().item())
    if max(8 * rows * columns, claimed_memory(content)) > available_memory():
        raise ValueError(f"{rows} rows of {columns} columns, which do not fit into memory")
    return content


def _read_text(path: str | PathLike[str]) -> str:
    text = read_text(path, available_memory() // _EXPANSION)
    return text if "\n" in text else text.replace("\r", "\n")  # Excel has a format with the line ends of old Macs


def _delimited(text: str, file: Path) -> tuple[str, str]:
    """Return a table's text and its delimiter: from a first line `sep=;`, else the one with rows of equal width."""
    stated = re.match(r"sep=(.)\r?\n", text)
    if stated is not None:
        return text[stated.end() :], stated[1]
    end = text.rfind("\n", 0, _SAMPLE) if len(text) > _SAMPLE else len(text)
    sample = text[: end if end > 0 else _SAMPLE]
    header = sample.partition("\n")[0]
    candidates = [delimiter for delimiter in _DELIMITERS if delimiter in header]
    fields = {delimiter: _fields(sample, delimiter) for delimiter in candidates}
    fitting = [delimiter for delimiter in candidates if len(fields[delimiter]) > 1]
    # A character inside a quoted value is not the delimiter: splitting there leaves a quotation mark in both parts.
    fitting = [delimiter for delimiter in fitting if not any('"' in name for name in fields[delimiter])] or fitting
    if len(fitting) > 1:
        raise RecordError(
            f"{file}: a table with several possible delimiters, {' and '.join(map(repr, fitting))}: {header[:80]!r}",
            expected="rows with one possible delimiter",
            fix=f"quote values that contain it, or pass polars.read_csv(path, separator={fitting[0]!r})",
        )
    # A table with one column has no delimiter; polars reports rows of different width.
    return text, (fitting or candidates or [","])[0]


def _fields(sample: str, delimiter: str) -> list[str]:
    """Return the header split at a delimiter; empty if rows differ in width."""
    try:
        rows = list(islice(csv.reader(io.StringIO(sample), delimiter=delimiter), _SAMPLE_ROWS))
    except csv.Error:
        return []
    complete = [row for row in rows[:-1] if row] or rows  # the last row may be cut off
    return rows[0] if len({len(row) for row in complete}) == 1 else []
