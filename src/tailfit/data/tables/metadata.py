"""Metadata: a table with one row per sample, sorted by the order of the IDs; see `tailfit.data.tables.ids`."""

from collections.abc import Sequence
from os import PathLike

import polars as pl

from tailfit.data.tables.ids import KnownIDs, Numbered, checked_id_column, id_column
from tailfit.data.tables.reading import Rows, read_rows
from tailfit.errors import ArgumentError, DataError

__all__ = ["Metadata", "align", "as_rows", "metadata_of"]

Metadata = pl.DataFrame | str | PathLike[str]


def as_rows(table: Metadata, what: str = "metadata") -> Rows:
    """Return a polars DataFrame, or the table in a file, as `Rows`.

    Raises:
        ArgumentError: If `table` is neither.
        RecordError: If the file can't be read; the message names it.
    """
    if isinstance(table, pl.DataFrame):
        return Rows(table, table)
    if not isinstance(table, str | PathLike):
        raise ArgumentError(
            f"{what} of type {type(table).__name__}",
            expected="a polars DataFrame or the path of a table",
            fix="convert it with polars.DataFrame(...) or polars.from_pandas(...)",
        )
    return read_rows(table)


def metadata_of(metadata: Metadata | None, ids: Sequence[str], id: str | None) -> pl.DataFrame | None:
    """Return the table given by the arguments `metadata=` and `id=` of a source; see `align`.

    Raises:
        ArgumentError: If `id` is not a column.
    """
    rows = None if metadata is None else as_rows(metadata)
    checked_id_column(id, rows)
    return None if rows is None else align(rows, ids, id)


def align(
    metadata: Metadata | Rows, ids: Sequence[str], id: str | None = None, *, what: str = "metadata"
) -> pl.DataFrame:
    """Return the rows of a table in the order of `ids`, which become its first column, `id`.

    Rows are matched by the column of IDs (see `tailfit.data.tables.ids`). Each ID needs exactly one row; rows of other
    IDs are dropped. For samples that are only numbered, rows are matched by order unless a column is called `id`.

    Args:
        metadata: The table, or the path of its file.
        ids: IDs of the samples.
        id: Column of the IDs if the user passed it.
        what: Name of the table in messages.
    Raises:
        DataError: If an ID has no row, or several; or if the column of IDs can't be determined.

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
                expected="one row per sample, or a column 'id' to match them by",
                fix="add or drop rows, or add the column 'id'",
            )
        return frame.insert_column(0, known.names) if frame.width else known.names.to_frame()
    name, found = id_column(rows, known, what, id)
    repeated = found.filter(found.is_duplicated() & found.is_not_null())
    if len(repeated):
        numbers = ", ".join(map(str, (found == repeated[0]).arg_true().to_list()[:9]))
        raise DataError(
            f"{what} with several rows for ID {repeated[0]!r} in column {name!r} (rows {numbers}; "
            f"{repeated.n_unique()} of {len(known)} IDs have several)",
            expected="one row per sample",
            fix="drop all except one of these rows",
        )
    places = pl.DataFrame({"id": found, "row": pl.arange(len(found), eager=True)}).drop_nulls("id")
    order = known.names.to_frame().join(places, on="id", how="left", maintain_order="left")
    missing = order.filter(pl.col("row").is_null())["id"]
    if len(missing):
        raise _missing(missing, name, rows, ids, what)
    rest = frame.drop(name)
    if "id" in rest.columns:  # not the column of IDs
        rest = rest.rename({"id": "id (column)"})
    return pl.concat([known.names.to_frame(), rest[order["row"]]], how="horizontal")


def _missing(missing: pl.Series, name: str, rows: Rows, ids: Sequence[str], what: str) -> DataError:
    text = rows.text(name)
    example = "" if text is None or not len(text) else f", which begins with {text[0]!r}"
    fix = "add the rows, with null for unknown values, or pass the column of IDs as id="
    if isinstance(ids, Numbered):
        fix = f"pass ids= to the source, whose samples are only numbered, or rename the column {name!r}"
    elif text is not None and KnownIDs(missing).without_zeros(text) is not None:
        fix = f"save or read the column {name!r} as text, because it lost leading zeros"
    return DataError(
        f"{what} without a row for ID {missing[0]!r} ({len(missing)} of {len(ids)} IDs have none) in column "
        f"{name!r}{example}",
        expected="one row per sample",
        fix=fix,
    )
