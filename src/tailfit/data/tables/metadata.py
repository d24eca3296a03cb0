"""Metadata: a table with a row a sample, brought into the order of the IDs by the rule of `tailfit.data.tables.ids`."""

from collections.abc import Sequence
from os import PathLike

import polars as pl

from tailfit.data.tables.ids import KnownIDs, Numbered, id_column, told_column
from tailfit.data.tables.reading import Rows, read_rows
from tailfit.errors import ArgumentError, DataError

__all__ = ["Metadata", "align", "as_rows", "metadata_of"]

Metadata = pl.DataFrame | str | PathLike[str]


def as_rows(table: Metadata, what: str = "metadata") -> Rows:
    """A polars DataFrame, or the table in a file.

    Raises:
        ArgumentError: for what is neither.
        RecordError: naming a file that can't be read.
    """
    if isinstance(table, pl.DataFrame):
        return Rows(table, table)
    if not isinstance(table, str | PathLike):
        raise ArgumentError(
            f"{what} of type {type(table).__name__}",
            expected="a polars DataFrame, or the path of a table",
            fix="convert it with polars.DataFrame(...) or polars.from_pandas(...)",
        )
    return read_rows(table)


def metadata_of(metadata: Metadata | None, ids: Sequence[str], id: str | None) -> pl.DataFrame | None:
    """As `align`, of the arguments `metadata=` and `id=` of a source.

    Raises:
        ArgumentError: for an `id` that is no column.
    """
    rows = None if metadata is None else as_rows(metadata)
    told_column(id, rows)
    return None if rows is None else align(rows, ids, id)


def align(
    metadata: Metadata | Rows, ids: Sequence[str], id: str | None = None, *, what: str = "metadata"
) -> pl.DataFrame:
    """The rows of a table in the order of `ids`, which are its first column, `id`.

    Rows are found by the column that holds the IDs (see `tailfit.data.tables.ids`): each ID needs one row, rows of
    other IDs are left out. Samples that are only numbered take the rows in order, unless a column is called `id`.

    Args:
        metadata: The table, or the path of its file.
        ids: Of the samples.
        id: The column of the IDs, where the user tells it.
        what: How messages call the table.
    Raises:
        DataError: naming the ID without a row, or with several; or if the column of the IDs can't be told.

    >>> align(pl.DataFrame({"site": [1, 2], "run": ["b", "a"]}), ["a", "b"])["site"].to_list()
    [2, 1]
    """
    rows = metadata if isinstance(metadata, Rows) else as_rows(metadata, what)
    known, frame = KnownIDs(ids), rows.frame
    if frame.columns[:1] == ["id"] and id in (None, "id") and rows.written["id"].equals(known.names):
        return frame.with_columns(known.names)
    if isinstance(ids, Numbered) and id is None:
        id = next((name for name in frame.columns if name.lower() == "id"), None)
    if isinstance(ids, Numbered) and id is None:
        if frame.height != len(known) and frame.width:
            raise DataError(
                f"{what} of {frame.height} rows for {len(known)} samples",
                expected="one row a sample, or a column 'id' to find them by",
                fix="add the column 'id'",
            )
        return frame.insert_column(0, known.names) if frame.width else known.names.to_frame()
    name, found = id_column(rows, known, what, id)
    repeated = found.filter(found.is_duplicated() & found.is_not_null())
    if len(repeated):
        raise DataError(
            f"{what} with several rows for ID {repeated[0]!r} in column {name!r}",
            expected="one row a sample",
            fix="keep one of them",
        )
    places = pl.DataFrame({"id": found, "row": pl.arange(len(found), eager=True)}).drop_nulls("id")
    order = known.names.to_frame().join(places, on="id", how="left", maintain_order="left")
    missing = order.filter(pl.col("row").is_null())["id"]
    if len(missing):
        raise _missing(missing, name, rows, ids, what)
    rest = frame.drop(name)
    if "id" in rest.columns:  # of another meaning
        rest = rest.rename({"id": "id (column)"})
    return pl.concat([known.names.to_frame(), rest[order["row"]]], how="horizontal")


def _missing(missing: pl.Series, name: str, rows: Rows, ids: Sequence[str], what: str) -> DataError:
    held = rows.text(name)
    example = "" if held is None or not len(held) else f", which begins with {held[0]!r}"
    fix = "add the rows, with empty values where nothing is known; or name the column of the IDs by id="
    if isinstance(ids, Numbered):
        fix = f"the samples have no IDs but their numbers: make the source with ids=, or rename the column {name!r}"
    elif held is not None and KnownIDs(missing).without_zeros(held) is not None:
        fix = f"save or read the column {name!r} as text: it lost leading zeros"
    return DataError(
        f"{what} without a row for ID {missing[0]!r} ({len(missing)} of {len(ids)} IDs have none) in column "
        f"{name!r}{example}",
        expected="one row a sample",
        fix=fix,
    )
