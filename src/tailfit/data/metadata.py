"""Metadata: a table with a row a sample, read from CSV, JSON or Parquet and brought into the order of the IDs."""

import io
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

import polars as pl

from tailfit.data.memory import available_memory
from tailfit.data.parquet_claims import claimed_memory
from tailfit.errors import ArgumentError, DataError, RecordError

__all__ = ["align", "read_table"]

_SUFFIXES = (".csv", ".json", ".parquet")


def read_table(path: str | PathLike[str], *, first_is_id: bool = False) -> pl.DataFrame:
    """A table from a CSV, JSON (a list of rows) or Parquet file.

    Args:
        path: The file; its ending tells the format.
        first_is_id: Whether the first column holds the IDs where none is called `id`. IDs in a CSV file are
            read as text whatever they look like: "007" is not the number 7.
    Raises:
        RecordError: naming the file, if it can't be read.
        ArgumentError: for what is no path, or a file of another format.
    """
    if not isinstance(path, str | PathLike):
        raise ArgumentError(
            f"a table of type {type(path).__name__}",
            expected="the path of a .csv, .json or .parquet file, or a polars DataFrame",
            fix="pass one of these, e.g. metadata='metadata.csv'",
        )
    file = Path(fspath(path))
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ArgumentError(
            f"{file}", expected="a .csv, .json or .parquet file", fix="convert it, or pass a polars DataFrame"
        )
    try:
        # From its bytes: polars maps files into memory, where one that is truncated meanwhile ends the process.
        content = file.read_bytes()
        if suffix == ".csv":
            columns = pl.read_csv(content, n_rows=0).columns
            key = "id" if "id" in columns or not first_is_id else columns[0]
            table = pl.read_csv(content, schema_overrides={key: pl.String} if key in columns else None)
        else:
            table = pl.read_json(content) if suffix == ".json" else pl.read_parquet(_checked_size(content))
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise RecordError(
            f"{file}: {(str(error).splitlines() or [type(error).__name__])[0]}",
            expected=f"a readable {suffix[1:]} table",
            fix="check the file",
        ) from error
    if any("\0" in name for name in table.columns):
        # Handed on to another library, a name is a text that ends with NUL: polars would end the process.
        raise RecordError(f"{file}: a column with NUL in its name", expected="names of text", fix="check the file")
    return table


def _checked_size(content: bytes) -> bytes:
    """A Parquet file whose table fits into memory: some bytes may claim to be any number of equal values."""
    table = pl.scan_parquet(io.BytesIO(content))
    columns, rows = len(table.collect_schema()), int(table.select(pl.len()).collect().item())
    if max(8 * rows * columns, claimed_memory(content)) > available_memory():
        raise ValueError(f"{rows} rows of {columns} columns, whose pages claim more than fits into memory")
    return content


def align(metadata: pl.DataFrame, ids: Sequence[str]) -> pl.DataFrame:
    """The rows of `metadata` in the order of `ids`.

    With a column `id` rows are found by it: each ID needs one row, rows of other IDs are left out. Without it the
    rows are taken to be in order, one a sample, and the column is added.

    Raises:
        DataError: naming the ID without a row, or with several.

    >>> align(pl.DataFrame({"id": ["b", "a"], "site": [1, 2]}), ["a", "b"])["site"].to_list()
    [2, 1]
    """
    if not isinstance(metadata, pl.DataFrame):
        raise ArgumentError(
            f"metadata of type {type(metadata).__name__}",
            expected="a polars DataFrame",
            fix="convert it with polars.DataFrame(...) or polars.from_pandas(...)",
        )
    wanted = pl.Series("id", list(ids), dtype=pl.String)
    if "id" not in metadata.columns:
        if metadata.height != len(wanted):
            raise DataError(
                f"metadata of {metadata.height} rows for {len(wanted)} samples",
                expected="one row a sample, or a column 'id' to find them by",
                fix="add the column 'id'",
            )
        return metadata.insert_column(0, wanted) if metadata.width else wanted.to_frame()
    table = metadata.with_columns(pl.col("id").cast(pl.String))
    # Joins, not is_in: what that compares with changed between versions of polars.
    repeated = table.filter(pl.col("id").is_duplicated()).join(wanted.to_frame(), on="id", how="semi")
    if repeated.height:
        raise DataError(
            f"metadata with several rows for ID {repeated['id'][0]!r}",
            expected="one row a sample",
            fix="keep one of them",
        )
    missing = wanted.to_frame().join(table, on="id", how="anti", maintain_order="left")["id"]
    if len(missing):
        raise DataError(
            f"metadata without a row for ID {missing[0]!r} ({len(missing)} of {len(wanted)} IDs have none)",
            expected="one row a sample",
            fix="add the rows, with empty values where nothing is known",
        )
    return wanted.to_frame().join(table, on="id", how="left", maintain_order="left")
