"""Labels and metadata of a folder of files: a dict, a JSON file or a table, matched to files by name."""

from collections.abc import Collection, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tailfit.data.tables.ids import KnownIDs, check_id, checked_id_column, columns_of, id_column, row_numbers
from tailfit.data.tables.metadata import Metadata, align, as_rows
from tailfit.data.tables.reading import Rows, parse_json
from tailfit.errors import ArgumentError, DataError

__all__ = ["Labels", "UnreadLabel", "tables_of_files"]

Labels = Mapping[str, Any] | pl.DataFrame | str | PathLike[str]
_Matched = tuple[tuple[str, ...], Any, pl.DataFrame | None]


class UnreadLabel(str):
    """Name of the labels that a data set may have, but that are not read: they need not be valid or complete.

    An empty name stands for the default name of labels. The labels do not become part of the records either.
    """


def tables_of_files(
    found: Collection[str],
    labels: Labels | None,
    metadata: Metadata | None,
    *,
    id: str | None,
    label: str | None,
    folder: str,
    ending: str = "",
) -> _Matched:
    """Return the IDs, labels and metadata of the files in a folder.

    Args:
        found: IDs of the files, which are their names without `ending`.
        labels: See `tailfit.data.NpyFolder`.
        metadata: A table.
        id, label: Columns of the IDs and the labels if the user passed them.
        folder: The folder, for messages.
        ending: Extension of all file names that is not part of the IDs.
    Returns:
        The IDs in the order of the labels (sorted without labels), the labels or None, and the metadata in that order.
    Raises:
        DataError: If files and labels do not match.
    """
    table = _read(labels)
    rows = None if metadata is None else as_rows(metadata)
    checked_id_column(id, table if isinstance(table, Rows) else None, rows)
    if label is not None and not isinstance(table, Rows):
        raise ArgumentError(
            f"label={label!r} without a table of labels",
            expected="label= only together with a table as labels=",
            fix="drop label=, or pass a table as labels=",
        )
    known = KnownIDs(sorted(found))
    ids, values = tuple(known.names.to_list()), None
    if table is not None:
        ids, values = _from_table(table, known, id, label) if isinstance(table, Rows) else _from_dict(table, known)
        _match(ids, set(found), folder, ending)
    return ids, values, None if rows is None else align(rows, ids, _if_column(id, rows))


def _read(labels: Labels | None) -> Mapping[Any, Any] | Rows | None:
    if labels is None or isinstance(labels, Mapping):
        return labels
    if not isinstance(labels, pl.DataFrame | str | PathLike):
        raise ArgumentError(
            f"labels of type {type(labels).__name__}",
            expected="a dict of labels by ID, a polars DataFrame, or the path of a JSON, CSV or Parquet file",
            fix="pass dict(zip(ids, labels))",
        )
    if not isinstance(labels, pl.DataFrame) and Path(fspath(labels)).suffix.lower() == ".json":
        content = parse_json(labels)
        if isinstance(content, dict):
            return content
    return as_rows(labels, "labels")


def _if_column(id: str | None, rows: Rows) -> str | None:
    """Return the name if this table has such a column; the user may have meant a different table."""
    return id if id in rows.frame.columns else None


def _from_dict(table: Mapping[Any, Any], known: KnownIDs) -> tuple[tuple[str, ...], Any]:
    for name in table:
        if not isinstance(name, str):
            check_id(name)
    names = set(known.names)
    spelled = known.spellings(name for name in table if name not in names)
    ids: dict[str, str] = {}
    for name in table:
        other = ids.setdefault(spelled.get(name, name), name)
        if other != name:
            raise DataError(
                f"labels with one ID as {other!r} and as {name!r}",
                expected="one label per ID",
                fix="drop one of these entries",
            )
    return tuple(ids), _stacked(list(table.values()))


def _from_table(rows: Rows, known: KnownIDs, id: str | None, label: str | None) -> tuple[tuple[str, ...], Any]:
    name, found = id_column(rows, known, "labels", _if_column(id, rows))
    text = rows.text(name)
    ids = found if text is None else found.zip_with(found.is_not_null(), text)
    values = rows.frame[_label_column(rows, name, label)]
    for what, column in (("an empty ID", ids), ("an empty label", values)):
        if column.null_count():
            row = int(np.argmax(column.is_null().to_numpy()))
            raise DataError(
                f"labels with {what} in row {row} (ID {ids[row]!r})",
                expected="an ID and a label in each row",
                fix="fill in the value, or drop the row",
            )
    repeated = ids.filter(ids.is_duplicated())
    if len(repeated):
        raise DataError(
            f"labels with ID {repeated[0]!r} twice in column {name!r}",
            expected="one label per ID",
            fix="drop one of the rows",
        )
    return tuple(ids.to_list()), _stacked(values.to_list())


def _label_column(rows: Rows, id_name: str, label: str | None) -> str:
    columns = rows.frame.columns
    excluded = {id_name, *row_numbers(rows)}
    rest = [name for name in columns if name not in excluded]
    chosen = [name for name in rest if name == ("label" if label is None else label)]
    if label is None and not chosen and len(rest) == 1:
        chosen = rest
    if not chosen:
        raise DataError(
            f"labels with {columns_of(rows)}, of which {id_name!r} contains the IDs",
            expected="exactly one other column, the labels" if label is None else f"a column {label!r} of labels",
            fix=f"pass the column of labels, for example label={rest[0]!r}" if rest else "add a column of labels",
        )
    return chosen[0]


def _stacked(values: list[Any]) -> Any:
    """Convert a list of labels to an array, mixed or ragged ones to objects, which `encode` then reports."""
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    # Not as NumPy text, which turns a missing label into "nan" and drops trailing NULs of names.
    if len(array) == len(values) and array.dtype.kind != "U":
        return array
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def _match(ids: Sequence[str], found: set[str], folder: str, ending: str) -> None:
    """Check that every label has a file and every file has a label."""
    missing = [name for name in ids if name not in found]
    for name in missing if ending else ():
        check_id(name)
    if missing:
        raise DataError(
            f"a label for the unknown ID {missing[0]!r}: no file {missing[0]}{ending} in {folder}"
            + (f" ({len(missing)} such IDs)" if len(missing) > 1 else ""),
            expected="labels only for files in the folder",
            fix="restore the file, or drop the label"
            if KnownIDs(found).without_zeros(pl.Series(missing)) is None
            else "save or read the IDs as text, because they lost leading zeros",
        )
    if len(found) > len(ids):
        extra = sorted(found.difference(ids))
        raise DataError(
            f"ID {extra[0]!r} without a label ({len(extra)} of {len(found)} files in {folder} have none)",
            expected="a label for each file",
            fix="add its label, or move the file out of the folder",
        )
